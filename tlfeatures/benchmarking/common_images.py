"""Loading embeddings of one or several files, reduced to the images that all files contain."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.dataset.labels import Groups, Labels
from tlfeatures.dataset.load import Data, as_dataset, check_data
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.combined import parts_of
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.names import as_list, unknown_name

logger = logging.getLogger(__name__)
Name = TypeVar("Name")


def load_datasets(
    data: Data | Sequence[Data],
    embeddings: str | Sequence[str] = "all",
    *,
    labels: Labels = None,
    groups: Groups = None,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    variants: int | None = None,
) -> list[Dataset]:
    """Load embeddings, and keep the images that all files and datasets contain.

    Parameters
    ----------
    data : path, Dataset, or sequence of them
        Embeddings files and datasets of the same images.
    embeddings : str or sequence of str
        Names of embeddings, joined embeddings such as `A+B`, or "all".
    labels, groups, label_level, label_columns, near_duplicates, variants
        See `load_dataset`. They apply to files, not to datasets.

    Returns
    -------
    list of Dataset
        One dataset for each embedding. All have the same ids, labels and copies; a pair of images
        is a copy if one of the files says so.

    Raises
    ------
    DatasetError
        If the files have no images in common, or different labels for an image.
    ParameterError
        If no file or dataset has one of the embeddings, or an option is given for a dataset.
    """
    sources = _listed(data)
    if not sources:
        raise ParameterError("data is empty; expected an embeddings file or a dataset")
    available = [_embeddings_of(source) for source in sources]
    chosen = _choose(as_list(embeddings), available, ", ".join(map(_name, sources)))
    loaded = []
    for source, names in zip(sources, chosen, strict=True):
        similarity = near_duplicates
        for name in names:
            loaded.append(
                as_dataset(
                    source,
                    embedding=None if isinstance(source, Dataset) else name,
                    labels=labels,
                    groups=groups,
                    label_level=label_level,
                    label_columns=label_columns,
                    near_duplicates=similarity,
                    variants=variants,
                )
            )
            if not isinstance(source, Dataset):
                similarity = None  # all embeddings of a file have the same copies
    return _cut_all(loaded)


def _listed(data: Data | Sequence[Data]) -> list[Data]:
    """Give a list, with each file once."""
    if isinstance(data, str | os.PathLike | Dataset) or not isinstance(data, Iterable):
        data = [data]
    for each in data:
        check_data(each)
    sources = [each if isinstance(each, Dataset) else str(each) for each in data]
    files = dict.fromkeys(each for each in sources if isinstance(each, str))
    return [*files, *(each for each in sources if isinstance(each, Dataset))]


def _name(source: Data) -> str:
    return source.file if isinstance(source, Dataset) else str(source)


def _embeddings_of(source: Data) -> list[str]:
    """Return the names of the embeddings of a file, or the name of a dataset's embedding."""
    if isinstance(source, Dataset):
        return [source.embedding]
    return list(read_header(source).embeddings)


def _choose(wanted: list[str], available: list[list[str]], sources: str) -> list[list[str]]:
    """Return the embeddings to load from each source."""
    for name in wanted:
        parts = parts_of(name)
        if name != "all" and not any(name in own or set(parts) <= set(own) for own in available):
            every = list(dict.fromkeys(name for own in available for name in own))
            missing = next((part for part in parts if part not in every), name)
            raise unknown_name(f"embedding of {sources}", missing, [*every, "all"])
    joined = [name for name in dict.fromkeys(wanted) if len(parts_of(name)) > 1]
    return [
        [
            *(name for name in own if name in wanted or "all" in wanted),
            *(name for name in joined if name not in own and set(parts_of(name)) <= set(own)),
        ]
        for own in available
    ]


def _cut_all(datasets: list[Dataset]) -> list[Dataset]:
    """Keep the common images of datasets, and give all datasets the same ids and copies."""
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
                f"in {data.file}; give the labels with --labels CSV"
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
