"""How close rows of embeddings are to other rows of the same images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def row_cosines(rows: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the cosine of each row to the same row of another array.

    Parameters
    ----------
    rows, others : ndarray of shape (..., d)

    Returns
    -------
    ndarray of shape (...)
        1 between two rows of zeros, 0 between one and another. A row that isn't finite has no
        direction: its cosines are 0.
    """
    a, b = rows.astype(np.float64), others.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    with np.errstate(invalid="ignore"):
        products = (a * b).sum(axis=-1) / np.where(lengths > 0, lengths, 1)
    products[np.all(a == b, axis=-1)] = 1
    cosines: NDArray[np.float64] = np.nan_to_num(np.clip(products, -1, 1))
    return cosines
