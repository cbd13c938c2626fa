"""Properties of an image that need no backbone: of its file, and the colours of its pixels.

The file's size, width, height and quality say nothing of what an image shows. If they alone tell
the classes, the images of the classes were made differently, and a head may have learned that.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Real = TypeVar("Real", np.float32, np.float64)

_FILE = ("bytes", "width", "height", "jpeg_quantization", "jpeg", "png")
_CHANNELS = ("red", "green", "blue")
_LEVELS = 4  # of each channel in the histogram
_SHIFT = 6  # bits of 8 that differ within a level
_SIDE = 32  # pixels of the grid on which colours are measured, at least, if the image has them

#: Names of the q columns, of which the first `FILE_PROPERTIES` describe the file:
#:
#: - bytes: size of the file, or of the member of an archive; also for a box, of the whole file
#: - width, height: in pixels, after turning the image upright; for a box, those of the box
#: - jpeg_quantization: mean of a JPEG's table of quantization of the luminance: the higher, the
#:   lower is the quality; 0 for other formats
#: - jpeg, png: 1 if this is the format, else 0
#:
#: The others describe the pixels that the backbone gets, from 0 to 255: mean and standard deviation
#: of each channel, and the share of the pixels in each of 4 x 4 x 4 bins of red, green and blue.
PROPERTIES: tuple[str, ...] = (
    *_FILE,
    *(f"{channel}_mean" for channel in _CHANNELS),
    *(f"{channel}_deviation" for channel in _CHANNELS),
    *(f"colour_{red}{green}{blue}" for red, green, blue in product(range(_LEVELS), repeat=3)),
)
FILE_PROPERTIES = len(_FILE)
BYTES = PROPERTIES.index("bytes")


def column_of(properties: NDArray[Real], name: str) -> NDArray[Real]:
    """Return the column of a property, of shape (n,), from rows of shape (n, q)."""
    return properties[:, PROPERTIES.index(name)]


def image_properties(
    image: Image.Image, size: tuple[int, int], pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Describe an image by the properties that are named in `PROPERTIES`.

    Parameters
    ----------
    image : Image
        As Pillow opened it: only its format is read.
    size : (int, int)
        Width and height of the upright image, or of the part that is embedded.
    pixels : ndarray of shape (h, w, 3), uint8
        As the backbone gets them.

    Returns
    -------
    ndarray of shape (q,), float32
        The size of the file is not known here: it is NaN.
    """
    row = np.empty(len(PROPERTIES), np.float32)
    jpeg = image.format in ("JPEG", "MPO")
    tables = getattr(image, "quantization", None) if jpeg else None
    luminance = tables.get(0) if tables else None
    quantization = sum(luminance) / len(luminance) if luminance else 0
    row[:FILE_PROPERTIES] = math.nan, *size, quantization, jpeg, image.format == "PNG"
    _put_colours(row[FILE_PROPERTIES:], pixels)
    return row


def _put_colours(row: NDArray[np.float32], pixels: NDArray[np.uint8]) -> None:
    # A grid of the pixels takes a tenth of the time. Sums of whole numbers are exact, so that the
    # values are the same on every machine.
    down, right = (max(1, length // _SIDE) for length in pixels.shape[:2])
    sample = pixels[::down, ::right].transpose(2, 0, 1).reshape(3, -1)
    values = sample.astype(np.float64)
    count = sample.shape[1]
    mean = values.sum(axis=1) / count
    squares = (values * values).sum(axis=1) / count
    row[:3] = mean
    row[3:6] = np.sqrt(np.maximum(squares - mean * mean, 0))
    red, green, blue = sample >> _SHIFT
    bins = (red * _LEVELS + green) * _LEVELS + blue
    row[6:] = np.bincount(bins, minlength=_LEVELS**3) / count
