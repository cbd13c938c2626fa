"""Weighted sums over images, as products of sparse matrices, and ratios of such sums."""

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


def chunks(weights: NDArray[Any]) -> Iterator[tuple[slice, Floats]]:
    """Yield the columns of weights, of shape (n, B), in chunks of about 4 MB, as float64.

    The weights themselves may be small integers, so that the whole table needs little memory.
    """
    step = max(1, CELLS // max(len(weights), 1))
    for start in range(0, weights.shape[1], step):
        columns = slice(start, start + step)
        yield columns, weights[:, columns].astype(np.float64, order="C")
