"""Images that are given in Python: paths, URLs, arrays and Pillow's images.

In: one of them, several, an array of images, or an iterator. Out: lists of images, each checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlfeatures.errors import ParameterError
from tlfeatures.features.images.in_memory import Snapshot, take_snapshot
from tlfeatures.features.images.read_ahead import ImageToRead, Key
from tlfeatures.features.sources.locations import is_url

ImageInput = str | os.PathLike[str] | NDArray[np.uint8] | Image.Image
Images = ImageInput | Iterable[ImageInput]
"""One image, several, or an array of shape (n, h, w, 3)."""

GivenImage = ImageInput | Snapshot

_MOST, _MOST_BYTES = 512, 2**28  # images of an iterator that are in memory at the same time

_EXPECTED = "a path, a uint8 array (h, w), (h, w, 3) or (h, w, 4), or a Pillow image"


def images_in_parts(images: Images) -> Iterable[Sequence[GivenImage]]:
    """Return the images in one list, or those of an iterator in several.

    Parameters
    ----------
    images : path, URL, array or Image, or iterable of them
        An array of shape (n, h, w, 3) or (n, h, w, 4) is n images. An iterator is read in parts;
        its images in memory are copied, as it may use their memory again.

    Returns
    -------
    iterable of list
        A list of an iterator ends where its images take much memory.

    Raises
    ------
    ParameterError
        If something isn't an image.
    """
    if isinstance(images, Iterator):
        return _lists_of(images)
    items = _as_list(images)
    for number, item in enumerate(items):
        check_image(item, number)
    _check_frames(items)
    return [items]


def total_of(parts: Iterable[Sized]) -> int:
    """Return the number of images in all parts; 0 for an iterator, whose length isn't known."""
    return sum(map(len, parts)) if isinstance(parts, list) else 0


def as_location(item: str | os.PathLike[str]) -> str | Path:
    """Return a path as a `Path`, and a URL as text, because a `Path` would change `//` to `/`."""
    return item if isinstance(item, str) and is_url(item) else Path(item)


def to_read(image: GivenImage, key: Key) -> ImageToRead[Key]:
    """Return what `read_ahead` needs to read an image."""
    if isinstance(image, str | os.PathLike):
        return ImageToRead(key, as_location(image))
    return ImageToRead(key, image)


def name_of(image: GivenImage, number: int) -> str:
    """Name an image: its path, or `image 3` for the image in memory at position 3, from 0."""
    return str(image) if isinstance(image, str | os.PathLike) else f"image {number}"


def is_single(images: object) -> bool:
    """Whether it is one image, and not several."""
    if isinstance(images, np.ndarray):
        return images.dtype.kind not in "OUS" and images.ndim < 4
    return isinstance(images, str | os.PathLike | Image.Image)


def check_image(item: object, number: int) -> None:
    """Check that an item is an image.

    Raises
    ------
    ParameterError
        Naming its position, and what to do.
    """
    if isinstance(item, np.ndarray):
        problem = _problem_of_array(item)
        if problem is not None:
            raise ParameterError(f"image {number} is an array of {problem}")
    elif not isinstance(item, str | os.PathLike | Image.Image):
        raise ParameterError(f"image {number} is a {type(item).__name__}; expected {_EXPECTED}")


def _check_frames(items: Sequence[ImageInput]) -> None:
    """Check that no film is listed several times: one object shows one frame at a time."""
    first: dict[int, int] = {}
    for number, item in enumerate(items):
        if isinstance(item, Image.Image) and getattr(item, "is_animated", False):
            before = first.setdefault(id(item), number)
            if before != number:
                raise ParameterError(
                    f"images {before} and {number} are the same Pillow object, which shows one "
                    "frame of its file at a time; give an iterator of frames, or frame.copy()"
                )


def _problem_of_array(item: NDArray[np.generic]) -> str | None:
    if item.dtype.kind == "f":
        return (
            f"{item.dtype}, of which the range isn't known; expected uint8 from 0 to 255: for "
            "values from 0 to 1, give (255 * image).round().astype('uint8')"
        )
    if item.dtype != np.uint8:
        return (
            f"{item.dtype}; expected uint8 from 0 to 255: scale the values and give "
            "image.astype('uint8')"
        )
    if np.ma.is_masked(item):
        return "masked pixels; give image.filled(0) or another value for them"
    if item.ndim == 3 and item.shape[2] == 1:
        return f"the shape {item.shape}; for a grey image, give image[:, :, 0]"
    if item.ndim not in (2, 3) or item.shape[2:] not in ((), (3,), (4,)) or not item.size:
        several = "; for several grey images, give list(images)" if item.ndim == 3 else ""
        return f"the shape {item.shape}; expected (h, w), (h, w, 3) or (h, w, 4){several}"
    return None


def _as_list(images: Images) -> list[ImageInput]:
    if isinstance(images, str | os.PathLike | Image.Image):
        return [images]
    if isinstance(images, np.ndarray) and is_single(images):
        return [images]
    if not isinstance(images, Iterable):
        raise ParameterError(
            f"images is a {type(images).__name__}; expected {_EXPECTED}, or a list"
        )
    return list(images)


def _lists_of(images: Iterator[ImageInput]) -> Iterator[list[GivenImage]]:
    part: list[GivenImage] = []
    size = 0
    for number, image in enumerate(images):
        check_image(image, number)
        if isinstance(image, np.ndarray | Image.Image):
            snapshot = take_snapshot(image)
            part.append(snapshot)
            size += snapshot.bytes
        else:
            part.append(image)
        if len(part) == _MOST or size >= _MOST_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
