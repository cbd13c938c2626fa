"""Threads: limiting BLAS and OpenMP to one, and working on the parts of an array with several."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from tlfeatures.machine import count_cores

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


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


def in_threads(
    function: Callable[[_Item], _Result], items: Iterable[_Item], threads: int | None = None
) -> Iterator[_Result]:
    """Yield the result of each item in the order of the items, computed by several threads.

    Each thread uses one thread of BLAS, so the results do not depend on the number of threads. Few
    results wait for the caller at any time.

    Parameters
    ----------
    function : callable
        It spends its time in NumPy, which runs in several threads at once.
    items : iterable
    threads : int, optional
        By default, one for each core.
    """
    threads = threads or count_cores().usable
    waiting: deque[Future[_Result]] = deque()
    with one_thread(), ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
