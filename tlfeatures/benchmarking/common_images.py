"""Embeddings of one or several files, cut to the images that all files have."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.load import load_dataset
from tlfeatures.errors import DatasetError
from tlfeatures.features.combined import parts_of
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.names import as_list, unknown_name

logger = logging.getLogger(__name__)
Name = TypeVar("Name")


def load_datasets(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    embeddings: str | Sequence[str],
    options: Mapping[str, Any],
) -> dict[tuple[str, str], Dataset]:
    """Load embeddings of files, cut to the images that all files have.

    Parameters
    ----------
    files : path or sequence of paths
    embeddings : str or sequence of str
        Names, also joined as `A+B`, or "all".
    options : mapping
        Keywords of `load_dataset`.

    Returns
    -------
    dict of (file, embedding) to Dataset
        With the same ids and labels; the copies are those of all files.

    Raises
    ------
    DatasetError
        If the files have no images in common, or different labels for an image.
    ParameterError
        If no file has an embedding.
    """
    paths = list(dict.fromkeys(str(path) for path in _listed(files)))
    available = {path: list(read_header(path).embeddings) for path in paths}
    wanted = as_list(embeddings)
    for name in wanted:
        parts = parts_of(name)
        if name != "all" and not any(set(parts) <= set(names) for names in available.values()):
            every = list(dict.fromkeys(name for names in available.values() for name in names))
            missing = next((part for part in parts if part not in every), name)
            raise unknown_name(f"embedding of {', '.join(paths)}", missing, [*every, "all"])
    joined = [name for name in dict.fromkeys(wanted) if len(parts_of(name)) > 1]
    loaded = {}
    for path, names in available.items():
        chosen = [name for name in names if name in wanted or "all" in wanted]
        own = options  # copies are searched once, as all embeddings of a file have the same
        for name in [*chosen, *(name for name in joined if set(parts_of(name)) <= set(names))]:
            loaded[path, name] = load_dataset(path, name, **own)
            own = {**options, "near_duplicates": None}
    return _cut_all(loaded)


def _listed(files: Any) -> list[str | os.PathLike[str]]:
    return [files] if isinstance(files, str | os.PathLike) else list(files)


def _cut_all(datasets: dict[tuple[str, str], Dataset]) -> dict[tuple[str, str], Dataset]:
    """Cut datasets to their common images, and give all of them the same ids and copies."""
    forms = _forms({name: data.ids.tolist() for name, data in datasets.items()})
    common = sorted(set.intersection(*map(set, forms.values())))
    if not common:
        files = ", ".join(dict.fromkeys(path for path, _ in datasets))
        raise DatasetError(f"{files} have no image in common")
    most = max(len(data.ids) for data in datasets.values())
    if len(common) < most:
        logger.warning(
            "%d of %d images are in every file; the others are left out", len(common), most
        )
    cut = {name: _rows(data, forms[name], common) for name, data in datasets.items()}
    first = next(iter(cut.values()))
    for name, data in cut.items():
        if (data.y != first.y).any():
            row = int(np.flatnonzero(data.y != first.y)[0])
            raise DatasetError(
                f"{data.ids[row]} is {first.y[row]} in one file and {data.y[row]} in {name[0]}: "
                "give --labels CSV"
            )
    copies = np.unique(np.concatenate([data.copies for data in cut.values()]), axis=0)
    unreadable = {
        normalize_name(image.id): image for data in cut.values() for image in data.unreadable
    }
    failed = tuple(unreadable[form] for form in sorted(unreadable))
    return {
        name: replace(data, ids=first.ids, copies=copies, unreadable=failed)
        for name, data in cut.items()
    }


def rows_of(wanted: list[str], ids: list[str]) -> list[int] | None:
    """Return where wanted ids are among the ids of a file, or None if one of them is missing."""
    forms = _forms({"wanted": wanted, "ids": ids})
    row_of = {form: row for row, form in enumerate(forms["ids"])}
    rows = [row_of.get(form) for form in forms["wanted"]]
    return None if None in rows else [row for row in rows if row is not None]


def _forms(ids: Mapping[Name, list[str]]) -> dict[Name, list[str]]:
    """Return the form of each id in which ids of several files are compared.

    Operating systems write one name in different Unicode forms, so the forms are normalised. If two
    images of a file have the same normalised form, the ids themselves are compared.
    """
    forms = {name: [normalize_name(id_) for id_ in own] for name, own in ids.items()}
    if any(len(set(own)) < len(own) for own in forms.values()):
        return dict(ids)
    return forms


def _rows(data: Dataset, forms: list[str], wanted: list[str]) -> Dataset:
    """Return the rows whose ids have the wanted forms, in this order."""
    row_of = {form: row for row, form in enumerate(forms)}
    return data.take(np.array([row_of[form] for form in wanted]))
