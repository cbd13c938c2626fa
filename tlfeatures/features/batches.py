"""Files to batches: decoding in threads, ahead of the forward pass, in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.augment import Augmentation
from tlfeatures.features.images import MAX_PIXELS, decode, digest, read_bytes

BATCH_SIZE = 32

_DECODERS = 2  # threads; Pillow releases the interpreter's lock
_AHEAD = 3 * BATCH_SIZE  # images decoded before they are asked for

Item = TypeVar("Item")
Key = TypeVar("Key")
Pixels = NDArray[np.uint8]


def decode_ahead(
    files: Iterable[tuple[Key, Path, bytes | None]],
    size: tuple[int, int],
    augmentation: Augmentation | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[tuple[Key, Pixels | ImageError]]:
    """Decode image files in threads.

    Parameters
    ----------
    files : iterable of (key, path, digest)
        A file whose bytes do not have this sha256 any more is an error; None accepts any.
    size : (int, int)
        Height and width in pixels.
    augmentation : Augmentation, optional
        Then every file has a digest, and each image comes with its variants.
    max_pixels : int
        See `decode`.

    Yields
    ------
    (key, ndarray of shape ([1 + variants,] height, width, 3), uint8, or ImageError)
        In the order of `files`.
    """
    window: deque[Future[tuple[Key, Pixels | ImageError]]] = deque()
    each = 1 if augmentation is None else 1 + augmentation.variants
    ahead = max(_DECODERS, _AHEAD // each)
    pool = ThreadPoolExecutor(_DECODERS)
    try:
        for key, path, expected in files:
            work = pool.submit(_decode_file, key, path, expected, size, augmentation, max_pixels)
            window.append(work)
            if len(window) > ahead:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_file(
    key: Key,
    path: Path,
    expected: bytes | None,
    size: tuple[int, int],
    augmentation: Augmentation | None,
    max_pixels: int,
) -> tuple[Key, Pixels | ImageError]:
    try:
        data = read_bytes(path)
        if expected not in (None, digest(data)):
            raise ImageError("it changed during the run; run the command again")
        pixels = decode(data, size, max_pixels)
        if augmentation is None or expected is None:
            return key, pixels
        return key, augmentation.stack(expected, pixels)
    except ImageError as error:
        return key, error


def readable(
    decoded: Iterable[tuple[Key, Pixels | ImageError]], failed: list[tuple[Key, ImageError]]
) -> Iterator[tuple[Key, Pixels]]:
    """Pass on what could be decoded, and put the rest into `failed`."""
    for key, result in decoded:
        if isinstance(result, ImageError):
            failed.append((key, result))
        else:
            yield key, result


def batch_size_for(count: int, most: int) -> int:
    """Choose a batch's size: few images need no large batch, and few sizes are compiled.

    Returns
    -------
    int
        The smallest power of two that holds `count` images, or `most`.

    Raises
    ------
    ParameterError
        If `most` is below 1.
    """
    if most < 1:
        raise ParameterError(f"batch_size must be 1 or more, got {most}")
    return min(most, 1 << max(count - 1, 0).bit_length())


def in_batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Collect items into batches without letting one wait for another that hasn't come yet.

    Parameters
    ----------
    items : iterable
        Is read in a thread of its own, as it may block between two items.
    most : int
        Items of a batch.

    Yields
    ------
    list
        What has come in since the last batch was taken, 1 to `most` items.

    Raises
    ------
    ParameterError
        At the call, if `most` is below 1.
    Exception
        Whatever `items` raises, once the items before are yielded.
    """
    if most < 1:
        raise ParameterError(f"batch_size must be 1 or more, got {most}")
    return _batches(_Waiting(items, most), most)


def _batches(waiting: _Waiting[Item], most: int) -> Iterator[list[Item]]:
    threading.Thread(target=waiting.read, daemon=True).start()
    end: _End | None = None
    try:
        while end is None:
            batch: list[Item] = []
            while end is None and len(batch) < most and (not batch or waiting.any_there()):
                item = waiting.take()
                if isinstance(item, _End):
                    end = item
                else:
                    batch.append(item)
            if batch:
                yield batch
    finally:
        waiting.abandon()
    if end.error is not None:
        raise end.error


@dataclass(frozen=True)
class _End:
    error: BaseException | None


class _Waiting(Generic[Item]):
    """Items that have come in and were not taken yet; the reader waits where they are many."""

    def __init__(self, items: Iterable[Item], most: int) -> None:
        self._items = items
        self._most = 4 * most
        self._queue: deque[Item | _End] = deque()
        self._changed = threading.Condition()
        self._abandoned = False

    def read(self) -> None:
        """Read all items; in a thread of its own."""
        error: BaseException | None = None
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as raised:  # it belongs to whoever takes the batches
            error = raised
        self._put(_End(error))

    def _put(self, item: Item | _End) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or len(self._queue) < self._most)
            self._queue.append(item)
            self._changed.notify_all()
            return not self._abandoned

    def any_there(self) -> bool:
        return bool(self._queue)

    def take(self) -> Item | _End:
        """Give the next one, and wait for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue)
            item = self._queue.popleft()
            self._changed.notify_all()
            return item

    def abandon(self) -> None:
        """Nobody takes any more: the reader ends at its next item."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()


def batched(
    images: Iterable[tuple[Key, Pixels]], batch_size: int
) -> Iterator[tuple[list[Key], Pixels]]:
    """Collect images into batches of one shape: another shape would be compiled anew.

    Parameters
    ----------
    images : iterable of (key, ndarray), uint8
        All of one shape: (h, w, 3), or with its variants (v, h, w, 3).
    batch_size : int

    Yields
    ------
    (keys, ndarray of shape (batch_size, ..., h, w, 3), uint8)
        The rows past `len(keys)` are padding. The array is reused by the next batch.
    """
    keys: list[Key] = []
    batch = np.empty(0, np.uint8)
    for key, pixels in images:
        if not len(batch):
            batch = np.zeros((batch_size, *pixels.shape), np.uint8)
        batch[len(keys)] = pixels
        keys.append(key)
        if len(keys) == batch_size:
            yield keys, batch
            keys = []
    if keys:
        yield keys, batch
