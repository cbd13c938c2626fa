"""Tests of the differences between several heads, which hold their level for all pairs together.

The best head of a ranking was chosen because of its score in the same sample. So the test of
another head against it is not a test of two heads that were named before. The tests here compare
the statistic of such a pair with the largest statistic of all pairs of equally good heads. Then it
doesn't matter how the pair was chosen: if all heads are equally good, the probability that any pair
is called different is 5 %, and the 95 % intervals hold for all pairs together.

Two ways give the standard error of a difference: `covariance_of_scores` from the tested images, and
`fold_errors` from the scores of folds, which a score without influences of images needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.intervals import all_same
from tlfeatures.metrics.scores import Floats

LEVEL = 0.05  # significance level of all pairs together
_DRAWS = 9_999  # with one more, LEVEL is a whole number of draws


@dataclass(frozen=True)
class LargestStatistic:
    """Distribution of the largest statistic of all pairs of heads that are equally good.

    Attributes
    ----------
    draws : ndarray of shape (draws,), float64
        Simulated values, sorted.
    """

    draws: Floats

    @property
    def critical(self) -> float:
        """A pair is significantly different if its statistic is larger than this."""
        return float(self.draws[-round(LEVEL * (len(self.draws) + 1))])

    def p(self, statistic: float) -> float:
        """Return the p value of a statistic (its sign is ignored), at least 1 / (draws + 1)."""
        larger = len(self.draws) - int(np.searchsorted(self.draws, abs(statistic)))
        return (larger + 1) / (len(self.draws) + 1)


def covariance_of_scores(
    influences: ArrayLike, groups: ArrayLike | None = None, *, shared: float
) -> Floats:
    """Estimate the covariance of the scores of heads that were tested on the same images.

    The variance of a difference of two heads has two parts. Other test images would give another
    difference: this part follows from the images. Other training images would give other fitted
    heads. Folds share most of their training images, so the variation of folds does not show this
    second part. By Nadeau and Bengio, it is n_test / n_train times the variance of a fold's score,
    which is `folds` times the variance of the score of all images in one repeat.

    Parameters
    ----------
    influences : array-like of shape (repeats, n, heads)
        Influence of each image on the score of each head, see `influences`.
    groups : array-like of shape (n,), int, optional
        Group of each image. Images of a group count as one unit.
    shared : float
        Second part of the variance as a multiple of the variance in one repeat: folds * n_test /
        n_train. It is 0 for one split into training and test images, which has no second part: the
        heads are compared as they were fitted.

    Returns
    -------
    ndarray of shape (heads, heads), float64
        NaN with one unit.

    Raises
    ------
    ParameterError
        If shapes don't fit each other, or shared is below 0 or not finite.

    References
    ----------
    C. Nadeau and Y. Bengio (2003), Inference for the generalization error, Machine Learning 52,
    239-281.
    """
    values = np.asarray(influences, np.float64)
    if values.ndim != 3 or not values.size:
        raise ParameterError(f"influences must have shape (repeats, n, heads), got {values.shape}")
    if not 0 <= shared < np.inf:
        raise ParameterError(f"shared must be a number from 0 up, got {shared}")
    sums = _sums_of_groups(values, groups)
    own = _covariance(sums.mean(axis=0)[None])
    covariance: Floats = (own + shared * _covariance(sums)) / values.shape[1] ** 2
    return covariance


def _sums_of_groups(values: Floats, groups: ArrayLike | None) -> Floats:
    if groups is None:
        return values
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    if codes.shape != values.shape[1:2]:
        raise ParameterError(f"groups must have shape {values.shape[1:2]}, got {codes.shape}")
    sums = np.zeros((len(values), int(codes.max()) + 1, values.shape[2]))
    for own, total in zip(values, sums, strict=True):
        np.add.at(total, codes, own)
    return sums


def _covariance(sums: Floats) -> Floats:
    """Return the mean over repeats of the covariance of the sum of all units."""
    units = sums.shape[1]
    products: Floats = np.einsum("rug,ruh->gh", sums, sums) / len(sums)
    return products * (units / (units - 1) if units > 1 else np.nan)


def errors_of_pairs(covariance: ArrayLike, *, least: float = 0.0) -> Floats:
    """Return the standard errors of the differences of all pairs of heads.

    Parameters
    ----------
    covariance : array-like of shape (heads, heads)
    least : float
        Smallest standard error. Two heads with equal predictions have the variance 0, but on other
        images they may differ.

    Returns
    -------
    ndarray of shape (heads, heads), float64
    """
    table = np.asarray(covariance, np.float64)
    variances = np.diag(table)[:, None] + np.diag(table) - 2 * table
    errors: Floats = np.sqrt(np.maximum(variances, 0))
    errors[errors < 1e-12] = 0
    return np.maximum(errors, least)


def largest_of_pairs(covariance: ArrayLike, errors: ArrayLike, df: int) -> LargestStatistic:
    """Simulate the largest statistic of all pairs of equally good heads, for their covariance.

    Parameters
    ----------
    covariance : array-like of shape (heads, heads)
    errors : array-like of shape (heads, heads)
        Result of `errors_of_pairs`.
    df : int
        Degrees of freedom of the covariance: number of images (or groups) minus 1.

    Returns
    -------
    LargestStatistic
        Of the absolute difference of each pair divided by its standard error. The seed is fixed.

    References
    ----------
    J. Hsu (1996), Multiple Comparisons: Theory and Methods, Chapman & Hall, chapters 4 and 5:
    comparisons with the best, and of all pairs.
    C. Kramer (1956), Extension of multiple range tests to group means with unequal numbers of
    replications, Biometrics 12, 307-310: Tukey's largest of all pairs, with unequal variances.
    """
    table, errors = np.asarray(covariance, np.float64), np.asarray(errors, np.float64)
    values, vectors = np.linalg.eigh(table)
    random = np.random.default_rng(0)
    normal = random.standard_normal((_DRAWS, len(table)))
    scale = np.sqrt(random.chisquare(df, _DRAWS) / df)
    scores = (vectors * np.sqrt(np.maximum(values, 0)) @ normal.T) / scale
    scores, errors = scores.astype(np.float32), errors.astype(np.float32)  # twice as fast
    largest = np.zeros(_DRAWS, np.float32)
    for head in range(len(table) - 1):
        own = errors[head, head + 1 :, None]
        gaps = np.abs(scores[head] - scores[head + 1 :])
        gaps *= np.divide(1, own, where=own > 0, out=np.zeros_like(own))
        np.maximum(largest, gaps.max(axis=0), out=largest)
    return LargestStatistic(np.sort(largest).astype(np.float64))


# ---- from the scores of folds


def fold_errors(differences: ArrayLike, test_fraction: float) -> Floats:
    """Estimate standard errors of differences to the best head from the scores of folds.

    The variance of a mean difference of J folds is 1/J + n_test/n_train times the variance of the
    folds, because folds share training images (Nadeau and Bengio 2003). With few folds, the
    variance of one pair of heads may be far too small by chance. So no pair has a smaller variance
    than the mean of all pairs.

    Parameters
    ----------
    differences : array-like of shape (heads, J)
        Score of a head minus score of the best head, for each fold. J is the number of folds times
        the number of repeats.
    test_fraction : float
        Number of test images of a fold divided by its number of training images: 1 / (folds - 1).

    Returns
    -------
    ndarray of shape (heads,), float64
        NaN for all with fewer than two folds.

    Raises
    ------
    ParameterError
        If differences have another shape or are not finite, or test_fraction is below 0 or not
        finite.

    Notes
    -----
    If all folds have the same difference d, their variance is 0. This variance is too small. The
    scores of a fold have steps (one image more or less), and rounding to steps of h hides a
    variance of h**2 / 12 (W. Sheppard (1898), Proceedings of the London Mathematical Society 29,
    353-380). The largest step that gives such differences is d, so the variance is set to
    d**2 / 12.

    References
    ----------
    C. Nadeau and Y. Bengio (2003), Inference for the generalization error, Machine Learning 52,
    239-281.
    R. Bouckaert and E. Frank (2004), Evaluating the replicability of significance tests for
    comparing learning algorithms, PAKDD, 3-12: the same variance with repeats.
    """
    values = np.asarray(differences, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ParameterError(
            f"differences must be finite numbers of shape (heads, J), got shape {values.shape}"
        )
    if not 0 <= test_fraction < np.inf:
        raise ParameterError(f"test_fraction must be a number from 0 up, got {test_fraction}")
    heads, folds = values.shape
    if folds < 2 or not heads:
        return np.full(heads, np.nan)
    same = np.array([all_same(own) for own in values])
    variances = np.where(same, values.mean(axis=1) ** 2 / 12, values.var(axis=1, ddof=1))
    errors: Floats = np.sqrt((1 / folds + test_fraction) * np.maximum(variances, variances.mean()))
    return errors


@lru_cache(maxsize=8)
def largest_of_folds(heads: int, folds: int) -> LargestStatistic:
    """Simulate the largest statistic of equally good heads against the best of them, for folds.

    The scores of folds are independent and have equal variances in this simulation. Heads whose
    errors are correlated differ less, so that the test is stricter for them.

    Parameters
    ----------
    heads : int
        Number of heads, the best included.
    folds : int
        J, folds times repeats, 2 or more.

    Returns
    -------
    LargestStatistic
        Of the mean difference to the best head, divided by its error of `fold_errors`.
    """
    random = np.random.default_rng(0)
    largest = np.empty(_DRAWS)
    chunk = max(1, 2**21 // (heads * folds))
    for start in range(0, _DRAWS, chunk):
        count = min(chunk, _DRAWS - start)
        scores = random.standard_normal((count, heads, folds))
        # The mean of folds is independent of their variance, as it is with a shared part.
        means = random.standard_normal((count, heads))
        best = np.argmax(means, axis=1)[:, None]
        gaps = np.take_along_axis(means, best, 1) - means
        differences = scores - np.take_along_axis(scores, best[..., None], 1)
        variances = differences.var(axis=2, ddof=1)
        pooled = variances.sum(axis=1, keepdims=True) / (heads - 1)
        largest[start : start + count] = (gaps / np.sqrt(np.maximum(variances, pooled))).max(axis=1)
    return LargestStatistic(np.sort(largest))


# ---- practical equivalence


def practical_equivalence(
    difference: float, error: float, df: int, *, region: float
) -> tuple[float, float]:
    """Compute the probability that two heads are practically equivalent.

    This is the Bayesian correlated t-test: with a flat prior, the true difference has Student's
    distribution around the difference that was found, with its standard error.

    Parameters
    ----------
    difference : float
        Score of the other head minus score of the best head, where a larger score is better.
    error : float
        Standard error of the difference; it includes the correlation of folds.
    df : int
        Degrees of freedom of the standard error.
    region : float
        Region of practical equivalence: differences from -region to region don't matter.

    Returns
    -------
    within, worse : float
        Probability that the true difference is in the region, and that it is below the region.

    References
    ----------
    G. Corani and A. Benavoli (2015), A Bayesian approach for comparing cross-validated algorithms
    on multiple data sets, Machine Learning 100, 285-304.
    A. Benavoli, G. Corani, J. Demsar and M. Zaffalon (2017), Time for a change: a tutorial for
    comparing multiple classifiers through Bayesian analysis, Journal of Machine Learning Research
    18 (77), 1-36.
    """
    if not error > 0:
        return float(abs(difference) <= region), float(difference < -region)
    low, high = (special.stdtr(df, (end - difference) / error) for end in (-region, region))
    return float(high - low), float(low)


def interval_of(difference: float, error: float, critical: float) -> tuple[float, float]:
    """Return the 95 % interval of a difference, which contains 0 unless it is significant."""
    return difference - critical * error, difference + critical * error
