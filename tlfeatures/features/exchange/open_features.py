"""Opening a features file by its content."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.exchange import hdf5_files, numpy_files, parquet_files
from tlfeatures.features.exchange.arrays import table_of_arrays
from tlfeatures.features.exchange.csv_files import CsvFile, read_csv
from tlfeatures.features.exchange.roles import RowFacts, check_columns, find_parts, row_facts
from tlfeatures.features.exchange.table import FeatureTable, check_table

_ZIP = b"PK\x03\x04"
_DAMAGED_ZIP = (zipfile.BadZipFile, OSError, ValueError, RuntimeError)  # also other versions
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_TABLES = (".csv", ".tsv", ".txt")


def open_features(
    path: str | os.PathLike[str],
    *,
    ids: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> FeatureTable:
    """Open a features file. Its content decides what it is; nothing in it is executed.

    Parameters
    ----------
    path : path
        A .npz, .npy, CSV, Parquet or HDF5 file, or a folder with an HDF5 file for each slide.
    ids : path, optional
        File with the ids of the rows, in their order: a text with one id a line, a CSV with a
        column id (and label, group, split), or a .npy of texts.
    columns : mapping of {"id", "label", "group", "split", "sha256", "features"} to str, optional
        Names of arrays or columns that differ from the usual ones.

    Raises
    ------
    ParameterError
        If there is no such file.
    DatasetError
        If the file can't be read as features.
    """
    path = Path(path)
    check_columns(columns)
    if not path.exists():
        raise ParameterError(f"{path} does not exist; expected a file of features")
    stated = {} if ids is None else _stated(read_ids(Path(ids), columns))
    own = {role: name for role, name in (columns or {}).items() if role not in stated}
    table = _open(path, own)
    table = replace(table, facts=replace(table.facts, **stated))
    check_table(table)
    return table


def _stated(facts: RowFacts) -> dict[str, Any]:
    return {role: getattr(facts, role) for role in facts.lengths()}


def _open(path: Path, columns: Mapping[str, str] | None) -> FeatureTable:
    if path.is_dir():
        return hdf5_files.read_folder(path, columns)
    start = _start_of(path)
    if start.startswith(numpy_files.MAGIC):
        return table_of_arrays(numpy_files.NpyFile(path), columns)
    if start.startswith(_ZIP):
        _check_npz(path)
        return table_of_arrays(numpy_files.NpzFile(path), columns)
    if start.startswith(hdf5_files.MAGIC):
        return hdf5_files.read_hdf5(path, columns)
    if start.startswith(parquet_files.MAGIC):
        return parquet_files.read_parquet(path, columns)
    _check_text(path, start)
    return read_csv(path, columns)


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError as error:
        raise DatasetError(f"{path} can't be read: {error.strerror}") from error


def _check_npz(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _DAMAGED_ZIP as error:
        raise DatasetError(f"{path} is a damaged .npz file: {error}") from error
    if not names or not all(name.endswith(".npy") for name in names):
        what = "a spreadsheet: save it as CSV UTF-8" if "xl/workbook.xml" in names else "an archive"
        if any(name.endswith(".pkl") for name in names):
            what = "a file of PyTorch, which could run a program when it is read: save it by NumPy"
        raise DatasetError(f"{path} is {what}; expected an .npz, .npy, CSV, Parquet or HDF5 file")


def _check_text(path: Path, start: bytes) -> None:
    if start.startswith(_PICKLES):
        raise DatasetError(
            f"{path} is a pickle, which could run a program when it is read; save the arrays by "
            "numpy.savez"
        )
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DatasetError(f"{path} is none of .npz, .npy, CSV, Parquet and HDF5")


def read_ids(path: Path, columns: Mapping[str, str] | None) -> RowFacts:
    """Read the ids of rows from a file of their own; see `open_features`."""
    if not path.is_file():
        raise ParameterError(f"{path} is not a file; expected the ids of the rows")
    start = _start_of(path)
    if start.startswith(numpy_files.MAGIC):
        values = numpy_files.NpyFile(path).read("features")
        return row_facts({"id": values.reshape(-1).tolist()}, path)
    _check_text(path, start)
    file = CsvFile(path)
    roles = find_parts(file.header, columns and _in(columns, file.header), path)
    if "id" in roles:
        return file.facts(roles)[0]
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeError as error:
        raise DatasetError(f"{path} is no text in UTF-8") from error
    if lines and not lines[-1]:
        lines.pop()
    return row_facts({"id": [line.removesuffix("\r") for line in lines]}, path)


def _in(columns: Mapping[str, str], header: list[str]) -> dict[str, str]:
    return {role: name for role, name in columns.items() if name in header}


def holds_arrays(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of arrays: .npz, .npy or HDF5."""
    path = Path(path)
    if not path.is_file():
        return False
    start = _start_of(path)
    return start.startswith((numpy_files.MAGIC, hdf5_files.MAGIC)) or (
        start.startswith(_ZIP) and is_npz(path)
    )


def is_npz(path: Path) -> bool:
    """Whether all members of a zip archive are arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _DAMAGED_ZIP:
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def holds_features(path: str | os.PathLike[str], embeddings: Sequence[str]) -> bool:
    """Whether a file holds features and no images.

    Parameters
    ----------
    path : path
    embeddings : sequence of str
        A table holds features if it has columns of these embeddings, as `block5_pool.avg.0`. Other
        numbered columns may be anything, as the boxes of images.
    """
    path = Path(path)
    if not path.is_file():
        return False
    if holds_arrays(path):
        return True
    try:
        if _start_of(path).startswith(parquet_files.MAGIC):
            parquet_files.check_pyarrow(path)
            names = parquet_files.ParquetFile(path).schema.names
        else:
            names = CsvFile(path).header if path.suffix.lower() in _TABLES else []
    except (DatasetError, ParameterError):
        return False
    return all(f"{name}.0" in names for name in embeddings)


def ids_of(table: FeatureTable) -> list[str]:
    """Return the ids of the rows; without ids, their numbers, which sort as the rows do."""
    if table.facts.id is not None:
        return table.facts.id
    return numbered_ids(table.rows)


def numbered_ids(rows: int) -> list[str]:
    """Return the numbers of rows from 0, with leading zeros."""
    digits = len(str(rows - 1))
    return [f"{row:0{digits}d}" for row in range(rows)]
