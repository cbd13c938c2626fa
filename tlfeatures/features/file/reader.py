"""Reading embeddings files: those with their rows in themselves, and sharded ones, in one way."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import FormatError, ParameterError, StoreError
from tlfeatures.features.file.checks import check_file, open_to_read
from tlfeatures.features.file.format import PROPERTIES_TABLE, Header
from tlfeatures.features.file.mapped import mapped_rows
from tlfeatures.features.file.sharded import Shards, size_of

_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read everything in a file except its embeddings; nothing in it is executed.

    Raises
    ------
    ParameterError, FormatError, StoreError
        See `open_embeddings`.
    """
    with open_embeddings(path) as reader:
        return reader.header


def is_embeddings_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file that begins as an HDF5 file does; never for a URL."""
    try:
        with Path(path).open("rb") as file:
            return bool(file.read(len(_HDF5)) == _HDF5)
    except OSError:
        return False


def open_embeddings(path: str | os.PathLike[str]) -> Reader:
    """Open an embeddings file for reading, also while another process writes or replaces it.

    Everything that one reader returns belongs together: a file that replaces this one is another
    file. The shards of a sharded file are opened when they are read. If they are removed before,
    as by `merge`, or by an update that computes all of them again, reading raises a `StoreError`.

    Parameters
    ----------
    path : path

    Returns
    -------
    Reader

    Raises
    ------
    ParameterError
        If there is no such file.
    FormatError
        If it is no embeddings file, one of a newer version, or a damaged one.
    StoreError
        If it may not be read.
    """
    path = Path(path)
    if not path.is_file():
        there = "is no regular file" if path.exists() else "does not exist"
        what = "is a folder" if path.is_dir() else there
        raise ParameterError(
            f"{path} {what}; an embeddings file is made by `tlfeatures extract SOURCE -o FILE`"
        )
    file = open_to_read(path)
    try:
        header = check_file(path, file)
    except BaseException:
        file.close()
        raise
    if header.shards is None:
        return PlainReader(header, file)
    file.close()
    return ShardedReader(header)


class Reader(AbstractContextManager["Reader"]):
    """An embeddings file that is open for reading; a context manager that closes it.

    Attributes
    ----------
    header : Header
    """

    def __init__(self, header: Header) -> None:
        self.header = header

    def read(self, name: str) -> NDArray[np.float32]:
        """Read the finished rows of one embedding.

        Returns
        -------
        ndarray of shape (number of finished rows, d), float32
            In the order of the ids. It may be a read-only memory map, see `mapped_rows`.

        Raises
        ------
        StoreError
            If a shard is missing, or was changed.
        """
        return np.asarray(self._finished(f"embeddings/{name}"), np.float32)

    def read_variants(self, name: str, count: int) -> NDArray[np.float32]:
        """Read the first `count` variants of every finished row of one embedding.

        Returns
        -------
        ndarray of shape (number of finished rows, count, d), float32

        Raises
        ------
        StoreError
            If a shard is missing, or was changed.
        """
        return np.asarray(self._finished(f"variants/{name}", count), np.float32)

    def read_properties(self) -> NDArray[np.float32] | None:
        """Read the properties of the finished rows' images.

        Returns
        -------
        ndarray of shape (number of finished rows, q), float32, or None
            None if the rows are imported.

        Raises
        ------
        StoreError
            If a shard is missing, or was changed.
        """
        if PROPERTIES_TABLE not in self.header.tables:
            return None
        return np.asarray(self._finished(PROPERTIES_TABLE), np.float32)

    @abstractmethod
    def _finished(self, path: str, count: int | None = None) -> NDArray[Any]:
        """Read the finished rows of a table: the first `count` items of each, or all."""

    @abstractmethod
    def copy_rows(self, path: str, rows: NDArray[Any]) -> NDArray[Any]:
        """Read some rows of a dataset as they are stored.

        Parameters
        ----------
        path : str
            One of `Header.tables`, or `checksums/` before it.
        rows : ndarray of shape (m,)
            Row numbers, ascending and without repetition.

        Returns
        -------
        ndarray of shape (m, ...)
            For rows of a sharded file that are not done: any values.
        """

    def copy_checksums(self, path: str, rows: NDArray[Any]) -> NDArray[np.uint32]:
        """Read the checksums of some rows of a table, see `copy_rows`: shape (m,)."""
        return self.copy_rows(f"checksums/{path}", rows)

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __exit__(self, *_: object) -> None:
        self.close()


class PlainReader(Reader):
    """Reads a file that has its rows in itself."""

    def __init__(self, header: Header, file: h5py.File) -> None:
        super().__init__(header)
        self._file = file

    def _finished(self, path: str, count: int | None = None) -> NDArray[Any]:
        whole = self.header.done.all()
        mapped = mapped_rows(self._file[path]) if whole and count is None else None
        if mapped is not None:
            return mapped
        rows: NDArray[Any] = self._file[path][:, :count]  # one slice is read fastest
        return rows if whole else rows[self.header.done]

    def copy_rows(self, path: str, rows: NDArray[Any]) -> NDArray[Any]:
        """See `Reader.copy_rows`."""
        table = self._file[path]
        parts = [table[first:last] for first, last in consecutive(rows)]
        return parts[0] if len(parts) == 1 else np.concatenate([table[:0], *parts])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ShardedReader(Reader):
    """Reads a file that has its rows in shards, without following its virtual datasets.

    The file itself is not open: everything but the rows is in the header.
    """

    def _finished(self, path: str, count: int | None = None) -> NDArray[Any]:
        return self.copy_rows(path, np.flatnonzero(self.header.done))[:, :count]

    def copy_rows(self, path: str, rows: NDArray[Any]) -> NDArray[Any]:
        """See `Reader.copy_rows`."""
        header, place = self.header, self._shards.place[rows]
        is_checksum = path.startswith("checksums/")
        dtype = np.dtype("uint32") if is_checksum else header.row_dtype(path)
        shape = (len(rows), *(() if is_checksum else header.row_shape(path)))
        values = None  # memory is allocated only once a shard has proved to be what is stated
        present = header.done[rows] & (place[:, 0] >= 0)
        for shard in np.unique(place[present, 0]).tolist():
            mine = np.flatnonzero(present & (place[:, 0] == shard))
            rows_there, back = np.unique(place[mine, 1], return_inverse=True)
            digests = [header.digests[row] for row in rows[mine].tolist()]
            with self._open(shard) as reader:
                _check_images(reader.header, place[mine, 1].tolist(), digests)
                values = np.zeros(shape, dtype) if values is None else values
                values[mine] = reader.copy_rows(path, rows_there)[back]
        return np.broadcast_to(np.zeros((), dtype), shape) if values is None else values

    def close(self) -> None:
        """Do nothing: each shard is closed once it is read."""

    @property
    def _shards(self) -> Shards:
        assert self.header.shards is not None  # as the class says
        return self.header.shards

    def _open(self, shard: int) -> Reader:
        header, shards = self.header, self._shards
        path = header.path.parent / shards.folder / shards.names[shard]
        if size_of(path) != shards.sizes[shard]:
            raise StoreError(
                f"{path} is missing, or has another size than when it was made: run `tlfeatures "
                f"extract` of {header.path} again"
            )
        reader = open_embeddings(path)
        if _is_shard_of(reader.header, header):
            return reader
        reader.close()
        raise FormatError(f"{path} is no shard of {header.path}")


def _is_shard_of(shard: Header, header: Header) -> bool:
    embeddings = header.embeddings.items() <= shard.embeddings.items()
    return shard.shards is None and embeddings and header.is_comparable(shard)


def _check_images(shard: Header, rows: list[int], digests: list[bytes]) -> None:
    for row, digest in zip(rows, digests, strict=True):
        if not 0 <= row < len(shard.ids) or not shard.done[row] or shard.digests[row] != digest:
            raise FormatError(f"{shard.path} has other images than the sharded file states")


def consecutive(rows: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Split ascending row numbers into half-open ranges of consecutive numbers."""
    if not len(rows):
        return
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for part in np.split(rows, breaks):
        yield int(part[0]), int(part[-1]) + 1
