"""Read from the header of an image with more than 8 bits a channel how its values are stored."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image
from PIL.ExifTags import Base as TiffTag

from tlfeatures.features.images.raw_modes import (
    SEPARATE_PLANES,
    rawmode_of,
    rawmode_of_lower_bytes,
    tiff_tags,
)
from tlfeatures.features.images.reading import Content
from tlfeatures.features.images.repair import png_chunks
from tlfeatures.features.images.value_range import ValueRange

SIXTEEN_BITS = (0.0, 65535.0)  # the whole range of unsigned 16-bit values


@dataclass(frozen=True)
class Samples:
    """The values of an image, as its header describes them.

    Attributes
    ----------
    bits : int
        Bits of one channel in the file.
    factor : float
        Number by which Pillow multiplies the file's values.
    stated : (float, float) or None
        Black and white by the header, in Pillow's values.
    opaque : float or None
        Largest value of alpha by the header.
    significant : int
        Significant bits of a PNG by its header; 0 if it doesn't state them.
    unsigned : bool
        False for signed values. Signed ones with 8 bits count as deep, as Pillow takes them for
        unsigned ones.
    inverted : bool
        Whether the smallest value is white, and Pillow leaves that as it is.
    cut : bool
        Whether Pillow gives the upper 8 bits alone, as it does for colours.
    whole : bool
        Whether the lower bits can be read, too (see `rawmode_of_lower_bytes`).
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


EIGHT_BITS = Samples()


def read_samples(image: Image.Image, content: Content) -> Samples:
    """Read how an image describes its values.

    Parameters
    ----------
    image : Image
        Opened, and no pixel of it is decoded yet.
    content : Content
        The bytes of its file.
    """
    read = _READERS.get(image.format or "")
    return Samples() if read is None else read(image, content)


def _read_png(image: Image.Image, content: Content) -> Samples:
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


_WHITE_IS_ZERO = 0  # a PhotometricInterpretation
_UNSIGNED = 1  # a SampleFormat

# The tags of the smallest and the largest value: those for any kind, then those for unsigned ones.
_RANGE_TAGS = (
    (TiffTag.SMinSampleValue, TiffTag.SMaxSampleValue),
    (TiffTag.MinSampleValue, TiffTag.MaxSampleValue),
)


def _read_tiff(image: Image.Image, content: Content) -> Samples:
    tags = tiff_tags(image)
    bits = int(max(_numbers(tags.get(TiffTag.BitsPerSample, 1)), default=1))
    unsigned = _numbers(tags.get(TiffTag.SampleFormat, _UNSIGNED))[:1] == [_UNSIGNED]
    if bits < 8 or (bits == 8 and (unsigned or image.mode != "L")):
        return Samples()
    stated, opaque = _stated_by_tiff(tags, bits)
    grey = bits == 8 or _has_all_bits(image)
    photometric = tags.get(TiffTag.PhotometricInterpretation, _WHITE_IS_ZERO)
    # libtiff gives planes in its own order, whichever layout is set.
    planes_of_libtiff = (
        tags.get(TiffTag.PlanarConfiguration) == SEPARATE_PLANES
        and image.info.get("compression") != "raw"
    )
    return Samples(
        bits,
        stated=stated,
        opaque=opaque,
        unsigned=unsigned,
        inverted=grey and photometric == _WHITE_IS_ZERO,
        cut=not grey,
        whole=rawmode_of_lower_bytes(rawmode_of(image)) is not None and not planes_of_libtiff,
    )


def _stated_by_tiff(tags: Any, bits: int) -> tuple[ValueRange | None, float | None]:
    """Return black and white by a TIFF's tags, and the largest value of its last channel."""
    stated = (0.0, 2.0**bits - 1) if 8 < bits < 16 else None
    for smallest_tag, largest_tag in _RANGE_TAGS:
        if largest_tag in tags:
            low = min(_numbers(tags.get(smallest_tag, 0)), default=0)
            largest = _numbers(tags[largest_tag])
            high = max(largest, default=0)
            if math.isfinite(low + high) and low < high:
                stated = (low, high)
            return stated, largest[-1] if largest else None
    return stated, None


def _has_all_bits(image: Image.Image) -> bool:
    return image.mode.startswith(("I", "F"))


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, tuple) else (value,)
    try:
        return [float(number) for number in values]
    except (TypeError, ValueError):  # the tag is damaged
        return []


def _read_ppm(image: Image.Image, content: Content) -> Samples:
    decoder, _, _, arguments = getattr(image, "tile", [("", None, 0, "")])[0]
    if image.mode == "F":
        return Samples(32, unsigned=False)
    largest = arguments[1] if decoder.startswith("ppm") else 65535 if image.mode == "I" else 255
    if largest <= 255:
        return Samples()
    return Samples(
        16,
        factor=65535 / largest,
        stated=SIXTEEN_BITS if largest < 65535 else None,  # 65,535 is written for any values
        cut=not _has_all_bits(image),
        whole=False,
    )


def _read_jpeg2000(image: Image.Image, content: Content) -> Samples:
    start = content.start(2**16)
    at = start.find(b"\xff\x4f\xff\x51")  # of the codestream, whose 43rd byte has the bits
    bits = (start[at + 42] & 127) + 1 if 0 <= at < len(start) - 42 else 8
    if bits <= 8:
        return Samples()
    factor = 2.0 ** (16 - bits)
    stated = (0.0, (2.0**bits - 1) * factor) if bits < 16 else None
    return Samples(bits, factor=factor, stated=stated, cut=not _has_all_bits(image), whole=False)


def _read_sgi(image: Image.Image, content: Content) -> Samples:
    return Samples(8 * content.start(4)[3], cut=True, whole=False)


_READERS: dict[str, Callable[[Image.Image, Content], Samples]] = {
    "PNG": _read_png,
    "TIFF": _read_tiff,
    "PPM": _read_ppm,
    "JPEG2000": _read_jpeg2000,
    "SGI": _read_sgi,
}
