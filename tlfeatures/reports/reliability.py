"""Reliability: how often predictions are right, by their probability."""

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
    """How often the most probable class was right, by its predicted probability.

    Attributes
    ----------
    edges : ndarray of shape (b, 2), float64
        Edges of the bins of confidence that have images.
    confidence, right : ndarray of shape (b,), float64
        Mean probability of the most probable class, and the share of images of this class.
    intervals : ndarray of shape (b, 2), float64
        95 % intervals (Wilson) of `right`; images count as independent.
    counts : ndarray of shape (b,), int
        Numbers of images.
    error : float
        Expected calibration error: the mean distance of `right` from `confidence` over images.
    """

    edges: Floats
    confidence: Floats
    right: Floats
    intervals: Floats
    counts: Codes
    error: float


def reliability(predictions: OutOfFold, bins: int = 10) -> Reliability:
    """Compare the confidence of a head with how often it was right.

    Parameters
    ----------
    predictions : OutOfFold
    bins : int
        Number of bins of equal width from 1 / k to 1, the range of the largest of k probabilities.

    Returns
    -------
    Reliability
        Without bins that have no images. It concerns the most probable class; some heads predict
        by a score of their own, and sometimes another class.

    Raises
    ------
    ParameterError
        If the head gives no probabilities, or bins is below 1.

    References
    ----------
    M. Naeini, G. Cooper and M. Hauskrecht (2015), Obtaining well calibrated probabilities using
    Bayesian binning, AAAI, 2901-2907: the expected calibration error.
    C. Guo, G. Pleiss, Y. Sun and K. Weinberger (2017), On calibration of modern neural networks,
    ICML, 1321-1330: the same for several classes, and the diagram.
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
