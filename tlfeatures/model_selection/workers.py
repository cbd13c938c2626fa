"""What processes that fit folds have in common, those of this machine and those of a cluster.

It imports little, so that a worker is soon as it shall be.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from tlfeatures.files import is_alive

_ASKING = 1.0  # seconds between two looks whether the parent is there


def start_worker(parent: int) -> None:
    """Prepare a process that was started to fit folds.

    Ctrl-C is for the process that started it, and ends that one; a worker ends with its parent,
    however that ends, without a word.

    Parameters
    ----------
    parent : int
        Number of the process that started it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name != "nt":  # there, the number of the parent stays when it ends
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    # A fork server starts processes for another one, and so is the parent of all of them.
    direct = os.getppid() == parent
    while os.getppid() == parent if direct else is_alive(parent):
        time.sleep(_ASKING)
    os._exit(1)


class _BlasLimit:
    """Limits the BLAS libraries of this process to one thread while any thread asks for it.

    Their number of threads is one of the whole process, and threadpoolctl lets it be put back by
    the very thread that has set it. So the first thread that asks sets it. If it leaves before
    others, a thread that does nothing else sets it in its place, until the last one leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own = threading.local()  # how often each thread is in it
        self._users = 0  # threads
        self._set_by: threading.Thread | None = None
        self._limits: Any = None
        self._keeper: _Keeper | None = None

    def __enter__(self) -> None:
        self._own.depth = getattr(self._own, "depth", 0) + 1
        if self._own.depth > 1:
            return
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._set_by, self._limits = threading.current_thread(), _limit_blas()

    def __exit__(self, *_: object) -> None:
        self._own.depth -= 1
        if self._own.depth:
            return
        with self._lock:
            self._users -= 1
            if self._set_by is threading.current_thread():
                self._limits.__exit__(None, None, None)
                self._set_by = None
                self._keeper = _Keeper() if self._users else None
            elif not self._users and self._keeper is not None:
                self._keeper.end()
                self._keeper = None


def _limit_blas() -> Any:
    return _thread_pools(len(sys.modules)).limit(limits=1, user_api="blas").__enter__()


@functools.lru_cache(maxsize=1)
def _thread_pools(modules: int) -> Any:
    """Find the libraries with thread pools, anew whenever more modules are imported.

    To find them reads the memory map of the process, which took most of the time of a short fit.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _Keeper:
    """A thread that limits the BLAS libraries until it is told to end."""

    def __init__(self) -> None:
        self._set, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        self._set.wait()

    def _keep(self) -> None:
        limits = _limit_blas()
        self._set.set()
        self._over.wait()
        limits.__exit__(None, None, None)

    def end(self) -> None:
        """Let it put back what was there before."""
        self._over.set()
        self._thread.join()


_BLAS = _BlasLimit()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let this thread compute without the help of others; afterwards all is as it was before.

    OpenMP keeps a number of threads for each thread that calls it, BLAS one for the process (see
    `_BlasLimit`).
    """
    # In this order: threadpoolctl lets another thread set BLAS once this one is out of all limits.
    with _BLAS, _thread_pools(len(sys.modules)).limit(limits=1, user_api="openmp"):
        yield
