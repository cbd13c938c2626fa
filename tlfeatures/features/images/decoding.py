"""Decode image files to uint8 RGB of the backbone's size.

An image waits until there is memory for it (see `MemoryBudget`). Files that are damaged outside
of their pixels are repaired (see `repair`), values with more than 8 bits are scaled to 8 by a range
(see `scaling`), and an image of which few grey levels are left is reported (see `few_levels`).
"""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from PIL import Image

from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.images.flattening import Decoded, UndecodedImage
from tlfeatures.features.images.memory import MemoryBudget
from tlfeatures.features.images.opening import (
    MAX_REPAIRED,
    DamagedError,
    check_chunks,
    open_image,
)
from tlfeatures.features.images.properties import BYTES
from tlfeatures.features.images.reading import Content, digest
from tlfeatures.features.images.repair import (
    ended_jpegs,
    is_jpeg,
    is_png,
    png_without_extras,
)
from tlfeatures.features.images.samples import read_samples
from tlfeatures.features.images.value_range import ValueRange
from tlfeatures.features.sources.records import Box

MAX_PIXELS = 178_956_970  # of an image, unless more are allowed: half a GiB as RGB
MEMORY = MemoryBudget(2**30)  # bytes, for all images that are being decoded in this process

_RETURNED_TO_SYSTEM = 2**27  # bytes of freed memory that are worth returning to the system

T = TypeVar("T")


def allow_pixels(max_pixels: int) -> None:
    """Check a limit of pixels, and let Pillow open images up to it.

    Pillow has a limit of its own, one for the whole process, above which it opens nothing. It is
    raised if `max_pixels` is higher, once a run and before threads decode, and never lowered, as
    another run may need it. Every call of `decode_content` keeps to the limit that it is given.

    Raises
    ------
    ParameterError
        If the limit is below 1.
    """
    if max_pixels < 1:
        raise ParameterError(f"max_pixels must be 1 or more, got {max_pixels}")
    pillow_limit = Image.MAX_IMAGE_PIXELS  # Pillow warns above it, and refuses above twice as much
    if pillow_limit is not None and 2 * pillow_limit < max_pixels:
        Image.MAX_IMAGE_PIXELS = max_pixels


def decode_content(
    content: Content,
    size: tuple[int, int],
    max_pixels: int = MAX_PIXELS,
    value_range: ValueRange | None = None,
    box: Box | None = None,
) -> Decoded:
    """Decode an image file to pixels as the backbone takes them, and check its grey levels.

    The first frame is taken, turned upright by its EXIF orientation, laid over white where it is
    transparent, scaled to 8-bit RGB and resized with Pillow's antialiased bilinear filter. The
    format is read from the bytes, not from the file's name.

    Parameters
    ----------
    content : Content
        The bytes of a file in a format that Pillow reads by itself.
    size : (int, int)
        Height and width in pixels.
    max_pixels : int
        An image whose header states more pixels is refused before it is decoded; above
        `MAX_PIXELS`, see `allow_pixels`.
    value_range : (float, float), optional
        The values that become black and white, of images with more than 8 bits a channel; values
        outside are clipped. If not given, the range that the header states, or 0 to 65,535.
    box : Box, optional
        The part of the upright image that is resized; all of it if not given.

    Returns
    -------
    Decoded
        Pixels in RGB, the properties of the image, and whether there are few grey levels.

    Raises
    ------
    ImageError
        If it is no image, a truncated one, has too many pixels, or values without an agreed range,
        or if the box is outside of it.
    """
    attempt = partial(
        _decode_once, size=size, max_pixels=max_pixels, value_range=value_range, box=box
    )
    decoded = _repair_if_needed(content, attempt, max_pixels)
    decoded.properties[BYTES] = content.size  # of the file as it is, also if it was repaired
    return decoded


def _decode_once(
    content: Content,
    size: tuple[int, int],
    max_pixels: int,
    value_range: ValueRange | None,
    box: Box | None,
) -> Decoded:
    decoded, needed = _decode_in_budget(content, size, max_pixels, value_range, box)
    if needed > _RETURNED_TO_SYSTEM:
        _return_freed_memory()
    return decoded


def _decode_in_budget(
    content: Content,
    size: tuple[int, int],
    max_pixels: int,
    value_range: ValueRange | None,
    box: Box | None,
) -> tuple[Decoded, int]:
    """Return the image, and the bytes that decoding took."""
    with open_image(content, max_pixels) as image:
        undecoded = UndecodedImage(image, read_samples(image, content), value_range)
        needed = undecoded.bytes_needed(size[1])
        with MEMORY.reserve(needed):
            return undecoded.decode(size, lambda: open_image(content, max_pixels), box), needed


def _return_freed_memory() -> None:
    """Return freed memory to the system: glibc keeps what a thread freed for that thread."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def thumbnail(
    content: Content,
    side: int,
    value_range: ValueRange | None = None,
    box: Box | None = None,
) -> bytes:
    """Create a small picture of an image file, for people to look at.

    Parameters
    ----------
    content : Content
        The bytes of a file in a format that Pillow reads by itself.
    side : int
        Largest number of pixels of its longer side; smaller images keep their size.
    value_range : (float, float), optional
    box : Box, optional
        See `decode_content`.

    Returns
    -------
    bytes
        A WebP, upright, transparency over white.

    Raises
    ------
    ImageError
        See `decode_content`.
    """

    def attempt(content: Content) -> bytes:
        with open_image(content, MAX_PIXELS) as image:
            if box is None:  # then a JPEG needn't be decoded at its full size
                image.draft("RGB", (2 * side, 2 * side))
            undecoded = UndecodedImage(image, read_samples(image, content), value_range)
            with MEMORY.reserve(undecoded.bytes_needed(side)):
                flat, _ = undecoded.flatten(lambda: open_image(content, MAX_PIXELS))
                small = flat if box is None else flat.crop(box.pixels(*flat.size))
                small.thumbnail((side, side), Image.Resampling.BILINEAR)
            file = io.BytesIO()
            small.save(file, "WEBP", quality=70, method=4)
            return file.getvalue()

    return _repair_if_needed(content, attempt, MAX_PIXELS)


# ---- repair


def _repair_if_needed(content: Content, attempt: Callable[[Content], T], max_pixels: int) -> T:
    """Try with the file as it is; if Pillow can't decode it, without what is damaged in it."""
    check_chunks(content)
    try:
        return attempt(content)
    except DamagedError as error:
        try:
            repaired = _repair(content, max_pixels)
            if repaired is not None:
                return attempt(repaired)
        except ImageError:
            pass
        except MemoryError:
            raise ImageError("there is not enough memory to decode it") from error
        raise


def _repair(content: Content, max_pixels: int) -> Content | None:
    """Return the file without what is damaged in it; None if its pixels are damaged or missing."""
    if content.size > MAX_REPAIRED:
        return None
    start = content.start(8)
    if is_png(start):
        needed = png_without_extras(content.whole())
        return None if needed is None else Content(needed)
    if not is_jpeg(start):
        return None
    data = content.whole()
    tails = ended_jpegs(data)
    data = data.rstrip(b"\xff")  # half a marker, or a byte of ones, at the end of a cut file
    candidates = (Content(data + tail) for tail in tails)
    first = next(candidates, None)
    if first is None:
        return None
    pixels = _hash_of_pixels(first, max_pixels)
    complete = all(_hash_of_pixels(other, max_pixels) == pixels for other in candidates)
    return first if complete else None


def _hash_of_pixels(content: Content, max_pixels: int) -> bytes:
    """Return a hash of all pixels, as two images in full size would take twice the memory."""
    with (
        open_image(content, max_pixels) as image,
        MEMORY.reserve(UndecodedImage(image, read_samples(image, content), None).bytes_needed(1)),
    ):
        return digest(image.tobytes())
