"""Listing the images to label: paths, folders, other sources, and images in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.images.inputs import (
    GivenImage,
    ImageInput,
    Images,
    as_location,
    image_lists,
    name_of,
    to_read,
)
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.sources.locations import check_location
from tlfeatures.features.sources.open_source import is_source, open_source
from tlfeatures.features.sources.records import id_with_box

logger = logging.getLogger(__name__)

NamedImage = ImageToRead[str]
"""An image to read; its key is its name: path, URL, or `image 3` for an image in memory."""


def list_images(inputs: Images) -> list[NamedImage]:
    """Return images, those of folders and other sources, too, in the order of the inputs.

    Raises
    ------
    ParameterError
        If an input does not exist, or isn't an image.
    SourceError
        If there are no images.
    """
    return [image for images in input_lists(inputs) for image in images]


def input_lists(inputs: Images) -> Iterable[list[NamedImage]]:
    """Return the images in one list, or those of an iterator in several; see `list_images`.

    An iterator is read when the lists are, and raises its errors then.
    """
    if isinstance(inputs, Iterator):
        return _lists_of(inputs)
    (items,) = image_lists(inputs)
    return [_expand_all(items, 0)]


def image_of_stream(path: str | os.PathLike[str]) -> NamedImage:
    """Return the image at a path or URL.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    if not isinstance(path, str | os.PathLike):
        raise ParameterError(
            f"paths has a {type(path).__name__}; expected paths and URLs, or give images to predict"
        )
    return to_read(path, str(path))


def _lists_of(inputs: Iterator[ImageInput]) -> Iterator[list[NamedImage]]:
    done = 0
    for items in image_lists(inputs):
        yield _expand_all(items, done)
        done += len(items)
    if not done:
        raise _nothing_given()


def _nothing_given() -> SourceError:
    return SourceError("no images are given; expected image files or folders")


def _expand_all(items: Sequence[GivenImage], before: int) -> list[NamedImage]:
    """Return the images of items, of which `before` items come before."""
    if not items:
        raise _nothing_given()
    images_of = [_expand(item, before + row) for row, item in enumerate(items)]
    empty = [item for item, images in zip(items, images_of, strict=True) if not images]
    if len(empty) == len(items):
        raise _no_images_error(items[0])
    for item in empty:
        logger.warning("%s", _no_images_error(item))
    return [image for images in images_of for image in images]


_EXPECTED = "expected an image or a folder of images"


def _expand(item: GivenImage, number: int) -> list[NamedImage]:
    if not isinstance(item, str | os.PathLike):
        return [to_read(item, name_of(item, number))]
    check_location(item, _EXPECTED)
    path = as_location(item)
    if isinstance(path, str):
        return _images_of(path) if is_source(path) else [ImageToRead(path, path)]
    if path.is_file() and not is_source(str(path)):
        return [ImageToRead(str(path), path)]
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ParameterError(f"{path} is not a file; {_EXPECTED}")
    return _images_of(path)


def _images_of(path: str | Path) -> list[NamedImage]:
    return [
        ImageToRead.of(id_with_box(str(image.location), image.box), image)
        for image in open_source(path, expected=_EXPECTED).images()
    ]


def _no_images_error(item: GivenImage) -> SourceError:
    return open_source(str(item)).no_images_error("expected files or folders of images")
