"""Checks of an embeddings file without its backbone: its marks, its values, its shards, its images.

Every check returns masks of shape (n,) by kind of problem: the rows of the file that have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.features.file.format import Header
from tlfeatures.features.file.reader import Reader
from tlfeatures.features.file.writer import checksums
from tlfeatures.features.images.identify import UNREADABLE, Manifest

BLOCK_BYTES = 16 * 2**20  # size of the part of a table that is checked at a time

Mask = NDArray[np.bool_]


def check_rows(reader: Reader, advance: Callable[[int], None]) -> dict[str, Mask]:
    """Check the marks of all rows, and every value in them.

    Parameters
    ----------
    reader : Reader
    advance : callable (rows)
        Called after each block of rows of a table.
    """
    header = reader.header
    failed = np.array([bool(reason) for reason in header.reasons])
    return {
        "waiting": ~header.done & ~failed,
        "done-and-failed": header.done & failed,
        **_check_values(reader, advance),
        "shard": _in_altered_shards(header),
    }


def _check_values(reader: Reader, advance: Callable[[int], None]) -> dict[str, Mask]:
    """Check each table; a row may have a different problem in each of them."""
    header = reader.header
    masks = {kind: _no_rows(header) for kind in ("not-finite", "zeros", "checksum")}
    for table in header.tables:
        for rows, values in _blocks(reader, table):
            wrong = checksums(values) != reader.copy_checksums(table, rows)
            finite = np.isfinite(values).all(axis=(1, 2))
            empty = wrong & np.any(np.all(values == 0, axis=2), axis=1)
            masks["not-finite"][rows] |= ~finite
            masks["zeros"][rows] |= empty
            masks["checksum"][rows] |= wrong & finite & ~empty
            advance(len(rows))
    return {kind: mask & header.done for kind, mask in masks.items()}


def _blocks(reader: Reader, table: str) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Read a table in blocks: row numbers (m,), and values of shape (m, parts, d)."""
    header = reader.header
    width = header.row_shape(table)[-1]
    step = max(1, BLOCK_BYTES // header.row_bytes(table))
    for start in range(0, len(header.ids), step):
        rows = np.arange(start, min(start + step, len(header.ids)))
        yield rows, reader.copy_rows(table, rows).reshape(len(rows), -1, width)


def _in_altered_shards(header: Header) -> Mask:
    if header.shards is None:
        return _no_rows(header)
    altered = np.append(header.shards.altered(header.path), False)  # the last: of rows in no shard
    in_altered: Mask = header.done & altered[header.shards.place[:, 0]]
    return in_altered


def _no_rows(header: Header) -> Mask:
    return np.zeros(len(header.ids), bool)


def compare_with_folder(header: Header, manifest: Manifest) -> dict[str, Mask]:
    """Compare the images of a file with those of its folder."""
    current = dict(zip(manifest.ids, manifest.digests, strict=True))
    digests = [current.get(id_) for id_ in header.ids]
    pairs = zip(digests, header.digests, strict=True)
    return {
        "gone": np.array([digest is None for digest in digests]),
        "unreadable": np.array([digest == UNREADABLE for digest in digests]),
        "changed": np.array([digest not in (None, UNREADABLE, stored) for digest, stored in pairs]),
    }
