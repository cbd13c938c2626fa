"""Confidence intervals: Wilson's of shares, also with groups, and bootstrap percentiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.resampling import group_codes, mean_scores, sums_of_repeats
from tlfeatures.metrics.scores import Floats


def score_intervals(
    y: ArrayLike,
    predicted: ArrayLike,
    probabilities: ArrayLike,
    counts: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Compute a confidence interval of each pooled score.

    The interval answers one question: which score could the fitted head have had on other images
    (or groups) of the same kind? It does NOT include the effect of another training set, because
    the fitted heads are the same. It does not include the choice of the best of many heads either:
    the score of the best head is too high because this head was chosen. `chosen_scores` corrects
    this.

    Parameters
    ----------
    y : array-like of shape (n,), int
        Class codes of the tested images, 0 to k - 1.
    predicted : array-like of shape (repeats, n), int
        Predicted class codes.
    probabilities : array-like of shape (repeats, n, k)
        Probabilities of the classes; NaN where the head gives none.
    counts : array-like of shape (n, B)
        Result of `resample_counts` for these groups.
    groups : array-like of shape (n,), any hashable values, optional
        Group of each image.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    dict of name to (low, high)
        The names of `pooled_scores`. Accuracy and balanced accuracy have the intervals of
        `share_interval` and `mean_share_interval`. The others have percentiles of the scores of the
        resamples. Their bounds are NaN if the score is not defined, or is the same in every
        resample, because equal resamples give no information about other images.

    Raises
    ------
    ParameterError
        If level is not between 0 and 1; see also `pooled_scores`.

    Notes
    -----
    The score of a resample is the mean of the pooled scores of the repeats. An image is drawn with
    all its repeats, so that repeats don't count as more images. Resamples in which the score is not
    defined are left out.

    Percentiles are too narrow with few images or groups. So the levels of the percentiles are moved
    outwards, as Student's t does with the bounds of a mean (Hesterberg 2015). If a class has few
    images (or groups), for example fewer than 20, they are still too narrow.

    With more than 200,000 images times classes, the ROC AUC of resamples is its projection, which
    takes one pass over the images instead of one for each class; see `tlfeatures.metrics.roc_auc`.

    References
    ----------
    B. Efron and R. Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    T. Hesterberg (2015), What teachers should know about the bootstrap: resampling in the
    undergraduate statistics curriculum, The American Statistician 69, 371-386: expanded
    percentiles.
    """
    if not 0 < level < 1:
        raise ParameterError(f"level must be between 0 and 1, got {level}")
    y, predicted = np.asarray(y), np.asarray(predicted)
    sums = sums_of_repeats(y, list(predicted), list(np.asarray(probabilities)))
    return intervals_of(mean_scores(sums, counts), y, predicted, groups, level=level)


def intervals_of(
    resampled: Mapping[str, Floats],
    y: NDArray[Any],
    predicted: NDArray[Any],
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Compute the intervals of `score_intervals` from the scores of resamples.

    Parameters
    ----------
    resampled : mapping of name to ndarray of shape (B,)
        Result of `mean_scores`.
    y, predicted, groups, level
        See `score_intervals`.
    """
    units = len(y) if groups is None else int(group_codes(np.asarray(groups), len(y)).max()) + 1
    intervals = {name: _percentiles(values, level, units) for name, values in resampled.items()}
    right = (predicted == y).mean(axis=0)
    intervals["accuracy"] = share_interval(right, groups, level=level)
    intervals["balanced_accuracy"] = mean_share_interval(right, y, groups, level=level)
    return intervals


def _percentiles(values: Floats, level: float, units: int) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not len(values) or all_same(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, percentile_levels(units, level))
    return float(low), float(high)


def percentile_levels(units: int, level: float = 0.95) -> tuple[float, float]:
    """Return which percentiles of a bootstrap are the bounds of an interval.

    Parameters
    ----------
    units : int
        Number of images (or groups) that are drawn for a resample.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    low, high : float
        Between 0 and 1: a little below 0.025 and above 0.975 for many units and the level 0.95,
        and farther outwards for fewer units, see `score_intervals`.
    """
    freedom = max(units - 1, 1)
    reach = np.sqrt(units / freedom) * special.stdtrit(freedom, (1 + level) / 2)
    return float(special.ndtr(-reach)), float(special.ndtr(reach))


def all_same(values: Floats) -> bool:
    """Check whether all values are the same, except for rounding errors.

    Equal sums whose terms were added in another order differ in the last digits.
    """
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max())


def share_interval(
    right: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95
) -> tuple[float, float]:
    """Compute a confidence interval of an accuracy, or of another share of images.

    It is Wilson's interval. If images belong to groups, it is computed with a smaller, effective
    number of images, and with a quantile of Student's t distribution.

    Parameters
    ----------
    right : array-like of shape (n,)
        1 for an image with a right prediction and 0 for a wrong one; with several repeats, their
        mean.
    groups : array-like of shape (n,), any hashable values, optional
        Group of each image. The interval is then about images of other groups of the same kind.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    low, high : float
        Bounds from 0 to 1. They are 0 and 1 if all images are in one group, because one group says
        nothing about others.

    Raises
    ------
    ParameterError
        If there are no images, a value is not from 0 to 1, or groups have another length.

    Notes
    -----
    The variance between groups is estimated by linearisation. Divided by the variance of n
    independent images, it is the design effect, and n divided by the design effect is the effective
    number of images. It is never more than n.

    If nearly all images are right (or wrong), this variance is unknown: in the extreme, it is 0.
    The estimate is therefore shrunk towards a prior value P, as Wilson's interval shrinks the
    share. P is the square root of the mean group size (the mean over images). It is the geometric
    mean of the design effects of independent images, 1, and of groups that are right or wrong as
    a whole. With x mistakes (or x right images, if these are fewer), the estimate has the weight
    x**2 / (x**2 + k**2), where k is t**2 (P - 1) / 2, and t the quantile. k was chosen so that the
    lower bound rises with each mistake less, up to all right.

    Groups of different sizes give a variance that is too small. So squares are divided by
    1 minus the share of the group in the images, and the degrees of freedom of t are one less than
    the effective number of groups, n squared divided by the sum of squared group sizes. With
    groups of equal size, this is the factor G / (G - 1), and G - 1 degrees of freedom.

    References
    ----------
    E. Wilson (1927), Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22, 209-212.
    P. Kott (2017), A note on Wilson coverage intervals for proportions estimated from complex
    samples, Survey Methodology 43: Wilson's interval for other samples than independent images.
    E. Korn and B. Graubard (1998), Confidence intervals for proportions with small expected number
    of positive counts estimated from survey data, Survey Methodology 24, 193-201: the effective
    size with degrees of freedom.
    N. Dean and M. Pagano (2015), Evaluating confidence interval methods for binomial proportions in
    clustered surveys, Journal of Survey Statistics and Methodology 3, 484-503; C. Franco, R.
    Little, T. Louis and E. Slud (2019), Comparative study of confidence intervals for proportions
    in complex sample surveys, Journal of Survey Statistics and Methodology 7, 334-364: comparisons
    by simulation, in which Wilson's interval is among the best.
    R. Bell and D. McCaffrey (2002), Bias reduction in standard errors for linear regression with
    multi-stage samples, Survey Methodology 28, 169-181: the squares that are not too small.
    A. Carter, K. Schnepel and D. Steigerwald (2017), Asymptotic behavior of a t-test robust to
    cluster heterogeneity, Review of Economics and Statistics 99, 698-709: the effective number of
    groups.

    Examples
    --------
    >>> low, high = share_interval([1] * 90 + [0] * 10)
    >>> round(low, 3), round(high, 3)
    (0.826, 0.945)
    """
    values = np.asarray(right, np.float64)
    return mean_share_interval(values, np.zeros(values.shape, int), groups, level=level)


def mean_share_interval(
    right: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95
) -> tuple[float, float]:
    """Compute a confidence interval of the mean of the shares of several classes.

    It is the interval of a balanced accuracy, the mean of the recalls of the classes.

    Parameters
    ----------
    right, groups, level
        See `share_interval`.
    y : array-like of shape (n,), int
        Class code of each image. Classes without images are left out.

    Returns
    -------
    low, high : float
        See `share_interval`. With one class, it is the same.

    Raises
    ------
    ParameterError
        See `share_interval`; also if y has another length.

    Notes
    -----
    Each class has Wilson's interval, and the distances of its bounds to the share are combined as
    the standard errors of independent shares are. With groups, one design effect is estimated for
    the mean, because the shares of a group depend on each other, and the number of images of each
    class is divided by it.

    A class whose images are all in one group counts as one image. The images can't show how much
    its recall differs between groups, and the design effect contains nothing of it.

    References
    ----------
    G. Zou and A. Donner (2008), Construction of confidence limits about effect measures: a general
    approach, Statistics in Medicine 27, 1693-1702.
    """
    values, codes = np.asarray(right, np.float64), np.asarray(y)
    _check_shares(values, codes, level)
    _, classes, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    shares = np.bincount(classes, weights=values) / sizes
    quantile, design_effect = float(special.ndtri((1 + level) / 2)), 1.0
    if groups is not None:
        members = group_codes(np.asarray(groups), len(values))
        if not members.any():
            return 0.0, 1.0
        weights = 1 / (len(sizes) * sizes[classes])
        deviations = weights * (values - shares[classes])
        variance = float((shares * (1 - shares) / sizes).sum()) / len(sizes) ** 2
        quantile, design_effect = _between_groups(
            members, weights, deviations, variance, float(shares.mean()), level
        )
    effective = sizes / design_effect
    if groups is not None and len(sizes) > 1:
        count = int(members.max()) + 1
        pairs = np.unique(classes * count + members)
        effective[np.bincount(pairs // count) == 1] = 1
    bounds = _wilson(shares, effective, quantile)
    mean = float(shares.mean())
    if len(sizes) == 1:
        return float(bounds[0, 0]), float(bounds[0, 1])
    down, up = np.sqrt(((bounds - shares[:, None]) ** 2).sum(axis=0)) / len(sizes)
    return max(0.0, float(mean - down)), min(1.0, float(mean + up))


def _between_groups(
    members: NDArray[np.int_],
    weights: Floats,
    deviations: Floats,
    variance: float,
    share: float,
    level: float,
) -> tuple[float, float]:
    """Return the quantile of Student's t, and the design effect of a weighted share.

    Parameters
    ----------
    members : ndarray of shape (n,), int
        Group number of each image.
    weights, deviations : ndarray of shape (n,), float64
        Weight of each image in the share, and its weighted deviation from it.
    variance : float
        Variance of the share if all images are independent.
    share, level : float
    """
    parts = np.bincount(members, weights=weights)  # they add up to 1
    freedom = max(1 / float((parts**2).sum()) - 1, 1.0)
    quantile = float(special.stdtrit(freedom, (1 + level) / 2))
    squares = np.bincount(members, weights=deviations) ** 2 / (1 - parts)
    images = 1 / float((weights**2).sum())
    found = max(1.0, float(squares.sum()) / variance) if variance > 0 else 1.0
    prior = max(1.0, float(np.sqrt(images * float((parts**2).sum()))))
    mistakes, few = images * min(share, 1 - share), quantile**2 * (prior - 1) / 2
    if not few:
        return quantile, found
    return quantile, prior + (found - prior) * mistakes**2 / (mistakes**2 + few**2)


def _check_shares(values: Floats, codes: NDArray[Any], level: float) -> None:
    if values.ndim != 1 or not len(values) or codes.shape != values.shape:
        raise ParameterError(
            f"right and y must have the shape (n,) with n 1 or more, got {values.shape} and "
            f"{codes.shape}"
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise ParameterError("right must hold shares from 0 to 1")
    if not 0 < level < 1:
        raise ParameterError(f"level must be between 0 and 1, got {level}")


def wilson(share: ArrayLike, n: ArrayLike, level: float = 0.95) -> Floats:
    """Compute Wilson's intervals of shares of n independent images.

    Parameters
    ----------
    share, n : array-like of shape (...)
        Shares from 0 to 1, and numbers of images, which may be effective numbers.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    ndarray of shape (..., 2), float64
        Lower and upper bounds. `share_interval` cites the source.
    """
    quantile = float(special.ndtri((1 + level) / 2))
    return _wilson(np.asarray(share, float), np.asarray(n), quantile)


def _wilson(share: Floats, n: NDArray[Any], quantile: float) -> Floats:
    z2 = quantile**2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half_width = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    # Exactly 0 and 1 at the ends, where rounding would give almost 0 and almost 1.
    low = np.where(share == 0, 0, np.clip(center - half_width, 0, share))
    high = np.where(share == 1, 1, np.clip(center + half_width, share, 1))
    return np.stack([low, high], axis=-1)
