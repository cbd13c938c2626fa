"""A temporary file for the values of a features file, which are read in another order."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import StoreError
from tlfeatures.features.file.reader import consecutive


class Spool(AbstractContextManager["Spool"]):
    """Rows of embeddings on the disk, so that few of them are in memory.

    Parameters
    ----------
    folder : Path
        Folder for the temporary file, which has no name there.
    widths : mapping of name to int
    dtype : {"float32", "float16"}
    rows : int
        Number of rows that will be added.
    """

    def __init__(self, folder: Path, widths: Mapping[str, int], dtype: str, rows: int) -> None:
        self._widths, self._dtype = dict(widths), np.dtype(dtype)
        needed = rows * sum(widths.values()) * self._dtype.itemsize
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise StoreError(
                f"{folder} has {free / 1e6:,.1f} MB free, and the values take {needed / 1e6:,.1f} "
                "MB; make room"
            )
        self._files: dict[str, IO[bytes]] = {}
        for name in widths:
            self._files[name] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, see __exit__

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, block: Mapping[str, NDArray[Any]]) -> None:
        """Append rows, which have the type of the spool."""
        for name, values in block.items():
            self._files[name].write(np.ascontiguousarray(values, self._dtype).data)

    def take(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Read rows in the given order: arrays of shape (b, d)."""
        order = np.argsort(rows, kind="stable")
        return {name: self._take(name, rows[order], order) for name in self._files}

    def _take(
        self, name: str, ascending: NDArray[np.int64], places: NDArray[np.int64]
    ) -> NDArray[Any]:
        file, size = self._files[name], self._widths[name] * self._dtype.itemsize
        data = bytearray()
        file.flush()
        for first, last in consecutive(ascending):
            file.seek(first * size)
            data += file.read((last - first) * size)
        found = np.frombuffer(data, self._dtype).reshape(len(ascending), self._widths[name])
        taken = np.empty_like(found)
        taken[places] = found
        return taken
