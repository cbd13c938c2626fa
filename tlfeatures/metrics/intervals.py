"""Confidence intervals of scores: bootstrap percentiles, and Wilson's intervals of shares."""

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
    """Compute a confidence interval of each pooled score by resampling the tested images.

    The interval answers one question: which score could the fitted head have had on other images
    (or groups) of the same kind? It does NOT include the effect of another training set, because
    the fitted heads are the same. It does not include the choice of the best of many heads either:
    the score of the best head is too high because this head was chosen, and no interval around
    that score corrects this.

    Parameters
    ----------
    y : array-like of shape (n,), int
        Class codes of the tested images, 0 to k - 1.
    predicted : array-like of shape (repeats, n), int
        Predicted class codes.
    probabilities : array-like of shape (repeats, n, k)
        Probabilities of the classes; NaN where the head gives none.
    counts : array-like of shape (n, B)
        Result of `resample_counts`.
    units : int
        Number of images, or of groups, that were drawn for a resample.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    dict of name to (low, high)
        The names of `pooled_scores`. The bounds are NaN if the score is not defined, or is the same
        in every resample, because equal resamples give no information about other images. An
        accuracy of 0 or 1 has Wilson's interval.

    Raises
    ------
    ParameterError
        If level is not between 0 and 1, or there are no units; see also `pooled_scores`.

    Notes
    -----
    The score of a resample is the mean of the pooled scores of the repeats. An image is drawn with
    all its repeats, so that repeats don't count as more images. The bounds are percentiles of
    these means. Resamples in which the score is not defined are left out. If a class has few
    images (or groups), for example fewer than 20, percentile intervals are too narrow.

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
    """Check whether all values are the same, except for rounding errors.

    Equal sums whose terms were added in another order differ in the last digits.
    """
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max())


def wilson(share: ArrayLike, n: ArrayLike, level: float = 0.95) -> Floats:
    """Compute Wilson's intervals of shares of n images.

    Parameters
    ----------
    share, n : array-like of shape (...)
        Shares from 0 to 1, and numbers of images.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    ndarray of shape (..., 2), float64
        Lower and upper bounds. `bootstrap_intervals` cites the source.
    """
    share, n = np.asarray(share, float), np.asarray(n)
    z2 = float(special.ndtri((1 + level) / 2)) ** 2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half_width = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    # Exactly 0 and 1 at the ends, where rounding would give almost 0 and almost 1.
    low = np.where(share == 0, 0, np.clip(center - half_width, 0, 1))
    high = np.where(share == 1, 1, np.clip(center + half_width, 0, 1))
    return np.stack([low, high], axis=-1)
