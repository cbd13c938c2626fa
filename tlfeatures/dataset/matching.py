"""Matching the images of several datasets: only the images that all of them have are kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.errors import DatasetError
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.names import counted

logger = logging.getLogger(__name__)
Name = TypeVar("Name")


def keep_common(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Keep the common images of datasets, and give all datasets the same ids and copies.

    The number of images that are left out is logged. A pair of images is a copy if it is one in any
    of the datasets.

    Raises
    ------
    DatasetError
        If no image is in all datasets, or an image has different labels, groups or splits.
    """
    if len(datasets) == 1:
        return list(datasets)
    forms = _forms({place: data.ids.tolist() for place, data in enumerate(datasets)})
    everywhere = set.intersection(*map(set, forms.values()))
    common = [form for form in forms[0] if form in everywhere]  # the order of the first
    if not common:
        files = ", ".join(dict.fromkeys(data.file for data in datasets))
        raise DatasetError(
            f"{files} have no image in common; give files that were extracted from the same folder"
        )
    most = max(len(data.ids) for data in datasets)
    if len(common) < most:
        logger.warning(
            "only %d of %d images are in every file; the other images are not used",
            len(common),
            most,
        )
    cut = [_rows(data, forms[place], common) for place, data in enumerate(datasets)]
    first = cut[0]
    for data in cut:
        if (data.y != first.y).any():
            row = int(np.flatnonzero(data.y != first.y)[0])
            raise DatasetError(
                f"{data.ids[row]} has the label {first.y[row]} in {first.file} and {data.y[row]} "
                f"in {data.file}; give the labels with --labels TABLE"
            )
        for name in ("groups", "split"):
            if not _same(getattr(data, name), getattr(first, name)):
                raise DatasetError(
                    f"{first.file} and {data.file} have different {name}; give all of them the "
                    f"same {name}, as one benchmark has one division into folds"
                )
    copies = np.unique(np.concatenate([data.copies for data in cut]), axis=0)
    unreadable = {normalize_name(image.id): image for data in cut for image in data.unreadable}
    failed = tuple(unreadable[form] for form in sorted(unreadable))
    return [replace(data, ids=first.ids, copies=copies, unreadable=failed) for data in cut]


def different_images(first: Dataset, other: Dataset) -> str | None:
    """Say how many images have another content in two datasets of the same ids; None if none has.

    Datasets without the sha256 of the image files are not compared.
    """
    if first.digests is None or other.digests is None:
        return None
    if not first.has_file_digests or not other.has_file_digests:
        return None
    rows = np.flatnonzero((first.digests != other.digests).any(axis=1))
    if not len(rows):
        return None
    return (
        f"{first.file} and {other.file} have different images under the same id in "
        f"{counted(len(rows), 'case')}, such as {first.ids[rows[0]]}"
    )


def _same(one: NDArray[np.str_] | None, other: NDArray[np.str_] | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def rows_of(wanted: list[str], ids: list[str]) -> list[int] | None:
    """Return the rows of the wanted ids in a file, or None if an id is missing.

    Parameters
    ----------
    wanted : list of str
    ids : list of str
        Ids of the file, in the order of its rows.
    """
    forms = _forms({"wanted": wanted, "ids": ids})
    row_of = {form: row for row, form in enumerate(forms["ids"])}
    rows = [row_of.get(form) for form in forms["wanted"]]
    return None if None in rows else [row for row in rows if row is not None]


def _forms(ids: Mapping[Name, list[str]]) -> dict[Name, list[str]]:
    """Return the text of each id that is compared with the ids of other files.

    Operating systems write the same name in different Unicode forms, so the ids are normalised. If
    two images of a file have the same normalised id, the unchanged ids are compared.
    """
    forms = {name: [normalize_name(id_) for id_ in own] for name, own in ids.items()}
    if any(len(set(own)) < len(own) for own in forms.values()):
        return dict(ids)
    return forms


def _rows(data: Dataset, forms: list[str], wanted: list[str]) -> Dataset:
    """Return the rows whose forms are `wanted`, in the order of `wanted`."""
    row_of = {form: row for row, form in enumerate(forms)}
    return data.take(np.array([row_of[form] for form in wanted]))
