"""The one way in which files are written: whole under a temporary name, then renamed.

Wherever a process is killed, and where a disk is full, a file is as it was or as it shall be. The
temporary file is flushed to the disk before it gets the file's name, and the folder afterwards, so
that the same holds where the machine itself goes down.

A temporary file is ``.NAME.PID-HOST-RANDOM.new``, beside the file. One that a killed process left
is removed by the next writer of the same file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from tlfeatures.errors import OutputError, ParameterError

_ABANDONED = 86_400.0  # seconds since the last write, after which no process is at a file any more
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


def resolved(path: str | os.PathLike[str]) -> Path:
    """Follow links, so that a link stays one when the file that it names is replaced.

    Raises
    ------
    ParameterError
        If a link leads back to itself.
    """
    try:
        return Path(path).resolve()
    except RuntimeError as error:  # of pathlib before Python 3.13
        raise ParameterError(f"{path} is a link that leads back to itself: remove it") from error


def file_target(path: str | os.PathLike[str], example: str, named: str) -> Path:
    """Refuse a place where no file can be made.

    Parameters
    ----------
    path : path
    example : str
        Name of a file, for the message.
    named : str
        What the file is, for the message.

    Returns
    -------
    Path
        With links resolved, so that a link stays one.

    Raises
    ------
    ParameterError
        If it is a folder, or in no folder.
    """
    target = resolved(path)
    if target.is_dir():
        raise ParameterError(f"{path} is a folder; name a file, as in -o {path}/{example}")
    if not target.parent.is_dir():
        raise ParameterError(f"there is no folder {target.parent} for {named}; make it first")
    return target


# Kinds of files that commands create, and the endings that suit them, the usual one first.
ENDINGS = {
    "an embeddings file": (".h5", ".hdf5", ".hdf"),
    "a model": (".model",),
    "an ONNX file": (".onnx",),
}

# Endings of other kinds of files than images. A name may also have an ending that no program knows.
OTHER_ENDINGS = frozenset(
    {".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".htm"}
    | {".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".odt", ".ods", ".rtf", ".log"}
    | {".ini", ".cfg", ".toml", ".db", ".sqlite", ".npy", ".npz", ".mat", ".h5", ".hdf5", ".pkl"}
    | {".parquet", ".pt", ".pth", ".onnx", ".keras", ".model", ".zip", ".tar", ".gz", ".tgz"}
    | {".bz2", ".xz", ".7z", ".rar", ".py", ".pyc", ".ipynb", ".r", ".m", ".sh", ".bat", ".js"}
    | {".css", ".exe", ".dll", ".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv"}
    | {".m4v", ".3gp", ".mp3", ".wav", ".flac", ".m4a", ".ogg", ".lnk", ".url"}
    | {".near-duplicates"}
)
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp", ".bmp", ".svg"})


def check_ending(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse the name of a file that has the ending of another kind of file.

    Parameters
    ----------
    path : path
    kind : {"an embeddings file", "a model", "an ONNX file"}

    Raises
    ------
    ParameterError
    """
    own, ending = ENDINGS[kind], Path(path).suffix.lower()
    if ending in OTHER_ENDINGS | _PICTURES and ending not in own:
        raise ParameterError(
            f"{path} ends in {ending}, which is not the ending of {kind}; name a file such as "
            f"{Path(path).with_suffix(own[0])}"
        )


# ---- writing


@contextlib.contextmanager
def replacing(path: Path, *, tidy: bool = True) -> Iterator[Path]:
    """Give a temporary path to write to; left without an error, the file there replaces `path`.

    Parameters
    ----------
    path : Path
        A link is replaced itself: resolve it first if it shall stay one.
    tidy : bool
        Whether to look in the folder for temporary files of killed processes.

    Yields
    ------
    Path
        Where there is no file yet.

    Raises
    ------
    OutputError
        If the file can't be written; it names `path`. What was there stays, and the temporary file
        is removed. Errors of other files are raised as they are.
    """
    if path.exists() and not os.access(path, os.W_OK):
        # Renaming asks for no right to the file, but who took that right wants it to stay.
        raise OutputError(f"{path} is read-only: make it writable, or choose another place")
    if tidy:
        remove_leftovers(path)
    fresh = path.with_name(_temporary_name(path.name))
    try:
        yield fresh
        move(fresh, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        if _is_of(error, fresh, path):
            raise cannot_write(path, error) from error
        raise


def replace_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes as a file, see `replacing`; a link to a file stays a link.

    A device or a pipe is written to, and stays what it is.

    Raises
    ------
    OutputError
        If it can't be written. What was there stays.
    """
    target = resolved(path)
    if target.is_char_device() or target.is_fifo():
        try:
            target.write_bytes(data)
        except OSError as error:
            raise cannot_write(path, error) from error
        return
    with replacing(target) as fresh:
        fresh.write_bytes(data)


def move(source: Path, target: Path) -> None:
    """Let a finished file take the place of another one in the same folder, and its permissions.

    Raises
    ------
    OutputError
        If the system refuses it; both files are as they were.
    """
    try:
        sync(source)
        with contextlib.suppress(OSError):  # there is none, or it is another user's
            shutil.copymode(target, source)
        os.replace(source, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    _sync_folder(target.parent)


def sync(path: Path) -> None:
    """Let the bytes of a file reach the disk."""
    with path.open("r+b") as file:  # Windows syncs no file that is open to read alone
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems can't, and Windows opens no folder
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _is_of(error: BaseException, *paths: Path) -> bool:
    """Whether a system error is one of writing to these paths; one of writing bytes names none."""
    if not isinstance(error, OSError) or isinstance(error, OutputError) or not _number_of(error):
        return False
    return error.filename is None or str(error.filename) in map(str, paths)


def cannot_write(path: str | os.PathLike[str], error: BaseException) -> OutputError:
    """Name the file, the reason of the system and the remedy."""
    number = _number_of(error)
    remedy = ""
    if number in _NO_ROOM:
        remedy = "; make room and run the same command again"
    elif number in _NOT_ALLOWED:
        remedy = "; choose another place"
    return OutputError(f"{path} can't be written: {reason_of(error)}{remedy}")


def reason_of(error: BaseException) -> str:
    """Return the system's words for an error in one line, also for one of HDF5, which is long."""
    number = _number_of(error)
    return os.strerror(number) if number else " ".join(str(error).split()) or type(error).__name__


def _number_of(error: BaseException) -> int:
    written = re.search(r"errno = (\d+)", str(error))
    return getattr(error, "errno", None) or (int(written[1]) if written else 0)


# ---- temporary files


def remove_leftovers(path: Path, *, alone: bool = False) -> None:
    """Remove the temporary files that killed processes left of a file.

    Parameters
    ----------
    path : Path
    alone : bool
        Whether the caller holds the file's lock, so that no other process is writing it. Else a
        temporary file is removed if its process was one of this machine and is gone, or if nothing
        was written to it for a day.
    """
    _remove_temporary(path.parent, re.escape(path.name), alone)


def remove_leftovers_in(folder: Path) -> None:
    """Remove the temporary files that killed processes left of any file in a folder."""
    _remove_temporary(folder, ".+", alone=False)


def _remove_temporary(folder: Path, name: str, alone: bool) -> None:
    pattern = re.compile(rf"\.{name}\.(\d+)-([0-9a-f]{{8}})-[0-9a-f]{{6}}\.new")
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = pattern.fullmatch(entry.name)
            if found and (alone or _is_abandoned(entry, int(found[1]), found[2])):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)  # noqa: PTH108, an entry has no such method


def _temporary_name(name: str) -> str:
    return f".{name}.{os.getpid()}-{_host()}-{secrets.token_hex(3)}.new"


def _is_abandoned(entry: os.DirEntry[str], pid: int, host: str) -> bool:
    if host == _host() and not is_alive(pid):
        return True
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED


@lru_cache
def _host() -> str:
    """Hash the name of this machine, and of the container: each has process numbers of its own."""
    name = socket.gethostname()
    with contextlib.suppress(OSError):  # Linux alone has it
        name += str(os.stat("/proc/self/ns/pid").st_ino)  # noqa: PTH116
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number on this machine."""
    if os.name == "nt":  # there, signal 0 is no question
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True
