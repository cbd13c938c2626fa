"""Scores of weighted images: those of scikit-learn, for many resamples at once."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)

from tests.unit.simulations import scored_case
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.resampling import resample_counts
from tlfeatures.metrics.scores import SCORES, pooled_scores
from tlfeatures.metrics.weighted_sums import CELLS


def sklearn_scores(y, predicted, table, weights=None) -> dict[str, float]:
    one_hot = y[:, None] == np.arange(table.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class that is predicted and not in y
        return {
            "accuracy": accuracy_score(y, predicted, sample_weight=weights),
            "balanced_accuracy": balanced_accuracy_score(y, predicted, sample_weight=weights),
            "f1_macro": f1_score(
                *(y, predicted),
                labels=np.unique(y if weights is None else y[weights > 0]),  # that there are
                average="macro",
                sample_weight=weights,
                zero_division=0,
            ),
            "log_loss": log_loss(y, table, labels=range(table.shape[1]), sample_weight=weights),
            "roc_auc": roc_auc_score(one_hot, table, average="macro", sample_weight=weights)
            if one_hot.any(axis=0).all() and not one_hot.all(axis=0).any()
            else np.nan,
        }


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("steps", [None, 2])
def test_scores_are_scikit_learns_with_sample_weights(k, steps):
    y, predicted, table = scored_case(k, k=k, steps=steps)
    weights = np.random.default_rng(1).exponential(size=(80, 4))
    scores = pooled_scores(y, predicted, table, weights)
    assert tuple(scores) == SCORES
    for column in range(4):
        expected = sklearn_scores(y, predicted, table, weights[:, column])
        for name in SCORES:
            assert scores[name][column] == pytest.approx(expected[name], rel=1e-10), name


@st.composite
def small_cases(draw):
    n, k = draw(st.integers(2, 12)), draw(st.integers(2, 4))

    def numbers(most, *shape):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(st.integers(0, most), min_size=size, max_size=size))).reshape(
            shape
        )

    raw = numbers(2, n, k) + 1e-3
    table = raw / raw.sum(axis=1, keepdims=True)
    return numbers(k - 1, n), numbers(k - 1, n), table, numbers(3, n, 3)


def assert_a_count_is_an_image_seen_so_often(drawn):
    """Ties, classes missing from truth, prediction or resample; scikit-learn sees copied rows."""
    y, predicted, table, counts = drawn
    scores = pooled_scores(y, predicted, table, counts)
    for column in range(3):
        rows = np.repeat(np.arange(len(y)), counts[:, column])
        expected = dict.fromkeys(SCORES, np.nan)
        if len(rows):
            expected = sklearn_scores(y[rows], predicted[rows], table[rows])
        for name in SCORES:
            assert scores[name][column] == pytest.approx(expected[name], nan_ok=True), name


@settings(max_examples=15, deadline=None)
@given(small_cases())
def test_a_count_is_an_image_seen_so_often(drawn):
    assert_a_count_is_an_image_seen_so_often(drawn)


@pytest.mark.long
@settings(max_examples=1000, deadline=None)
@given(small_cases())
def test_a_count_is_an_image_seen_so_often_in_many_cases(drawn):
    assert_a_count_is_an_image_seen_so_often(drawn)


def test_a_certain_mistake_costs_what_it_costs_in_scikit_learn():
    y, table = np.array([0, 1, 1]), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    scores = pooled_scores(y, table.argmax(axis=1), table, np.ones((3, 1)))
    assert scores["log_loss"][0] == pytest.approx(log_loss(y, table), rel=1e-12)
    assert scores["log_loss"][0] > 10


def test_one_probability_missing_leaves_the_other_scores():
    y, predicted, table = scored_case(0)
    known = pooled_scores(y, predicted, table, np.ones((80, 2)))
    table[3, 1] = np.nan
    scores = pooled_scores(y, predicted, table, np.ones((80, 2)))
    for name in SCORES[:3]:
        np.testing.assert_array_equal(scores[name], known[name])
    assert np.isnan(scores["log_loss"]).all()
    assert np.isnan(scores["roc_auc"]).all()


def test_columns_in_pieces_are_the_columns_at_once():
    n = 2000
    y, predicted, table = scored_case(5, n=n, k=4)
    step = CELLS // n  # columns of a piece
    counts = resample_counts(n, resamples=2 * step + 5)
    pieces = pooled_scores(y, predicted, table, counts)
    starts = range(0, counts.shape[1], step - 3)
    parts = [pooled_scores(y, predicted, table, counts[:, at : at + step - 3]) for at in starts]
    for name in SCORES:
        expected = np.concatenate([part[name] for part in parts])
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(pieces[name], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": np.zeros(5, int)}, "must have shapes"),
        ({"y": np.zeros((6, 1), int)}, "must have shapes"),
        ({"probabilities": np.full(6, 0.5)}, "must have shapes"),
        ({"weights": np.ones((5, 2))}, "must have shapes"),
        ({"weights": np.ones(6)}, "must have shapes"),
        ({"y": np.full(6, 2)}, "y must hold class codes 0 to 1, got 2 to 2"),
        ({"predicted": np.full(6, -1)}, "predicted must hold class codes 0 to 1"),
        ({"predicted": np.array(list("ababab"))}, "integer class codes, got <U1"),
        ({"weights": np.full((6, 1), -1.0)}, "weights must be 0 or more"),
        ({"weights": np.full((6, 1), np.nan)}, "weights must be 0 or more"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changed, message):
    codes = np.array([0, 1] * 3)
    fitting = {"y": codes, "predicted": codes, "probabilities": np.full((6, 2), 0.5)}
    with pytest.raises(ParameterError, match=message):
        pooled_scores(**{**fitting, "weights": np.ones((6, 1)), **changed})
