"""The influence of an image on a score is the derivative of the score by the image's weight."""

import numpy as np
import pytest

from tests.unit.simulations import scored_case
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.influence import influences
from tlfeatures.metrics.resampling import resample_counts
from tlfeatures.metrics.scores import SCORES, pooled_scores


@pytest.mark.parametrize("scoring", SCORES)
@pytest.mark.parametrize(("k", "steps"), [(2, None), (3, None), (4, 3)])
def test_it_is_the_derivative_by_the_weight(scoring, k, steps):
    y, predicted, table = scored_case(seed=k, k=k, steps=steps)
    step = 1e-6
    weights = np.ones((len(y), len(y))) + step * np.eye(len(y))
    once = pooled_scores(y, predicted, table, np.ones((len(y), 1)))[scoring]
    expected = len(y) * (pooled_scores(y, predicted, table, weights)[scoring] - once) / step
    found = influences(y, predicted, table, scoring)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("scoring", SCORES)
def test_its_variance_is_that_of_resamples(scoring):
    y, predicted, table = scored_case(seed=1, n=400)
    counts = resample_counts(len(y), resamples=2000)
    spread = pooled_scores(y, predicted, table, counts)[scoring].std()
    found = np.sqrt((influences(y, predicted, table, scoring) ** 2).sum()) / len(y)
    assert found == pytest.approx(spread, rel=0.08)


def test_a_class_without_images_is_left_out():
    y, predicted, table = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), np.full((4, 3), 1 / 3)
    for scoring in ("balanced_accuracy", "f1_macro"):
        assert influences(y, predicted, table, scoring).sum() == pytest.approx(0)
    assert np.isnan(influences(y, predicted, table, "roc_auc")).all()


def test_without_probabilities_there_is_no_influence_on_log_loss():
    y, predicted = np.array([0, 1]), np.array([0, 1])
    for scoring in ("log_loss", "roc_auc"):
        assert np.isnan(influences(y, predicted, np.full((2, 2), np.nan), scoring)).all()


def test_another_score_is_refused():
    with pytest.raises(ParameterError, match="scoring must be one of accuracy"):
        influences([0, 1], [0, 1], np.eye(2), "jaccard")
