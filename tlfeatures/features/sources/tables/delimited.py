"""Tables of texts with delimiters: CSV, TSV.

The encoding is UTF-8 with or without a byte order mark, UTF-16 or UTF-32 with one, or otherwise
Windows-1252. The delimiter is a comma, a semicolon or a tab, or what a line `sep=` states. A row
with more or fewer cells than the header is an error, because its label may have been cut at a
delimiter.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
from collections.abc import Collection, Iterator

from tlfeatures.errors import SourceError
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.features.sources.tables.cells import RawTable
from tlfeatures.names import counted

logger = logging.getLogger(__name__)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_DELIMITERS = ",;\t"  # if several give the same number of columns, the first is chosen
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n")


def text_of(path: str, data: bytes) -> str:
    """Decode the bytes of a table.

    Raises
    ------
    SourceError
        If it is a spreadsheet, or in another encoding.
    """
    if data.startswith(_SPREADSHEETS):
        raise SourceError(f"{path} is a spreadsheet, expected a CSV; save it as CSV UTF-8")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    text = _decoded(path, data, encoding)
    if "\0" in text:
        raise SourceError(
            f"{path} can't be read as a CSV: it has NUL characters, like UTF-16 without a byte "
            "order mark; save it as CSV UTF-8"
        )
    return text


def read_delimited(path: str, text: str, names: Collection[str]) -> RawTable:
    """Read a table with delimiters.

    Parameters
    ----------
    path : str
        Name of the table, for messages.
    text : str
    names : collection of str
        Names in lower case that columns may have. The delimiter is the one that gives most of them.

    Returns
    -------
    RawTable
        Without empty rows.

    Raises
    ------
    SourceError
        If a quotation mark isn't closed, or a row does not have as many cells as the header.
    """
    line = _SEPARATOR_LINE.match(text)  # Excel may write such a line before the header
    delimiter = line[1] if line else _delimiter_of(text, names)
    records = _records(path, text[line.end() :] if line else text, delimiter, 2 if line else 1)
    _, header = next(records, (1, []))
    header = [normalize_name(name) for name in header]
    return RawTable(header, _checked(path, header, list(records), delimiter))


def _decoded(path: str, data: bytes, encoding: str | None) -> str:
    try:
        return data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise _undecodable(path, encoding.upper().removesuffix("-SIG")) from error
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise _undecodable(path, "UTF-8, UTF-16 or Windows-1252") from error
    logger.warning(
        "%s is not in UTF-8 and is read as Windows-1252; if letters are wrong, save it as CSV "
        "UTF-8",
        path,
    )
    return text


def _undecodable(path: str, encodings: str) -> SourceError:
    return SourceError(f"{path} can't be read as a CSV in {encodings}; save it as CSV UTF-8")


def _delimiter_of(text: str, names: Collection[str]) -> str:
    """Return the delimiter for which the first line has the most wanted names (then most cells)."""
    first = next((line for line in text.splitlines() if line.strip()), "")

    def quality(delimiter: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([first], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:  # `_records` gives the reason
            return 0, 0
        return sum(normalize_name(cell).casefold() in names for cell in cells), len(cells)

    return max(_DELIMITERS, key=quality)


# ---- rows


def _records(
    path: str, text: str, delimiter: str, first_line: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the cells of each row. Rows of empty cells are skipped."""
    # With `skipinitialspace`, the quotation marks of `a, "b"` do not become part of the name.
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    line = first_line
    try:
        for cells in reader:
            if any(map(normalize_name, cells)):
                yield line, cells
            line = first_line + reader.line_num
    except csv.Error as error:
        remedy = 'a quotation mark inside a cell must be doubled ("")'
        if "field limit" in str(error):
            remedy = "keep only the columns of ids, labels and groups, and remove long cells"
        raise SourceError(
            f"{path} can't be read as a CSV: row that begins on line {line}: {error}; {remedy}"
        ) from error


def _checked(
    path: str, header: list[str], rows: list[tuple[int, list[str]]], delimiter: str
) -> list[tuple[int, list[str]]]:
    """Raise an error for rows with more or fewer cells than the header.

    Additional cells may be empty.
    """
    ragged = [
        (line, len(cells))
        for line, cells in rows
        if len(cells) < len(header) or any(map(normalize_name, cells[len(header) :]))
    ]
    if not ragged:
        return rows
    line, count = ragged[0]
    more = f" (and {counted(len(ragged) - 1, 'similar line')})" if len(ragged) > 1 else ""
    named = {",": "comma", ";": "semicolon", "\t": "tab"}.get(delimiter, repr(delimiter))
    why = f"a label that contains a {named} must be inside double quotes"
    if count < len(header):
        why = "a cell that is empty still needs its delimiter"
    raise SourceError(
        f"{path}: line {line} has {counted(count, 'cell')}, expected {len(header)} as in the "
        f"header{more}: {why}"
    )
