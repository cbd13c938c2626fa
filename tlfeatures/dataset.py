"""An embeddings file and labels become arrays: X, y, groups, ids, split."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.spec import Spec, unknown_name
from tlfeatures.features.store import Header, Reader

logger = logging.getLogger(__name__)

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}

_ID_COLUMNS = ("id", "path", "file", "filename", "image")


@dataclass(frozen=True)
class Dataset:
    """Labelled embeddings.

    Attributes
    ----------
    X : ndarray of shape (n, d), float32
    y : ndarray of shape (n,), str
        The class of each image.
    groups : ndarray of shape (n,), str, or None
        Images of one group (patient, site, video) never stand on both sides of a fold.
    ids : ndarray of shape (n,), str
        POSIX path relative to the source folder.
    split : ndarray of shape (n,), str, or None
        train, val or test, where the folders say so.
    embedding : str
        `LAYER.POOLING`, the column meaning of X.
    spec : Spec
        How X came about.
    file : str
    """

    X: NDArray[np.float32]
    y: NDArray[np.str_]
    groups: NDArray[np.str_] | None
    ids: NDArray[np.str_]
    split: NDArray[np.str_] | None
    embedding: str
    spec: Spec
    file: str

    @property
    def classes(self) -> list[str]:
        """The classes, sorted."""
        return sorted(set(self.y.tolist()))


@dataclass(frozen=True)
class Row:
    """What is known of one image beside its embedding; None where it is not."""

    label: str | None
    group: str | None = None
    split: str | None = None


def load_dataset(
    file: str | os.PathLike[str],
    embedding: str | None = None,
    labels: str | os.PathLike[str] | Mapping[str, str] | None = None,
) -> Dataset:
    """Load one embedding of a file with its labels.

    Parameters
    ----------
    file : path
        Made by `extract`.
    embedding : str, optional
        `LAYER.POOLING`; not needed where the file has only one, or block5_pool.avg.
    labels : path of a CSV file, or mapping of id to label, optional
        A CSV needs the columns `id` and `label`; `group` and `split` (train, val, test) are
        read where they are there. Without it the class is the image's folder.

    Returns
    -------
    Dataset
        Finished and labelled images only, in the order of their ids.

    Raises
    ------
    DatasetError
        If there are no labels, or no image is finished.
    ParameterError
        If there is no such embedding.
    StoreError
        If the file can't be read.
    """
    with Reader(file) as reader:  # one opening: the file may be replaced at any moment
        header = reader.header
        name = _choose_embedding(header, embedding)
        X = reader.read(name)
    ids = [id_ for id_, done in zip(header.ids, header.done.tolist(), strict=True) if done]
    _warn_about_missing(header, len(ids))
    rows = _rows_of(ids, labels)
    labelled = np.array([row.label is not None for row in rows], bool)
    if not labelled.any():
        raise DatasetError(_no_labels(header, labels))
    if not labelled.all():
        logger.warning(
            "%d of %d images have no label and are left out", (~labelled).sum(), len(ids)
        )
    kept = [row for row in rows if row.label is not None]
    kept_ids = [id_ for id_, row in zip(ids, rows, strict=True) if row.label is not None]
    digests = [digest for digest, done in zip(header.digests, header.done, strict=True) if done]
    if not any(row.group for row in kept):
        _warn_about_copies([digests[row] for row in np.flatnonzero(labelled)], kept)
    return Dataset(
        X=X if labelled.all() else X[labelled],
        y=np.array([row.label for row in kept]),
        groups=_column(kept, kept_ids, "group"),
        ids=np.array(kept_ids),
        split=_column(kept, kept_ids, "split"),
        embedding=name,
        spec=header.spec,
        file=str(file),
    )


def _choose_embedding(header: Header, embedding: str | None) -> str:
    names = list(header.embeddings)
    if embedding is None and len(names) == 1:
        return names[0]
    if embedding is None and "block5_pool.avg" not in names:
        raise ParameterError(
            f"{header.path} has several embeddings: choose one with --embedding, of "
            f"{', '.join(names)}"
        )
    chosen = embedding or "block5_pool.avg"
    if chosen not in names:
        raise unknown_name(f"embedding of {header.path}", chosen, names)
    return chosen


def _warn_about_copies(digests: list[bytes], rows: list[Row]) -> None:
    """Copies on both sides of a fold are no test; contradicting ones have a wrong label."""
    labels: dict[bytes, set[str | None]] = {}
    for digest, row in zip(digests, rows, strict=True):
        labels.setdefault(digest, set()).add(row.label)
    copies = len(digests) - len(labels)
    if copies:
        torn = sum(len(found) > 1 for found in labels.values())
        logger.warning(
            "%d images are exact copies of others, so that scores are too good where a fold parts "
            "them; give copies one group with --labels CSV (id,label,group), or remove them%s",
            copies,
            f"; {torn} of them lie in two classes" if torn else "",
        )


def _warn_about_missing(header: Header, done: int) -> None:
    failed = len(header.failures)
    waiting = len(header.ids) - done - failed
    if failed:
        logger.warning(
            "%d of %d images could not be read and are left out", failed, len(header.ids)
        )
    if waiting:
        logger.warning(
            "%d of %d images are not embedded yet and are left out; run `tlfeatures extract` "
            "again to finish",
            waiting,
            len(header.ids),
        )


def _column(rows: list[Row], ids: list[str], name: str) -> NDArray[np.str_] | None:
    """All or none: a blank cell would silently switch groups or splits off."""
    values = [getattr(row, name) for row in rows]
    blank = [id_ for id_, value in zip(ids, values, strict=True) if value is None]
    if len(blank) == len(values):
        return None
    if blank:
        raise DatasetError(
            f"{len(blank)} of {len(values)} labelled images have no {name}, {blank[0]!r} first; "
            f"give each one a {name}, or none"
        )
    return np.array(values)


def _no_labels(header: Header, labels: Any) -> str:
    if not header.done.any():
        return f"no image of {header.path} is embedded; run `tlfeatures extract` again"
    if labels is None:
        return (
            f"the images of {header.path} lie in no class folders ({header.ids[0]}); give their "
            "labels with --labels CSV (columns id,label)"
        )
    return f"no id of the labels is an image of {header.path}; its ids look like {header.ids[0]!r}"


# ---- labels


def _rows_of(ids: list[str], labels: Any) -> list[Row]:
    if labels is None:
        return from_folders(ids)
    table = (
        {str(id_): Row(str(label)) for id_, label in labels.items()}
        if isinstance(labels, Mapping)
        else _read_csv(Path(labels))
    )
    unknown = len(set(table) - set(ids))
    if unknown:
        logger.warning("%d of %d labels belong to no embedded image", unknown, len(table))
    if any(row.split for row in table.values()):
        return [table.get(id_, Row(None)) for id_ in ids]
    splits = [row.split for row in from_folders(ids)]
    rows = (table.get(id_, Row(None)) for id_ in ids)
    return [Row(row.label, row.group, split) for row, split in zip(rows, splits, strict=True)]


def from_folders(ids: list[str]) -> list[Row]:
    """CLASS/image, or SPLIT/CLASS/image where every top folder is a split's name, train first.

    A folder train that holds images and no class folders is a class called train.
    """
    parts = [id_.split("/") for id_ in ids]
    tops = {part[0] for part in parts if len(part) > 1}
    named = {top: SPLITS[top.lower()] for top in tops if top.lower() in SPLITS}
    with_classes = {named.get(part[0]) for part in parts if len(part) > 2}
    if "train" in with_classes and tops == set(named):
        return [
            Row(part[1], split=named[part[0]]) if len(part) > 2 else Row(None) for part in parts
        ]
    if "train" in with_classes and len(named) > 1:
        logger.warning(
            "beside the splits %s there is %s: every one of these folders is taken for a class",
            ", ".join(sorted(named)),
            ", ".join(sorted(tops - set(named))),
        )
    return [Row(part[0] if len(part) > 1 else None) for part in parts]


def _read_csv(path: Path) -> dict[str, Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip().lower() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            key = next((name for name in _ID_COLUMNS if name in columns), None)
            if key is None or "label" not in columns:
                raise DatasetError(
                    f"{path} has the columns {', '.join(columns) or '(none)'}; expected id and "
                    "label, and where wanted group and split"
                )
            table: dict[str, Row] = {}
            for row in reader:
                made = _csv_row(path, row)
                if table.setdefault(row[key], made) != made:
                    raise DatasetError(f"{path} has {row[key]!r} twice, and not the same")
            return table
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} can't be read as a CSV of labels: {error}") from error


def _csv_row(path: Path, row: dict[str, str]) -> Row:
    split = row.get("split") or None
    if split and split not in SPLITS:
        raise DatasetError(f"{path}: a split is train, val or test, got {split!r}")
    return Row(row["label"] or None, row.get("group") or None, SPLITS[split] if split else None)
