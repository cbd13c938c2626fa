"""Collecting items that arrive one by one into batches, without waiting for later items."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

_POLL = 0.1  # seconds between two checks: of the reader that batches are read, and for signals


@dataclass(frozen=True)
class _End:
    """The end of the items, or the error that ended them."""

    error: BaseException | None


def in_batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Collect items into batches. No item waits for another one that has not arrived yet.

    Parameters
    ----------
    items : iterable
        Items, which are read in a separate thread, because the iterable may block between items.
    most : int
        Largest number of items in a batch, 1 or more.

    Yields
    ------
    list
        The items that have arrived since the last batch was taken, 1 to `most` of them.

    Raises
    ------
    Exception
        Any exception of `items`, after all earlier items are yielded.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(4 * most)
    abandoned = threading.Event()
    threading.Thread(target=_read, args=(items, waiting, abandoned), daemon=True).start()
    end: _End | None = None
    try:
        while end is None:
            batch: list[Item] = []
            while end is None and len(batch) < most and (not batch or not waiting.empty()):
                item = _next(waiting)
                if isinstance(item, _End):
                    end = item
                else:
                    batch.append(item)
            if batch:
                yield batch
    finally:
        abandoned.set()
    if end.error is not None:
        raise end.error


def _next(waiting: queue.Queue[Item | _End]) -> Item | _End:
    """Wait for the next item.

    The wait is divided: a signal that arrives just before a wait begins is noticed at its end only.
    """
    while True:
        try:
            return waiting.get(timeout=_POLL)
        except queue.Empty:
            continue


def _read(
    items: Iterable[Item], waiting: queue.Queue[Item | _End], abandoned: threading.Event
) -> None:
    """Put all items into the queue, unless the batches were abandoned."""
    end = _End(None)
    try:
        for item in items:
            if not _put(item, waiting, abandoned):
                return
    except BaseException as error:  # `in_batches` raises it in its own thread
        end = _End(error)
    _put(end, waiting, abandoned)


def _put(item: Item | _End, waiting: queue.Queue[Item | _End], abandoned: threading.Event) -> bool:
    """Wait until there is room for an item; return False if the batches were abandoned."""
    while not abandoned.is_set():
        try:
            waiting.put(item, timeout=_POLL)
        except queue.Full:
            continue
        return not abandoned.is_set()
    return False
