"""Open image files with Pillow, and turn whatever goes wrong into an `ImageError`."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from tlfeatures.errors import ImageError
from tlfeatures.features.images.raw_modes import correct_tiff
from tlfeatures.features.images.reading import Content
from tlfeatures.features.images.repair import (
    MAX_SCANS,
    SCAN,
    damaged_chunk,
    is_png,
    jpeg_segments,
)
from tlfeatures.files import reason_of

# Formats that are opened. Pillow reads more, among them PostScript, for which it runs a program,
# and icons, which it decodes before their number of pixels can be read.
FORMATS = frozenset(
    {"AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "PSD"}
    | {"SGI", "TGA", "TIFF", "WEBP"}
)

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0")
_BIG_ENDIAN_BIG_TIFF = b"MM\0+"  # Pillow reads it with the offsets of another kind of TIFF
_NO_BIG_TIFF = (
    "not an image that Pillow can read: a big-endian BigTIFF; save it in little-endian byte order, "
    "or as a PNG"
)

MAX_REPAIRED = 256 * 2**20  # bytes of a damaged file, which is read as a whole


class DamagedError(ImageError):
    """Pillow can't decode the file; repaired, it may."""


@contextmanager
def open_image(content: Content, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image at its first frame; no pixel is decoded yet.

    Parameters
    ----------
    content : Content
        The bytes of its file.
    max_pixels : int
        An image with more pixels is refused.

    Yields
    ------
    Image

    Raises
    ------
    DamagedError
        If Pillow can't open it, or the block that uses it fails, as by decoding its pixels.
    ImageError
        If it is refused, or there is not enough memory.
    """
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
        raise DamagedError(_reason(error, content, max_pixels)) from error


def check_chunks(content: Content) -> None:
    """Refuse a PNG whose pixels have a wrong checksum: Pillow decodes some of these.

    Raises
    ------
    ImageError
    """
    try:
        damaged = damaged_chunk(content.stream()) if is_png(content.start(8)) else None
    except OSError as error:
        raise ImageError(reason_of(error)) from error
    if damaged is not None:
        article = "a" if damaged == "PLTE" else "an"
        raise ImageError(
            f"its pixels are damaged: the checksum of {article} {damaged} chunk is wrong"
        )


def _check_scans(content: Content) -> None:
    """Refuse a JPEG with many scans: each may be short, and yet go over all pixels."""
    scans = content.count(bytes([0xFF, SCAN]))
    if scans <= MAX_SCANS:
        return
    if content.size <= MAX_REPAIRED:  # in larger files, other bytes may be counted as scans
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
    """Return the formats that this Pillow was built with, in the order in which it tries them."""
    Image.init()
    return tuple(name for name in Image.ID if name in FORMATS)


@functools.cache
def _silence_libtiff() -> None:
    """Stop libtiff from printing errors: Pillow raises them, and has its warnings off already."""
    # The function is reached through Pillow's library; where that fails, libtiff goes on printing.
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
        is_tiff = start in _TIFF_STARTS
        tiff = ": a TIFF that is damaged or has a rare kind of pixels" if is_tiff else ""
        return f"not an image that Pillow can read{tiff}"
    if isinstance(error, Image.DecompressionBombError):  # raised before the limit is checked
        pixels = re.search(r"\d+", str(error))
        if pixels and int(pixels[0]) > max_pixels:
            return _too_many(int(pixels[0]), max_pixels)
    return reason_of(error)
