"""Collect items that arrive one by one into batches, without waiting for the next item."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

_POLL = 0.1  # seconds after which a waiting reader checks whether batches are still taken


@dataclass(frozen=True)
class _End:
    """The end of the items, or the error that ended them."""

    error: BaseException | None


def in_batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Collect items into batches. No item waits for another one that has not arrived yet.

    Parameters
    ----------
    items : iterable
        It is read in a thread of its own, as it may block between two items.
    most : int
        Largest number of items in a batch, 1 or more.

    Yields
    ------
    list
        The items that have arrived since the last batch was taken, 1 to `most` of them.

    Raises
    ------
    Exception
        Whatever `items` raises, after the items before it are yielded.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(4 * most)
    abandoned = threading.Event()
    threading.Thread(target=_read, args=(items, waiting, abandoned), daemon=True).start()
    end: _End | None = None
    try:
        while end is None:
            batch: list[Item] = []
            while end is None and len(batch) < most and (not batch or not waiting.empty()):
                item = waiting.get()
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


def _read(
    items: Iterable[Item], waiting: queue.Queue[Item | _End], abandoned: threading.Event
) -> None:
    """Put all items into the queue, unless the batches were abandoned."""
    end = _End(None)
    try:
        for item in items:
            if not _put(item, waiting, abandoned):
                return
    except BaseException as error:  # it is raised where the batches are taken
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
