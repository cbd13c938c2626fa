"""Weights of images and their variants in a fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shares(variant: NDArray[np.int_] | None) -> NDArray[np.float64] | None:
    """Give each row its share of its image's weight of 1; None if no row is a variant.

    With these weights a penalty means the same whether images have variants or not.

    Parameters
    ----------
    variant : ndarray of shape (n,), int, or None
        As in `FitArguments`; all images have the same number of variants.
    """
    if variant is None or not variant.any():
        return None
    return np.full(len(variant), (variant == 0).mean())
