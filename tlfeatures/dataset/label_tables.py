"""Reading CSV files of labels and groups.

The encoding is UTF-8 with or without a byte order mark, UTF-16 or UTF-32 with one, or otherwise
Windows-1252. The delimiter is a comma, a semicolon or a tab. Cells are converted to a normal form
(`sources.spelling.normalize_name`). A row with more or fewer cells than the header is an error,
because its label may have been cut at a delimiter.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.names import counted

logger = logging.getLogger(__name__)

# Roles of columns, and their usual names.
_USUAL = {
    "id": ("id", "path", "file", "filename", "image"),
    "label": ("label",),
    "group": ("group",),
    "split": ("split",),
}
ROLES = tuple(_USUAL)

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


@dataclass(frozen=True)
class TableRow:
    """One row of a table.

    Attributes
    ----------
    line : int
        Line in the file, from 1.
    id : str
        Id as it is written in the file.
    cells : dict of role to str
        Cells of the roles that have a column, in normal form.
    """

    line: int
    id: str
    cells: dict[str, str]


def read_table(
    path: Path,
    needed: Sequence[str],
    optional: Sequence[str],
    columns: Mapping[str, str],
    also_usual: Sequence[str] = (),
) -> list[TableRow]:
    """Read the columns that have a role from a CSV file.

    Parameters
    ----------
    path : Path
    needed, optional : sequence of str
        Names in `ROLES`.
    columns : mapping of role to the name of its column
        Names of columns that differ from the usual names. Case is ignored.
    also_usual : sequence of str
        Roles whose usual column is used if the column in `columns` is missing.

    Returns
    -------
    list of TableRow
        Rows in the order of the file, without empty rows.

    Raises
    ------
    DatasetError
        If the file can't be read, a row does not have as many cells as the header, a needed column
        is missing, or two columns have the same name.
    """
    text = _text_of(path)
    wanted = _wanted((*needed, *optional), columns, also_usual)
    line = _SEPARATOR_LINE.match(text)  # Excel may write such a line before the header
    delimiter = line[1] if line else _delimiter_of(text, wanted)
    records = _records(path, text[line.end() :] if line else text, delimiter, 2 if line else 1)
    _, header = next(records, (1, []))
    header = [normalize_name(name) for name in header]
    explicit = [role for role in columns if role not in also_usual]
    places = _places(path, header, needed, optional, wanted, explicit)
    rows = _checked(path, header, list(records), delimiter)
    return [
        TableRow(
            line,
            cells[places["id"]],
            {role: normalize_name(cells[at]) for role, at in places.items()},
        )
        for line, cells in rows
    ]


def check_columns(columns: Mapping[str, str] | None) -> None:
    """Raise `ParameterError` if `columns` is not a valid argument of `read_table`."""
    for role, name in (columns or {}).items():
        if role not in ROLES or not isinstance(name, str) or not normalize_name(name):
            raise ParameterError(
                f"label_columns has {role!r}: {name!r}; expected the name of a column for any of "
                f"{', '.join(ROLES)}, for example id=filename,label=species"
            )


# ---- text


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"{path} does not exist; expected a CSV file") from error
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} can't be read as a CSV: {error}") from error
    if data.startswith(_SPREADSHEETS):
        raise DatasetError(f"{path} is a spreadsheet, expected a CSV; save it as CSV UTF-8")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    text = _decoded(path, data, encoding)
    if "\0" in text:
        raise DatasetError(
            f"{path} can't be read as a CSV: it has NUL characters, like UTF-16 without a byte "
            "order mark; save it as CSV UTF-8"
        )
    return text


def _decoded(path: Path, data: bytes, encoding: str | None) -> str:
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


def _undecodable(path: Path, encodings: str) -> DatasetError:
    return DatasetError(f"{path} can't be read as a CSV in {encodings}; save it as CSV UTF-8")


def _delimiter_of(text: str, wanted: Mapping[str, Sequence[str]]) -> str:
    """Return the delimiter for which the first line has the most wanted names (then most cells)."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    names = {name.casefold() for usual in wanted.values() for name in usual}

    def quality(delimiter: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([first], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:  # `_records` gives the reason
            return 0, 0
        return sum(normalize_name(cell).casefold() in names for cell in cells), len(cells)

    return max(_DELIMITERS, key=quality)


# ---- rows


def _records(
    path: Path, text: str, delimiter: str, first_line: int
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
        raise DatasetError(
            f"{path} can't be read as a CSV: row that begins on line {line}: {error}; {remedy}"
        ) from error


def _checked(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]], delimiter: str
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
    raise DatasetError(
        f"{path}: line {line} has {counted(count, 'cell')}, expected {len(header)} as in the "
        f"header{more}: {why}"
    )


# ---- columns


def _places(
    path: Path,
    header: list[str],
    needed: Sequence[str],
    optional: Sequence[str],
    wanted: Mapping[str, Sequence[str]],
    explicit: Sequence[str],
) -> dict[str, int]:
    """Return the position of the column of each role."""
    names = [name.casefold() for name in header]
    places = {}
    for role, usual in wanted.items():
        name = next((folded for folded in map(str.casefold, usual) if folded in names), None)
        if name is None and (role in explicit or usual[0] not in _USUAL[role]):
            present = ", ".join(header) or "(none)"
            raise DatasetError(f"{path} has no column {usual[0]!r}; it has the columns {present}")
        if name is None and role in needed:
            raise _missing(path, header, needed, optional)
        if name is not None and names.count(name) > 1:
            raise DatasetError(
                f"{path} has {names.count(name)} columns with the name "
                f"{header[names.index(name)]!r}, expected one; rename the others"
            )
        if name is not None:
            places[role] = names.index(name)
    return places


def _wanted(
    roles: Sequence[str], columns: Mapping[str, str], also_usual: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the possible names of each role's column, in order of preference."""
    return {
        role: (normalize_name(columns[role]), *(_USUAL[role] if role in also_usual else ()))
        if role in columns
        else _USUAL[role]
        for role in roles
    }


def _missing(
    path: Path, header: list[str], needed: Sequence[str], optional: Sequence[str]
) -> DatasetError:
    present = ", ".join(header) or "(none)"
    expected = " and ".join(needed)
    expected += f" (optional: {', '.join(optional)})" if optional else ""
    named = ",".join(f"{role}=NAME" for role in needed)
    return DatasetError(
        f"{path} has the columns {present}; expected {expected}; for columns with other names, use "
        f"--label-columns {named}"
    )
