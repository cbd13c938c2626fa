"""One process at a time: a lock beside a file.

The lock is that of filelock: the kernel's, of which it lets go when the process ends, however it
ends; or, on a file system without flock, a file that names the process, which is taken away from a
process of this machine that is gone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tlfeatures.errors import BusyError, OutputError
from tlfeatures.files import reason_of

_PATIENCE = 0.2  # seconds, for a lock that is just being given back, or taken from the dead
_POLL = 0.05
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def locked(path: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """Be the one process that writes a file.

    Parameters
    ----------
    path : Path
        The lock is ``.NAME.lock`` beside it. It stays there, unless no file comes of it.
    patience : float
        Seconds to wait for another process.

    Raises
    ------
    BusyError
        If another process has the lock.
    OutputError
        If there can't be a lock: the folder can't be written to, or its file system has no locks.
    """
    lock_path = path.with_name(f".{path.name}.lock")
    there_before = lock_path.exists()
    lock = FileLock(lock_path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="flock not supported")  # it has another way
            lock.acquire(timeout=patience, poll_interval=_POLL)
    except Timeout as error:
        raise BusyError(_busy(path, lock_path)) from error
    except OSError as error:
        if error.errno in _NO_LOCKS and not there_before:
            lock_path.unlink(missing_ok=True)
        raise OutputError(_refused(path, error)) from error
    signed = False
    try:
        signed = _sign(lock_path)
        yield
    finally:
        try:
            if signed and not path.exists():  # nothing came of it
                lock_path.unlink(
                    missing_ok=True
                )  # a process that has it open already opens it again
        finally:
            lock.release()


def _sign(lock_path: Path) -> bool:
    """Write into the lock who has it, for people; not where filelock did, as that is the lock."""
    pid = str(os.getpid())
    with contextlib.suppress(OSError):  # a full disk: the lock holds without
        if lock_path.read_text(errors="replace").partition("\n")[0] == pid:
            return False
        lock_path.write_text(f"{pid}\n{socket.gethostname()}\n")  # in the form of filelock
    return True


def _busy(path: Path, lock_path: Path) -> str:
    said = ["", ""]
    with contextlib.suppress(OSError):  # just removed
        said = [*lock_path.read_text(errors="replace").splitlines(), "", ""]
    pid, host = said[0], said[1].partition("?")[0]  # a container's number follows the ?
    if not pid.isdecimal():
        return (
            f"{path} is being written by another process (pid unknown); wait for it, or, if there "
            f"is none, remove {lock_path}"
        )
    busy = f"{path} is being written by another process"
    if host in ("", socket.gethostname()):
        return f"{busy} (pid {pid}); wait for it, or end it"
    return (
        f"{busy} (pid {pid} on {host}); wait for it, or end it; if it is gone, remove {lock_path}"
    )


def _refused(path: Path, error: OSError) -> str:
    if error.errno in _NO_LOCKS:
        return (
            f"{path} can't be locked against other writers: {reason_of(error)}; its file system "
            "has no locks. Choose a place on a local disk with -o, and copy it afterwards"
        )
    return f"can't write beside {path}: {reason_of(error)}"
