"""Image files to pixels: whatever Pillow reads by itself, as uint8 RGB of the backbone's size.

An image waits until there is memory for it (see `MemoryBudget`). Files that are damaged beside
their pixels are mended (see `repair`), values of more than 8 bits are brought to 8 by their range
(see `value_range`), and an image of which few grey levels are left is reported (see `few_levels`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.images.few_levels import FewLevels, few_levels
from tlfeatures.features.images.flattening import OpenedImage
from tlfeatures.features.images.memory import MemoryBudget
from tlfeatures.features.images.raw_modes import correct_tiff
from tlfeatures.features.images.reading import Content, digest
from tlfeatures.features.images.repair import (
    MAX_SCANS,
    SCAN,
    damaged_chunk,
    ended_jpegs,
    is_jpeg,
    is_png,
    jpeg_segments,
    png_without_extras,
    without_half_marker,
)
from tlfeatures.features.images.value_range import ValueRange

# What the bytes may be. Pillow reads more, among it PostScript, for which it runs a program, and
# icons, which it decodes before one can ask how many pixels they have.
_FORMATS = frozenset(
    {"AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "PSD"}
    | {"SGI", "TGA", "TIFF", "WEBP"}
)

_TIFFS = (b"II*\0", b"MM\0*", b"II+\0")  # what a file of this format begins with
_NO_BIG_TIFF = (
    "not an image that Pillow can read: a big-endian BigTIFF; save it in little-endian byte order, "
    "or as a PNG"
)
_BIG_ENDIAN_BIG_TIFF = b"MM\0+"  # Pillow takes it for a file with other offsets

_LARGEST_MENDED = 256 * 2**20  # bytes of a damaged file, which is read whole to be mended
MAX_PIXELS = 178_956_970  # of an image, unless more are allowed: half a GiB as RGB

_LARGE = 2**27  # bytes, after which it is worth giving them back

MEMORY = MemoryBudget(2**30)  # of all images that are being decoded in this process

T = TypeVar("T")


@dataclass(frozen=True)
class Decoded:
    """Pixels of an image, of shape (height, width, 3), uint8; and whether few levels are left."""

    pixels: NDArray[np.uint8]
    few_levels: FewLevels | None = None


class _DamagedError(ImageError):
    """Pillow can't decode the file; mended, it may."""


def allow_pixels(max_pixels: int) -> None:
    """Refuse what is no limit of pixels, and let Pillow open images up to it.

    Pillow has a limit of its own, one for the whole process, above which it opens nothing. It is
    raised where more is asked for, once a run and before threads decode, and never lowered:
    another run may need it. Each call of `decode` keeps to the limit that it is given.

    Raises
    ------
    ParameterError
        If it is below 1.
    """
    if max_pixels < 1:
        raise ParameterError(f"max_pixels must be 1 or more, got {max_pixels}")
    pillows = Image.MAX_IMAGE_PIXELS  # above this it warns, above twice as much it refuses
    if pillows is not None and 2 * pillows < max_pixels:
        Image.MAX_IMAGE_PIXELS = max_pixels


def decode(
    data: bytes,
    size: tuple[int, int],
    max_pixels: int = MAX_PIXELS,
    value_range: ValueRange | None = None,
) -> NDArray[np.uint8]:
    """Turn the bytes of an image file into pixels as the backbone wants them.

    The first frame is taken, turned upright by its EXIF orientation, laid over white where it is
    transparent, brought to 8-bit RGB and resized with Pillow's antialiased bilinear filter. What
    the bytes are decides, not the file's name.

    Parameters
    ----------
    data : bytes
        Of a format that Pillow reads by itself.
    size : (int, int)
        Height and width in pixels.
    max_pixels : int
        An image whose header says that it has more is refused before it is decoded; above
        `MAX_PIXELS`, see `allow_pixels`.
    value_range : (float, float), optional
        The values that become black and white, of images with more than 8 bits a channel; values
        outside are clipped. If not given, the range that the header states, or 0 to 65,535.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        RGB.

    Raises
    ------
    ImageError
        If it is no image, a truncated one, has too many pixels, or values without an agreed range.
    """
    return decode_content(Content(data), size, max_pixels, value_range).pixels


def decode_content(
    content: Content,
    size: tuple[int, int],
    max_pixels: int = MAX_PIXELS,
    value_range: ValueRange | None = None,
) -> Decoded:
    """Decode an image file as `decode` does, and say if few grey levels are left of it."""

    def attempt(given: Content) -> Decoded:
        return _decoded(given, size, max_pixels, value_range)

    return _mended_if_needed(content, attempt, max_pixels)


def _decoded(
    content: Content, size: tuple[int, int], max_pixels: int, value_range: ValueRange | None
) -> Decoded:
    resized, largest, needed = _resized(content, size, max_pixels, value_range)
    if needed > _LARGE:
        _give_back_memory()
    pixels = np.asarray(resized.convert("RGB"))
    return Decoded(pixels, few_levels(pixels, largest))


def _resized(
    content: Content, size: tuple[int, int], max_pixels: int, value_range: ValueRange | None
) -> tuple[Image.Image, int | None, int]:
    """Give the image, its largest value (see `few_levels`) and the bytes that it took."""
    height, width = size
    with _opened(content, max_pixels) as image:
        opened = OpenedImage(image, content, value_range)
        needed = opened.bytes_needed(width)
        with MEMORY.reserve(needed):
            flat, largest = opened.flattened(lambda: _opened(content, max_pixels))
            resized = flat.resize((width, height), Image.Resampling.BILINEAR)
            return resized, largest, needed


def _give_back_memory() -> None:
    """Give freed memory back to the system: glibc keeps what a thread freed for that thread."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def thumbnail(data: bytes, side: int, value_range: ValueRange | None = None) -> bytes:
    """Make a small picture of an image file, for people to look at.

    Parameters
    ----------
    data : bytes
        Of a format that Pillow reads by itself.
    side : int
        Pixels of its longer side at most; smaller images stay as they are.
    value_range : (float, float), optional
        See `decode`.

    Returns
    -------
    bytes
        A WebP, upright, transparency over white.

    Raises
    ------
    ImageError
        See `decode`.
    """
    return thumbnail_content(Content(data), side, value_range)


def thumbnail_content(content: Content, side: int, value_range: ValueRange | None = None) -> bytes:
    """Do what `thumbnail` does, on a file that may be open."""

    def attempt(content: Content) -> bytes:
        with _opened(content, MAX_PIXELS) as image:
            image.draft("RGB", (2 * side, 2 * side))  # a JPEG needn't be decoded at its full size
            opened = OpenedImage(image, content, value_range)
            with MEMORY.reserve(opened.bytes_needed(side)):
                small, _ = opened.flattened(lambda: _opened(content, MAX_PIXELS))
                small.thumbnail((side, side), Image.Resampling.BILINEAR)
            file = io.BytesIO()
            small.save(file, "WEBP", quality=70, method=4)
            return file.getvalue()

    return _mended_if_needed(content, attempt, MAX_PIXELS)


# ---- opening


@contextmanager
def _opened(content: Content, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image at its first frame; whatever goes wrong with it is an `ImageError`."""
    try:
        if content.start(4) == _BIG_ENDIAN_BIG_TIFF:
            raise ImageError(_NO_BIG_TIFF)
        with Image.open(content.stream(), formats=_formats()) as image:
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise ImageError(_too_many(pixels, max_pixels))
            if image.format in ("JPEG", "MPO"):
                _check_scans(content)
            if image.format == "TIFF":
                _silence_libtiff()
                correct_tiff(image)
            yield image
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("there is not enough memory to decode it") from error
    except Exception as error:  # Pillow's decoders raise anything from SyntaxError to struct.error
        raise _DamagedError(_reason(error, content, max_pixels)) from error


def _check_chunks(content: Content) -> None:
    """Refuse a PNG with damaged pixels: Pillow decodes those whose checksum is wrong."""
    try:
        damaged = damaged_chunk(content.stream()) if is_png(content.start(8)) else None
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error
    if damaged is not None:
        article = "a" if damaged == "PLTE" else "an"
        raise ImageError(
            f"its pixels are damaged: the checksum of {article} {damaged} chunk is wrong"
        )


def _check_scans(content: Content) -> None:
    """Refuse a JPEG that would take for ever: a scan of 200 bytes may pass over all pixels."""
    scans = content.count(bytes([0xFF, SCAN]))
    if scans <= MAX_SCANS:
        return
    if content.size <= _LARGEST_MENDED:  # else what looks like a scan is counted as one
        scans = sum(marker == SCAN for marker, *_ in jpeg_segments(content.whole()))
    if scans > MAX_SCANS:
        raise ImageError(f"a JPEG of {scans:,} scans, where {MAX_SCANS} are enough; save it anew")


def _too_many(pixels: int, max_pixels: int) -> str:
    return (
        f"{pixels:,} pixels are more than the limit of {max_pixels:,}; if the image is to be "
        "trusted, --max-pixels allows more"
    )


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those that this Pillow was built with, in the order in which it tries them."""
    Image.init()
    return tuple(name for name in Image.ID if name in _FORMATS)


@functools.cache
def _silence_libtiff() -> None:
    """Let libtiff not print errors: Pillow raises them, and lets it print no warnings either."""
    # Found by way of what is linked with it; where it can't be found, it goes on printing.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        core = Image.core.__file__  # type: ignore[attr-defined]
        set_handler = ctypes.CDLL(core).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


def _reason(error: Exception, content: Content, max_pixels: int) -> str:
    start = content.start(4)
    if not start:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        tiff = ": a TIFF that is damaged or has a rare kind of pixels" * (start in _TIFFS)
        return f"not an image that Pillow can read{tiff}"
    if isinstance(error, Image.DecompressionBombError):  # Pillow counts before we can
        found = re.search(r"\d+", str(error))
        if found and int(found[0]) > max_pixels:
            return _too_many(int(found[0]), max_pixels)
    return " ".join(str(error).split()) or type(error).__name__


# ---- mending


def _mended_if_needed(content: Content, attempt: Callable[[Content], T], max_pixels: int) -> T:
    """Try with the file as it is; where Pillow can't decode it, without what is damaged in it."""
    _check_chunks(content)
    try:
        return attempt(content)
    except _DamagedError as error:
        try:
            mended = _mended(content, max_pixels)
            if mended is not None:
                return attempt(mended)
        except ImageError:
            pass
        except MemoryError:
            raise ImageError("there is not enough memory to decode it") from error
        raise


def _mended(content: Content, max_pixels: int) -> Content | None:
    if content.size > _LARGEST_MENDED:
        return None
    start = content.start(8)
    if is_png(start):
        needed = png_without_extras(content.whole())
        return None if needed is None else Content(needed)
    if not is_jpeg(start):
        return None
    data = content.whole()
    tails = ended_jpegs(data)
    data = without_half_marker(data)
    ended = (Content(data + tail) for tail in tails)
    first = next(ended, None)
    if first is None:
        return None
    pixels = _pixels_of(first, max_pixels)
    return first if all(_pixels_of(each, max_pixels) == pixels for each in ended) else None


def _pixels_of(content: Content, max_pixels: int) -> bytes:
    """Give a hash of all pixels: two images of full size would take twice the memory."""
    with (
        _opened(content, max_pixels) as image,
        MEMORY.reserve(OpenedImage(image, content, None).bytes_needed(1)),
    ):
        return digest(image.tobytes())
