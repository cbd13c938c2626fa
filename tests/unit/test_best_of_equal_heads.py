"""Of equally good heads, none is called different from the best in about 95 of 100 data sets."""

import numpy as np
import pytest

from benchmarks.honesty.best import (
    Case,
    gaussian_folds,
    level,
    level_of_folds,
    now,
    power,
)

# 5 % and three standard errors of the small form. The tests of before, Holm's, fall outside.
MOST = 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


@pytest.mark.parametrize("case", [(10, 5, 1), (10, 10, 1)])
def test_by_folds(case):
    before, found = level_of_folds(*case, draws=400)
    assert 0.01 < found < MOST
    assert before > MOST


def test_by_images():
    before, found = level(Case(heads=10, images=500), draws=200)
    assert 0.01 < found < MOST
    assert before > MOST


def test_a_worse_head_is_found_more_often():
    case = Case(heads=5, images=1000, accuracies=(0.85,) * 4 + (0.8,))
    before, found = power(case, draws=60)
    assert found > before + 0.1


def test_heads_with_equal_predictions_do_not_differ():
    right = np.random.default_rng(0).random((1, 100, 1)) < 0.8
    _, different = now(np.repeat(right, 4, axis=2), Case(4, 100))
    assert not any(different)


def test_scores_of_folds_are_correlated_by_the_images_that_they_test():
    random = np.random.default_rng(0)
    scores = np.array([gaussian_folds(random, 2, 5, 1) for _ in range(4000)])
    differences = scores[:, 0] - scores[:, 1]
    assert np.corrcoef(differences.T)[0, 1] == pytest.approx(0.2, abs=0.05)


@pytest.mark.long
@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("folds", [5, 10])
@pytest.mark.parametrize("heads", [5, 10, 20])
def test_by_folds_and_by_images_in_full(heads, folds, repeats):
    _, found = level_of_folds(heads, folds, repeats, draws=1000)
    assert 0.03 <= found <= 0.07
    _, found = level(Case(heads, 1000, folds, repeats), draws=1000)
    assert 0.03 <= found <= 0.07
    for images in (60, 300):  # with few images, the test is stricter
        assert level(Case(heads, images, folds, repeats), draws=1000)[1] <= 0.07


@pytest.mark.long
@pytest.mark.parametrize("heads", [2, 5, 10, 20])
def test_a_head_that_is_five_points_worse_in_full(heads):
    case = Case(heads, 1000, accuracies=(0.85,) * (heads - 1) + (0.8,))
    before, found = power(case, draws=500)
    assert found > 0.6
    assert found > before + 0.1
