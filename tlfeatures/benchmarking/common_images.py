"""Embeddings of one or several files, cut to the images that all files have."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.load import load_dataset
from tlfeatures.errors import DatasetError
from tlfeatures.features.combined import parts_of
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.names import as_list, unknown_name

if TYPE_CHECKING:
    pass

logger = logging.getLogger(__name__)
Name = TypeVar("Name")


def load_datasets(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    embeddings: str | Sequence[str],
    how: Mapping[str, Any],
) -> dict[tuple[str, str], Dataset]:
    """Each wanted embedding of each file, cut to the images that all have, copies put together."""
    paths = list(dict.fromkeys(str(path) for path in _listed(files)))
    held = {path: list(read_header(path).embeddings) for path in paths}
    wanted = as_list(embeddings)
    for name in wanted:
        parts = parts_of(name)
        if name != "all" and not any(set(parts) <= set(names) for names in held.values()):
            every = list(dict.fromkeys(name for names in held.values() for name in names))
            missing = next((part for part in parts if part not in every), name)
            raise unknown_name(f"embedding of {', '.join(paths)}", missing, [*every, "all"])
    beside = [name for name in dict.fromkeys(wanted) if len(parts_of(name)) > 1]
    loaded = {}
    for path, names in held.items():
        chosen = [name for name in names if name in wanted or "all" in wanted]
        once = how  # the copies of a file are those of all of its embeddings
        for name in [*chosen, *(each for each in beside if set(parts_of(each)) <= set(names))]:
            loaded[path, name] = load_dataset(path, name, **once)
            once = {**how, "near_duplicates": None}
    return _aligned(loaded)


def _listed(files: Any) -> list[str | os.PathLike[str]]:
    return [files] if isinstance(files, str | os.PathLike) else list(files)


def _aligned(
    datasets: dict[tuple[str, str], Dataset],
) -> dict[tuple[str, str], Dataset]:
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
        normalize_name(each.id): each for data in cut.values() for each in data.unreadable
    }
    failed = tuple(unreadable[form] for form in sorted(unreadable))
    return {
        name: replace(data, ids=first.ids, copies=copies, unreadable=failed)
        for name, data in cut.items()
    }


def cut_to_common(data: Dataset, file: str, others: Mapping[str, Header], first: str) -> Dataset:
    """Cut a dataset of one file to the images that all files of a benchmark have.

    Parameters
    ----------
    data : Dataset
        Of `file`.
    others : mapping of file to Header
        Of the other files.
    first : str
        The file whose ids name the images.
    """
    ids = {
        other: [id_ for id_, done in zip(header.ids, header.done, strict=True) if done]
        for other, header in others.items()
    }
    ids[file] = data.ids.tolist()
    forms = _forms(ids)
    names = dict(zip(forms[first], ids[first], strict=True))
    common = sorted(set.intersection(*map(set, forms.values())))
    cut = _rows(data, forms[file], common)
    return replace(cut, ids=np.array([names[form] for form in common]))


def _forms(ids: Mapping[Name, list[str]]) -> dict[Name, list[str]]:
    """Give the form of each id by which images of several files are compared.

    Systems write one name in several Unicode forms. Where these can't tell the images of a file
    apart, the ids themselves are compared.
    """
    forms = {name: [normalize_name(id_) for id_ in each] for name, each in ids.items()}
    if any(len(set(each)) < len(each) for each in forms.values()):
        return dict(ids)
    return forms


def _rows(data: Dataset, forms: list[str], wanted: list[str]) -> Dataset:
    """The rows of the ids that have these forms, in their order."""
    place = {form: row for row, form in enumerate(forms)}
    return data.take(np.array([place[form] for form in wanted]))
