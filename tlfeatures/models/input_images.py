"""Listing the image files to label, from paths, folders and URLs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.folders import find_images, no_images_error
from tlfeatures.features.sources.locations import is_file_at, is_url
from tlfeatures.names import as_list

logger = logging.getLogger(__name__)


def list_images(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[str | Path]:
    """Return image files, including files in folders and at URLs, in the order of the inputs.

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
        raise no_images_error(items[0], "expected files or folders of images")
    for item in empty:
        logger.warning("%s", no_images_error(item, "expected files or folders of images"))
    return [image for images in images_of for image in images]


def as_location(item: str | os.PathLike[str]) -> str | Path:
    """Return a path as a `Path`, and a URL as text, because a `Path` would change `//` to `/`."""
    return item if isinstance(item, str) and is_url(item) else Path(item)


def _expand(path: str | Path) -> list[str | Path]:
    if isinstance(path, str):
        return [path] if is_file_at(path) else [image.location for image in find_images(path)]
    if path.is_dir():
        return [image.path for image in find_images(path)]
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise ParameterError(f"{path} {what}; expected an image or a folder of images")
    return [path]
