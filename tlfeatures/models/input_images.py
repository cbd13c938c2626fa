"""Listing the image files to label, from paths, folders and URLs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.locations import is_file_at, is_url
from tlfeatures.features.sources.open_source import is_source, open_source
from tlfeatures.features.sources.records import Location
from tlfeatures.names import as_list

logger = logging.getLogger(__name__)


def list_images(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[Location]:
    """Return image files, those of folders and other sources, too, in the order of the inputs.

    Raises
    ------
    ParameterError
        If an input does not exist.
    SourceError
        If there are no images.
    """
    items = as_list(inputs)
    images_of = [_expand(as_location(item)) for item in items]
    if not items:
        raise SourceError("no images are given; expected image files or folders")
    empty = [item for item, images in zip(items, images_of, strict=True) if not images]
    if len(empty) == len(items):
        raise _no_images_error(items[0])
    for item in empty:
        logger.warning("%s", _no_images_error(item))
    return [image for images in images_of for image in images]


def as_location(item: str | os.PathLike[str]) -> str | Path:
    """Return a path as a `Path`, and a URL as text, because a `Path` would change `//` to `/`."""
    return item if isinstance(item, str) and is_url(item) else Path(item)


_EXPECTED = "expected an image or a folder of images"


def _expand(path: str | Path) -> list[Location]:
    if isinstance(path, str):
        return [path] if is_file_at(path) else _images_of(path)
    if path.is_file() and not is_source(str(path)):
        return [path]
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ParameterError(f"{path} is not a file; {_EXPECTED}")
    return _images_of(path)


def _images_of(path: str | Path) -> list[Location]:
    return [image.location for image in open_source(path, expected=_EXPECTED).images()]


def _no_images_error(item: str | os.PathLike[str]) -> SourceError:
    return open_source(item).no_images_error("expected files or folders of images")
