"""Files to batches: decoding in threads, ahead of the forward pass, in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.engines.engine import BATCH_SIZE
from tlfeatures.features.images.augment import Augmentation
from tlfeatures.features.images.decoding import MAX_PIXELS, Decoded, decode_content
from tlfeatures.features.images.few_levels import FewLevels
from tlfeatures.features.images.identify import UNREADABLE
from tlfeatures.features.images.reading import opened
from tlfeatures.features.images.value_range import ValueRange

# Threads, as Pillow releases the interpreter's lock: a GPU wants more images than two decode, and
# where the CPU computes the forward pass, they wait most of the time.
_DECODERS = max(2, min(16, (os.cpu_count() or 2) // 2))
_AHEAD, _AHEAD_BYTES = 512, 64 * 2**20  # two batches of a GPU's

Item = TypeVar("Item")
Key = TypeVar("Key")
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class _How:
    """How a file becomes pixels, see `decode_ahead`."""

    size: tuple[int, int]
    augmentation: Augmentation | None
    max_pixels: int
    value_range: ValueRange | None


def decode_ahead(
    files: Iterable[tuple[Key, str | Path, bytes | None]],
    size: tuple[int, int],
    augmentation: Augmentation | None = None,
    ahead: int | None = None,
    max_pixels: int = MAX_PIXELS,
    value_range: ValueRange | None = None,
) -> Iterator[tuple[Key, Decoded | ImageError]]:
    """Decode image files in threads.

    Parameters
    ----------
    files : iterable of (key, path, digest)
        A file whose bytes do not have this sha256 any more is an error; None accepts any.
    size : (int, int)
        Height and width in pixels.
    augmentation : Augmentation, optional
        Then every file has a digest, and each image comes with its variants.
    ahead : int, optional
        Images, or variants of some, that are decoded before they are asked for; if not given, what
        64 MB hold, up to 512.
    max_pixels, value_range
        See `decode`.

    Yields
    ------
    (key, Decoded or ImageError)
        In the order of `files`; pixels have the shape ([1 + variants,] height, width, 3).
    """
    how = _How(size, augmentation, max_pixels, value_range)
    window: deque[Future[tuple[Key, Decoded | ImageError]]] = deque()
    each = 1 if augmentation is None else 1 + augmentation.variants
    if ahead is None:
        ahead = min(_AHEAD, _AHEAD_BYTES // (3 * size[0] * size[1]))
    ahead = max(_DECODERS, ahead // each)
    pool = ThreadPoolExecutor(_DECODERS)
    try:
        for key, path, expected in files:
            window.append(pool.submit(_decode_file, key, path, expected, how))
            if len(window) > ahead:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_file(
    key: Key, path: str | Path, expected: bytes | None, how: _How
) -> tuple[Key, Decoded | ImageError]:
    try:
        return key, _decoded(path, expected, how)
    except ImageError as error:
        return key, error
    except MemoryError:  # of one image; others may fit
        return key, ImageError("there is not enough memory to decode it")


def _decoded(path: str | Path, expected: bytes | None, how: _How) -> Decoded:
    with opened(path) as content:
        if expected == UNREADABLE:
            raise ImageError("it could not be read when the run began; run the command again")
        changed = expected is not None and content.sha256() != expected
        if not changed:
            decoded = decode_content(content, how.size, how.max_pixels, how.value_range)
        if changed or content.has_changed():
            raise ImageError("it changed during the run; run the command again")
    if how.augmentation is None or expected is None:
        return decoded
    return replace(decoded, pixels=how.augmentation.stack(expected, decoded.pixels))


def readable(
    decoded: Iterable[tuple[Key, Decoded | ImageError]],
    failed: list[tuple[Key, ImageError]],
    few_levels: list[tuple[Key, FewLevels]] | None = None,
) -> Iterator[tuple[Key, Pixels]]:
    """Pass on the pixels of what could be decoded.

    Parameters
    ----------
    decoded : iterable of (key, Decoded or ImageError)
    failed : list
        Gets what could not be decoded.
    few_levels : list, optional
        Gets what has few grey levels.
    """
    for key, result in decoded:
        if isinstance(result, ImageError):
            failed.append((key, result))
            continue
        if result.few_levels is not None and few_levels is not None:
            few_levels.append((key, result.few_levels))
        yield key, result.pixels


def batch_size_for(count: int, asked: int | str, most: int = BATCH_SIZE) -> int:
    """Choose a batch's size: few images need no large batch, and few sizes are compiled.

    Parameters
    ----------
    count : int
        Of images that there are.
    asked : int or "auto"
        At most so many; "auto" is `most`.
    most : int
        Beyond which a backbone gains nothing, or has no memory.

    Returns
    -------
    int
        The smallest power of two that holds `count` images, or what was asked for.

    Raises
    ------
    ParameterError
        If it is neither a number from 1 up nor "auto".
    """
    limit = most if asked == "auto" else checked_batch_size(asked)
    return min(limit, 1 << max(count - 1, 0).bit_length())


def checked_batch_size(asked: int | str) -> int:
    """Give the most that "auto" can mean, or the number asked for; see `batch_size_for`."""
    if asked == "auto":
        return BATCH_SIZE
    if not isinstance(asked, int) or asked < 1:
        raise ParameterError(f"batch_size must be 1 or more, or auto, got {asked}")
    return asked


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
    images: Iterable[tuple[Key, Pixels]],
    batch_size: int,
    *,
    one_shape: bool = True,
    place: Callable[[Key], int] | None = None,
) -> Iterator[tuple[list[Key], list[int], Pixels]]:
    """Collect images into batches.

    Parameters
    ----------
    images : iterable of (key, ndarray), uint8
        All of one shape: (h, w, 3), or with its variants (v, h, w, 3).
    batch_size : int
    one_shape : bool
        For a backbone to which shape and place in a batch matter: the batch is always as long, and
        an image stands where its place among all puts it, whether those before it are there or not.
        Otherwise there are no gaps.
    place : callable (key) -> int, optional
        Ascending; the count of the images before it if not given.

    Yields
    ------
    (keys, rows, ndarray of shape (b, ..., h, w, 3), uint8)
        Where in the batch each image is; what else is there is padding. The array is used again
        for the next batch.
    """
    keys: list[Key] = []
    rows: list[int] = []
    batch = np.empty(0, np.uint8)
    number = 0
    for count, (key, pixels) in enumerate(images):
        at = place(key) if place and one_shape else count
        if keys and at // batch_size != number:
            yield keys, rows, batch if one_shape else batch[: len(keys)]
            keys, rows = [], []
        if not len(batch):
            batch = np.zeros((batch_size, *pixels.shape), np.uint8)
        number = at // batch_size
        batch[at % batch_size] = pixels
        keys.append(key)
        rows.append(at % batch_size)
        if rows[-1] == batch_size - 1:  # full: it needn't wait for the next image
            yield keys, rows, batch if one_shape else batch[: len(keys)]
            keys, rows = [], []
    if keys:
        yield keys, rows, batch if one_shape else batch[: len(keys)]
