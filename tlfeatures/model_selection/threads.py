"""Computing on one thread: the limits of BLAS and OpenMP while a fold is fitted."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any


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
