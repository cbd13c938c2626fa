"""Where files are: paths, and URLs that fsspec knows (s3://, gs://, file://, memory://, ...).

A location is a string. fsspec is imported where there is a URL, and nowhere else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tlfeatures.errors import ImageError, OutputError, ParameterError, SourceError, StoreError
from tlfeatures.files import replacing

logger = logging.getLogger(__name__)

_FILE = "file://"


def is_url(location: str | os.PathLike[str]) -> bool:
    """Whether it is a URL and no path."""
    return isinstance(location, str) and "://" in location


def absolute(location: str | os.PathLike[str]) -> str:
    """Give a location as processes elsewhere understand it: an absolute path, or a URL."""
    if isinstance(location, str) and location.startswith(_FILE):
        location = location.removeprefix(_FILE)
    return str(location).rstrip("/") if is_url(location) else os.path.abspath(location)  # noqa: PTH100


def read_url(url: str) -> bytes:
    """Read a file whole, or raise `ImageError` with the reason."""
    try:
        system, path = _system(url)
        return bytes(system.cat_file(path))
    except Exception as error:  # each file system has its own
        raise ImageError(_why(error)) from error


def list_url(url: str) -> Iterator[str]:
    """Give the names of all files below a URL relative to it, sorted; hidden ones are left out.

    Raises
    ------
    ParameterError
        If it is no folder.
    SourceError
        If it can't be listed.
    """
    try:
        system, root = _system(url)
        names = [str(path) for path in system.find(root)]
    except ParameterError:
        raise
    except Exception as error:
        raise SourceError(f"{url} can't be listed: {_why(error)}") from error
    above = root.rstrip("/") + "/"
    below = [name.removeprefix(above) for name in names if name.startswith(above)]
    if not below:
        raise ParameterError(
            f"{url} has no files, or is none; expected a folder with one subfolder a class"
        )
    chained = sum("::" in name for name in below)
    if chained:  # fsspec would open another file than the one of this name
        logger.warning("%d files of %s are left out: their names have a ::", chained, url)
    yield from sorted(
        name
        for name in below
        if "::" not in name and not any(part.startswith(".") for part in name.split("/"))
    )


def read_starts(url: str, names: list[str], count: int) -> list[bytes]:
    """Give the first `count` bytes of files below a URL, b"" for one that can't be read."""
    if not names:
        return []
    try:
        system, root = _system(url)
        paths = [f"{root.rstrip('/')}/{name}" for name in names]
        found = system.cat_ranges(paths, [0] * len(paths), [count] * len(paths), on_error="return")
    except Exception as error:  # each file system has its own
        raise SourceError(f"{url} can't be read: {_why(error)}") from error
    return [b"" if isinstance(start, Exception) else bytes(start) for start in found]


def is_file_at(url: str) -> bool:
    """Whether a URL is that of a file; not, if it is one of a folder or can't be reached.

    Raises
    ------
    ParameterError
        If nothing here reads this kind of URL.
    """
    system, path = _system(url)
    try:
        return not url.endswith("/") and bool(system.isfile(path))
    except Exception:  # each file system has its own; listing it will say what is wrong
        return False


@contextlib.contextmanager
def as_store_error() -> Iterator[None]:
    """Turn the error of a file that can't be written into a `StoreError`."""
    try:
        yield
    except OutputError as error:
        raise StoreError(str(error)) from error


class Folder:
    """A folder of finished files: whole or not there, whenever a process is killed.

    Parameters
    ----------
    location : str
        A path or a URL.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._url = is_url(location)

    @property
    def there(self) -> bool:
        """Whether files can be put there: object stores have no folders that could lack."""
        return self._url or Path(self.location).is_dir()

    def make(self) -> None:
        """Make it, beside what is there already."""
        if not self._url:
            with self._said("made"):
                Path(self.location).mkdir(parents=True, exist_ok=True)

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of each file in it, links left out; empty where there is no such folder."""
        if not self._url:
            return dict(self._local_sizes())
        with self._said("listed"):
            system, root = _system(self.location)
            system.invalidate_cache()  # other processes write there
            if not system.exists(root):
                return {}
            found = system.ls(root, detail=True)
            return {
                str(each["name"]).rpartition("/")[2]: int(each["size"] or 0)
                for each in found
                if each["type"] == "file"
            }

    def _local_sizes(self) -> Iterator[tuple[str, int]]:
        try:
            with os.scandir(self.location) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # others write there, too
                        if entry.is_file(follow_symlinks=False):
                            yield entry.name, entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{self.location} can't be listed: {_why(error)}") from error

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Give a local path of one of its files: its own, or that of a copy."""
        if not self._url:
            yield Path(self.location, name)
            return
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, name)
            with self._said("read"):
                system, root = _system(self.location)
                path.write_bytes(system.cat_file(f"{root}/{name}"))
            yield path

    @contextlib.contextmanager
    def making(self, name: str) -> Iterator[Path]:
        """Give a path to write to; left without an error, what is there gets its name at once.

        A file system renames it, an object store gets it in one put.
        """
        if self._url:
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch, name)
                yield path
                with self._said("written"):
                    system, root = _system(self.location)
                    system.pipe_file(f"{root}/{name}", path.read_bytes())
            return
        # What killed processes left is removed at a run's end, of the whole folder at once.
        with as_store_error(), replacing(Path(self.location, name), tidy=False) as path:
            yield path

    def remove(self, names: Iterable[str]) -> None:
        """Let go of files, those that are gone already included; then of the folder if empty."""
        if not self._url:
            folder = Path(self.location)
            with self._said("removed"):
                for name in names:
                    (folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
            return
        with self._said("removed"):
            system, root = _system(self.location)
            there = self.sizes()
            for name in names:
                if name in there:
                    system.rm_file(f"{root}/{name}")

    @contextlib.contextmanager
    def _said(self, what: str) -> Iterator[None]:
        try:
            yield
        except (ParameterError, StoreError):
            raise
        except Exception as error:  # each file system has its own
            raise StoreError(f"{self.location} can't be {what}: {_why(error)}") from error


def _system(url: str) -> tuple[Any, str]:
    """Give the file system of a URL, and the path on it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ParameterError(
            f"{url} is a URL, and fsspec is not installed: pip install 'tlfeatures[cluster]'"
        ) from error
    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:  # it says which package reads this kind
        raise ParameterError(f"{url} can't be used: {_why(error)}") from error
    return system, str(path)


def _why(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(said).split())
