"""Spreadsheets of Excel: the first sheet, whose first row has the names of the columns."""

from __future__ import annotations

import io
import zipfile

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.features.sources.tables.cells import RawTable, as_cell
from tlfeatures.names import counted


def read_excel(path: str, data: bytes) -> RawTable:
    """Read the first sheet of a spreadsheet. Each of several merged cells has their value.

    Parameters
    ----------
    path : str
        Name of the file, for messages.
    data : bytes
        The file, in the format of `.xlsx`.

    Raises
    ------
    ParameterError
        If openpyxl isn't installed.
    SourceError
        If it is no such file.
    """
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise ParameterError(
            f"{path} is a spreadsheet: save it as CSV UTF-8, or pip install 'tlfeatures[excel]'"
        ) from error
    try:
        merged = _has_merged_cells(data)  # they are known only if all of the file is in memory
        book = load_workbook(io.BytesIO(data), read_only=not merged, data_only=True)
        sheet = book.worksheets[0]
        cells = [[as_cell(value) for value in row] for row in sheet.iter_rows(values_only=True)]
        if merged:
            _fill(cells, [area.bounds for area in sheet.merged_cells.ranges])
    except (InvalidFileException, zipfile.BadZipFile, OSError, KeyError, ValueError) as error:
        raise SourceError(
            f"{path} can't be read as a spreadsheet ({error}); save it as CSV UTF-8"
        ) from error
    numbered = [(line, row) for line, row in enumerate(cells, 1) if any(map(normalize_name, row))]
    header = [normalize_name(name) for name in numbered[0][1]] if numbered else []
    width = len(header)
    rows = [(line, [*row, *[""] * (width - len(row))]) for line, row in numbered[1:]]
    others = len(book.worksheets) - 1
    notes = (f"only the sheet {sheet.title!r} is read, and {counted(others, 'sheet')} not",)
    return RawTable(header, rows, notes=notes if others else ())


def _has_merged_cells(data: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
        return any(b"<mergeCell " in archive.read(name) for name in sheets)


def _fill(cells: list[list[str]], areas: list[tuple[int, int, int, int]]) -> None:
    """Write the value of merged cells into each of them: Excel keeps it in the first one alone."""
    for left, top, right, bottom in areas:
        for row in cells[top - 1 : bottom]:
            row[left - 1 : right] = [cells[top - 1][left - 1]] * (right - left + 1)
