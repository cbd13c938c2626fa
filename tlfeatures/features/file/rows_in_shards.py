"""An embedding whose rows stay in the shards of a sharded file and are read when indexed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import FormatError, ParameterError, StoreError
from tlfeatures.features.combined import join, parts_of
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.reader import Reader, ShardedReader, open_embeddings
from tlfeatures.features.file.sharded import Shards, size_of
from tlfeatures.features.spec import Spec

_BLOCK = 4096  # number of rows that `blocks` reads at once


class RowsInShards:
    """The rows of an embedding, which are read from the shards whenever they are indexed.

    It has the shape and the type of an array, but never becomes one by accident: functions that
    need all rows at once raise an error.

    Parameters
    ----------
    header : Header
        A sharded file.
    embedding : str
        `LAYER.POOLING`, or several of them joined as `A+B`.
    rows : ndarray of shape (n,), int
        Rows of the file, which are done.
    """

    ndim: Literal[2] = 2
    dtype = np.dtype(np.float32)

    def __init__(self, header: Header, embedding: str, rows: NDArray[np.int_]) -> None:
        self.embedding = embedding
        self._header = header
        self._rows = rows

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        widths = self._header.embeddings
        return len(self._rows), sum(widths[part] for part in parts_of(self.embedding))

    @property
    def size(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        """Read rows, as an array would return them."""
        index, *columns = index if isinstance(index, tuple) else (index,)
        chosen = self._rows[index]
        rows = np.atleast_1d(chosen)
        wanted, back = np.unique(rows, return_inverse=True)
        values = _read(ShardedReader(self._header), self.embedding, wanted)
        if not np.array_equal(wanted, rows):
            values = values[back]
        return values[(slice(None) if chosen.ndim else 0, *columns)]

    def __array__(self, *_: object, **__: object) -> NDArray[np.float32]:
        raise ParameterError(
            f"all rows of {self._header.path} are needed at once, but they stay in its shards: "
            "leave out --cluster"
        )

    def select(self, selection: NDArray[Any]) -> RowsInShards:
        """Return some of the rows, selected by their positions or by a mask; none is read."""
        return RowsInShards(self._header, self.embedding, self._rows[selection])

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Read all rows in blocks, in their order."""
        for start in range(0, len(self), _BLOCK):
            part = slice(start, min(start + _BLOCK, len(self)))
            yield part, self[part]

    def fingerprint(self) -> str:
        """Return a hash of the hashes of the shards, and of the rows in them."""
        shards, place = self._shards, self._shards.place[self._rows]
        digest = hashlib.sha256(self.embedding.encode())
        for number in np.unique(place[:, 0]).tolist():
            digest.update(shards.sha256[number])
        digest.update(np.unique(place[:, 0], return_inverse=True)[1].astype(np.int64).tobytes())
        digest.update(place[:, 1].astype(np.int64).tobytes())
        return digest.hexdigest()

    def order(self) -> NDArray[np.int_]:
        """Return the positions of all rows, sorted by the shards and the rows in them."""
        place = self._shards.place[self._rows]
        return np.lexsort((place[:, 1], place[:, 0]))

    def shards(self) -> list[ShardPart]:
        """Return the rows of each shard, in the order of `order`."""
        header, shards = self._header, self._shards
        rows = self._rows[self.order()]
        place = shards.place[rows]
        folder = header.path.absolute().parent / shards.folder
        starts = np.flatnonzero(np.diff(place[:, 0], prepend=-1))
        return [
            ShardPart(
                str(folder / shards.names[place[part[0], 0]]),
                shards.sizes[place[part[0], 0]],
                place[part, 1].astype(np.int32),
                _hash_of(header.digests[row] for row in rows[part].tolist()),
            )
            for part in np.split(np.arange(len(rows)), starts[1:])
            if len(part)
        ]

    @property
    def spec(self) -> Spec:
        """Settings of the embedding."""
        return self._header.spec

    @property
    def _shards(self) -> Shards:
        assert self._header.shards is not None  # as the parameter says
        return self._header.shards


@dataclass(frozen=True)
class ShardPart:
    """Rows of one shard, which any process reads that sees the shard under this path.

    Attributes
    ----------
    path : str
        Path of the shard.
    size : int
        Its size in bytes.
    rows : ndarray of shape (m,), int
        Rows in the shard, ascending.
    images : str
        Hash of the sha256 of their images.
    """

    path: str
    size: int
    rows: NDArray[np.integer[Any]]
    images: str

    def read(self, embedding: str, spec: Spec) -> NDArray[np.float32]:
        """Read the rows.

        Parameters
        ----------
        embedding : str
            As in `RowsInShards`.
        spec : Spec
            Settings that the shard must have.

        Returns
        -------
        ndarray of shape (m, d), float32

        Raises
        ------
        StoreError
            If the shard is missing, or was changed.
        FormatError
            If it is no shard with these images and settings.
        """
        if size_of(Path(self.path)) != self.size:
            raise StoreError(
                f"{self.path} is missing here, or has another size than when it was made: all "
                "machines must see the shards under this path; else run `tlfeatures extract` again"
            )
        rows, back = np.unique(self.rows, return_inverse=True)
        with open_embeddings(self.path) as reader:
            self._check(reader.header, embedding, spec)
            values = _read(reader, embedding, rows)
        return values if len(rows) == len(back) else values[back]

    def _check(self, header: Header, embedding: str, spec: Spec) -> None:
        complete = set(parts_of(embedding)) <= set(header.embeddings)
        inside = len(self.rows) and self.rows[0] >= 0 and self.rows[-1] < len(header.ids)
        if (
            header.shards is not None
            or not (complete and inside and header.done[self.rows].all())
            or spec.differences(header.spec)
            or _hash_of(header.digests[row] for row in self.rows.tolist()) != self.images
        ):
            raise FormatError(f"{self.path} has other images than the sharded file states")


def _read(reader: Reader, embedding: str, rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    parts = parts_of(embedding)
    tables = {part: reader.copy_rows(f"embeddings/{part}", rows) for part in parts}
    return join({part: table.astype(np.float32) for part, table in tables.items()}, embedding)


def _hash_of(digests: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(digests)).hexdigest()


def in_shards(X: object) -> RowsInShards | None:
    """Return the rows of a dataset if they are in shards, or None if they are in memory."""
    return X if isinstance(X, RowsInShards) else None


def as_array(rows: RowsInShards) -> NDArray[np.float32]:
    """Return the same object with the type that datasets declare for their rows."""
    return cast("NDArray[np.float32]", rows)
