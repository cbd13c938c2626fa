"""What processes that fit folds have in common, those of this machine and those of a cluster.

It imports little, so that a worker is soon as it shall be.
"""

from __future__ import annotations

import contextlib
import os
import signal
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

    Their number of threads is one of the whole process. So the first thread sets the limit, and the
    last one to leave puts back what was there before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._limits: list[Any] = []

    def __enter__(self) -> None:
        from threadpoolctl import threadpool_info, threadpool_limits

        with self._lock:
            self._users += 1
            blas = (each for each in threadpool_info() if each["user_api"] == "blas")
            if any(each["num_threads"] > 1 for each in blas):  # one may be loaded later
                self._limits.append(threadpool_limits(1, user_api="blas"))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            while self._users == 0 and self._limits:
                self._limits.pop().restore_original_limits()


_BLAS = _BlasLimit()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let this thread compute without the help of others; afterwards all is as it was before.

    OpenMP keeps a number of threads for each thread that calls it, BLAS one for the process (see
    `_BlasLimit`).
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="openmp"), _BLAS:
        yield
