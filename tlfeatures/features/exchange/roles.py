"""What the parts of a features file are: ids, labels, groups, splits, digests, values.

A part is an array of a NumPy or HDF5 file, or a column of a table. Its name says what it is; case
doesn't count. The argument `columns` gives other names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.sources.folder_labels import LabelRow, split_from_name, with_folder_labels
from tlfeatures.features.sources.spelling import normalize_name

FEATURES = "features"
VALUES = "values"

# Roles of parts, and their usual names.
ROLES = {
    "id": ("id", "ids", "path", "paths", "filename", "filenames", "file_name", "file", "image"),
    "label": ("label", "labels", "y", "target", "targets"),
    "group": ("group", "groups"),
    "split": ("split", "splits"),
    "sha256": ("sha256",),
}
LABEL_NAMES = ("label_names", "class_names", "target_names")
GENERAL = ("features", "embeddings", "embedding", "x", "data")  # names that name no embedding


def check_columns(columns: Mapping[str, str] | None) -> None:
    """Raise `ParameterError` if `columns` is not a mapping of roles to names."""
    for role, name in (columns or {}).items():
        if role not in (*ROLES, FEATURES) or not isinstance(name, str) or not name:
            raise ParameterError(
                f"columns has {role!r}: {name!r}; expected the name of a column or an array for "
                f"any of {', '.join((*ROLES, FEATURES))}, as in id=filename,features=emb"
            )


def find_parts(
    names: Sequence[str], columns: Mapping[str, str] | None, named: object
) -> dict[str, str]:
    """Return the name of the part that has each role, of the roles that a part has.

    Raises
    ------
    DatasetError
        If a part of `columns` is missing.
    """
    check_columns(columns)
    folded = {name.casefold(): name for name in reversed(names)}  # the first of equal names
    parts = {}
    for role, usual in ROLES.items():
        wanted = (columns or {}).get(role)
        if wanted is not None:
            parts[role] = exact_name(wanted, names, named)
            continue
        found = next((folded[name] for name in usual if name in folded), None)
        if found is not None:
            parts[role] = found
    return parts


def exact_name(wanted: str, names: Sequence[str], named: object) -> str:
    """Return a name as the file writes it; raise `DatasetError` if the file doesn't have it."""
    for name in names:
        if wanted == name or wanted.casefold() == name.casefold():
            return name
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    raise DatasetError(f"{named} has no {wanted!r}; it has {shown or 'nothing'}")


@dataclass(frozen=True)
class RowFacts:
    """What a features file says of its rows besides their values. None: nothing.

    Attributes
    ----------
    id : list of str, length n, or None
    label, group, split : list of (str or None), length n, or None
        The split is train, val or test.
    sha256 : list of bytes, length n, or None
        sha256 of each image file.
    """

    id: list[str] | None = None
    label: list[str | None] | None = None
    group: list[str | None] | None = None
    split: list[str | None] | None = None
    sha256: list[bytes] | None = None

    def label_rows(self, ids: Sequence[str]) -> list[LabelRow] | None:
        """Return label, group and split of each row; None without any of them.

        Without labels, they are those of the folders in the ids.
        """
        if not self.states_labels:
            return None
        count = len(ids)
        parts = (part or [None] * count for part in (self.label, self.group, self.split))
        rows = [LabelRow(*row) for row in zip(*parts, strict=True)]
        if self.label is not None:
            return rows
        return [*with_folder_labels(dict(zip(ids, rows, strict=True))).values()]

    @property
    def states_labels(self) -> bool:
        """Whether the file has labels, groups or splits."""
        return any(role is not None for role in (self.label, self.group, self.split))

    def lengths(self) -> dict[str, int]:
        """Return the number of values of each role that the file has."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {role: len(items) for role, items in values.items() if items is not None}


def row_facts(parts: Mapping[str, Iterable[Any]], named: object) -> RowFacts:
    """Convert the values of each role.

    Parameters
    ----------
    parts : mapping of role to n values
        Texts, bytes, numbers, or None.
    named : path
        The file, for messages.

    Raises
    ------
    DatasetError
        If a value has the wrong form.
    """
    texts = {role: _texts(role, values, named) for role, values in parts.items()}
    return RowFacts(
        id=None if "id" not in texts else _ids(texts["id"], named),
        label=texts.get("label"),
        group=texts.get("group"),
        split=None if "split" not in texts else _splits(texts["split"], named),
        sha256=None if "sha256" not in texts else _digests(texts["sha256"], named),
    )


def _texts(role: str, values: Iterable[Any], named: object) -> list[str | None]:
    known: dict[Any, str | None] = {}  # many rows share few labels
    texts: list[str | None] = []
    for value in values:
        if role == "id" and type(value) is str:
            texts.append(value)
            continue
        if value not in known:
            known[value] = _text(role, value, named)
        texts.append(known[value])
    return texts


def _text(role: str, value: Any, named: object) -> str | None:
    """Convert a value to a text; None if it is missing."""
    if value is None or value != value:  # NaN isn't equal to itself
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float):
        if not value.is_integer():
            raise DatasetError(
                f"{named} has the {role} {value}; expected names or whole numbers. Replace the "
                "numbers by names of classes or ranges"
            )
        value = int(value)
    return (str(value) if role == "id" else normalize_name(str(value))) or None


def _ids(texts: list[str | None], named: object) -> list[str]:
    ids = []
    for row, text in enumerate(texts):
        if not text or "\0" in text:
            raise DatasetError(f"{named}: row {row} has the id {text!r}; every row needs an id")
        ids.append(text)
    return ids


def _splits(texts: list[str | None], named: object) -> list[str | None]:
    names: dict[str | None, str | None] = {None: None}
    for text in set(texts) - {None}:
        names[text] = split_from_name(str(text))
        if names[text] is None:
            raise DatasetError(f"{named} has the split {text!r}; expected train, val or test")
    return [names[text] for text in texts]


def _digests(texts: list[str | None], named: object) -> list[bytes] | None:
    """Read hexadecimal digests; None if no row has one."""
    if not any(texts):
        return None
    digests = []
    for row, text in enumerate(texts):
        try:
            digest = bytes.fromhex(text or "")
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise DatasetError(
                f"{named}: row {row} has the sha256 {str(text)[:20]!r}; expected 64 hexadecimal "
                "digits in every row, or no sha256 at all"
            )
        digests.append(digest)
    return digests


def with_names(labels: NDArray[Any], names: NDArray[Any] | None, named: object) -> list[Any]:
    """Return labels; whole numbers that count `names` are replaced by these.

    Parameters
    ----------
    labels : ndarray of shape (n,)
    names : ndarray of shape (k,), or None

    Raises
    ------
    DatasetError
        If a number counts none of the names.
    """
    listed: list[Any] = labels.tolist()
    if names is None or labels.dtype.kind not in "iu":
        return listed
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DatasetError(
            f"{named} has the label {wrong}, but {len(names)} names of labels; expected numbers "
            f"from 0 to {len(names) - 1}"
        )
    return list(np.asarray(names, object)[labels])
