"""Read a table of images, in whatever format: paths, labels, groups, splits and boxes.

It is the one reader of tables: a table may be the source of images, or have the labels or groups of
images that another source has.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tlfeatures.errors import ImageError, SourceError
from tlfeatures.features.sources.folder_labels import LabelRow, split_from_name
from tlfeatures.features.sources.locations import is_url, read_url
from tlfeatures.features.sources.records import Box
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.features.sources.tables.boxes import box_of, check_pixels
from tlfeatures.features.sources.tables.cells import RawTable
from tlfeatures.features.sources.tables.delimited import read_delimited, text_of
from tlfeatures.features.sources.tables.excel import read_excel
from tlfeatures.features.sources.tables.json_tables import read_json
from tlfeatures.features.sources.tables.label_studio import has_regions, with_regions
from tlfeatures.features.sources.tables.parquet import read_parquet
from tlfeatures.features.sources.tables.roles import (
    Wanted,
    choose_columns,
    may_be_wanted,
    names_of_columns,
)
from tlfeatures.files import reason_of
from tlfeatures.names import counted

logger = logging.getLogger(__name__)

_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")
_EXCEL = (".xlsx", ".xlsm")
TABLE_ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".json", *_JSON_LINES, *_PARQUET, *_EXCEL)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table.

    Attributes
    ----------
    number : int
        Line, or number of the record in the file, from 1.
    id : str
        Id or path, as it is written in the file.
    values : LabelRow
        Label, group and split, in normal form.
    box : Box or None
        The part of the image; None for all of it.
    """

    number: int
    id: str
    values: LabelRow
    box: Box | None = None


@dataclass(frozen=True)
class Table:
    """The rows of a table.

    Attributes
    ----------
    rows : list of TableRow
        In the order of the file, without empty rows.
    roles : frozenset of str
        The roles that have a column.
    unit : str
        What the numbers of the rows count: "line", "record" or "image".
    """

    rows: list[TableRow]
    roles: frozenset[str]
    unit: str


def is_table(location: str) -> bool:
    """Whether a location is a file with the ending of a table.

    A Parquet file with the bytes of images is a source of another kind.
    """
    is_named = location.lower().endswith(TABLE_ENDINGS)
    return is_named and (is_url(location) or Path(location).is_file())


def read_table(location: str, wanted: Wanted) -> Table:
    """Read the columns of a table that have a role.

    Rows with an invalid box are left out and counted in a warning, and so is what the format has
    in addition.

    Parameters
    ----------
    location : path or URL
    wanted : Wanted

    Raises
    ------
    SourceError
        If the file can't be read, a row does not have as many cells as the header, a needed column
        is missing, two columns have the same name or the same role, or a split is unknown.
    ParameterError
        If a package that reads this format is not installed.
    """
    raw = _read_cells(location, wanted)
    for note in raw.notes:
        logger.warning("%s: %s", location, note)
    places = choose_columns(location, raw, wanted)
    rows: list[TableRow] = []
    invalid: list[str] = []
    known: dict[tuple[str, ...], LabelRow] = {}  # many images share few labels
    value_places = [places[role] for role in ("label", "group", "split") if role in places]
    for number, cells in raw.rows:
        try:
            box = box_of(cells, places)
        except ValueError as error:
            invalid.append(f"{raw.unit} {number} ({error})")
            continue
        key = tuple(cells[place] for place in value_places)
        if key not in known:
            known[key] = _values_of(location, f"{raw.unit} {number}", cells, places)
        rows.append(TableRow(number, cells[places["id"]], known[key], box))
    check_pixels(location, (row.box for row in rows if row.box is not None))
    if invalid:
        logger.warning(
            "%s: %s without a valid box left out, %s first",
            location,
            counted(len(invalid), "row"),
            invalid[0],
        )
    return Table(rows, frozenset(places), raw.unit)


def _read_cells(location: str, wanted: Wanted) -> RawTable:
    name = location.lower()
    if name.endswith(_PARQUET) and (is_url(location) or Path(location).exists()):
        table = read_parquet(location, partial(may_be_wanted, wanted=wanted))
        return with_regions(table)
    data = _bytes_of(location)
    if name.endswith(_EXCEL):
        return read_excel(location, data)
    text = text_of(location, data)
    try:
        if name.endswith((".json", *_JSON_LINES)):
            table = read_json(location, text, name.endswith(_JSON_LINES))
        else:
            table = read_delimited(location, text, names_of_columns(wanted))
        return with_regions(table) if has_regions(text) else table
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # A value of JSON has another type than its key has in the format.
        raise SourceError(
            f"{location} is no file of COCO, Label Studio or Hugging Face as these write them: "
            f"{type(error).__name__}: {error}"
        ) from error


def _bytes_of(location: str) -> bytes:
    try:
        return read_url(location) if is_url(location) else Path(location).read_bytes()
    except FileNotFoundError as error:
        raise SourceError(f"{location} does not exist; expected a CSV file") from error
    except (OSError, ValueError, ImageError) as error:
        raise SourceError(f"{location} can't be read as a CSV: {reason_of(error)}") from error


def _values_of(path: str, where: str, cells: list[str], places: dict[str, int]) -> LabelRow:
    label, group, written = (
        normalize_name(cells[places[role]]) if role in places else ""
        for role in ("label", "group", "split")
    )
    split = split_from_name(written)
    if written and split is None:
        raise SourceError(f"{path}: {where} has the split {written!r}; expected train, val or test")
    return LabelRow(label or None, group or None, split)
