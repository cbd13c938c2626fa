"""Sample weights of images and their variants in a fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shares(variant: NDArray[np.int_] | None) -> NDArray[np.float64] | None:
    """Return sample weights, so that an image and its variants have the weight 1 together.

    With these weights, a penalty has the same effect with and without variants.

    Parameters
    ----------
    variant : ndarray of shape (n,), int, or None
        See `FitArguments`. All images have the same number of variants.

    Returns
    -------
    ndarray of shape (n,), float64, or None
        None if no row is a variant.
    """
    if variant is None or not variant.any():
        return None
    return np.full(len(variant), (variant == 0).mean())
