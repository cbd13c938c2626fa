"""Images with more than 8 bits a channel: which of their values are black and white.

The range is the one that the user gives, else the one that the file's header states, else the whole
range of unsigned 16 bits. Other values have no agreed range, and are refused without one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.images.raw_modes import rawmode_of, rawmode_of_lower_bytes
from tlfeatures.features.images.reading import Content
from tlfeatures.features.images.repair import png_chunks

ValueRange = tuple[float, float]

_SIXTEEN_BITS = (0.0, 65535.0)
_LARGEST = float(np.finfo(np.float32).max)
_ROWS_BYTES = 2**23  # of the numbers that are computed with at once


def parse_value_range(given: Any) -> ValueRange | None:
    """Read `"0,4095"` or `(0, 4095)` as (black, white); None stays None.

    Raises
    ------
    ParameterError
        If it isn't two finite numbers, the smaller one first.
    """
    if given is None:
        return None
    parts = given.split(",") if isinstance(given, str) else given
    try:
        low, high = (float(part) for part in parts)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not -_LARGEST <= low < high <= _LARGEST:
        raise ParameterError(
            f"value_range must be the values of black and white, LO,HI with LO below HI (0,4095), "
            f"got {given}"
        )
    return low, high


def in_words(value_range: ValueRange) -> str:
    """Write a range as `parse_value_range` reads it."""
    return ",".join(f"{value:.10g}" for value in value_range)


# ---- what the header says


@dataclass(frozen=True)
class Samples:
    """The values of an image, as its header describes them.

    Attributes
    ----------
    bits : int
        Bits of one channel in the file.
    factor : float
        What Pillow multiplies the file's values by.
    stated : (float, float) or None
        Black and white by the header, in Pillow's values.
    opaque : float or None
        Largest value of alpha by the header.
    significant : int
        Bits of a PNG that count by its header; 0 where it doesn't say.
    unsigned : bool
        Signed values of 8 bits count as deep ones, as Pillow takes them for unsigned ones.
    inverted : bool
        Whether the smallest value is white, and Pillow leaves that as it is.
    cut : bool
        Whether Pillow gives the upper 8 bits alone, as it does for colours.
    whole : bool
        Whether the lower bits can be had, too (see `rawmode_of_lower_bytes`).
    """

    bits: int = 8
    factor: float = 1.0
    stated: ValueRange | None = None
    opaque: float | None = None
    significant: int = 0
    unsigned: bool = True
    inverted: bool = False
    cut: bool = False
    whole: bool = True

    @property
    def deep(self) -> bool:
        """Whether a channel has more than 8 bits, or signed ones."""
        return self.bits > 8 or not self.unsigned


def samples_of(image: Image.Image, content: Content) -> Samples:
    """Read how an opened image, of which no pixel is decoded yet, describes its values."""
    describe = _DESCRIBED_BY.get(image.format or "")
    return Samples() if describe is None else describe(image, content)


def _of_png(image: Image.Image, content: Content) -> Samples:
    rawmode = rawmode_of(image)
    if ";16" not in rawmode:
        return Samples()
    bits = 0
    for kind, chunk, _ in png_chunks(content.start(2**18)):
        if kind == b"sBIT" and chunk:
            colours = chunk[:-1] if rawmode.startswith(("LA", "RGBA")) else chunk
            bits = max(colours, default=0)
    significant = bits if 0 < bits < 16 else 0
    return Samples(16, significant=significant, cut=not _has_all_bits(image))


_BITS, _PHOTOMETRIC, _PLANES, _FORMAT = 258, 262, 284, 339
_STATED = ((340, 341), (280, 281))  # smallest and largest value; of any kind, then of unsigned
_WHITE_IS_ZERO, _SEPARATE, _UNSIGNED = 0, 2, 1


def _of_tiff(image: Image.Image, content: Content) -> Samples:
    tags = getattr(image, "tag_v2", {})
    bits = int(max(_numbers(tags.get(_BITS, 1)), default=1))
    unsigned = _numbers(tags.get(_FORMAT, _UNSIGNED))[:1] == [_UNSIGNED]
    if bits < 8 or (bits == 8 and (unsigned or image.mode != "L")):
        return Samples()
    stated = (0.0, 2.0**bits - 1) if 8 < bits < 16 else None
    largests: list[float] = []
    for smallest, largest in _STATED:
        if largest in tags:
            low = min(_numbers(tags.get(smallest, 0)), default=0)
            largests = _numbers(tags[largest])
            high = max(largests, default=0)
            stated = (low, high) if math.isfinite(low + high) and low < high else stated
            break
    grey = bits == 8 or _has_all_bits(image)
    # libtiff gives planes in its own order, whatever it is asked for.
    libtiffs = tags.get(_PLANES) == _SEPARATE and image.info.get("compression") != "raw"
    return Samples(
        bits,
        stated=stated,
        opaque=largests[-1] if largests else None,
        unsigned=unsigned,
        inverted=grey and tags.get(_PHOTOMETRIC, _WHITE_IS_ZERO) == _WHITE_IS_ZERO,
        cut=not grey,
        whole=rawmode_of_lower_bytes(rawmode_of(image)) is not None and not libtiffs,
    )


def _has_all_bits(image: Image.Image) -> bool:
    return image.mode.startswith(("I", "F"))


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, tuple) else (value,)
    try:
        return [float(each) for each in values]
    except (TypeError, ValueError):  # of a damaged tag
        return []


def _of_ppm(image: Image.Image, content: Content) -> Samples:
    decoder, _, _, arguments = getattr(image, "tile", [("", None, 0, "")])[0]
    if image.mode == "F":
        return Samples(32, unsigned=False)
    largest = arguments[1] if decoder.startswith("ppm") else 65535 if image.mode == "I" else 255
    if largest <= 255:
        return Samples()
    return Samples(
        16,
        factor=65535 / largest,
        stated=_SIXTEEN_BITS if largest < 65535 else None,  # so much says nothing
        cut=not _has_all_bits(image),
        whole=False,
    )


def _of_jpeg2000(image: Image.Image, content: Content) -> Samples:
    start = content.start(2**16)
    at = start.find(b"\xff\x4f\xff\x51")  # the codestream, whose 43rd byte has the bits
    bits = (start[at + 42] & 127) + 1 if 0 <= at < len(start) - 42 else 8
    if bits <= 8:
        return Samples()
    factor = 2.0 ** (16 - bits)
    stated = (0.0, (2.0**bits - 1) * factor) if bits < 16 else None
    return Samples(bits, factor=factor, stated=stated, cut=not _has_all_bits(image), whole=False)


def _of_sgi(image: Image.Image, content: Content) -> Samples:
    return Samples(8 * content.start(4)[3], cut=True, whole=False)


_DESCRIBED_BY: dict[str, Callable[[Image.Image, Content], Samples]] = {
    "PNG": _of_png,
    "TIFF": _of_tiff,
    "PPM": _of_ppm,
    "JPEG2000": _of_jpeg2000,
    "SGI": _of_sgi,
}


# ---- from values to 8 bits


def to_8_bits(
    values: NDArray[Any], samples: Samples, value_range: ValueRange | None
) -> NDArray[np.uint8]:
    """Bring values to 0 (black) to 255 (white); those outside of the range are clipped.

    Parameters
    ----------
    values : ndarray of shape (h, w) or (h, w, 3), of integers or floating-point numbers
        As Pillow gives them.
    samples : Samples
    value_range : (float, float), optional
        In values of the file.

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
    """Bring alpha to 0 (transparent) to 255 (opaque), by the header's largest value if it is true.

    Parameters
    ----------
    upper, lower : ndarray of shape (h, w)
        Bytes of its 16 bits.
    samples : Samples
    """
    opaque = samples.opaque
    if opaque is None or opaque <= 0:
        return upper
    values = upper.astype(np.uint16) << 8 | lower
    return upper if values.max() > opaque else _scaled(values, 0.0, opaque)


def _range_of(values: NDArray[Any], samples: Samples) -> ValueRange:
    smallest, largest = values.min(), values.max()
    stated = samples.stated
    # A file that states less than it has states nothing.
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
    return (0.0, 255.0) if samples.bits == 8 else _SIXTEEN_BITS


def _no_range(what: str, smallest: Any, largest: Any) -> str:
    low, high = f"{smallest:.10g}", f"{largest:.10g}"
    usable = smallest < largest and np.isfinite([smallest, largest]).all()
    example = f"{low},{high}" if usable else "LO,HI"
    return (
        f"{what} from {low} to {high} have no agreed range; say which are black and white: "
        f"--value-range {example}"
    )


def _is_unscaled(values: NDArray[Any], largest: int, bits: int) -> bool:
    """Whether values of so many bits were put into 16 as they are.

    A PNG's values are to be scaled to all 16 bits, which makes them multiples of a step; not every
    program does that.
    """
    if largest >= 1 << bits:
        return False
    small = np.arange(1 << bits)
    shifted = small << (16 - bits)
    ways = (shifted, shifted | small >> max(0, 2 * bits - 16), np.rint(small * 65535 / small[-1]))
    there = np.zeros(1 << bits, bool)
    for _, part in _parts(values):
        there[part] = True
    found = np.flatnonzero(there)
    return not any(np.isin(found, way.astype(np.int64)).all() for way in ways)


def _parts(values: NDArray[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Give some rows after the other, so that computing with them takes little memory."""
    rows = max(1, _ROWS_BYTES // max(1, 8 * values[0].size))
    for start in range(0, len(values), rows):
        part = slice(start, start + rows)
        yield part, values[part]


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    scaled = np.empty(values.shape, np.uint8)
    table = _table(low, high) if values.dtype.kind == "u" and values.dtype.itemsize == 2 else None
    for where, part in _parts(values):
        scaled[where] = _shades(part, low, high) if table is None else table[part]
    return scaled


@functools.lru_cache(maxsize=16)
def _table(low: float, high: float) -> NDArray[np.uint8]:
    """The shade of each of 16 bits' values: looking them up is quicker than computing."""
    return _shades(np.arange(2**16), low, high)


def _shades(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    clipped = np.clip(values.astype(np.float64), low, high)
    return np.floor((clipped - low) * 255 / (high - low)).astype(np.uint8)
