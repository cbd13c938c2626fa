"""Reliability: a comparison of predicted probabilities with the share of right predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.equality import EqualByValue
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.intervals import wilson
from tlfeatures.metrics.out_of_fold import OutOfFold

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class Reliability(EqualByValue):
    """Data of a reliability diagram with b bins.

    Attributes
    ----------
    edges : ndarray of shape (b, 2), float64
        Lower and upper edges of the bins. Bins without images are left out.
    confidence, right : ndarray of shape (b,), float64
        Mean probability of the most probable class, and share of images that have this class.
    intervals : ndarray of shape (b, 2), float64
        95 % intervals (Wilson) of `right`. Images are treated as independent.
    counts : ndarray of shape (b,), int
        Number of images of each bin.
    error : float
        Expected calibration error: mean of |`right` - `confidence`| over images.
    """

    edges: Floats
    confidence: Floats
    right: Floats
    intervals: Floats
    counts: Codes
    error: float


def reliability(predictions: OutOfFold, bins: int = 10) -> Reliability:
    """Compare the probability of the most probable class with the share of right predictions.

    Parameters
    ----------
    predictions : OutOfFold
    bins : int
        Number of bins of equal width from 1 / k to 1, the range of the largest of k probabilities.

    Returns
    -------
    Reliability
        Bins that have images. The result is about the most probable class. Some heads sometimes
        predict another class, because their own decision is not based on the probabilities.

    Raises
    ------
    ParameterError
        If the head gives no probabilities, or bins is below 1.

    References
    ----------
    M. Naeini, G. Cooper and M. Hauskrecht (2015), Obtaining well calibrated probabilities using
    Bayesian binning, AAAI, 2901-2907: the expected calibration error.
    C. Guo, G. Pleiss, Y. Sun and K. Weinberger (2017), On calibration of modern neural networks,
    ICML, 1321-1330: the same error for several classes, and the diagram.
    E. Wilson (1927), Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22, 209-212.
    """
    predictions.check_probabilities()
    if bins < 1:
        raise ParameterError(f"bins must be 1 or more, got {bins}")
    table = predictions.probabilities
    sure, hit = table.max(axis=1), table.argmax(axis=1) == predictions.y
    edges = np.linspace(1 / table.shape[1], 1, bins + 1)
    place = np.searchsorted(edges[1:-1], sure, side="right")
    counts = np.bincount(place, minlength=bins)
    used = counts > 0
    confidence = np.bincount(place, sure, bins)[used] / counts[used]
    right = np.bincount(place, hit, bins)[used] / counts[used]
    return Reliability(
        edges=np.column_stack([edges[:-1], edges[1:]])[used],
        confidence=confidence,
        right=right,
        intervals=wilson(right, counts[used]),
        counts=counts[used],
        error=float(np.abs(right - confidence) @ counts[used] / len(sure)),
    )
