"""Tests of heads against the best of them, which hold their level for all pairs together."""

import numpy as np
import pytest
from scipy.stats import studentized_range, t

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.significance import (
    covariance_of_scores,
    errors_of_pairs,
    fold_errors,
    interval_of,
    largest_of_folds,
    largest_of_pairs,
    practical_equivalence,
)

# Mean 0.03, variance 0.0020 / 4 = 0.0005; with 5 folds 1/5 + 1/4 = 0.45 times that is 0.015 ** 2.
BY_HAND = [0.02, 0.04, 0.0, 0.06, 0.03]


# ---- the largest of all pairs


@pytest.mark.parametrize("heads", [2, 5, 20])
def test_for_independent_heads_it_is_tukeys_studentized_range(heads):
    covariance = np.eye(heads)
    found = largest_of_pairs(covariance, errors_of_pairs(covariance), df=30)
    expected = studentized_range.ppf(0.95, heads, 30) / np.sqrt(2)
    assert found.critical == pytest.approx(expected, rel=0.02)
    assert found.p(expected) == pytest.approx(0.05, abs=0.006)
    assert found.p(-expected) == found.p(expected)
    assert found.p(np.inf) == pytest.approx(1e-4)
    assert found.p(0.0) == 1


def test_of_three_heads_of_which_two_are_nearly_equal_it_lies_between():
    root = np.array([[1, 0], [1, 1e-3], [0, 1.0]])
    covariance = root @ root.T
    found = largest_of_pairs(covariance, errors_of_pairs(covariance), df=1000)
    three, two = (studentized_range.ppf(0.95, k, 1000) / np.sqrt(2) for k in (3, 2))
    assert two - 0.05 < found.critical < three + 0.05


def test_identical_heads_do_not_count():
    covariance = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    errors = errors_of_pairs(covariance)
    assert errors[0, 1] == 0
    assert largest_of_pairs(covariance, errors, 1000).critical == pytest.approx(1.96, abs=0.05)
    assert errors_of_pairs(covariance, least=0.5)[0, 1] == 0.5


def test_significance_and_interval_agree():
    covariance = np.diag([1.0, 2.0, 3.0])
    largest = largest_of_pairs(covariance, errors_of_pairs(covariance), 50)
    for statistic in np.linspace(-4, 4, 81):
        low, high = interval_of(2 * statistic, 2.0, largest.critical)
        assert (largest.p(statistic) > 0.05) == (low <= 0 <= high)


# ---- over images


def test_the_covariance_of_images_by_hand():
    influences = np.array([[[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]])
    # The sum of squares is 2, times n / (n - 1) = 4/3, divided by n ** 2 = 16.
    np.testing.assert_allclose(covariance_of_scores(influences, shared=0), np.eye(2) / 6)
    np.testing.assert_allclose(covariance_of_scores(influences, shared=1.25), np.eye(2) * 2.25 / 6)


def test_repeats_do_not_lessen_the_part_that_folds_share():
    random = np.random.default_rng(0)
    influences = random.normal(size=(4, 500, 1))
    first = covariance_of_scores(influences[:1], shared=1.25)[0, 0]
    all_repeats = covariance_of_scores(influences, shared=1.25)[0, 0]
    assert all_repeats / first == pytest.approx((0.25 + 1.25) / 2.25, rel=0.1)


def test_images_of_a_group_count_as_one():
    once = np.random.default_rng(0).normal(size=(1, 30, 3))
    once -= once.mean(axis=1)
    twice = np.repeat(once, 2, axis=1)
    found = covariance_of_scores(twice, np.repeat(np.arange(30), 2), shared=1)
    np.testing.assert_allclose(found, covariance_of_scores(once, shared=1))


@pytest.mark.parametrize(
    ("shape", "groups", "shared"),
    [((3, 2), None, 0), ((1, 0, 2), None, 0), ((1, 3, 2), [0, 1], 0), ((1, 3, 2), None, -1)],
)
def test_a_covariance_of_what_does_not_fit_is_refused(shape, groups, shared):
    with pytest.raises(ParameterError):
        covariance_of_scores(np.zeros(shape), groups, shared=shared)


# ---- over folds


def test_the_error_of_folds_by_hand():
    assert fold_errors([BY_HAND], 0.25) == pytest.approx(0.015)
    assert fold_errors([np.negative(BY_HAND)], 0.25) == pytest.approx(0.015)


def test_no_pair_has_a_smaller_error_than_all_pairs_together():
    wide = 3 * np.array(BY_HAND)
    found = fold_errors([BY_HAND, wide], 0.25)
    np.testing.assert_allclose(found, [0.015 * np.sqrt(5), 0.045])


def test_the_same_difference_in_every_fold_is_not_certain():
    five = fold_errors([[0.05] * 5], 0.25)
    np.testing.assert_allclose(five, 0.05 * np.sqrt(0.45 / 12))
    np.testing.assert_allclose(fold_errors([[0.95 - 0.9, 1 - 0.95, 0.05, 0.05, 0.05]], 0.25), five)


def test_one_fold_has_no_error():
    assert np.isnan(fold_errors([[0.1], [0.2]], 0.25)).all()


@pytest.mark.parametrize(
    ("values", "fraction"),
    [(BY_HAND, 0.25), ([BY_HAND], -0.1), ([BY_HAND], np.nan), ([[0.1, np.nan]], 0.25)],
)
def test_errors_of_what_does_not_fit_are_refused(values, fraction):
    with pytest.raises(ParameterError):
        fold_errors(values, fraction)


@pytest.mark.parametrize("folds", [3, 5, 15])
def test_two_heads_are_compared_by_students_distribution(folds):
    assert largest_of_folds(2, folds).critical == pytest.approx(t.ppf(0.975, folds - 1), rel=0.05)


# ---- practical equivalence


def test_practical_equivalence_by_hand():
    within, worse = practical_equivalence(0.0, 0.01, 4, region=0.01)
    assert within == pytest.approx(t.cdf(1, 4) - t.cdf(-1, 4))
    assert worse == pytest.approx(t.cdf(-1, 4))
    within, worse = practical_equivalence(-0.03, 0.01, 100, region=0.01)
    assert worse == pytest.approx(t.cdf(2, 100))
    assert within + worse < 1


def test_without_an_error_it_is_certain():
    assert practical_equivalence(0.0, 0.0, 4, region=0.01) == (1, 0)
    assert practical_equivalence(-0.5, 0.0, 4, region=0.01) == (0, 1)
