"""Distances between the rows of an embedding, computed in blocks, so that X is not copied.

For each row, square roots of the values (with their signs) are computed and scaled to length 1. The
distance is the Euclidean distance of these rows. For activations, which are not negative, this is
the Hellinger distance of the rows divided by their sums. Without the square root, a few large
activations would dominate the distance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAME = 4e-6  # float32 can't distinguish a smaller squared distance from 0
_BLOCK_BYTES = 2**27
_PAIR_VALUES = 2**21  # of pairs that are compared in one step


def neighbor_distances(X: ArrayLike, k: int, *, block: int | None = None) -> NDArray[np.float32]:
    """Return the distance of each row to its k-th nearest other row.

    Parameters
    ----------
    X : array of shape (n, d)
        Embeddings.
    k : int
        Number of the neighbour. If k is larger than n - 1, n - 1 is used.
    block : int, optional
        Number of rows of a block.

    Returns
    -------
    ndarray of shape (n,), float32
        Distances; NaN for rows of zeros and rows with a value that isn't finite.
    """
    X = np.asarray(X)
    block = block or block_rows(X.shape[1])
    rows = usable_rows(X)
    kth = np.full(len(X), np.nan, np.float32)
    if len(rows) < 2:
        return kth
    k = min(k, len(rows) - 1)
    for part in parts(len(rows), block):
        unit = unit_roots(X[rows[part]])
        nearest = np.empty((len(unit), 0), np.float32)
        for other in parts(len(rows), block):
            candidates = np.hstack([nearest, distances(unit, unit_roots(X[rows[other]]))])
            # The nearest row is the row itself, with distance 0.
            nearest = np.partition(candidates, min(k, candidates.shape[1] - 1), axis=1)[:, : k + 1]
        kth[rows[part]] = nearest.max(axis=1)
    return kth


def block_rows(columns: int) -> int:
    """Return the number of rows of a block, for a memory use of about 100 MB."""
    return max(16, min(1024, _BLOCK_BYTES // (16 * max(columns, 1))))


def parts(n: int, block: int) -> list[slice]:
    """Divide n rows into blocks. There is at least one block, which is empty if n is 0."""
    return [slice(start, start + block) for start in range(0, max(n, 1), block)]


def usable(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether each row is finite and has a value that is not 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.abs(rows.astype(np.float32, copy=False)).sum(axis=1)
    usable: NDArray[np.bool_] = np.isfinite(total) & (total > 0)
    return usable


def usable_rows(X: NDArray[Any]) -> NDArray[np.int64]:
    """Return the numbers of the usable rows of an embedding; see `usable`."""
    blocks = parts(len(X), block_rows(X.shape[1]))
    return np.flatnonzero(np.concatenate([usable(X[part]) for part in blocks]))


def unit_roots(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return square roots of rows, with signs, scaled to length 1; NaN for a row of zeros."""
    rows = np.ascontiguousarray(rows, np.float32)  # another layout would be summed otherwise
    roots: NDArray[np.float32] = np.abs(rows)
    np.sqrt(roots, out=roots)
    np.copysign(roots, rows, out=roots)
    roots /= np.sqrt(np.einsum("ij,ij->i", roots, roots))[:, None]
    return roots


def distances(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distance of each row of `first` to each row of `second`.

    Both are results of `unit_roots`.
    """
    squares: NDArray[np.float32] = first @ second.T
    squares *= -2
    squares += 2
    return _roots(squares)


def pair_distances(
    X: NDArray[Any], i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the distances of pairs of rows. Each depends on its two rows only.

    Parameters
    ----------
    X : array of shape (n, d)
        Embeddings.
    i, j : ndarray of shape (p,), int
        The rows of each pair.

    Returns
    -------
    ndarray of shape (p,), float32
    """
    distance = np.empty(len(i), np.float32)
    for part in parts(len(i), max(1, _PAIR_VALUES // X.shape[1])):
        pairs = np.stack([i[part], j[part]])
        rows, place = np.unique(pairs, return_inverse=True)
        units = unit_roots(X[rows])
        one, two = place.reshape(pairs.shape)
        difference = units[one]
        difference -= units[two]
        distance[part] = _roots(np.einsum("ij,ij->i", difference, difference))
    return distance


def _roots(squares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert squared distances to distances, in place."""
    squares[squares < SAME] = 0  # equal rows may differ, or be negative, because of rounding
    return np.sqrt(squares, out=squares)
