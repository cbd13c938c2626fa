"""Where the pictures of the page come from: the images that were labelled, found by their names."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.file.reader import is_embeddings_file, read_header
from tlfeatures.features.images.inputs import ImageInput, Images, as_location
from tlfeatures.features.sources.locations import is_url
from tlfeatures.features.sources.open_source import open_stored_source
from tlfeatures.features.sources.records import Member
from tlfeatures.models.feature_input import features_file
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.input_images import list_images
from tlfeatures.names import as_list
from tlfeatures.reports.page.thumbnails import Original, find_originals

Originals = Mapping[str, Original | None]


def find_labelled(names: Sequence[str], images: Images | None, model: FittedHead) -> Originals:
    """Find the images that were labelled.

    Parameters
    ----------
    names : sequence of str
        Names of the images in their predictions.
    images : path, or sequence of path, optional
        What was labelled. If not given, the names are the paths of files.
    model : FittedHead
    """
    if images is None:
        return {name: Original(as_location(name)) for name in names}
    given = as_list(images)
    paths = [item for item in given if isinstance(item, str | os.PathLike)]
    features = features_file(model, paths) if len(paths) == len(given) and paths else None
    if features is not None:
        return _of_embeddings(names, features)
    files = {name: Original(as_location(name)) for name in names if _is_file(name)}
    others = set(names) - set(files)
    return {**files, **(_listed_again(others, given) if others else {})}


def _is_file(name: str) -> bool:
    return is_url(name) or Path(name).is_file()


def _listed_again(names: Collection[str], given: list[ImageInput]) -> dict[str, Original]:
    """Find members of archives and parts of images, whose names are no paths of files."""
    try:
        images = list_images(given)
    except (ParameterError, SourceError):  # they were there when they were labelled
        return {}
    return {
        image.key: Original(image.image, image.box)
        for image in images
        if image.key in names and isinstance(image.image, str | Path | Member)
    }


def _of_embeddings(names: Sequence[str], file: Path) -> Originals:
    """Find the images of an embeddings file in its source, if that is still there."""
    if not is_embeddings_file(file):
        return {}
    header = read_header(file)
    try:
        source = open_stored_source(header.provenance)
        digests = dict(zip(header.ids, header.digests, strict=True))
        return {} if source is None else find_originals(source, names, digests)
    except (ParameterError, SourceError):
        return {}
