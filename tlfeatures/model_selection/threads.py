"""Limiting BLAS and OpenMP to one thread while a fold is fitted."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any


class _BlasLimit:
    """Limits the BLAS libraries of this process to one thread while any thread is inside.

    BLAS has one number of threads for the whole process. With threadpoolctl, only the thread that
    changed this number can restore it. The first thread that enters the limit changes the number.
    If it leaves before others, a helper thread (`_Keeper`) sets the limit again until the last
    thread leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own = threading.local()  # .depth: number of nested limits in this thread
        self._users = 0  # number of threads inside
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
    """Find the libraries with thread pools.

    The result is cached, because the search takes longer than a short fit. The number of imported
    modules is the cache's key, so that libraries of later imports are found.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _Keeper:
    """A thread that limits the BLAS libraries until `end` is called."""

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
        """Restore the number of threads, and end the thread."""
        self._over.set()
        self._thread.join()


_BLAS = _BlasLimit()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS and OpenMP to one thread in calls of this thread.

    OpenMP has a number of threads for each calling thread. BLAS has one number for the whole
    process; see `_BlasLimit`.
    """
    # BLAS comes first, so that this thread leaves the OpenMP limit before it leaves the BLAS limit.
    with _BLAS, _thread_pools(len(sys.modules)).limit(limits=1, user_api="openmp"):
        yield
