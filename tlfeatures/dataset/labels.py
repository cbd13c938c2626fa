"""The label, group and split of each image: from its folders, a CSV file or a mapping.

Names are compared in a normal form (`sources.spelling.normalize_name`): é is é in any form of
Unicode, and blanks at the ends don't count. Labels, groups and splits are returned in that form;
ids stay as they are. Names that differ in another way are different, also 1 and 1.0, or Cat and
cat; a warning says that they look similar.
"""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.label_tables import TableRow, check_columns, read_table
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.sources.folder_hints import folder_hint
from tlfeatures.features.sources.folder_labels import (
    LabelRow,
    check_level,
    labels_from_folders,
    split_from_name,
)
from tlfeatures.features.sources.spelling import describe_similar_names, normalize_name
from tlfeatures.names import some_of

logger = logging.getLogger(__name__)

Labels = str | os.PathLike[str] | Mapping[str, Any] | None
Groups = str | os.PathLike[str] | None

_SHOWN = 3  # ids that a message names
# Texts that programs write for a missing value. A class may have such a name: NA is Namibia.
_NOTHING = frozenset({"na", "n/a", "#n/a", "nan", "null"})


def find_rows(
    ids: Sequence[str],
    labels: Labels = None,
    *,
    level: int | None = None,
    columns: Mapping[str, str] | None = None,
    group_column: bool = True,
) -> list[LabelRow]:
    """Find the label, group and split of each image.

    Parameters
    ----------
    ids : sequence of str
    labels, level, columns
        See `tlfeatures.load_dataset`: labels, label_level and label_columns.
    group_column : bool
        Whether to read groups from the CSV.

    Returns
    -------
    list of LabelRow
        One for each id; its label is None if the image has none.

    Raises
    ------
    DatasetError
        If the labels can't be read, contradict each other, or one of their ids matches two images.
    ParameterError
        If level or columns have an invalid value.
    """
    if labels is None:
        hint = folder_hint(ids, level)
        if hint:
            logger.warning("%s", hint)
        return labels_from_folders(ids, level)
    if level is not None:
        check_level(level)
        raise ParameterError(
            "label_level says which folder is the label, and the labels are given: leave out one"
        )
    if isinstance(labels, Mapping):
        entries, name = _of_mapping(labels), "the mapping of labels"
    else:
        entries, name = _of_table(Path(labels), columns, group_column), str(labels)
    rows = _joined(ids, entries, name)
    if any(row.split for row in rows):
        return rows
    splits = [row.split for row in labels_from_folders(ids)]
    return [LabelRow(row.label, row.group, split) for row, split in zip(rows, splits, strict=True)]


def find_groups(
    groups: str | os.PathLike[str],
    ids: Sequence[str],
    columns: Mapping[str, str] | None = None,
    *,
    columns_of_labels: bool = False,
) -> NDArray[np.str_]:
    """Find the group of each image, from a CSV file or an expression that is searched in its id.

    Parameters
    ----------
    groups, ids, columns
        See `find_rows`.
    columns_of_labels : bool
        Whether the columns are also those of the labels; the ids may then have the usual name.

    Raises
    ------
    DatasetError
        If an image has no group, or the file can't be read.
    ParameterError
        If `groups` is neither a file nor an expression.
    """
    unused: list[_Entry] = []
    if is_table(groups):
        table = read_table(
            Path(groups),
            ("id", "group"),
            (),
            _of_roles(columns, ("id", "group")),
            also_usual=("id",) if columns_of_labels else (),
        )
        entries = [
            _Entry(row.id, LabelRow(None, row.cells["group"] or None), row.line) for row in table
        ]
        rows, unused, _ = _rows_of_images(ids, entries, str(groups))
        values = [row.group for row in rows]
        where = f"{groups} has no group"
    else:
        pattern = _compiled(str(groups))
        values = [_match(pattern, unicodedata.normalize("NFC", id_)) for id_ in ids]
        where = f"the expression '{groups}' matches nothing"
    missing = [id_ for id_, group in zip(ids, values, strict=True) if not group]
    if missing:
        what = f"; rows that match no image: {_in_words(unused)}" if unused else ""
        raise DatasetError(
            f"{where} for {len(missing)} of {len(ids)} images, {missing[0]!r} first; every image "
            f"needs a group{what}"
        )
    return np.array(values)


def is_table(groups: str | os.PathLike[str]) -> bool:
    """Return whether groups are a CSV file and not an expression."""
    if isinstance(groups, os.PathLike) or groups.lower().endswith((".csv", ".tsv")):
        return True
    return os.path.isfile(groups)  # noqa: PTH113, an expression may be longer than a path can be


def check_options(labels: Labels, groups: Groups, columns: Mapping[str, str] | None) -> None:
    """Raise `ParameterError` for invalid columns, and for columns that no file is read for."""
    check_columns(columns)
    of_labels = labels is not None and not isinstance(labels, Mapping)
    of_groups = groups is not None and is_table(groups)
    read = {"label", "split"} if of_labels else set()
    read |= {"group"} if of_groups or (of_labels and groups is None) else set()
    read |= {"id"} if read else set()
    unread = [role for role in columns or {} if role not in read]
    if unread:
        raise ParameterError(
            f"label_columns names a column for {', '.join(unread)}, and no CSV file is given from "
            "which that is read: give it by labels or groups, or leave that column out"
        )


def warn_of_names(labels: Iterable[str], groups: Iterable[str] | None) -> None:
    """Warn of classes or groups that may be one written in two ways, or a missing value."""
    classes = Counter(labels)
    warnings = describe_similar_names("classes", classes)
    warnings += describe_similar_names("groups", Counter(groups)) if groups is not None else []
    for name, count in classes.items():
        if name.casefold() in _NOTHING:
            warnings.append(
                f"{name!r} ({count:,}) is taken for a class; if these images have no label, leave "
                "their cells empty"
            )
    for warning in warnings:
        logger.warning("%s", warning)


# ---- ids


class _Ids:
    """Finds images by ids that may be written in another Unicode form, or with blanks."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids
        self._exact = {id_: place for place, id_ in enumerate(ids)}

    @cached_property
    def _by_form(self) -> dict[str, list[int]]:
        places: defaultdict[str, list[int]] = defaultdict(list)
        for place, id_ in enumerate(self._ids):
            places[normalize_name(id_)].append(place)
        return dict(places)

    def find(self, written: str) -> int | None:
        """Give the position of an image; None if there is no such image."""
        for form in (written, written.strip()):
            if form in self._exact:
                return self._exact[form]
        form = normalize_name(written)
        if form not in self._by_form:
            form = form.replace("\\", "/")  # as Windows writes a path
        places = self._by_form.get(form, [])
        if len(places) > 1:
            named = " and ".join(ascii(self._ids[place]) for place in places)
            raise DatasetError(
                f"the id {written!r} fits {len(places)} images, which differ by blanks or Unicode "
                f"form alone: {named}; write one of them exactly, or rename an image"
            )
        return places[0] if places else None


class _Entry(NamedTuple):
    """Label, group and split of one id; `line` is the line in a file."""

    id: str
    row: LabelRow
    line: int | None = None

    def __str__(self) -> str:
        return repr(self.id) + ("" if self.line is None else f" (line {self.line})")


def _joined(ids: Sequence[str], entries: list[_Entry], name: str) -> list[LabelRow]:
    """Give the row of each image, and warn of entries that belong to no image."""
    rows, unused, count = _rows_of_images(ids, entries, name)
    if len(unused) == count:
        if not unused:
            raise DatasetError(f"{name} has no labels, or no ids")
        raise DatasetError(
            f"no id of the labels is that of an image: they are {_in_words(unused)}; "
            f"{_what_an_id_is(ids)}{_how_to_match(unused, ids)}"
        )
    if unused:
        logger.warning(
            "%d of %d labels belong to no embedded image: %s; %s",
            len(unused),
            count,
            _in_words(unused),
            _what_an_id_is(ids),
        )
    return rows


def _rows_of_images(
    ids: Sequence[str], entries: list[_Entry], name: str
) -> tuple[list[LabelRow], list[_Entry], int]:
    """Give the row of each image, the entries of no image, and the number of different ids."""
    finder = _Ids(ids)
    by_key: dict[int | str, _Entry] = {}
    for entry in entries:
        place = finder.find(entry.id)
        key = normalize_name(entry.id) if place is None else place
        other = by_key.setdefault(key, entry)
        if other.row != entry.row:
            lines = "" if entry.line is None else f" (lines {other.line} and {entry.line})"
            raise DatasetError(f"{name} has {entry.id!r} twice{lines}, and not the same")
    rows = [by_key[place].row if place in by_key else LabelRow(None) for place in range(len(ids))]
    return rows, [entry for key, entry in by_key.items() if isinstance(key, str)], len(by_key)


def _how_to_match(unused: Sequence[_Entry], ids: Sequence[str]) -> str:
    """Say why the first id of the labels matches no image."""
    written = normalize_name(unused[0].id).replace("\\", "/")
    for id_ in map(normalize_name, ids):
        if written.endswith(f"/{id_}"):
            return f"; leave out {written.removesuffix(id_)!r} at their beginning"
        if written.casefold() == id_.casefold():
            return "; they differ by case"
        if written == id_.rpartition(".")[0]:
            return "; they lack the ending"
        if id_.endswith(f"/{written}"):
            return "; they lack the folder"
    return "; --label-columns id=NAME names another column" if _has_lines(unused) else ""


def _has_lines(entries: Sequence[_Entry]) -> bool:
    return any(entry.line is not None for entry in entries)


def _in_words(entries: Sequence[_Entry]) -> str:
    return some_of(map(str, entries), _SHOWN)


def _what_an_id_is(ids: Sequence[str]) -> str:
    return f"an id is the path of an image below the extracted folder, as in {ids[0]!r}"


# ---- labels


def _of_mapping(labels: Mapping[str, Any]) -> list[_Entry]:
    texts = {
        value for value in labels.values() if type(value) is str
    }  # many images share few labels
    rows = {text: _row_of(text) for text in texts}
    return [
        _Entry(_text(id_), rows[value] if type(value) is str else _row_of(value))
        for id_, value in labels.items()
    ]


def _row_of(value: Any) -> LabelRow:
    if isinstance(value, LabelRow):
        return LabelRow(*(_name_of(name) for name in (value.label, value.group, value.split)))
    return LabelRow(_name_of(value))


def _name_of(value: Any) -> str | None:
    """Give a name in normal form; None for the texts and values of a missing one."""
    if value is None or str(value) == "<NA>" or value != value:  # NaN isn't equal to itself
        return None
    return normalize_name(_text(value)) or None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _of_table(path: Path, columns: Mapping[str, str] | None, group_column: bool) -> list[_Entry]:
    optional = ("group", "split") if group_column else ("split",)
    rows = read_table(
        path, ("id", "label"), optional, _of_roles(columns, ("id", "label", *optional))
    )
    return [_Entry(row.id, _row_of_table(path, row), row.line) for row in rows]


def _of_roles(columns: Mapping[str, str] | None, roles: Sequence[str]) -> dict[str, str]:
    return {role: name for role, name in (columns or {}).items() if role in roles}


def _row_of_table(path: Path, row: TableRow) -> LabelRow:
    cells = row.cells
    written = cells.get("split") or ""
    split = split_from_name(written)
    if written and split is None:
        raise DatasetError(
            f"{path}: a split is train, val or test, line {row.line} has {written!r}"
        )
    return LabelRow(cells["label"] or None, cells.get("group") or None, split)


# ---- groups


def _compiled(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(unicodedata.normalize("NFC", expression))
    except (re.error, OverflowError, RecursionError) as error:
        raise ParameterError(
            f"groups is '{expression}': it is neither an existing CSV file nor a regular "
            f"expression ({error})"
        ) from error


def _match(pattern: re.Pattern[str], id_: str) -> str | None:
    match = pattern.search(id_)
    if match is None:
        return None
    return normalize_name((match.group(1) if pattern.groups else match.group(0)) or "") or None
