"""Writing tables as Parquet files with pyarrow, which `tlfeatures[parquet]` installs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tlfeatures.installed import check_installed


def check_pyarrow(output: str | os.PathLike[str]) -> None:
    """Raise `ParameterError` if pyarrow is not installed."""
    check_installed("pyarrow", str(output), "parquet", "give a name that ends in .csv")


class ParquetTable:
    """A Parquet file to which the entries are written one at a time.

    Parameters
    ----------
    path : Path
        The file; an existing one is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")  # a Python file raises OSError, pyarrow raises other errors
        self._writer: Any = None

    def __enter__(self) -> ParquetTable:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._writer is not None and kind is None:
                self._writer.close()
        finally:
            if self._writer is not None:
                self._writer.is_open = False  # otherwise pyarrow writes again in __del__
            self._file.close()

    def add(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write rows; NaN becomes a missing value."""
        import pyarrow
        from pyarrow.parquet import ParquetWriter

        table = pyarrow.table(
            {
                name: pyarrow.array(
                    values.tolist() if values.dtype.kind == "U" else values, from_pandas=True
                )
                for name, values in columns.items()
            }
        )
        if self._writer is None:
            self._writer = ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)
