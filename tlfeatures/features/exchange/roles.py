"""What the parts of a features file are: ids, labels, groups, splits, digests, values.

A part is an array of a NumPy or HDF5 file, or a column of a table. Its name says what it is: the
usual names are those of tables of images, and their plurals. The argument `columns` gives other
names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError
from tlfeatures.features.sources.folder_labels import LabelRow, split_from_name, with_folder_labels
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.features.sources.tables import roles
from tlfeatures.features.sources.tables.roles import USUAL_NAMES

FEATURES = "features"
VALUES = "values"

# Roles of parts, and their usual names. The first two are plain names, which win over the others.
ROLES = {
    "id": ("id", "ids", *USUAL_NAMES["id"][1:], "paths", "filenames", "filepaths", "images"),
    "label": ("label", "labels", *USUAL_NAMES["label"][1:], "y", "targets", "classes"),
    "group": ("group", "groups", *USUAL_NAMES["group"][1:]),
    "split": ("split", "splits"),
    "sha256": ("sha256",),
}
_PLAIN = 2
LABEL_NAMES = ("label_names", "class_names", "target_names")
GENERAL = ("features", "embeddings", "embedding", "x", "data")  # names that name no embedding


def check_columns(columns: Mapping[str, str] | None) -> None:
    """Raise `ParameterError` if `columns` is not a mapping of roles to names."""
    roles.check_columns(columns, (*ROLES, FEATURES), "id=filename,features=emb")


def find_parts(
    names: Sequence[str],
    columns: Mapping[str, str] | None,
    named: object,
    has_numbers: Callable[[str], bool] = lambda name: False,
) -> dict[str, str]:
    """Return the name of the part that has each role, of the roles that a part has.

    Parameters
    ----------
    names : sequence of str
        Names of all parts.
    columns : mapping of role to name, optional
        An empty name means that no part has this role.
    named : path
        The file, for messages.
    has_numbers : callable (name) -> bool
        Whether all values of a part are whole numbers. Such ids may count the rows, so that names
        of images are better ids.

    Raises
    ------
    DatasetError
        If a part of `columns` is missing, or several parts may have a role.
    """
    check_columns(columns)
    given = {role: name for role, name in (columns or {}).items() if role in ROLES}
    parts = {role: exact_name(name, names, named) for role, name in given.items() if name}
    free = [name for name in names if name not in parts.values()]
    keys = {name: roles.usual_key(name) for name in free}
    for role, usual in ROLES.items():
        if role in given:
            continue
        plain = [name for name in free if keys[name] in usual[:_PLAIN]]
        others = [name for name in free if keys[name] in usual[_PLAIN:]]
        if role == "id" and plain and others and all(map(has_numbers, plain)):
            plain = []
        found = plain or others
        if len(found) > 1:
            raise DatasetError(
                f"{named} has {' and '.join(map(repr, found))}, and each may be the {role}; choose "
                f"one: --columns {role}={found[0]}"
            )
        if found:
            parts[role] = found[0]
    return {role: parts[role] for role in ROLES if role in parts}


def exact_name(wanted: str, names: Sequence[str], named: object) -> str:
    """Return a name as the file writes it; raise `DatasetError` if the file doesn't have it."""
    same = [name for name in names if wanted.casefold() == name.casefold()]
    if wanted in same or len(same) == 1:
        return wanted if wanted in same else same[0]
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
        stated = list(zip(*parts, strict=True))
        shared = {row: LabelRow(*row) for row in set(stated)}  # many images share few labels
        rows = [shared[row] for row in stated]
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
