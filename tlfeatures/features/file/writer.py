"""Writing rows into an embeddings file: values and checksums first, then the mark that says so."""

from __future__ import annotations

import contextlib
import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import StoreError
from tlfeatures.features.file.format import PROPERTIES_TABLE, shorten_reason, tables_of
from tlfeatures.features.file.reader import Reader, consecutive, open_embeddings
from tlfeatures.features.images.identify import UNREADABLE, Stamp
from tlfeatures.features.spec import Spec
from tlfeatures.files import reason_of
from tlfeatures.progress import Progress, no_progress

_COPY_BYTES = 64 * 2**20  # of a table, copied at a time


def checksums(rows: NDArray[Any]) -> NDArray[np.uint32]:
    """Compute the CRC-32 of the bytes of each row as it is stored: shape (n, ...) to (n,)."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    return np.fromiter((zlib.crc32(row.data) for row in flat), np.uint32, len(flat))


class Writer(contextlib.AbstractContextManager["Writer"]):
    """An embeddings file that is open for writing rows; nothing else changes an existing file.

    Parameters
    ----------
    path : Path
        A file with its rows in itself, see `create`.
    carried : dict of table to ndarray of shape (n,), bool, optional
        Rows that were copied earlier, though other tables of the image lack theirs.
    named : Path, optional
        The file that will replace this temporary one: messages name it.

    Attributes
    ----------
    path : Path
    done : ndarray of shape (n,), bool
    carried : dict of table to ndarray of shape (n,), bool
    """

    def __init__(
        self,
        path: Path,
        carried: dict[str, NDArray[np.bool_]] | None = None,
        named: Path | None = None,
    ) -> None:
        self.path, self._named = path, named
        self._file = h5py.File(path, "r+", locking=False)
        # All datasets stay open: one that is closed between writes loses its last ones silently.
        self._datasets: list[Any] = []
        self._file.visititems(lambda _, item: self._datasets.append(item))
        spec = Spec.from_dict(json.loads(self._file.attrs["spec"]))
        self._augmentation = spec.augmentation
        names = tables_of(self._file["embeddings"], spec)
        self._tables: dict[str, h5py.Dataset] = {name: self._file[name] for name in names}
        self.done: NDArray[np.bool_] = self._file["done"][:].astype(bool)
        none = np.zeros(len(self.done), bool)
        self.carried = carried or {name: none.copy() for name in self._tables}

    # ---- rows of other files

    def carry(self, path: Path, progress: Progress = no_progress) -> None:
        """Copy every finished row of another file whose image has the same digest.

        The other file may be this one: rows of further images with the same bytes are then copied.

        Parameters
        ----------
        path : Path
        progress : callable (rows copied, rows to copy), optional
            The counts include all tables.

        Raises
        ------
        StoreError
            If the file can't be read, or the disk refuses to write.
        """
        with self._disk_errors(), open_embeddings(path) as source:
            same = source.header.spec.augmentation == self._augmentation
            shared = {
                table for table in source.header.tables if same or not table.startswith("variants/")
            }
            tables = [table for table in self._tables if table in shared]
            rows, source_rows = self._pairs(source)
            if not len(rows) or not tables:
                return
            copied = 0
            for table in tables:
                for count in self._copy(source, table, rows, source_rows):
                    copied += count
                    progress(copied, len(rows) * len(tables))
            if len(tables) == len(self._tables):
                self._mark(rows)

    def _pairs(self, source: Reader) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Match rows that lack with finished rows of another file by digest: both (m,)."""
        digests = source.header.digests
        pairs = [
            (row, source_row)
            for source_row in np.flatnonzero(source.header.done).tolist()
            for row in self._rows_of.get(digests[source_row], ())
            if not self.done[row]
        ]
        matched = np.array(pairs, np.int64).reshape(-1, 2)
        return matched[:, 0], matched[:, 1]

    @cached_property
    def _rows_of(self) -> dict[bytes, list[int]]:
        rows_of: dict[bytes, list[int]] = {}
        for row, digest in enumerate(self._file["digest"][:]):
            rows_of.setdefault(digest.tobytes(), []).append(row)
        rows_of.pop(UNREADABLE, None)
        return rows_of

    def _copy(
        self, source: Reader, table: str, rows: NDArray[Any], source_rows: NDArray[Any]
    ) -> Iterator[int]:
        """Copy rows of one table in parts, and yield the number of rows of each part."""
        dataset = self._tables[table]
        step = max(1, _COPY_BYTES // (dataset.dtype.itemsize * math.prod(dataset.shape[1:])))
        order = np.argsort(source_rows, kind="stable")
        for start in range(0, len(order), step):
            part = order[start : start + step]
            wanted, back = np.unique(source_rows[part], return_inverse=True)
            sums = source.copy_checksums(table, wanted)[back]
            self._put_rows(table, rows[part], source.copy_rows(table, wanted)[back], sums)
            yield len(part)
        self.carried[table][rows] = True

    # ---- new rows

    def write(
        self,
        rows: Sequence[int],
        values: Mapping[str, NDArray[np.float32]],
        variants: Mapping[str, NDArray[np.float32]] | None = None,
        properties: NDArray[np.float32] | None = None,
    ) -> None:
        """Write rows of every table, then mark them done.

        Parameters
        ----------
        rows : sequence of int, length b
        values : dict of embedding name to ndarray of shape (b, d)
            Rows that were carried keep their values; if all were, no values are needed.
        variants : dict of embedding name to ndarray of shape (b, v, d), optional
            Values of the images' variants, if the file has some.
        properties : ndarray of shape (b, q), optional
            Properties of the images, unless the rows are imported.

        Raises
        ------
        StoreError
            If the disk refuses to write; rows that were done before are safe. If the file's dtype
            can't hold a value.
        """
        index = np.asarray(rows)
        given = {f"embeddings/{name}": value for name, value in values.items()}
        given |= {f"variants/{name}": value for name, value in (variants or {}).items()}
        given |= {} if properties is None else {PROPERTIES_TABLE: properties}
        with self._disk_errors():
            for table in self._tables:
                fresh = ~self.carried[table][index]
                if fresh.any():
                    stored = self._stored(table, given[table][fresh])
                    self._put_rows(table, index[fresh], stored, checksums(stored))
            self._mark(index)

    def fail(self, rows: Sequence[int], reason: str) -> None:
        """Record why these images could not be embedded."""
        with self._disk_errors():
            self._put_reason(np.asarray(rows), shorten_reason(reason).encode())
            self._sync()

    def unmark(self, rows: Sequence[int]) -> None:
        """Mark rows as not done, so that the next extraction computes them again."""
        index = np.asarray(rows, int)
        with self._disk_errors():
            self._put(self._file["done"], index, np.zeros(len(index), bool))
            self._sync()
        self.done[index] = False

    def stamp(self, stamps: Sequence[Stamp]) -> None:
        """Update the stamps of images with unchanged bytes."""
        if np.array_equal(self._file["stat"][:], stamps):
            return
        with self._disk_errors():
            self._file["stat"][:] = stamps
            self._sync()

    def _stored(self, table: str, values: NDArray[np.float32]) -> NDArray[Any]:
        """Convert values to the file's dtype."""
        with np.errstate(over="ignore"):
            stored = values.astype(self._tables[table].dtype)
        if not np.isfinite(stored).all():
            raise StoreError(
                f"{table.rpartition('/')[2]} has values that {stored.dtype} can't hold (up to "
                f"{np.abs(values).max():.4g}); use another file with --dtype float32"
            )
        return stored

    # ---- the disk

    def _put_reason(self, rows: NDArray[Any], text: bytes) -> None:
        dataset = self._file["reason"]
        self._put(dataset, rows, np.full(len(rows), text, dataset.dtype))

    def _put_rows(
        self, table: str, rows: NDArray[Any], values: NDArray[Any], sums: NDArray[np.uint32]
    ) -> None:
        self._put(self._tables[table], rows, values)
        self._put(self._file[f"checksums/{table}"], rows, sums)

    def _put(self, dataset: h5py.Dataset, rows: NDArray[Any], values: NDArray[Any]) -> None:
        order = np.argsort(rows, kind="stable")
        start = 0
        for first, last in consecutive(rows[order]):  # slices are written far faster than lists
            part = order[start : start + last - first]
            dataset[first:last] = values[part]
            start += last - first

    def _mark(self, rows: NDArray[Any]) -> None:
        self._sync()  # the rows reach the disk before their mark
        self._put_reason(rows, b"")
        self._put(self._file["done"], rows, np.ones(len(rows), bool))
        self._sync()
        self.done[rows] = True

    def _sync(self) -> None:
        try:
            self._file.flush()
        except RuntimeError as error:  # h5py's error if the disk refuses to write here
            raise OSError(str(error)) from error
        os.fsync(self._file.id.get_vfd_handle())

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Turn an error of the system into a `StoreError`, after which nothing is written."""
        try:
            yield
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> StoreError:
        """Give the disk up, and return the error to raise."""
        with contextlib.suppress(OSError):
            # HDF5 crashes the process if it can't write when it closes: from now on it writes
            # to the null device, and the file stays as it is.
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, self._file.id.get_vfd_handle(), inheritable=False)
            os.close(nothing)
        again = "make room and run the same command again"
        if self._named is not None:  # a temporary file, which is removed
            return StoreError(f"{self._named} can't be written: {reason_of(error)}; {again}")
        return StoreError(
            f"{self.path} can't be written: {reason_of(error)}. {int(self.done.sum())} rows are "
            f"safe in it; {again}"
        )

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # rows that are marked done are safe
            self._file.close()
