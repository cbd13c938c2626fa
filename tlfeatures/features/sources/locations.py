"""Read, list and write files at a location: a path, or a URL that fsspec knows.

A location is a string. URLs are s3://, gs://, file://, memory:// and others; fsspec is imported
only where there is one.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tlfeatures.errors import ImageError, OutputError, ParameterError, SourceError, StoreError
from tlfeatures.files import reason_of, replacing
from tlfeatures.names import shortened

logger = logging.getLogger(__name__)

_FILE = "file://"


def is_url(location: str | os.PathLike[str]) -> bool:
    """Whether a location is a URL and no path."""
    return isinstance(location, str) and "://" in location


def check_location(location: str | os.PathLike[str], expected: str) -> None:
    """Raise `ParameterError` if a location is empty, or has a name that no file can have.

    Parameters
    ----------
    location : path or URL
    expected : str
        What the location should be, for messages.
    """
    text = os.fspath(location)
    if not text:  # a `Path` would take it for the current folder
        raise ParameterError(f"a path is empty; {expected}, or . for this folder")
    try:
        if not is_url(text):
            os.stat(text)  # noqa: PTH116
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno == errno.ENAMETOOLONG:
            reason = reason_of(error)
            raise ParameterError(f"{shortened(text, 200)} is no path: {reason}") from error


def absolute_location(location: str | os.PathLike[str]) -> str:
    """Return a location that other processes understand: an absolute path, or a URL."""
    if isinstance(location, str) and location.startswith(_FILE):
        location = location.removeprefix(_FILE)
    return str(location).rstrip("/") if is_url(location) else os.path.abspath(location)  # noqa: PTH100


def read_url(url: str) -> bytes:
    """Read all bytes of a file.

    Raises
    ------
    ImageError
        If it can't be read; the message is the reason.
    """
    try:
        system, path = _file_system(url)
        return bytes(system.cat_file(path))
    except Exception as error:  # each file system has errors of its own
        raise ImageError(_reason(error)) from error


def read_range(url: str, offset: int, count: int) -> bytes:
    """Read a part of a file at a URL.

    Raises
    ------
    ImageError
        If it can't be read; the message is the reason.
    """
    try:
        system, path = _file_system(url)
        data = bytes(system.cat_file(path, start=offset, end=offset + count))
    except Exception as error:  # each file system has errors of its own
        raise ImageError(_reason(error)) from error
    if len(data) > count:
        raise ImageError(
            "its server sends whole files only (no range requests); download the file and give "
            "its path"
        )
    return data


_STATE_SECONDS = 2.0  # for which the state of a file at a URL is not asked for again
_states: dict[str, tuple[float, tuple[int, str]]] = {}


def url_state(url: str, fresh: bool = False) -> tuple[int, str]:
    """Return the size of a file at a URL, and a text that changes when it is written again.

    Parameters
    ----------
    url : str
    fresh : bool
        Whether the server is asked in any case.

    Raises
    ------
    ParameterError
        If no installed package reads this kind of URL.
    SourceError
        If the file can't be reached, or its size isn't known.
    """
    asked, state = _states.get(url, (-_STATE_SECONDS, (0, "")))
    if not fresh and time.monotonic() - asked < _STATE_SECONDS:
        return state
    system, path = _file_system(url)
    try:
        system.invalidate_cache()
        facts = system.info(path)
    except Exception as error:  # each file system has errors of its own
        raise SourceError(f"{url} can't be read: {_reason(error)}") from error
    if facts.get("size") is None:
        raise SourceError(f"{url} can't be read in parts: its server does not tell its size")
    state = int(facts["size"]), str(sorted((key, str(fact)) for key, fact in facts.items()))
    if len(_states) > 1000:
        _states.clear()
    _states[url] = time.monotonic(), state
    return state


def list_url(url: str) -> Iterator[str]:
    """Yield the names of all files below a URL relative to it, sorted; hidden ones are left out.

    Raises
    ------
    ParameterError
        If the URL is no folder.
    SourceError
        If the folder can't be listed.
    """
    try:
        system, root = _file_system(url)
        paths = [str(path) for path in system.find(root)]
    except ParameterError:
        raise
    except Exception as error:
        raise SourceError(f"{url} can't be listed: {_reason(error)}") from error
    prefix = root.rstrip("/") + "/"
    names = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
    if not names:
        raise ParameterError(
            f"{url} has no files, or is none; expected a folder with one subfolder per class"
        )
    chained = sum("::" in name for name in names)
    if chained:  # fsspec would open another file than the one of this name
        logger.warning("%d files of %s are left out: their names have a ::", chained, url)
    yield from sorted(
        name
        for name in names
        if "::" not in name and not any(part.startswith((".", "?")) for part in name.split("/"))
    )


def readable_name(url: str, name: str) -> str:
    """Return the name of a file below a URL as people write it, without the %20 of web addresses.

    The lists of web servers have links that start with a question mark, which `list_url` leaves out
    as they only sort a list.
    """
    return unquote(name) if url.startswith(("http://", "https://")) else name


def read_first_bytes(url: str, names: list[str], count: int) -> list[bytes]:
    """Read the beginning of files below a URL.

    Parameters
    ----------
    url : str
    names : list of str, length n
        Paths relative to the URL.
    count : int
        Number of bytes.

    Returns
    -------
    list of bytes, length n
        Up to `count` bytes of each file; b"" for a file that can't be read.

    Raises
    ------
    SourceError
        If the file system can't be reached.
    """
    if not names:
        return []
    try:
        system, root = _file_system(url)
        paths = [f"{root.rstrip('/')}/{name}" for name in names]
        begins, ends = [0] * len(paths), [count] * len(paths)
        starts = system.cat_ranges(paths, begins, ends, on_error="return")
    except Exception as error:  # each file system has errors of its own
        raise SourceError(f"{url} can't be read: {_reason(error)}") from error
    return [b"" if isinstance(start, Exception) else bytes(start) for start in starts]


def is_file_at(url: str) -> bool:
    """Whether there is a file at a URL; False for a folder, or if the URL can't be reached.

    Raises
    ------
    ParameterError
        If no installed package reads this kind of URL.
    """
    system, path = _file_system(url)
    try:
        facts = system.info(path)
        is_page = facts.get("mimetype") == "text/html"  # a web server's list of a folder
        return not url.endswith("/") and facts.get("type") == "file" and not is_page
    except Exception:  # each file system has errors of its own; listing reports them
        return False


@contextlib.contextmanager
def as_store_error() -> Iterator[None]:
    """Turn the error of a file that can't be written into a `StoreError`."""
    try:
        yield
    except OutputError as error:
        raise StoreError(str(error)) from error


class Folder:
    """A folder in which a file is complete or doesn't exist, whenever a process is killed.

    Parameters
    ----------
    location : str
        A path or a URL.

    Raises
    ------
    StoreError
        By every method, if the file system refuses.
    ParameterError
        By every method, if no installed package reads this kind of URL.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._is_url = is_url(location)

    @property
    def exists(self) -> bool:
        """Whether files can be written to it: in an object store, a folder needn't be created."""
        return self._is_url or Path(self.location).is_dir()

    def create(self) -> None:
        """Create the folder, and those above it; nothing happens if it exists."""
        if not self._is_url:
            with self._store_errors("created"):
                Path(self.location).mkdir(parents=True, exist_ok=True)

    def sizes(self) -> dict[str, int]:
        """Return the size in bytes of each file by its name; empty if the folder doesn't exist.

        Links and subfolders are left out.
        """
        with self._store_errors("listed"):
            if not self._is_url:
                return dict(self._local_sizes())
            system, root = _file_system(self.location)
            system.invalidate_cache()  # other processes write there
            if not system.exists(root):
                return {}
            return {
                str(entry["name"]).rpartition("/")[2]: int(entry["size"] or 0)
                for entry in system.ls(root, detail=True)
                if entry["type"] == "file"
            }

    def _local_sizes(self) -> Iterator[tuple[str, int]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self.location) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # other processes may remove it
                    if entry.is_file(follow_symlinks=False):
                        yield entry.name, entry.stat(follow_symlinks=False).st_size

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Yield a local path of one of its files: of the file itself, or of a copy.

        Parameters
        ----------
        name : str
            A local file needn't exist: opening it reports that.
        """
        if not self._is_url:
            yield Path(self.location, name)
            return
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, name)
            with self._store_errors("read"):
                system, root = _file_system(self.location)
                path.write_bytes(system.cat_file(f"{root}/{name}"))
            yield path

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a path to write to; at the end, the file appears under its name as a whole.

        It is renamed in a file system, and put in one request into an object store. After an error,
        what was there stays.
        """
        if self._is_url:
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch, name)
                yield path
                with self._store_errors("written"):
                    system, root = _file_system(self.location)
                    system.pipe_file(f"{root}/{name}", path.read_bytes())
            return
        # A run's end removes what killed processes left, for the whole folder at once.
        with as_store_error(), replacing(Path(self.location, name), tidy=False) as path:
            yield path

    def remove(self, names: Iterable[str]) -> None:
        """Delete files, and a local folder that is empty afterwards; missing ones are no error."""
        if not self._is_url:
            folder = Path(self.location)
            with self._store_errors("removed"):
                for name in names:
                    (folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
            return
        with self._store_errors("removed"):
            system, root = _file_system(self.location)
            sizes = self.sizes()
            for name in names:
                if name in sizes:
                    system.rm_file(f"{root}/{name}")

    @contextlib.contextmanager
    def _store_errors(self, action: str) -> Iterator[None]:
        """Turn errors of the file system into a `StoreError` that says what failed."""
        try:
            yield
        except (ParameterError, StoreError):
            raise
        except Exception as error:  # each file system has errors of its own
            raise StoreError(f"{self.location} can't be {action}: {_reason(error)}") from error


def _file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path on it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ParameterError(
            f"{url} is a URL, and fsspec is not installed: pip install 'tlfeatures[urls]'"
        ) from error
    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:  # its message names the package that reads this kind
        raise ParameterError(f"{url} can't be used: {_reason(error)}") from error
    return system, str(path)


def _reason(error: Exception) -> str:
    """Return the words of a storage service, which say more than the system's for their number."""
    return " ".join(str(getattr(error, "strerror", None) or reason_of(error)).split())
