"""Reading and writing NumPy's .npz and .npy files in blocks. Nothing is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError
from tlfeatures.features.exchange.arrays import ArrayInfo, Arrays

MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"
_DAMAGED = (
    *(ValueError, EOFError, OSError, MemoryError, RuntimeError, NotImplementedError),
    *(OverflowError, zipfile.BadZipFile, zlib.error),
)
_MOST_COLUMNS = 2**24


class NpyFile(Arrays):
    """A .npy file: one array, named `features`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.infos = {"features": _header(file, path)[0]}

    def read(self, name: str) -> NDArray[Any]:
        """See `Arrays.read`."""
        with self.path.open("rb") as file:
            return _read(file, self.path)

    def blocks(self, name: str, rows: int) -> Iterator[NDArray[Any]]:
        """See `Arrays.blocks`."""
        with self.path.open("rb") as file:
            yield from _blocks(file, self.path, rows)


class NpzFile(Arrays):
    """A .npz file: a zip archive of .npy files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.infos = {}
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {
                    name.removesuffix(_SUFFIX): name
                    for name in archive.namelist()
                    if name.endswith(_SUFFIX)
                }
        except _DAMAGED as error:
            raise DatasetError(f"{path} is a damaged .npz file: {error}") from error
        for name in self._members:
            with self._member(name) as file:
                self.infos[name] = _header(file, path)[0]

    def _member(self, name: str) -> _Member:
        return _Member(self.path, self._members[name])

    def read(self, name: str) -> NDArray[Any]:
        """See `Arrays.read`."""
        with self._member(name) as file:
            return _read(file, self.path)

    def blocks(self, name: str, rows: int) -> Iterator[NDArray[Any]]:
        """See `Arrays.blocks`."""
        with self._member(name) as file:
            yield from _blocks(file, self.path, rows)


class _Member(AbstractContextManager[IO[bytes]]):
    """A member of a zip archive that is open for reading."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def __enter__(self) -> IO[bytes]:
        try:
            self._archive = zipfile.ZipFile(self._path)
            self._file = self._archive.open(self._name)
        except _DAMAGED as error:
            raise DatasetError(f"{self._path} is a damaged .npz file: {error}") from error
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._archive.close()


def _header(file: IO[bytes], path: Path) -> tuple[ArrayInfo, bool]:
    """Read shape and type of an array, and whether its columns are contiguous (Fortran order)."""
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, by_columns, dtype = read(file)
    except (*_DAMAGED, KeyError, SyntaxError) as error:
        raise DatasetError(f"{path} is a damaged NumPy file: {error}") from error
    if min(shape, default=0) < 0 or (len(shape) > 1 and shape[1] > _MOST_COLUMNS):
        raise DatasetError(f"{path} has an array of the shape {shape}, which can't be right")
    return ArrayInfo(shape, dtype), by_columns


def _read(file: IO[bytes], path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except _DAMAGED as error:
        raise DatasetError(f"{path} can't be read: {error}") from error
    return array


def _blocks(file: IO[bytes], path: Path, rows: int) -> Iterator[NDArray[Any]]:
    (shape, dtype), by_columns = _header(file, path)
    count, width = shape
    if by_columns and width > 1:  # a row is all over the file, so that all of it is read
        rest = _exactly(file, count * width * dtype.itemsize, path)  # may be all of the memory
        whole = np.frombuffer(rest, dtype).reshape(width, count).T
        yield from (whole[start : start + rows] for start in range(0, count, rows))
        return
    for start in range(0, count, rows):
        number = min(rows, count - start)
        data = _exactly(file, number * width * dtype.itemsize, path)
        yield np.frombuffer(data, dtype).reshape(number, width)


def _exactly(file: IO[bytes], size: int, path: Path) -> bytes:
    try:
        data = file.read(size)
    except _DAMAGED as error:
        raise DatasetError(f"{path} is damaged: {error}") from error
    if len(data) < size:
        raise DatasetError(f"{path} is cut off: it has fewer values than it says")
    return data


class NpzWriter(AbstractContextManager["NpzWriter"]):
    """Writes a .npz file array by array."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True)

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Write a whole array."""
        with self._archive.open(f"{name}{_SUFFIX}", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, array, allow_pickle=False)

    def add_blocks(
        self, name: str, shape: tuple[int, int], dtype: str, blocks: Iterator[NDArray[Any]]
    ) -> None:
        """Write an array of shape (n, d) from blocks of rows."""
        stored = np.dtype(dtype).newbyteorder("<")
        header = {"descr": stored.str, "fortran_order": False, "shape": shape}
        with self._archive.open(f"{name}{_SUFFIX}", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(np.ascontiguousarray(block, stored).data)
