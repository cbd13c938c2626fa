"""Limit how much memory threads use at once: a thread that needs more than is free waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """A number of bytes that threads share, in the order in which they ask for them.

    Parameters
    ----------
    total : int
        Bytes. A thread that needs more reserves all of them, and so works alone.
    """

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, amount: int) -> Iterator[None]:
        """Wait until `amount` bytes are free, and hold them while the block runs.

        A thread must hold one reservation at a time, as two threads could wait for each other.
        """
        amount = min(amount, self._total)
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                # In order, so that a thread that needs much doesn't wait for ever.
                self._changed.wait_for(lambda: self._waiting[0] is ticket and amount <= self._free)
                self._free -= amount
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()
