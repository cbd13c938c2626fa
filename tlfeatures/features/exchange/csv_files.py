"""Reading and writing features as CSV.

A row is one line, unless a cell in quotation marks has a line break. Values are written with nine
significant digits, of which a float32 is recovered exactly.
"""

from __future__ import annotations

import codecs
import csv
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError
from tlfeatures.features.exchange.columns import TableColumns, find_columns
from tlfeatures.features.exchange.roles import RowFacts, row_facts
from tlfeatures.features.exchange.table import Block, FeatureTable, rows_of_block

logger = logging.getLogger(__name__)

_DELIMITERS = ",;\t"
_QUOTED = re.compile(r'[",\r\n]|^\s|\s$')
_SEPARATOR_LINE = re.compile("sep=(.)")
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class CsvFile:
    """A CSV file of features.

    Attributes
    ----------
    path : Path
    header : list of str
        Names of the columns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._encoding = _encoding_of(path)
        with self._open() as file:
            records = _records(file, path)
            self._lines, first = next(records, (1, ""))
            stated = _SEPARATOR_LINE.fullmatch(first)  # Excel may write it before the header
            if stated:
                self._lines, first = next(records, (1, ""))
        self._delimiter = stated[1] if stated else max(_DELIMITERS, key=first.count)
        self.header = [name.strip() for name in self._cells(first)]

    def _open(self) -> IO[str]:
        return self.path.open(encoding=self._encoding, newline="")

    def _cells(self, record: str) -> list[str]:
        try:
            return next(csv.reader([record], delimiter=self._delimiter), [])
        except csv.Error as error:
            raise DatasetError(f"{self.path} can't be read as a CSV: {error}") from error

    def _rows(self) -> Iterator[tuple[int, str]]:
        """Yield the line and the text of each row."""
        with self._open() as file:
            for line, record in _records(file, self.path):
                if line > self._lines:
                    yield line, record

    def has_numbers(self, name: str) -> bool:
        """Whether all cells of a column are whole numbers."""
        place = self.header.index(name)
        rows = (self._cells(record) for _, record in self._rows())
        return all(len(cells) > place and cells[place].strip().isdecimal() for cells in rows)

    def facts(self, roles: Mapping[str, str]) -> tuple[RowFacts, int]:
        """Read the columns of roles, and count the rows."""
        places = {role: self.header.index(name) for role, name in roles.items()}
        most = max(places.values(), default=-1) + 1
        read: dict[str, list[str | None]] = {role: [] for role in places}
        adders = [(read[role].append, place) for role, place in places.items()]
        count = 0
        for line, record in self._rows():
            count += 1
            quoted = '"' in record
            cells = self._cells(record) if quoted else record.split(self._delimiter, most)
            if len(cells) < most:
                raise self._ragged(line, len(cells))
            for add, place in adders:
                add(cells[place] or None)
        return row_facts(read, self.path), count

    def blocks(self, columns: TableColumns) -> Iterator[Block]:
        """Read the values; see `FeatureTable`."""
        places = [self.header.index(name) for own in columns.values.values() for name in own]
        ends = np.cumsum([len(own) for own in columns.values.values()])[:-1]
        step = rows_of_block({name: len(own) for name, own in columns.values.items()})
        rows = self._rows()
        while part := list(islice(rows, step)):
            values = self._numbers(part, places)
            yield dict(zip(columns.values, np.split(values, ends, axis=1), strict=True))

    def _numbers(self, rows: Sequence[tuple[int, str]], places: list[int]) -> NDArray[np.float64]:
        """Parse the cells at these places: shape (rows, places)."""
        last = places == list(range(len(self.header) - len(places), len(self.header)))
        lines = [self._numbers_of(record, places, last) for _, record in rows]
        if not all(lines):  # of another number of cells
            raise self._wrong_cell(rows, places)
        try:
            values: NDArray[np.float64] = np.loadtxt(
                lines, np.float64, comments=None, delimiter=self._delimiter, ndmin=2
            )
        except ValueError as error:
            raise self._wrong_cell(rows, places) from error
        if values.shape != (len(rows), len(places)):
            raise self._wrong_cell(rows, places)
        return values

    def _numbers_of(self, record: str, places: list[int], last: bool) -> str:
        """Return the cells at these places as one text; they often are the last ones."""
        if last and '"' not in record:
            parts = record.split(self._delimiter, places[0])
            return parts[-1] if len(parts) > places[0] else ""
        cells = self._cells(record)
        if len(cells) != len(self.header):
            return ""
        return self._delimiter.join(cells[place] for place in places)

    def _wrong_cell(self, rows: Sequence[tuple[int, str]], places: list[int]) -> DatasetError:
        """Find the first cell that is no number."""
        for line, record in rows:
            cells = self._cells(record)
            if len(cells) != len(self.header):
                return self._ragged(line, len(cells))
            for place in places:
                if not _is_number(cells[place]):
                    return self._no_number(line, self.header[place], cells[place])
        return DatasetError(f"{self.path} has values that can't be read as numbers")

    def _no_number(self, line: int, column: str, cell: str) -> DatasetError:
        hint = "; say what this column is with --columns, as in label=NAME"
        if _is_number(cell.replace(",", ".")):
            hint = "; save it with a decimal point"
        elif not cell.strip():
            hint = "; fill the cell, or remove the row"
        return DatasetError(
            f"{self.path}: line {line} has {cell[:40]!r} in the column {column!r}, expected a "
            f"number{hint}"
        )

    def _ragged(self, line: int, count: int) -> DatasetError:
        return DatasetError(
            f"{self.path}: line {line} has {count:,} cells, expected {len(self.header):,} as in "
            "the header"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _encoding_of(path: Path) -> str:
    """Return UTF-16 for a file with its mark, UTF-8 if all of it is that, else Windows-1252."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        start = file.read(4)
        marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
        if marked is not None:
            return marked
        file.seek(0)
        try:
            while part := file.read(2**20):
                decoder.decode(part)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            logger.warning(
                "%s is not in UTF-8 and is read as Windows-1252; if letters are wrong, save it as "
                "CSV UTF-8",
                path,
            )
            return "cp1252"
    return "utf-8-sig"


def _records(file: IO[str], path: Path) -> Iterator[tuple[int, str]]:
    """Yield the first line and the text of each row; lines inside quotation marks are joined."""
    pending, first = "", 1
    try:
        for line, text in enumerate(file, 1):
            pending, first = (pending + text, first) if pending else (text, line)
            if pending.count('"') % 2 == 0:
                if pending.strip():
                    yield first, pending.rstrip("\r\n")
                pending = ""
    except UnicodeError as error:
        raise DatasetError(f"{path} is no text in UTF-8; save it as CSV UTF-8") from error
    if pending:
        raise DatasetError(f"{path}: a quotation mark on line {first} has no other one")


def read_csv(path: Path, columns: Mapping[str, str] | None) -> FeatureTable:
    """Open a CSV file of features."""
    file = CsvFile(path)
    found = find_columns(file.header, columns, path, file.has_numbers)
    facts, count = file.facts(found.roles)
    widths = {name: len(own) for name, own in found.values.items()}
    return FeatureTable(
        path=path,
        files=[path],
        rows=count,
        widths=widths,
        dtype="float32",
        facts=facts,
        blocks=lambda: file.blocks(found),
        unused=found.unused(file.header),
        columns=found.names,
    )


class CsvWriter(AbstractContextManager["CsvWriter"]):
    """Writes a CSV file of features in blocks of rows."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._file.write(",".join(map(_quoted, header)) + "\n")

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, texts: Sequence[Sequence[str | None]], values: NDArray[Any]) -> None:
        """Write rows: columns of b texts each, and values of shape (b, d)."""
        form = ",".join(["%.9g"] * values.shape[1])
        for cells, row in zip(zip(*texts, strict=True), values.astype(np.float64), strict=True):
            stated = ",".join(_quoted(text or "") for text in cells)
            self._file.write(f"{stated},{form % tuple(row.tolist())}\n")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text
