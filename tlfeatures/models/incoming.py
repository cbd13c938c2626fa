"""Collect arriving items into batches without waiting for later items."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tlfeatures.errors import ParameterError

Item = TypeVar("Item")

_POLL = 0.1  # seconds after which a waiting reader checks whether the batches are still read


@dataclass(frozen=True)
class _End:
    """The end of the items, or the error that ended them."""

    error: BaseException | None


def in_batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Collect items into batches. No item waits for a later one.

    Parameters
    ----------
    items : iterable
        Read in a separate thread, because it may block between two items.
    most : int
        Largest number of items in a batch.

    Yields
    ------
    list
        The items that have arrived since the last batch was read, 1 to `most` of them.

    Raises
    ------
    ParameterError
        Immediately, if `most` is below 1.
    Exception
        Any exception of `items`, after the items before it.
    """
    if most < 1:
        raise ParameterError(f"batch_size must be 1 or more, got {most}")
    return _batches(items, most)


def _batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
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
    """Put all items into the queue, until the batches are no longer read."""
    end = _End(None)
    try:
        for item in items:
            if not _put(item, waiting, abandoned):
                return
    except BaseException as error:  # raised again for the reader of the batches
        end = _End(error)
    _put(end, waiting, abandoned)


def _put(item: Item | _End, waiting: queue.Queue[Item | _End], abandoned: threading.Event) -> bool:
    """Wait until there is room for an item; give False if the batches are no longer read."""
    while not abandoned.is_set():
        try:
            waiting.put(item, timeout=_POLL)
        except queue.Full:
            continue
        return not abandoned.is_set()
    return False
