"""Files to batches: decoding in threads, ahead of the forward pass, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.images import decode, digest, read_bytes

BATCH_SIZE = 32

_DECODERS = 2  # threads; Pillow releases the interpreter's lock
_AHEAD = 3 * BATCH_SIZE  # images decoded before they are asked for

Key = TypeVar("Key")
Pixels = NDArray[np.uint8]


def decode_ahead(
    files: Iterable[tuple[Key, Path, bytes | None]], size: tuple[int, int]
) -> Iterator[tuple[Key, Pixels | ImageError]]:
    """Decode image files in threads.

    Parameters
    ----------
    files : iterable of (key, path, digest)
        A file whose bytes do not have this sha256 any more is an error; None accepts any.
    size : (int, int)
        Height and width in pixels.

    Yields
    ------
    (key, ndarray of shape (height, width, 3), uint8, or ImageError)
        In the order of `files`.
    """
    window: deque[Future[tuple[Key, Pixels | ImageError]]] = deque()
    pool = ThreadPoolExecutor(_DECODERS)
    try:
        for key, path, expected in files:
            window.append(pool.submit(_decode_file, key, path, expected, size))
            if len(window) > _AHEAD:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_file(
    key: Key, path: Path, expected: bytes | None, size: tuple[int, int]
) -> tuple[Key, Pixels | ImageError]:
    try:
        data = read_bytes(path)
        if expected not in (None, digest(data)):
            raise ImageError("it changed during the run; run the command again")
        return key, decode(data, size)
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


def batched(
    images: Iterable[tuple[Key, Pixels]], size: tuple[int, int], batch_size: int
) -> Iterator[tuple[list[Key], Pixels]]:
    """Collect images into batches of one shape: another shape would be compiled anew.

    Yields
    ------
    (keys, ndarray of shape (batch_size, h, w, 3), uint8)
        The rows past `len(keys)` are padding. The array is reused by the next batch.
    """
    batch = np.zeros((batch_size, *size, 3), np.uint8)
    keys: list[Key] = []
    for key, pixels in images:
        batch[len(keys)] = pixels
        keys.append(key)
        if len(keys) == batch_size:
            yield keys, batch
            keys = []
    if keys:
        yield keys, batch
