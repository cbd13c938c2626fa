"""Linear equations whose matrix is known by its products only: the method of conjugate gradients.

References
----------
Hestenes, M. and Stiefel, E. (1952). Methods of conjugate gradients for solving linear systems.
Journal of Research of the National Bureau of Standards 49, 409-436.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from tlfeatures.heads.blocks.rows import Floats

_TOLERANCE = 1e-5  # length of the residual, as a share of the right side's; products are float32
_MAX_STEPS = 1000
_TINY = 1e-300


def solved(multiply: Callable[[Floats], Floats], right: Floats) -> Floats:
    """Solve A X = B for a symmetric positive definite A, all columns of B at once.

    Parameters
    ----------
    multiply : callable
        Returns A V for V of shape (d, q).
    right : ndarray of shape (d, q), float64
        B.

    Returns
    -------
    ndarray of shape (d, q), float64

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If 1,000 steps are not enough.
    """
    solution, residual = np.zeros_like(right), right.copy()
    direction, squares = residual.copy(), _squares(residual)
    enough = _TOLERANCE**2 * squares
    for _ in range(_MAX_STEPS):
        active = squares > enough  # a column that is solved no longer changes
        if not active.any():
            return solution
        products = multiply(direction)
        curvature = np.einsum("ij,ij->j", direction, products)
        step = np.where(active, squares / np.maximum(curvature, _TINY), 0)
        solution += step * direction
        residual -= step * products
        before, squares = squares, _squares(residual)
        direction = residual + squares / np.maximum(before, _TINY) * direction
    warnings.warn(
        f"conjugate gradients failed to converge after {_MAX_STEPS} iteration(s): raise the "
        "penalty or the shrinkage",
        ConvergenceWarning,
        stacklevel=2,
    )
    return solution


def _squares(columns: Floats) -> Floats:
    squares: Floats = np.einsum("ij,ij->j", columns, columns)
    return squares
