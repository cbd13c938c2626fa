"""Decode an opened image to 8-bit RGB or grey: upright, scaled, and over white if transparent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ExifTags import Base as TiffTag

from tlfeatures.errors import ImageError
from tlfeatures.features.images.few_levels import FewLevels, check_grey_levels
from tlfeatures.features.images.properties import image_properties
from tlfeatures.features.images.raw_modes import (
    change_rawmodes,
    rawmode_of,
    rawmode_of_lower_bytes,
    tiff_tags,
)
from tlfeatures.features.images.samples import Samples
from tlfeatures.features.images.scaling import alpha_to_8_bits, to_8_bits
from tlfeatures.features.images.value_range import ValueRange
from tlfeatures.features.sources.records import Box

Reopen = Callable[[], AbstractContextManager[Image.Image]]

_TRANSPARENT_MODES = {"RGBA", "LA", "PA", "RGBa", "La"}

# Bytes a pixel of the image itself, by Pillow's mode (4 for other modes); and what Pillow and the
# library below it need in addition, by format.
_IMAGE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_DECODER_BYTES = {"AVIF": 16, "JPEG2000": 28, "PPM": 8, "WEBP": 16}
_PROGRESSIVE_BYTES = 6  # the coefficients of a progressive JPEG
_RGB_BYTES = 4
_SCALING_BYTES, _LOWER_BYTES_BYTES = 8, 24  # of values with more than 8 bits; with lower bytes, too


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes
    ----------
    pixels : ndarray of shape (height, width, 3), uint8
    properties : ndarray of shape (q,), float32
        See `image_properties`.
    few_levels : FewLevels or None
        None if the image has enough grey levels.
    """

    pixels: NDArray[np.uint8]
    properties: NDArray[np.float32]
    few_levels: FewLevels | None = None


class UndecodedImage:
    """An image that is opened, and of which no pixel is decoded yet.

    Parameters
    ----------
    image : Image
    samples : Samples
        How its values are stored.
    value_range : (float, float), optional
        See `decode_content`.

    Raises
    ------
    ImageError
        If the range that is given, or that the header states, can't be applied to such a file.
    """

    def __init__(
        self, image: Image.Image, samples: Samples, value_range: ValueRange | None
    ) -> None:
        self._image, self._samples, self._value_range = image, samples, value_range
        if not (samples.deep and samples.cut) or samples.whole:
            return
        full = (0, 2**samples.bits - 1)
        states_range = image.format == "TIFF" and (samples.stated or full) != full
        if states_range or value_range is not None:
            raise ImageError(
                f"{'its range of values' if states_range else '--value-range'} can't be applied to "
                f"colours with {samples.bits} bits a channel in this kind of file, of which 8 are "
                "read; save it as a PNG"
            )

    @property
    def _needs_lower_bytes(self) -> bool:
        """Whether the upper bytes, which are all that Pillow gives of colours, are not enough."""
        samples = self._samples
        has_range = self._value_range or samples.stated or samples.significant
        exact = bool(has_range or "transparency" in self._image.info)
        return samples.deep and samples.cut and samples.whole and exact

    def bytes_needed(self, width: int) -> int:
        """Estimate how many bytes of memory decoding takes.

        Parameters
        ----------
        width : int
            Pixels to which the image will be resized.
        """
        image = self._image
        bytes_a_pixel = 2 * _IMAGE_BYTES.get(image.mode, 4)  # twice, as it may be turned
        bytes_a_pixel += _DECODER_BYTES.get(image.format or "", 0)
        if image.format == "JPEG" and image.info.get("progressive"):
            bytes_a_pixel += _PROGRESSIVE_BYTES
        if image.mode not in ("1", "L", "RGB"):
            bytes_a_pixel += _RGB_BYTES
        if self._samples.deep:
            bytes_a_pixel += _LOWER_BYTES_BYTES if self._needs_lower_bytes else _SCALING_BYTES
        return image.width * image.height * bytes_a_pixel + _RGB_BYTES * width * image.height

    def decode(
        self, size: tuple[int, int], reopen: Reopen | None = None, box: Box | None = None
    ) -> Decoded:
        """Decode and resize the image, and check its grey levels.

        Parameters
        ----------
        size : (int, int)
            Height and width in pixels.
        reopen : callable, optional
            See `flatten`.
        box : Box, optional
            The part of the image to resize; all of it if not given.
        """
        height, width = size
        flat, largest = self.flatten(reopen)
        part = flat if box is None else flat.crop(box.pixels(*flat.size))
        resized = part.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized.convert("RGB"))
        properties = image_properties(self._image, part.size, pixels)
        return Decoded(pixels, properties, check_grey_levels(pixels, largest))

    def flatten(self, reopen: Reopen | None = None) -> tuple[Image.Image, int | None]:
        """Decode the image, turn it upright, scale it to 8 bits and lay it over white.

        Parameters
        ----------
        reopen : callable, optional
            Opens the same file once more; not needed for an image in memory.

        Returns
        -------
        image : Image
            RGB, or grey for a grey file.
        largest : int or None
            Largest value in a file with more than 8 bits a channel, if it has no range and one
            can be given.

        Raises
        ------
        ImageError
            See `to_8_bits`.
        """
        image, samples = self._image, self._samples
        packed = rawmode_of(image).startswith("LA")
        lower = _lower_bytes(reopen) if self._needs_lower_bytes and reopen else None
        _scale_transparency(image)
        _brighten_palette(image)
        ImageOps.exif_transpose(image, in_place=True)
        if not samples.deep:
            return flatten(image), None
        if samples.cut and lower is None:
            flat = flatten(image)
            accepts_range = samples.stated is None and samples.whole
            largest = int(np.max(flat.getextrema()))
            return flat, 256 * largest + 255 if accepts_range else None
        if lower is None:
            return self._scaled(np.asarray(image), None)
        return self._scaled(*_joined(np.asarray(image), np.asarray(lower), samples, packed))

    def _scaled(
        self, values: NDArray[Any], alpha: NDArray[np.uint8] | None
    ) -> tuple[Image.Image, int | None]:
        samples = self._samples
        shades = to_8_bits(values, samples, self._value_range)
        has_range = self._value_range is not None or samples.stated is not None
        is_integer = samples.bits > 8 and values.dtype.kind in "iu"
        largest = int(values.max()) if is_integer and not has_range else None
        transparent = self._image.info.get("transparency")
        if isinstance(transparent, int | tuple):
            equal = values == np.array(transparent)
            shades[equal if equal.ndim == 2 else equal.all(axis=2)] = 255
        if alpha is not None:
            shades = np.dstack([shades, alpha])
        return flatten(Image.fromarray(shades)), largest


def _lower_bytes(reopen: Reopen) -> Image.Image:
    """Decode the lower bytes of an image's colours."""
    with reopen() as lower:
        change_rawmodes(lower, lambda rawmode: rawmode_of_lower_bytes(rawmode) or rawmode)
        ImageOps.exif_transpose(lower, in_place=True)
        return lower


def _joined(
    upper: NDArray[np.uint8], lower: NDArray[np.uint8], samples: Samples, packed: bool
) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
    """Join upper and lower bytes, (h, w, 3 or 4), to values (h, w, 3) and 8-bit alpha (h, w).

    If packed, the lower bytes are all four bytes of a grey value and its alpha.
    """
    alpha = None
    if upper.shape[2] == 4:
        alpha = alpha_to_8_bits(upper[..., 3], lower[..., 3], samples)
    values = upper[..., :3].astype(np.uint16)
    values <<= 8
    values |= lower[..., 1:2] if packed else lower[..., :3]
    return values, alpha


def _scale_transparency(image: Image.Image) -> None:
    """Scale the transparent grey of a PNG with 2 or 4 bits as Pillow scales its pixels."""
    shades = {"L;2": 3, "L;4": 15}.get(rawmode_of(image))
    transparent = image.info.get("transparency")
    if image.format == "PNG" and shades and isinstance(transparent, int):
        image.info["transparency"] = transparent * 255 // shades


def _brighten_palette(image: Image.Image) -> None:
    """Take a TIFF's palette for one with 8 bits where all of its values fit, as libtiff does."""
    colours = np.asarray(tiff_tags(image).get(TiffTag.ColorMap, ()))
    if image.mode in ("P", "PA") and colours.size and colours.size % 3 == 0 and colours.max() < 256:
        image.putpalette(colours.reshape(3, -1).T.astype(np.uint8).tobytes())


_STRIP_PIXELS = 2**20  # pixels that are laid over white at once


def flatten(image: Image.Image) -> Image.Image:
    """Convert an image to 8-bit RGB, or 8-bit grey, which takes a quarter of the memory.

    Parameters
    ----------
    image : Image
        With 8 bits a channel; transparent parts become white.
    """
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        return _over_white(image)
    mode = "L" if image.mode in ("1", "L") else "RGB"
    return image if image.mode == mode else image.convert(mode)  # converting would copy it


def _over_white(image: Image.Image) -> Image.Image:
    """Lay an image over white, strip by strip, as that takes four times the memory of a strip."""
    flat = Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        strip = image.crop(box)
        if strip.mode == "La":  # grey multiplied with alpha, which Pillow converts to LA alone
            strip = strip.convert("LA")
        strip = strip.convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        flat.paste(Image.alpha_composite(white, strip).convert("RGB"), box)
    return flat
