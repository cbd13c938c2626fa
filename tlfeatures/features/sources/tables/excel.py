"""Spreadsheets of Excel: the first sheet, whose first row has the names of the columns."""

from __future__ import annotations

import io
import zipfile

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.features.sources.tables.cells import RawTable, as_cell


def read_excel(path: str, data: bytes) -> RawTable:
    """Read the first sheet of a spreadsheet.

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
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        cells = [[as_cell(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    except (InvalidFileException, zipfile.BadZipFile, OSError, KeyError, ValueError) as error:
        raise SourceError(
            f"{path} can't be read as a spreadsheet ({error}); save it as CSV UTF-8"
        ) from error
    numbered = [(line, row) for line, row in enumerate(cells, 1) if any(map(normalize_name, row))]
    header = [normalize_name(name) for name in numbered[0][1]] if numbered else []
    width = len(header)
    rows = [(line, [*row, *[""] * (width - len(row))]) for line, row in numbered[1:]]
    return RawTable(header, rows)
