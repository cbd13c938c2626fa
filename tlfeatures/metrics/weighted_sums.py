"""Weighted sums over images, for a few weightings at a time, and ratios of such sums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
CELLS = 2**19  # number of weights in a chunk; its 4 MB fit in the processor's cache


def adder(
    targets: NDArray[Any],
    rows: NDArray[Any],
    shape: tuple[int, int],
    values: Floats | None = None,
) -> Any:
    """Return a sparse matrix whose product with weights sums them over the rows of each target.

    Parameters
    ----------
    targets, rows : ndarray of shape (m,), int
        Number of the target of each row. A target is a row of the matrix.
    shape : (int, int)
        Numbers of targets and of rows in all.
    values : ndarray of shape (m,), optional
        Factor of the weight of each row; 1 by default.
    """
    places = (targets.astype(np.int32), rows.astype(np.int32))  # half the memory of int64
    return sparse.csr_array((np.ones(len(rows)) if values is None else values, places), shape=shape)


def ratio(part: Floats, whole: Floats) -> Floats:
    """Divide elementwise; NaN where `whole` is not above 0."""
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def nan_mean(values: Floats) -> Floats:
    """Return the mean over the first axis without NaN; NaN where all are NaN."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0))


def chunks(
    weights: NDArray[Any], order: NDArray[np.int_] | None = None
) -> Iterator[tuple[slice, Floats]]:
    """Yield the columns of weights, of shape (n, B), in chunks of about 4 MB, as float64.

    The weights themselves may be small integers, so that the whole table needs little memory.

    Parameters
    ----------
    weights : ndarray of shape (n, B)
    order : ndarray of shape (n,), int, optional
        Order of the images in the chunks.

    Yields
    ------
    columns : slice
        The columns of the chunk.
    chunk : ndarray of shape (b, n), float64
        One weighting in each row. The next chunk overwrites it.
    """
    n, count = weights.shape
    step = max(1, CELLS // max(n, 1))
    buffer = np.empty((min(step, count), n))
    for start in range(0, count, step):
        columns = slice(start, min(start + step, count))
        rows = weights[:, columns].T
        chunk = buffer[: len(rows)]
        chunk[:] = rows if order is None else rows.take(order, axis=1)
        yield columns, chunk


def dot(weights: Floats, values: Floats) -> Floats:
    """Return the weighted sums of values: weights of shape (b, n), values of shape (n,).

    Unlike those of a product of BLAS, the bits of a sum don't depend on the number of threads.
    """
    sums: Floats = np.einsum("bn,n->b", weights, values)
    return sums
