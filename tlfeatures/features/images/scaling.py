"""Scale the values of images with more than 8 bits a channel to 8 bits.

The range is the one that the user gives, else the one that the file's header states, else the whole
range of unsigned 16 bits. Other values have no agreed range, and are refused without one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ImageError
from tlfeatures.features.images.samples import SIXTEEN_BITS, Samples
from tlfeatures.features.images.value_range import ValueRange

_BLOCK_BYTES = 2**23  # of the numbers that are computed with at once


def to_8_bits(
    values: NDArray[Any], samples: Samples, value_range: ValueRange | None
) -> NDArray[np.uint8]:
    """Scale values to 0 (black) to 255 (white); those outside of the range are clipped.

    Parameters
    ----------
    values : ndarray of shape (h, w) or (h, w, 3), of integers or floating-point numbers
        As Pillow gives them.
    samples : Samples
        How the file's header describes the values.
    value_range : (float, float), optional
        Black and white in values of the file.

    Returns
    -------
    ndarray of the same shape, uint8

    Raises
    ------
    ImageError
        If it isn't known which values are black and white, or a value is no number.
    """
    if values.dtype == np.int32 and samples.bits == 32 and samples.unsigned:
        values = values.view(np.uint32)
    if samples.bits == 8:
        values = values.view(np.int8)
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ImageError("some of its pixels are not numbers (NaN); replace them")
    if value_range is None:
        low, high = _range_of(values, samples)
    else:
        low, high = (samples.factor * value for value in value_range)
    scaled = _scaled(values, low, high)
    return 255 - scaled if samples.inverted else scaled


def alpha_to_8_bits(
    upper: NDArray[np.uint8], lower: NDArray[np.uint8], samples: Samples
) -> NDArray[np.uint8]:
    """Scale alpha to 0 (transparent) to 255 (opaque).

    Parameters
    ----------
    upper, lower : ndarray of shape (h, w), uint8
        The two bytes of its 16 bits.
    samples : Samples
        Its `opaque` is used if no value is larger.

    Returns
    -------
    ndarray of shape (h, w), uint8
    """
    opaque = samples.opaque
    if opaque is None or opaque <= 0:
        return upper
    values = upper.astype(np.uint16) << 8 | lower
    return upper if values.max() > opaque else _scaled(values, 0.0, opaque)


def _range_of(values: NDArray[Any], samples: Samples) -> ValueRange:
    smallest, largest = values.min(), values.max()
    stated = samples.stated
    # A stated range that doesn't hold all values is ignored.
    if stated is not None and stated[0] <= smallest and largest <= stated[1]:
        return stated
    if samples.significant and _is_unscaled(values, int(largest), samples.significant):
        return 0.0, 2.0**samples.significant - 1
    if values.dtype.kind == "f":
        raise ImageError(_no_range("floating-point values", smallest, largest))
    if samples.bits > 16:
        raise ImageError(_no_range("32-bit integers", smallest, largest))
    if smallest < 0:
        raise ImageError(_no_range("signed values", smallest, largest))
    return (0.0, 255.0) if samples.bits == 8 else SIXTEEN_BITS


def _no_range(kind: str, smallest: Any, largest: Any) -> str:
    low, high = f"{smallest:.10g}", f"{largest:.10g}"
    is_range = smallest < largest and np.isfinite([smallest, largest]).all()
    example = f"{low},{high}" if is_range else "LO,HI"
    return (
        f"{kind} from {low} to {high} have no agreed range; choose one range for all images, "
        f"for example --value-range {example}"
    )


def _is_unscaled(values: NDArray[Any], largest: int, bits: int) -> bool:
    """Whether values with `bits` bits were stored in 16 bits as they are.

    A PNG's values should be scaled to all 16 bits, which makes them multiples of a step; some
    programs don't do that.
    """
    if largest >= 1 << bits:
        return False
    small = np.arange(1 << bits)
    shifted = small << (16 - bits)
    scalings = (
        shifted,
        shifted | small >> max(0, 2 * bits - 16),
        np.rint(small * 65535 / small[-1]).astype(np.int64),
    )
    occurs = np.zeros(1 << bits, bool)
    for _, block in _blocks(values):
        occurs[block] = True
    occurring = np.flatnonzero(occurs)
    return not any(np.isin(occurring, scaling).all() for scaling in scalings)


def _blocks(values: NDArray[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield blocks of rows, so that computing with them takes little memory."""
    rows = max(1, _BLOCK_BYTES // max(1, 8 * values[0].size))
    for start in range(0, len(values), rows):
        block = slice(start, start + rows)
        yield block, values[block]


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    scaled = np.empty(values.shape, np.uint8)
    table = _table(low, high) if values.dtype.kind == "u" and values.dtype.itemsize == 2 else None
    for rows, block in _blocks(values):
        scaled[rows] = _shades(block, low, high) if table is None else table[block]
    return scaled


@functools.lru_cache(maxsize=16)
def _table(low: float, high: float) -> NDArray[np.uint8]:
    """Return the shade of every 16-bit value: looking it up is quicker than computing it."""
    return _shades(np.arange(2**16), low, high)


def _shades(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    clipped = np.clip(values.astype(np.float64), low, high)
    return np.floor((clipped - low) * 255 / (high - low)).astype(np.uint8)
