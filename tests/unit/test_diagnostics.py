"""What out-of-fold predictions show, against cases made by hand and scikit-learn."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics

from tests.unit.data import dataset
from tests.unit.simulations import entries_of, out_of_fold, random_predictions
from tlfeatures.errors import ParameterError
from tlfeatures.reports.diagnostics import (
    OutOfFold,
    confusion,
    embedding_map,
    precision_recall,
    reliability,
    roc,
)


def silent(k=2):
    return out_of_fold([0, 1, 1], np.full((3, k), np.nan), predicted=[0, 0, 1])


# ---- the predictions


def test_it_takes_what_an_entry_tested():
    made, study, _ = entries_of(dataset(20), {"a": 0.8})
    made[0].fold[::2] = -1
    found = OutOfFold.of(study, made[0])
    assert found.ids.tolist() == study.ids[1::2].tolist()
    assert [found.classes[code] for code in found.y] == study.y[1::2].tolist()
    assert (found.predicted == made[0].predicted[1::2]).all()
    assert (found.fold >= 0).all()
    assert found.has_probabilities
    assert np.allclose(found.confidence, 0.8)
    assert np.allclose(found.given, np.where(found.wrong, 0.2, 0.8))


def test_mistakes_begin_with_the_most_confident_and_ties_go_by_id():
    found = out_of_fold(
        [0, 0, 0, 1, 1], [[0.4, 0.6], [0.1, 0.9], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]
    )
    assert found.mistakes().tolist() == [1, 0, 3]


def test_uncertain_begins_with_the_smallest_margin():
    table = [[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.3, 0.2, 0.5], [0.8, 0.1, 0.1]]
    found = out_of_fold([0, 0, 0, 0], table)
    assert found.uncertain().tolist() == [1, 0, 2, 3]
    assert np.allclose(found.margin, [0.2, 0, 0.2, 0.7])


def test_without_probabilities_mistakes_go_by_id_and_nothing_is_uncertain():
    found = out_of_fold([1, 0, 1], np.full((3, 2), np.nan), predicted=[0, 0, 0])
    assert not found.has_probabilities
    assert found.mistakes().tolist() == [0, 2]
    assert found.uncertain().tolist() == []


@pytest.mark.parametrize("curve", [roc, precision_recall, reliability])
def test_without_probabilities_there_is_no_curve(curve):
    with pytest.raises(ParameterError, match="no probabilities"):
        curve(silent())


# ---- confusion


def test_confusion_counts_true_classes_in_rows():
    found = random_predictions(4)
    expected = metrics.confusion_matrix(found.y, found.predicted)
    assert (confusion(found).counts == expected).all()
    expected = metrics.confusion_matrix(found.y, found.predicted, normalize="true")
    assert np.allclose(confusion(found).rates, expected)


def test_a_class_without_images_has_no_rates():
    found = confusion(out_of_fold([0, 0, 2], np.eye(3)[[0, 1, 2]]))
    assert found.counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert np.isnan(found.rates[1]).all()
    assert found.rates[0].tolist() == [0.5, 0.5, 0]


# ---- curves


def test_two_classes_give_one_curve_of_the_second():
    found = random_predictions(2)
    (curve,) = roc(found)
    x, y, _ = metrics.roc_curve(found.y, found.probabilities[:, 1])
    assert (curve.label, curve.positives, curve.negatives) == (
        "b",
        (found.y == 1).sum(),
        (found.y == 0).sum(),
    )
    assert np.array_equal(curve.x, x)
    assert np.array_equal(curve.y, y)
    assert curve.area == pytest.approx(metrics.roc_auc_score(found.y, found.probabilities[:, 1]))


def test_three_classes_give_each_against_the_rest():
    found = random_predictions(3)
    assert [curve.label for curve in roc(found)] == ["a", "b", "c"]
    for code, (one, other) in enumerate(zip(roc(found), precision_recall(found), strict=True)):
        pair = found.y == code, found.probabilities[:, code]
        assert one.area == pytest.approx(metrics.roc_auc_score(*pair))
        assert other.area == pytest.approx(metrics.average_precision_score(*pair))


def test_precision_recall_by_hand():
    # By falling probability: right, wrong, right.
    (curve,) = precision_recall(out_of_fold([1, 0, 1], [[0.1, 0.9], [0.4, 0.6], [0.6, 0.4]]))
    assert curve.x.tolist() == [0, 0.5, 0.5, 1]
    assert curve.y.tolist() == [1, 1, 0.5, pytest.approx(2 / 3)]
    assert curve.area == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_classes_without_positives_or_negatives_are_left_out():
    found = out_of_fold([0, 0, 1, 1], np.tile([0.5, 0.3, 0.2], (4, 1)))
    assert [curve.label for curve in roc(found)] == ["a", "b"]
    assert roc(out_of_fold([1, 1], [[0.5, 0.5], [0.2, 0.8]])) == ()


@pytest.mark.parametrize("curve", [roc, precision_recall])
def test_long_curves_are_thinned_without_changing_the_look(curve):
    found = random_predictions(2, n=20_000)
    (thin,) = curve(found)
    assert len(thin.x) <= 200
    assert (thin.x[0], thin.x[-1]) == (0, 1)
    assert (np.diff(thin.x) >= 0).all()
    positive, score = found.y == 1, found.probabilities[:, 1]
    if curve is roc:
        x, y, _ = metrics.roc_curve(positive, score)
    else:
        precision, recall, _ = metrics.precision_recall_curve(positive, score)
        x, y = recall[::-1], precision[::-1]
    apart = np.hypot(x[:, None] - thin.x, y[:, None] - thin.y).min(axis=1)
    assert apart.max() < 0.02


# ---- reliability


def test_reliability_by_hand():
    table = [[0.55, 0.45], [0.42, 0.58], [0.05, 0.95], [0.07, 0.93], [1, 0]]
    found = reliability(out_of_fold([0, 0, 1, 0, 0], table), bins=5)
    assert found.counts.tolist() == [2, 3]
    assert np.allclose(found.edges, [[0.5, 0.6], [0.9, 1]])
    assert np.allclose(found.confidence, [0.565, 0.96])
    assert np.allclose(found.right, [0.5, 2 / 3])
    assert found.error == pytest.approx(2 / 5 * 0.065 + 3 / 5 * (0.96 - 2 / 3))


def test_intervals_are_wilsons():
    found = reliability(random_predictions(3))
    assert len(found.counts) > 3
    for share, count, interval in zip(found.right, found.counts, found.intervals, strict=True):
        test = binomtest(round(share * count), int(count))
        assert tuple(interval) == pytest.approx(test.proportion_ci(method="wilson"))


def test_bins_span_what_the_largest_probability_can_be():
    found = reliability(out_of_fold([0, 0], [[0.25, 0.25, 0.25, 0.25], [1, 0, 0, 0]]), bins=3)
    assert np.allclose(found.edges, [[0.25, 0.5], [0.75, 1]])
    with pytest.raises(ParameterError, match="bins must be 1 or more, got 0"):
        reliability(random_predictions(2), bins=0)


# ---- maps


@pytest.mark.parametrize("shape", [(40, 6), (12, 30)])
def test_the_map_has_the_leading_components_of_the_distance_between_images(shape):
    X = np.random.default_rng(0).gamma(2.0, size=shape) * np.arange(1, shape[1] + 1)
    found = embedding_map(X)
    roots = np.sqrt(X / X.sum(axis=1, keepdims=True))
    left, values, _ = np.linalg.svd(roots - roots.mean(axis=0), full_matrices=False)
    assert np.allclose(np.abs(found.points), np.abs(left * values)[:, :2], atol=1e-5)
    assert np.allclose(found.explained, (values**2 / (values**2).sum())[:2], atol=1e-5)


def test_one_odd_image_does_not_take_the_whole_map():
    X = np.random.default_rng(0).gamma(2.0, size=(200, 50))
    X[100:, 0] += 20
    X[:, 1:30] = 0
    X[0, 1:30] = 1000  # columns that are zero in every other image
    found = embedding_map(X).points
    spread = np.ptp(found[1:], axis=0) / np.ptp(found, axis=0)
    assert spread.max() > 0.3


def test_a_neighbour_map_keeps_clusters_apart_and_its_seed():
    X = np.random.default_rng(0).normal(size=(60, 8))
    X = np.abs(X)
    X[30:, :4] += 10
    first, again = (embedding_map(X, "tsne", random_state=3) for _ in range(2))
    assert first.points.shape == (60, 2)
    assert first.explained is None
    assert np.array_equal(first.points, again.points)
    middle = [part.mean(axis=0) for part in (first.points[:30], first.points[30:])]
    spread = first.points[:30].std()
    assert np.linalg.norm(middle[0] - middle[1]) > 2 * spread


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("X", [np.ones((5, 3)), np.arange(5.0)[:, None], np.eye(3)])
def test_degenerate_embeddings_have_a_map(X, method):
    found = embedding_map(X, method)
    assert found.points.shape == (len(X), 2)
    assert np.isfinite(found.points).all()


def test_what_has_no_map_is_said():
    with pytest.raises(ParameterError, match="one of pca, tsne; got 'umap'"):
        embedding_map(np.eye(4), "umap")
    with pytest.raises(ParameterError, match="3 images or more, got 2"):
        embedding_map(np.eye(2))
