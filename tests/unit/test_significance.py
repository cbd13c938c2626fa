"""Tests of one head against another, and the correction for many tests."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.significance import corrected_t_test, detectable_difference, holm

# ---- one head against another

# Mean 0.03, variance 0.0020 / 4 = 0.0005; with 5 folds 1/5 + 1/4 = 0.45 times that is 0.015 ** 2,
# so t = 2. Student's distribution of 4 degrees of freedom has a closed form, p = 0.116117.
BY_HAND = [0.02, 0.04, 0.0, 0.06, 0.03]


def test_t_test_by_hand():
    assert corrected_t_test(BY_HAND, 0.25) == pytest.approx(0.1161165, abs=1e-6)
    assert corrected_t_test(np.negative(BY_HAND), 0.25) == pytest.approx(0.1161165, abs=1e-6)
    assert detectable_difference(BY_HAND, 0.25) == pytest.approx(2.776445 * 0.015, rel=1e-6)


def test_without_a_test_fraction_it_is_the_plain_t_test():
    values = np.random.default_rng(0).normal(0.3, 1, size=12)
    expected = ttest_1samp(values, 0).pvalue
    assert corrected_t_test(values, 0) == pytest.approx(expected, rel=1e-10)
    assert corrected_t_test(values, 0.1) > expected


def test_a_detectable_difference_is_just_significant():
    values = np.array(BY_HAND) - np.mean(BY_HAND)
    for level in (0.05, 0.01):
        least = detectable_difference(values, 0.25, level=level)
        assert corrected_t_test(values + least, 0.25) == pytest.approx(level)


def test_equal_heads_do_not_differ():
    assert corrected_t_test(np.zeros(5), 0.25) == 1
    assert corrected_t_test([1e-17, -1e-17, 1e-16], 0.5) == 1
    assert np.isnan(detectable_difference(np.zeros(5), 0.25))


def test_the_same_difference_in_every_fold_is_not_certain():
    # t = sqrt(12 / (1/2 + 1)) = sqrt(8), 1 degree of freedom: p = 1 - 2 / pi * atan(sqrt(8)).
    assert corrected_t_test([0.1, 0.1], 1) == pytest.approx(1 - 2 / np.pi * np.arctan(8**0.5))
    five = corrected_t_test([0.05] * 5, 0.25)
    assert five == pytest.approx(0.0067, abs=5e-5)
    assert corrected_t_test([0.95 - 0.9, 1 - 0.95, 0.05, 0.05, 0.05], 0.25) == pytest.approx(five)
    assert corrected_t_test([0.5] * 25, 0.25) < 1e-5
    assert detectable_difference([0.05] * 5, 0.25) == pytest.approx(
        2.776445 * 0.05 * np.sqrt(0.45 / 12), rel=1e-6
    )


@pytest.mark.parametrize("values", [[], [0.1], [0.1, np.nan, 0.2], [0.1, np.inf]])
def test_too_few_or_missing_folds_give_no_answer(values):
    assert np.isnan(corrected_t_test(values, 0.25))
    assert np.isnan(detectable_difference(values, 0.25))


@pytest.mark.parametrize(
    ("values", "fraction"), [([[0.1, 0.2]], 0.25), (BY_HAND, -0.1), (BY_HAND, np.nan)]
)
def test_t_test_of_what_does_not_fit_is_refused(values, fraction):
    for function in (corrected_t_test, detectable_difference):
        with pytest.raises(ParameterError):
            function(values, fraction)


@pytest.mark.parametrize("level", [0, 1, -0.1])
def test_a_level_that_is_no_share_is_refused(level):
    with pytest.raises(ParameterError, match="level"):
        detectable_difference(BY_HAND, 0.25, level=level)


def cross_validated_differences(datasets, n=100, folds=5, repeats=5) -> np.ndarray:
    """Of two nearest-mean heads, each fitted on a feature of its own that is as good as the other.

    Returns shape (datasets, folds * repeats). All data sets are cut by the same folds.
    """
    random = np.random.default_rng(0)
    y = np.arange(n) % 2
    X = random.normal(size=(datasets, 2, n)) + y
    differences = []
    for _ in range(repeats):
        for test in np.array_split(random.permutation(n), folds):
            train = np.setdiff1d(np.arange(n), test)
            zeros, ones = (X[..., train[y[train] == label]].mean(axis=-1) for label in (0, 1))
            above = X[..., test] > ((zeros + ones) / 2)[..., None]
            right = (above == (ones > zeros)[..., None]) == (y[test] == 1)
            first, second = np.moveaxis(right.mean(axis=-1), 1, 0)
            differences.append(first - second)
    return np.stack(differences, axis=1)


def test_equally_good_heads_are_seldom_called_different():
    table = cross_validated_differences(datasets=400)
    corrected = np.mean([corrected_t_test(row, 0.25) < 0.05 for row in table])
    plain = np.mean([corrected_t_test(row, 0) < 0.05 for row in table])
    assert 0.005 < corrected < 0.085  # 0.05 and 3 standard errors
    assert plain > 0.25


# ---- many tests


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([np.nan, 0.03, 0.02], [np.nan, 0.04, 0.04]),
        ([0.6, 0.9, 0.7], [1, 1, 1]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.0, 1.0], [0, 1]),
        ([np.nan], [np.nan]),
        ([], []),
    ],
)
def test_holm_by_hand(given, expected):
    np.testing.assert_allclose(holm(given), expected, rtol=1e-12)


@pytest.mark.parametrize("values", [[0.1, 1.1], [-0.1, np.nan], [[0.1]]])
def test_holm_of_what_are_no_p_values_is_refused(values):
    with pytest.raises(ParameterError):
        holm(values)
