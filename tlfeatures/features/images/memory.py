"""How much memory may be in use at once: who needs more than is free waits for its turn."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """A number of bytes that threads share, first come, first served.

    Parameters
    ----------
    total : int
        Bytes. Who needs more gets all of them, and so works alone.
    """

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, amount: int) -> Iterator[None]:
        """Wait until so many bytes are free, and hold them while the block runs.

        A thread must hold only one reservation at a time, or two could wait for each other.
        """
        amount = min(amount, self._total)
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                # In turn, so that one that needs much isn't passed over for ever.
                self._changed.wait_for(lambda: self._waiting[0] is turn and amount <= self._free)
                self._free -= amount
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()
