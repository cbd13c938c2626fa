"""Finding the label, group and split of each image in folders, a table or a Python object.

Names are compared in a normal form (`sources.spelling.normalize_name`): the Unicode forms of é are
equal, and blanks at the ends are ignored. Labels, groups and splits are returned in this form; ids
are not changed. All other differences count: 1 and 1.0 are different names, and so are Cat and cat.
A warning lists names that look similar.
"""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.image_ids import Entry, in_words, rows_of_images, rows_of_labels
from tlfeatures.dataset.label_values import ById, Values, name_of, text_of
from tlfeatures.errors import DatasetError, ParameterError, SourceError
from tlfeatures.features.exchange.open_features import holds_arrays
from tlfeatures.features.exchange.stored_labels import labels_of_features
from tlfeatures.features.sources.folder_hints import folder_hint
from tlfeatures.features.sources.folder_labels import (
    LabelRow,
    check_level,
    labels_from_folders,
)
from tlfeatures.features.sources.records import id_with_box, id_without_box
from tlfeatures.features.sources.spelling import describe_similar_names, normalize_name
from tlfeatures.features.sources.tables.paths import match_uploads
from tlfeatures.features.sources.tables.read_table import TABLE_ENDINGS, read_table
from tlfeatures.features.sources.tables.roles import BOX_ROLES, Wanted, check_columns

logger = logging.getLogger(__name__)

Labels: TypeAlias = str | os.PathLike[str] | Values | None
Groups: TypeAlias = str | os.PathLike[str] | Values | None

# Texts that some programs write for a missing value. They are read as names of classes, with a
# warning, because a class may have such a name: NA is the code of Namibia.
_NOTHING = frozenset({"na", "n/a", "#n/a", "nan", "null"})


def find_rows(
    ids: Sequence[str],
    labels: str | os.PathLike[str] | ById | None = None,
    *,
    level: int | None = None,
    columns: Mapping[str, str] | None = None,
    group_column: bool = True,
) -> list[LabelRow]:
    """Find the label, group and split of each image.

    Parameters
    ----------
    ids : sequence of str
        Ids of the images.
    labels : path of a table, mapping or Series with ids, optional
        Without labels, the folders of the images are their labels. `by_id` gives values without
        ids their ids.
    level, columns
        The arguments label_level and columns of `tlfeatures.load_dataset`.
    group_column : bool
        Whether to read groups from the table.

    Returns
    -------
    list of LabelRow
        One row for each id. The label is None if the image has no label.

    Raises
    ------
    DatasetError
        If the labels can't be read, an image has two labels, or an id matches two images.
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
            "both labels and label_level are given, but label_level selects a folder as the label; "
            "omit one of them"
        )
    if isinstance(labels, str | os.PathLike):
        optional = ("group", "split") if group_column else ("split",)
        wanted = _wanted(columns, ("id", "label"), optional)
        entries, name = _of_file(labels, wanted, columns, ids), str(labels)
    else:
        entries, name = _of_items(labels.items()), "labels"
    rows = rows_of_labels(ids, entries, name)
    if any(row.split for row in rows):
        return rows
    splits = [row.split for row in labels_from_folders(ids)]
    if not any(splits):
        return rows
    return [LabelRow(row.label, row.group, split) for row, split in zip(rows, splits, strict=True)]


def find_groups(
    groups: str | os.PathLike[str] | ById,
    ids: Sequence[str],
    columns: Mapping[str, str] | None = None,
    *,
    columns_of_labels: bool = False,
) -> NDArray[np.str_]:
    """Find the group of each image.

    Parameters
    ----------
    groups : path of a table, regular expression, mapping or Series with ids
        See `tlfeatures.load_dataset`.
    ids, columns
        See `find_rows`.
    columns_of_labels : bool
        Whether `columns` also describes the table of the labels. In this case, the column of ids in
        the table of groups may have its usual name.

    Raises
    ------
    DatasetError
        If an image has no group, or the groups can't be read.
    ParameterError
        If `groups` is neither a file, an expression nor one value for each image.
    """
    unused: list[Entry] = []
    if isinstance(groups, str | os.PathLike) and not is_table(groups):
        pattern = _compiled(str(groups))
        values = [_match(pattern, unicodedata.normalize("NFC", id_)) for id_ in ids]
        where = f"the regular expression '{groups}' has no match"
    else:
        if isinstance(groups, str | os.PathLike):
            usual = ("id", *BOX_ROLES) if columns_of_labels else ()
            wanted = _wanted(columns, ("id", "group"), (), usual)
            entries, name = _entries_of(groups, wanted, ids), str(groups)
        else:
            entries = [
                Entry(text_of(id_), LabelRow(None, name_of(value, "groups")))
                for id_, value in groups.items()
            ]
            name = "groups"
        rows, unused, _ = rows_of_images(ids, entries, name)
        values = [row.group for row in rows]
        where = f"{name} has no group"
    missing = [id_ for id_, group in zip(ids, values, strict=True) if not group]
    if missing:
        what = f"; rows that match no image: {in_words(unused)}" if unused else ""
        raise DatasetError(
            f"{where} for {len(missing)} of {len(ids)} images, such as {missing[0]!r}; every image "
            f"needs a group{what}"
        )
    return np.array(values)


def is_table(groups: str | os.PathLike[str]) -> bool:
    """Return whether `groups` is a table and not a regular expression."""
    if isinstance(groups, os.PathLike) or groups.lower().endswith(TABLE_ENDINGS):
        return True
    return os.path.isfile(groups)  # noqa: PTH113, an expression may be too long for a path


def check_options(labels: Labels, groups: Groups, columns: Mapping[str, str] | None) -> None:
    """Raise `ParameterError` for invalid columns, and for columns of files that are not given."""
    check_columns(columns)
    of_labels = isinstance(labels, str | os.PathLike)
    of_groups = isinstance(groups, str | os.PathLike) and is_table(groups)
    read = {"label", "split"} if of_labels else set()
    read |= {"group"} if of_groups or (of_labels and groups is None) else set()
    read |= {"id", *BOX_ROLES} if read else set()
    unread = [role for role in columns or {} if role not in read]
    if unread:
        raise ParameterError(
            f"columns has {', '.join(unread)}, but no table is given for it; give a table as "
            "labels or groups, or omit that column"
        )


def warn_of_names(labels: Iterable[str], groups: Iterable[str] | None) -> None:
    """Warn about similar names of classes or groups, and about names of missing values."""
    classes = Counter(labels)
    warnings = describe_similar_names("classes", classes)
    warnings += describe_similar_names("groups", Counter(groups)) if groups is not None else []
    for name, count in classes.items():
        if name.casefold() in _NOTHING:
            warnings.append(
                f"{name!r} ({count:,} images) is read as a class; if these images have no label, "
                "leave their cells empty"
            )
    for warning in warnings:
        logger.warning("%s", warning)


# ---- labels


def _of_items(items: Iterable[tuple[Any, Any]]) -> list[Entry]:
    rows: dict[str | LabelRow, LabelRow] = {}  # many images share few labels
    entries = []
    for id_, value in items:
        if type(value) is not str and type(value) is not LabelRow:
            row = _row_of(value)
        else:
            if value not in rows:
                rows[value] = _row_of(value)
            row = rows[value]
        entries.append(Entry(text_of(id_), row))
    return entries


def _row_of(value: Any) -> LabelRow:
    if isinstance(value, LabelRow):
        names = (value.label, value.group, value.split)
        return LabelRow(*(name_of(name, "labels") for name in names))
    return LabelRow(name_of(value, "labels"))


def _of_file(
    path: str | os.PathLike[str],
    wanted: Wanted,
    columns: Mapping[str, str] | None,
    ids: Sequence[str],
) -> list[Entry]:
    """Read the entries of a table, or of a file of features that holds labels."""
    if not holds_arrays(path):
        return _entries_of(path, wanted, ids)
    rows = labels_of_features(Path(path), columns=dict(columns or {}))
    if rows is None:
        raise DatasetError(f"{path} has no labels")
    return [Entry(id_, row) for id_, row in rows.items()]


def _wanted(
    columns: Mapping[str, str] | None,
    needed: Sequence[str],
    optional: Sequence[str],
    also_usual: Sequence[str] = (),
) -> Wanted:
    roles = (*needed, *optional, *BOX_ROLES)
    named = {role: name for role, name in (columns or {}).items() if role in roles}
    return Wanted(needed, optional, named, also_usual)


def _entries_of(path: str | os.PathLike[str], wanted: Wanted, ids: Sequence[str]) -> list[Entry]:
    """Read the entries of a table. Its boxes are part of the ids if the images are parts, too."""
    try:
        table = read_table(os.fspath(path), wanted)
    except SourceError as error:
        raise DatasetError(str(error)) from error
    photographs = [id_without_box(id_) for id_ in ids]
    with_boxes = photographs != list(ids)
    uploads = match_uploads([row.id for row in table.rows], photographs)
    known = {} if uploads is None else uploads.ids
    if uploads is not None:
        first, id_ = next(iter(known.items()))
        logger.warning("%s: the paths %s: %r is taken for %r", path, uploads.what, first, id_)
    return [
        Entry(
            id_with_box(known.get(row.id, row.id), row.box if with_boxes else None),
            row.values,
            row.number,
            table.unit,
        )
        for row in table.rows
    ]


# ---- groups


def _compiled(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(unicodedata.normalize("NFC", expression))
    except (re.error, OverflowError, RecursionError) as error:
        raise ParameterError(
            f"groups is '{expression}': it is neither an existing table nor a regular "
            f"expression ({error})"
        ) from error


def _match(pattern: re.Pattern[str], id_: str) -> str | None:
    match = pattern.search(id_)
    if match is None:
        return None
    return normalize_name((match.group(1) if pattern.groups else match.group(0)) or "") or None
