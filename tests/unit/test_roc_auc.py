"""ROC AUC of many resamples by its projection, and the areas of many classes."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.unit.simulations import scored_case
from tlfeatures.metrics import roc_auc
from tlfeatures.metrics.intervals import score_intervals
from tlfeatures.metrics.resampling import resample_counts
from tlfeatures.metrics.roc_auc import ExactAuc, ProjectedAuc, areas, is_large, placements


def true_sums(y, k, weights):
    return np.stack([weights[y == code].sum(axis=0) for code in range(k)])


def both(y, table, weights):
    true = true_sums(y, table.shape[1], weights)
    order = np.argsort(y, kind="stable")
    return (
        kind.of(y, table, order).scores(weights[order].T, true) for kind in (ExactAuc, ProjectedAuc)
    )


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("steps", [None, 3])
def test_the_projection_of_all_images_is_exact(k, steps):
    y, _, table = scored_case(k, k=k, steps=steps)
    exact, projected = both(y, table, np.ones((len(y), 1)))
    assert projected == pytest.approx(exact, rel=1e-12)
    # As often as they were, all images have the same score.
    exact, projected = both(y, table, np.full((len(y), 1), 3.0))
    assert projected == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("n", "k", "steps"), [(3000, 2, None), (3000, 5, 20)])
def test_the_projection_of_resamples_is_near(n, k, steps):
    y, _, table = scored_case(1, n=n, k=k, steps=steps)
    counts = resample_counts(n, resamples=300).astype(float)
    exact, projected = both(y, table, counts)
    assert exact.std() > 0.001
    # The difference has a variance of about 1 / 600 of that of the score, or less.
    assert (exact - projected).std() < 0.05 * exact.std()
    assert np.corrcoef(exact, projected)[0, 1] > 0.998


def test_intervals_are_the_same_with_the_projection(monkeypatch):
    y, predicted, table = scored_case(2, n=2000, k=3)
    groups = np.arange(2000) // 4
    counts = resample_counts(2000, groups, resamples=400)
    exact = score_intervals(y, predicted[None], table[None], counts, groups)
    monkeypatch.setattr(roc_auc, "EXACT", 0)
    found = score_intervals(y, predicted[None], table[None], counts, groups)
    assert found["roc_auc"] != exact["roc_auc"]
    assert found["roc_auc"] == pytest.approx(exact["roc_auc"], abs=0.05 * np.ptp(exact["roc_auc"]))
    for name in ("accuracy", "balanced_accuracy", "f1_macro", "log_loss"):
        assert found[name] == exact[name]


def test_resamples_without_a_class_have_no_projection():
    y, _, table = scored_case(0, k=3)
    weights = np.ones((len(y), 3))
    weights[y == 1, 1] = 0
    weights[y != 1, 2] = 0
    _, projected = both(y, table, weights)
    assert np.isnan(projected).tolist() == [False, True, True]
    y[y == 2] = 1
    _, projected = both(y, table, np.ones((len(y), 2)))
    assert np.isnan(projected).all()


def test_the_projection_of_one_wrong_pair_stays_at_1_or_below():
    y = np.array([0] * 50 + [1] * 50)
    score = np.linspace(0, 1, 100)
    score[[49, 50]] = score[[50, 49]]
    table = np.column_stack([1 - score, score])
    _, projected = both(y, table, resample_counts(100, resamples=200).astype(float))
    assert projected.max() <= 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("steps", [None, 4])
def test_areas_are_scikit_learns(dtype, steps):
    y, _, table = scored_case(3, n=300, k=20, steps=steps)
    y[y == 7] = 8  # a class without images
    table = table.astype(dtype)
    auc, precision = areas(y, table)
    for code in set(range(20)) - {7}:
        assert auc[code] == pytest.approx(roc_auc_score(y == code, table[:, code]))
        expected = average_precision_score(y == code, table[:, code])
        assert precision[code] == pytest.approx(expected)
    assert np.isnan([auc[7], precision[7]]).all()


def test_placements_count_pairs():
    random = np.random.default_rng(0)
    score, positive = random.integers(0, 6, 40) / 5, random.random(40) < 0.3
    above = score[:, None] - score
    right = (above > 0) + (above == 0) / 2
    expected = np.where(
        positive, right[:, ~positive].mean(axis=1), right.T[:, positive].mean(axis=1)
    )
    assert placements(score, positive) == pytest.approx(expected)


def test_only_large_tables_are_projected():
    assert not is_large(1078, 2)
    assert not is_large(200_000, 2)  # one class is ranked
    assert is_large(200_001, 2)
    assert is_large(100_000, 10)
