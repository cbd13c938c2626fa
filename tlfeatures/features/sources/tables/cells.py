"""A table as it is written: a header, and rows of texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlfeatures.features.sources.spelling import normalize_name


@dataclass(frozen=True)
class RawTable:
    """The cells of a table.

    Attributes
    ----------
    header : list of str
        Names of the columns, in normal form.
    rows : list of (int, list of str)
        Number of each row in the file, and its cells, one for each column.
    unit : str
        What the number counts: "line" or "record".
    notes : tuple of str
        What was left out of the file, and why: one sentence for each reason.
    unread : tuple of str
        Names of further columns of the file, whose cells were not read.
    """

    header: list[str]
    rows: list[tuple[int, list[str]]]
    unit: str = "line"
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def as_cell(value: Any) -> str:
    """Return a value of JSON, Parquet or Excel as a cell: None is empty, and 3.0 is 3."""
    if value is None or value != value:  # NaN isn't equal to itself
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def table_of_records(
    records: Sequence[tuple[int, dict[str, Any]]], notes: tuple[str, ...] = (), unit: str = "record"
) -> RawTable:
    """Create a table of records, whose columns are all keys that a record has."""
    keys = list(dict.fromkeys(key for _, record in records for key in record))
    rows = [(number, [as_cell(record.get(key)) for key in keys]) for number, record in records]
    return RawTable([normalize_name(str(key)) for key in keys], rows, unit, notes)
