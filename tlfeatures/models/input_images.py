"""Listing the images to label: paths, folders, other sources, and images in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.images.inputs import (
    GivenImage,
    ImageInput,
    Images,
    as_location,
    images_in_parts,
    name_of,
    to_read,
)
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.sources.locations import check_location, is_url
from tlfeatures.features.sources.open_source import (
    Location,
    is_source,
    open_source,
    takes_options,
)
from tlfeatures.features.sources.protocol import Columns, Source
from tlfeatures.features.sources.records import id_with_box

logger = logging.getLogger(__name__)

_EXPECTED = "expected an image or a folder of images"

NamedImage = ImageToRead[str]
"""An image to read; its key is its name: path, URL, or `image 3` for an image in memory."""


@dataclass(frozen=True)
class TableInput(os.PathLike[str]):
    """A table among the inputs, and how it is read; see `open_source`.

    Attributes
    ----------
    location : str
        Path or URL of the table.
    images : path or URL, optional
    columns : mapping of role to column, optional
    """

    location: str
    images: Location | None = None
    columns: Columns | None = None

    def __fspath__(self) -> str:
        """Return the location."""
        return self.location

    __str__ = __fspath__

    def open(self) -> Source:
        """Open the table as a source of images."""
        return open_source(
            self.location, images=self.images, columns=self.columns, expected=_EXPECTED
        )


def as_tables(inputs: Images, images: Location | None, columns: Columns | None) -> Images:
    """Return the inputs; the options of tables apply to those that are tables.

    Raises
    ------
    ParameterError
        If an option is given, and an input is no path or URL, or none is a table.
    """
    if images is None and not columns:
        return inputs
    items = [inputs] if isinstance(inputs, str | os.PathLike | Image.Image) else list(inputs)
    paths = [os.fspath(item) for item in items if isinstance(item, str | os.PathLike)]
    if len(paths) < len(items):
        raise ParameterError(
            "images and columns are for tables with the paths of images; leave them out for images "
            "in memory"
        )
    tables = [takes_options(path) for path in paths]
    if paths and not any(tables) and (is_url(paths[0]) or Path(paths[0]).exists()):
        raise ParameterError(
            f"{paths[0]} is no table; leave out --images and --columns, which say how a table is "
            "read"
        )
    return [
        TableInput(path, images, columns) if is_table else path
        for path, is_table in zip(paths, tables, strict=True)
    ]


def list_images(inputs: Images) -> list[NamedImage]:
    """Return images, those of folders and other sources, too, in the order of the inputs.

    Raises
    ------
    ParameterError
        If an input does not exist, or isn't an image.
    SourceError
        If there are no images.
    """
    return [image for images in named_images_in_parts(inputs) for image in images]


def are_embeddings(X: object) -> TypeGuard[NDArray[np.float32]]:
    """Whether X is a table of embeddings, and not images.

    An image is uint8, and a data frame has no type of its own.
    """
    kind = getattr(X, "dtype", None)
    return getattr(X, "ndim", 0) == 2 and (kind is None or kind.kind == "f")


def named_images_in_parts(inputs: Images) -> Iterable[list[NamedImage]]:
    """Return the images in one list, or those of an iterator in several; see `list_images`.

    An iterator is read when the lists are, and raises its errors then.
    """
    if are_embeddings(inputs):
        raise ParameterError(
            f"expected images, got a table of shape {inputs.shape}; give embeddings to "
            "Model.predict_features"
        )
    if isinstance(inputs, Iterator):
        return _lists_of(inputs)
    (items,) = images_in_parts(inputs)
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
    for items in images_in_parts(inputs):
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


def _expand(item: GivenImage, number: int) -> list[NamedImage]:
    if not isinstance(item, str | os.PathLike):
        return [to_read(item, name_of(item, number))]
    if isinstance(item, TableInput):
        return _images_of(item)
    check_location(item, _EXPECTED)
    path = as_location(item)
    if isinstance(path, str):
        return _images_of(path) if is_source(path) else [ImageToRead(path, path)]
    if path.is_file() and not is_source(str(path)):
        return [ImageToRead(str(path), path)]
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ParameterError(f"{path} is not a file; {_EXPECTED}")
    return _images_of(path)


def _images_of(path: str | os.PathLike[str]) -> list[NamedImage]:
    return [
        ImageToRead.of(id_with_box(str(image.location), image.box), image)
        for image in _open(path).images()
    ]


def _open(path: str | os.PathLike[str]) -> Source:
    return path.open() if isinstance(path, TableInput) else open_source(path, expected=_EXPECTED)


def _no_images_error(item: GivenImage) -> SourceError:
    path = item if isinstance(item, TableInput) else str(item)
    return _open(path).no_images_error("expected files or folders of images")
