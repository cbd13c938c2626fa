"""From an opened image to 8-bit RGB or grey: decoded, turned upright, scaled, over white."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tlfeatures.errors import ImageError
from tlfeatures.features.images.raw_modes import change_rawmodes, rawmode_of, rawmode_of_lower_bytes
from tlfeatures.features.images.reading import Content
from tlfeatures.features.images.value_range import (
    Samples,
    ValueRange,
    alpha_to_8_bits,
    samples_of,
    to_8_bits,
)

Reopen = Callable[[], AbstractContextManager[Image.Image]]

_TRANSPARENT_MODES = {"RGBA", "LA", "PA", "RGBa", "La"}

# Bytes a pixel that Pillow and the library below it need beside the image itself, by format.
_DECODERS = {"AVIF": 16, "JPEG2000": 28, "PPM": 8, "WEBP": 16}
_PROGRESSIVE = 6  # of a JPEG: the coefficients of all pixels
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_RGB = 4
_SIXTEEN_BITS, _LOWER_BYTES = 8, 24


class OpenedImage:
    """An image that is opened, and of which no pixel is decoded yet.

    Parameters
    ----------
    image : Image
    content : Content
        Of its file.
    value_range : (float, float), optional
        See `decode`.

    Raises
    ------
    ImageError
        If a range is given, and can't be applied to a file of this kind.
    """

    def __init__(
        self, image: Image.Image, content: Content, value_range: ValueRange | None
    ) -> None:
        self._image, self._value_range = image, value_range
        self._samples = samples = samples_of(image, content)
        cut = samples.deep and samples.cut and not samples.whole
        full = (0, 2**samples.bits - 1)
        if cut and image.format == "TIFF" and (samples.stated or full) != full:
            raise ImageError(
                f"its range of values can't be applied to colours with {samples.bits} bits a "
                "channel in this kind of file, of which 8 are read; save it as a PNG"
            )
        if value_range is not None and cut:
            raise ImageError(
                f"--value-range can't be applied to colours with {samples.bits} bits a channel in "
                "this kind of file, of which 8 are read; save it as a PNG"
            )

    @property
    def _needs_lower_bytes(self) -> bool:
        """Whether the upper bytes, which are all that Pillow gives of colours, don't suffice."""
        samples = self._samples
        ranged = self._value_range or samples.stated or samples.significant
        wanted = bool(ranged or "transparency" in self._image.info)
        return samples.deep and samples.cut and samples.whole and wanted

    def bytes_needed(self, width: int) -> int:
        """Estimate the memory that decoding takes, to be resized to this width."""
        image = self._image
        stored = _STORED.get(image.mode, 4)
        each = 2 * stored + _DECODERS.get(image.format or "", 0)  # twice, as it may be turned
        if image.format == "JPEG" and image.info.get("progressive"):
            each += _PROGRESSIVE
        if image.mode not in ("1", "L", "RGB"):
            each += _RGB
        if self._samples.deep:
            each += _LOWER_BYTES if self._needs_lower_bytes else _SIXTEEN_BITS
        return image.width * image.height * each + _RGB * width * image.height

    def flattened(self, reopen: Reopen) -> tuple[Image.Image, int | None]:
        """Decode it, turn it upright, bring it to 8 bits and lay it over white.

        Parameters
        ----------
        reopen : callable
            Opens the same file once more.

        Returns
        -------
        image : Image
            RGB, or grey where the file is.
        largest : int or None
            Largest value in a file with more than 8 bits a channel, if no range is known and one
            can be given.

        Raises
        ------
        ImageError
            See `to_8_bits`.
        """
        image, samples = self._image, self._samples
        packed = rawmode_of(image).startswith("LA")
        lower = _lower_bytes(reopen) if self._needs_lower_bytes else None
        _scale_transparency(image)
        _brighten_palette(image)
        ImageOps.exif_transpose(image, in_place=True)
        if not samples.deep:
            return flat(image), None
        if samples.cut and lower is None:
            made = flat(image)
            helps = samples.stated is None and samples.whole  # a range can be applied
            return made, 256 * _largest_shade(made) + 255 if helps else None
        if lower is None:
            return self._scaled(np.asarray(image), None)
        return self._scaled(*_joined(np.asarray(image), np.asarray(lower), samples, packed))

    def _scaled(
        self, values: NDArray[Any], alpha: NDArray[np.uint8] | None
    ) -> tuple[Image.Image, int | None]:
        samples = self._samples
        shades = to_8_bits(values, samples, self._value_range)
        ranged = self._value_range is not None or samples.stated is not None
        counted = samples.bits > 8 and values.dtype.kind in "iu" and not ranged
        largest = int(values.max()) if counted else None
        transparent = self._image.info.get("transparency")
        if isinstance(transparent, int | tuple):
            same = values == np.array(transparent)
            shades[same if same.ndim == 2 else same.all(axis=2)] = 255
        if alpha is not None:
            shades = np.dstack([shades, alpha])
        return flat(Image.fromarray(shades)), largest


def _lower_bytes(reopen: Reopen) -> Image.Image:
    """Decode the lower bytes of an image's colours."""
    with reopen() as lower:
        change_rawmodes(lower, lambda rawmode: rawmode_of_lower_bytes(rawmode) or rawmode)
        ImageOps.exif_transpose(lower, in_place=True)
        return lower


def _joined(
    upper: NDArray[np.uint8], lower: NDArray[np.uint8], samples: Samples, packed: bool
) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
    """Upper and lower bytes, (h, w, 3 or 4), to values (h, w, 3) and, of 8 bits, alpha (h, w).

    Packed, the lower bytes are all bytes of one grey value and its alpha.
    """
    alpha = None
    if upper.shape[2] == 4:
        alpha = alpha_to_8_bits(upper[..., 3], lower[..., 3], samples)
    values = upper[..., :3].astype(np.uint16)
    values <<= 8
    values |= lower[..., 1:2] if packed else lower[..., :3]
    return values, alpha


def _largest_shade(image: Image.Image) -> int:
    """The largest value of any band."""
    found = image.getextrema()
    return int(max(np.ravel(found)))


def _scale_transparency(image: Image.Image) -> None:
    """Say which grey is transparent as Pillow stores it, where the file has 2 or 4 bits."""
    shades = {"L;2": 3, "L;4": 15}.get(rawmode_of(image))
    transparent = image.info.get("transparency")
    if image.format == "PNG" and shades and isinstance(transparent, int):
        image.info["transparency"] = transparent * 255 // shades


_COLOUR_MAP = 320  # of a TIFF


def _brighten_palette(image: Image.Image) -> None:
    """Take a TIFF's palette for one of 8 bits where all of its values are: as libtiff does."""
    tags = getattr(image, "tag_v2", {})
    colours = np.asarray(tags.get(_COLOUR_MAP, ()))
    if image.mode in ("P", "PA") and colours.size and colours.size % 3 == 0 and colours.max() < 256:
        image.putpalette(colours.reshape(3, -1).T.astype(np.uint8).tobytes())


_STRIP = 2**20  # pixels that are laid over white at once


def flat(image: Image.Image) -> Image.Image:
    """Bring it to 8-bit RGB, or to 8-bit grey, which takes a quarter of the memory."""
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        return _over_white(image)
    mode = "L" if image.mode in ("1", "L") else "RGB"
    return image if image.mode == mode else image.convert(mode)  # no copy for nothing


def _over_white(image: Image.Image) -> Image.Image:
    """Lay it over white, strip by strip: what that takes is four times as large as the image."""
    flat = Image.new("RGB", image.size)
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        strip = image.crop(box)
        if strip.mode == "La":  # grey that is multiplied with alpha: Pillow turns it into LA alone
            strip = strip.convert("LA")
        strip = strip.convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        flat.paste(Image.alpha_composite(white, strip).convert("RGB"), box)
    return flat


def to_pixels(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Bring an image with 8 bits a channel to RGB and the backbone's size (see `decode`)."""
    height, width = size
    resized = flat(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized.convert("RGB"))
