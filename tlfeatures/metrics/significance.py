"""Tests for the difference of two heads in a score, and the adjustment for many tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.intervals import all_same
from tlfeatures.metrics.scores import Floats


def corrected_t_test(differences: ArrayLike, test_fraction: float) -> float:
    """Test whether the mean scores of two heads on the same folds of a cross-validation differ.

    The paired t-test assumes that folds are independent. But folds share most of their training
    images, so the test reports too many significant differences. The correction increases the
    variance of the mean from 1/J to 1/J + n_test/n_train times the variance of the folds.

    Parameters
    ----------
    differences : array-like of shape (J,)
        Score of one head minus score of the other head, for each fold. J is the number of folds
        times the number of repeats.
    test_fraction : float
        Number of test images of a fold divided by its number of training images: 1 / (folds - 1).

    Returns
    -------
    float
        The two-sided p value, with J - 1 degrees of freedom. It is 1 if all differences are 0, and
        NaN with fewer than two folds or if any difference is not finite.

    Raises
    ------
    ParameterError
        If differences have another shape, or test_fraction is below 0 or not finite.

    Notes
    -----
    If all folds have the same difference d, the variance is 0 and the formula gives p = 0, even
    with two folds. This p value is too small. The scores of a fold have steps (one image more or
    less), and rounding to steps of h hides a variance of h**2 / 12 (W. Sheppard (1898), Proceedings
    of the London Mathematical Society 29, 353-380). The largest step that gives such differences is
    d, so the variance is set to d**2 / 12. Then p depends only on J and test_fraction: 0.22 for two
    folds, 0.007 for five folds, and 0.00004 for ten folds.

    References
    ----------
    C. Nadeau and Y. Bengio (2003), Inference for the generalization error, Machine Learning 52,
    239-281.
    R. Bouckaert and E. Frank (2004), Evaluating the replicability of significance tests for
    comparing learning algorithms, PAKDD, 3-12: the same test with repeats.
    """
    values = _fold_differences(differences, test_fraction)
    if len(values) < 2:
        return float("nan")
    if not values.any():
        return 1.0
    statistic = values.mean() / _standard_error(values, test_fraction)
    return float(2 * special.stdtr(len(values) - 1, -abs(statistic)))


_LEVEL = 0.05  # of the intervals


def corrected_interval(differences: ArrayLike, test_fraction: float) -> tuple[float, float] | None:
    """Compute the 95 % interval of a mean difference that goes with `corrected_t_test`.

    Parameters
    ----------
    differences : array-like of shape (J,)
    test_fraction : float
        See `corrected_t_test`.

    Returns
    -------
    (float, float) or None
        The mean minus and plus the critical t times the corrected standard error. It contains 0 if
        and only if the p value is above 0.05. None with fewer than two folds, or if a
        difference is not finite.

    Raises
    ------
    ParameterError
        See `corrected_t_test`.
    """
    values = _fold_differences(differences, test_fraction)
    if len(values) < 2:
        return None
    reach = detectable_difference(values, test_fraction, level=_LEVEL) if values.any() else 0.0
    mean = float(values.mean())
    return mean - reach, mean + reach


def detectable_difference(
    differences: ArrayLike, test_fraction: float, *, level: float = 0.05
) -> float:
    """Compute the smallest mean difference that is significant in `corrected_t_test`.

    Parameters
    ----------
    differences : array-like of shape (J,)
    test_fraction : float
        See `corrected_t_test`.
    level : float
        Significance level.

    Returns
    -------
    float
        The critical t times the standard error. NaN with fewer than two folds, if a difference is
        not finite, or if all differences are 0.

    Raises
    ------
    ParameterError
        See `corrected_t_test`; also if level is not between 0 and 1.

    Notes
    -----
    A true difference of exactly this size would be significant only half of the time.
    """
    if not 0 < level < 1:
        raise ParameterError(f"level must be between 0 and 1, got {level}")
    values = _fold_differences(differences, test_fraction)
    if len(values) < 2 or not values.any():
        return float("nan")
    critical = special.stdtrit(len(values) - 1, 1 - level / 2)
    return float(critical * _standard_error(values, test_fraction))


def _fold_differences(differences: ArrayLike, test_fraction: float) -> Floats:
    """Check differences and remove rounding errors from zeros; return no values if one is NaN."""
    values = np.asarray(differences, np.float64)
    if values.ndim != 1:
        raise ParameterError(f"differences must have shape (J,), got {values.shape}")
    if not 0 <= test_fraction < np.inf:
        raise ParameterError(f"test_fraction must be a number from 0 up, got {test_fraction}")
    if not np.isfinite(values).all():
        return np.empty(0)
    return np.where(np.abs(values) < 1e-12, 0, values)


def _standard_error(values: Floats, test_fraction: float) -> float:
    variance = values.mean() ** 2 / 12 if all_same(values) else values.var(ddof=1)
    return float(np.sqrt((1 / len(values) + test_fraction) * variance))


def paired_bootstrap_test(first: ArrayLike, second: ArrayLike) -> float:
    """Test whether two heads differ in a score, on the same resamples of the same images.

    This test is for a single split, which has no folds to compare.

    Parameters
    ----------
    first, second : array-like of shape (B,)
        Scores of the two heads on the same resamples, see `resampled_scores`.

    Returns
    -------
    float
        Two-sided p value of the mean difference. It is 1 if the scores never differ, and NaN if no
        resample has both scores.

    Notes
    -----
    The mean difference is compared with a normal distribution that has the standard deviation of
    the differences in the resamples. A share of resamples is not used as the p value, because it
    can't be smaller than 1 / B, which is too large if many heads are compared.

    References
    ----------
    B. Efron and R. Tibshirani (1993), An Introduction to the Bootstrap, chapter 6: the bootstrap
    estimate of standard error.
    """
    differences = _paired_differences(first, second)
    if not len(differences):
        return float("nan")
    mean, spread = differences.mean(), differences.std()
    if spread <= 1e-12:
        return 1.0 if abs(mean) <= 1e-12 else 0.0
    return float(2 * special.ndtr(-abs(mean) / spread))


def paired_bootstrap_interval(first: ArrayLike, second: ArrayLike) -> tuple[float, float] | None:
    """Compute the 95 % interval of a difference that goes with `paired_bootstrap_test`.

    Parameters
    ----------
    first, second : array-like of shape (B,)
        Scores of the two heads on the same resamples.

    Returns
    -------
    (float, float) or None
        The mean difference minus and plus a multiple of its standard deviation in the resamples.
        None if no resample has both scores.
    """
    differences = _paired_differences(first, second)
    if not len(differences):
        return None
    mean, reach = differences.mean(), special.ndtri(1 - _LEVEL / 2) * differences.std()
    return float(mean - reach), float(mean + reach)


def _paired_differences(first: ArrayLike, second: ArrayLike) -> Floats:
    """Return the differences of the resamples that have both scores."""
    differences: Floats = np.asarray(first, float) - np.asarray(second, float)
    return differences[~np.isnan(differences)]


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p values for the number of tests.

    If tests with an adjusted p value of at most 0.05 count as significant, the probability of any
    false positive among the m tests is at most 5 %, even if the tests depend on each other.

    Parameters
    ----------
    p_values : array-like of shape (m,)
        p values of m tests; NaN if there was no test.

    Returns
    -------
    ndarray of shape (m,), float64
        Adjusted p values in the same order, at most 1. NaN stays NaN and doesn't count as a test.

    Raises
    ------
    ParameterError
        If the array has another shape, or a value is not between 0 and 1.

    References
    ----------
    S. Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal
    of Statistics 6, 65-70.
    """
    values = np.asarray(p_values, np.float64)
    if values.ndim != 1:
        raise ParameterError(f"p_values must have shape (m,), got {values.shape}")
    if ((values < 0) | (values > 1)).any():
        raise ParameterError(
            f"p values must be from 0 to 1, got {np.nanmin(values)} to {np.nanmax(values)}"
        )
    adjusted = np.full(len(values), np.nan)
    rising = np.argsort(values, kind="stable")[: int((~np.isnan(values)).sum())]  # NaN sort last
    factors = len(rising) - np.arange(len(rising))
    adjusted[rising] = np.minimum(1, np.maximum.accumulate(values[rising] * factors))
    return adjusted
