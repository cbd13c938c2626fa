"""Confidence intervals of scores: percentiles of bootstrap resamples, and Wilson's for shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.resampling import resampled_scores
from tlfeatures.metrics.scores import Floats


def bootstrap_intervals(
    y: ArrayLike,
    predicted: ArrayLike,
    probabilities: ArrayLike,
    counts: ArrayLike,
    *,
    units: int,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Compute the interval of each pooled score over the choice of tested images.

    The interval answers one question: which score could the fitted head have had on other images
    (or groups) of the same kind? It does NOT cover another training set, as the fitted heads stay
    the same. It does not cover the choice of the best of many heads either: the score of the best
    one is too high because it was chosen, and no interval around that score corrects this.

    Parameters
    ----------
    y : array-like of shape (n,), int
        Class codes, 0 to k - 1. Images that were never tested are left out beforehand.
    predicted : array-like of shape (repeats, n), int
    probabilities : array-like of shape (repeats, n, k)
        NaN where the head gives none.
    counts : array-like of shape (n, B)
        From `resample_counts`.
    units : int
        Number of images, or of groups, that were drawn.
    level : float
        Probability that such an interval holds the true score, 0 to 1.

    Returns
    -------
    dict of name to (low, high)
        The names of `pooled_scores`. NaN, NaN where the score is not defined, or is the same in
        every resample, because such resamples say nothing about other images. Only accuracy has
        an interval at 0 and at 1 too, which is Wilson's.

    Raises
    ------
    ParameterError
        If level is not between 0 and 1, if there are no units, or as for `pooled_scores`.

    Notes
    -----
    The score of a resample is the mean over repeats of the pooled score. An image is drawn with
    all its repeats, so that repeats don't count as more images. The bounds are percentiles of
    these means. Resamples in which the score is not defined are left out. If a class has few
    images (or groups), for example under 20, percentile intervals are too narrow.

    References
    ----------
    B. Efron and R. Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    E. Wilson (1927), Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22, 209-212.
    """
    if not 0 < level < 1:
        raise ParameterError(f"level must be between 0 and 1, got {level}")
    if units < 1:
        raise ParameterError(f"units must be 1 or more, got {units}")
    y, predicted = np.asarray(y), np.asarray(predicted)
    resampled = resampled_scores(y, predicted, probabilities, counts)
    intervals = {name: _percentiles(values, level) for name, values in resampled.items()}
    accuracy = float((predicted == y).mean())
    if accuracy in (0.0, 1.0):
        low, high = wilson(accuracy, units, level).tolist()
        intervals["accuracy"] = low, high
    return intervals


def _percentiles(values: Floats, level: float) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not len(values) or all_same(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def all_same(values: Floats) -> bool:
    """Check whether all values are the same, except for rounding.

    Equal sums that were added in another order differ in the last digits.
    """
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max())


def wilson(share: ArrayLike, n: ArrayLike, level: float = 0.95) -> Floats:
    """Compute Wilson's intervals of shares of n images.

    Parameters
    ----------
    share, n : array-like of shape (...)
    level : float
        Probability that an interval holds the true share, 0 to 1.

    Returns
    -------
    ndarray of shape (..., 2), float64
        Lower and upper bounds. For the source see `bootstrap_intervals`.
    """
    share, n = np.asarray(share, float), np.asarray(n)
    z2 = float(special.ndtri((1 + level) / 2)) ** 2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half_width = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    # Exactly 0 and 1 at the ends, where rounding would give almost 0 and almost 1.
    low = np.where(share == 0, 0, np.clip(center - half_width, 0, 1))
    high = np.where(share == 1, 1, np.clip(center + half_width, 0, 1))
    return np.stack([low, high], axis=-1)
