"""Images in memory, arrays and Pillow's images, which become the same pixels as their files.

An image in memory can change while others are decoded: a program may fill one array with each frame
of a film, and Pillow has one object for all frames of a file. So an image is copied before the next
one is asked for, and only the copy is decoded in another thread.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from tlfeatures.errors import ImageError
from tlfeatures.features.images.decoding import decode_content
from tlfeatures.features.images.flattening import Decoded, UndecodedImage
from tlfeatures.features.images.opening import FORMATS
from tlfeatures.features.images.reading import Content
from tlfeatures.features.images.samples import EIGHT_BITS, Samples, read_samples
from tlfeatures.features.images.value_range import ValueRange

ImageInMemory = NDArray[np.uint8] | Image.Image


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of an image in memory, which nobody changes.

    Attributes
    ----------
    image : Image, Content or ImageError
        The image, upright; or the bytes of its file if Pillow has opened it and no pixel is decoded
        yet, because Pillow drops a part of what some files hold; or why it can't be copied.
    samples : Samples
        How the values of an image are stored.
    """

    image: Image.Image | Content | ImageError
    samples: Samples = EIGHT_BITS

    @property
    def bytes(self) -> int:
        """Number of bytes of memory, about."""
        if isinstance(self.image, ImageError):
            return 0
        if isinstance(self.image, Content):
            return self.image.size
        return 4 * self.image.width * self.image.height

    def decode(
        self, size: tuple[int, int], max_pixels: int, value_range: ValueRange | None
    ) -> Decoded:
        """Decode it as a file; see `decode_content`."""
        if isinstance(self.image, ImageError):
            raise self.image
        if isinstance(self.image, Content):
            return decode_content(self.image, size, max_pixels, value_range)
        return UndecodedImage(self.image, self.samples, value_range).decode(size)


def take_snapshot(image: ImageInMemory) -> Snapshot:
    """Copy an image in memory.

    Parameters
    ----------
    image : ndarray of shape (h, w), (h, w, 3) or (h, w, 4), uint8, or Image
        Decoding an image that has no pixels, or that Pillow can't load, raises an error.
    """
    if isinstance(image, np.ndarray):
        return Snapshot(Image.fromarray(np.array(image, order="C")))
    if not image.width or not image.height:
        return Snapshot(ImageError("it has no pixels"))
    file = _unread_file(image)
    if file is not None:
        return Snapshot(file)
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception as error:  # Pillow's decoders raise anything from SyntaxError to struct.error
        return Snapshot(ImageError(f"Pillow can't decode it: {_reason(image, error)}"))
    upright.format = image.format
    transparency = upright.info.get("transparency")
    upright.info = {} if transparency is None else {"transparency": transparency}
    return Snapshot(upright, _samples_of(image))


def _reason(image: Image.Image, error: Exception) -> str:
    if isinstance(image, ImageFile.ImageFile) and image.fp is None and image.tile:
        return "its file was closed before its pixels were loaded; call load() first"
    return str(error) or type(error).__name__


def _unread_file(image: Image.Image) -> Content | None:
    """Return the file of an image that is opened at its first frame, and not decoded or changed."""
    if not isinstance(image, ImageFile.ImageFile) or image.fp is None:
        return None
    if not image.tile or image.tell() or image.format not in FORMATS:
        return None
    try:
        position = image.fp.tell()
        image.fp.seek(0)
        data = image.fp.read()
        image.fp.seek(position)
        with Image.open(io.BytesIO(data)) as again:
            names = ("format", "mode", "size", "info")  # of which draft() may change some
            same = all(getattr(image, name) == getattr(again, name) for name in names)
    except (OSError, ValueError):  # the file is closed, or can't be read twice
        return None
    return Content(data) if same else None


_AT_MOST_16_BITS = ("JPEG2000", "PNG", "PPM")


def _samples_of(image: Image.Image) -> Samples:
    if image.format == "TIFF" and hasattr(image, "tag_v2"):
        return read_samples(image, Content(b""))  # its tags say all
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _AT_MOST_16_BITS):
        return Samples(16)
    return Samples(32, unsigned=False) if image.mode in ("I", "F") else EIGHT_BITS
