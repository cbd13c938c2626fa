"""Sketches of embeddings: fewer columns, which keep distances nearly as they are.

Each column is added, with a random sign, to one of a few sums. Inner products of these sums differ
only a little from the original ones (M. Charikar, K. Chen and M. Farach-Colton, Finding frequent
items in data streams, ICALP 2002). The signs and the assignment to sums are computed from a fixed
seed and are not stored.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tlfeatures.dataset.distances import unit_roots


def sketched(X: NDArray[np.floating[Any]], width: int) -> NDArray[np.float32]:
    """Return the square roots of rows, scaled to length 1, in at most `width` columns.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Embeddings without rows of zeros.
    width : int
        If X has more columns, they are added to so many sums.

    Returns
    -------
    ndarray of shape (n, min(d, width)), float32
    """
    points = unit_roots(X)
    if points.shape[1] > width:
        points = np.asarray(points @ _signs(points.shape[1], width), np.float32)
    return points


@functools.lru_cache(maxsize=8)
def _signs(columns: int, width: int) -> csr_array:
    """Return the matrix, of shape (columns, width), that adds each column to one of the sums.

    A stored sketch needs the same random numbers in every version of NumPy, and only RandomState
    guarantees them.
    """
    random = np.random.RandomState(0)
    place = random.randint(0, width, columns)
    sign = random.randint(0, 2, columns).astype(np.float32) * 2 - 1
    return csr_array((sign, place, np.arange(columns + 1)), shape=(columns, width))
