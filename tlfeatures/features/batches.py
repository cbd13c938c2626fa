"""Batches: their size, and the position of an image in its batch."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from tlfeatures.errors import ParameterError
from tlfeatures.features.engines.engine import BATCH_SIZE
from tlfeatures.features.images.read_ahead import Key, Pixels


def choose_batch_size(count: int, batch_size: int | str, most: int = BATCH_SIZE) -> int:
    """Choose the size of a batch, a power of two, so that few sizes are compiled.

    Parameters
    ----------
    count : int
        Number of images.
    batch_size : int or "auto"
        Largest size; "auto" is `most`.
    most : int
        Size above which a backbone is no faster or has no memory.

    Returns
    -------
    int
        The smallest power of two that holds `count` images, or the largest size.

    Raises
    ------
    ParameterError
        If `batch_size` is neither a number from 1 up nor "auto".
    """
    limit = most if batch_size == "auto" else check_batch_size(batch_size)
    return min(limit, 1 << max(count - 1, 0).bit_length())


def check_batch_size(batch_size: int | str) -> int:
    """Return the largest number of images that a batch size allows; see `choose_batch_size`."""
    if batch_size == "auto":
        return BATCH_SIZE
    try:
        number = operator.index(batch_size)  # type: ignore[arg-type]  # also an integer of NumPy's
    except TypeError:
        number = 0
    if number < 1:
        raise ParameterError(f"batch_size must be 1 or more, or auto, got {batch_size!r}")
    return number


def fill_batches(
    images: Iterable[tuple[Key, Pixels]],
    batch_size: int,
    *,
    one_shape: bool,
    place: Callable[[Key], int] | None = None,
) -> Iterator[tuple[list[Key], list[int], Pixels]]:
    """Collect images into batches.

    Parameters
    ----------
    images : iterable of (key, ndarray), uint8
        All arrays have one shape.
    batch_size : int
    one_shape : bool
        For a backbone whose last bits depend on the shape of a batch and on the position in it:
        all batches have the same length, and `place` decides the position of an image, even if
        images before it are missing. Otherwise a batch has no gaps.
    place : callable (key) -> int, optional
        Position of an image in an uninterrupted run, ascending. The number of images before it if
        not given.

    Yields
    ------
    (keys, rows, ndarray of shape (b, ...), uint8)
        `rows` are the positions of the images in the batch; other positions are padding. Each
        batch has an array of its own, because it is embedded while the next one is collected.
    """
    keys: list[Key] = []
    rows: list[int] = []
    batch, number = np.empty(0, np.uint8), 0
    for count, (key, pixels) in enumerate(images):
        position = place(key) if place and one_shape else count
        if keys and position // batch_size != number:
            yield keys, rows, batch if one_shape else batch[: len(keys)]
            keys, rows = [], []
        if not keys:
            batch = np.zeros((batch_size, *pixels.shape), np.uint8)
        number = position // batch_size
        batch[position % batch_size] = pixels
        keys.append(key)
        rows.append(position % batch_size)
        if rows[-1] == batch_size - 1:  # full: it needs not wait for the next image
            yield keys, rows, batch if one_shape else batch[: len(keys)]
            keys, rows = [], []
    if keys:
        yield keys, rows, batch if one_shape else batch[: len(keys)]
