"""Images unlike those that a head was fitted on are told from those like them."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tests.unit.data import dataset
from tlfeatures import Model, make_head
from tlfeatures.dataset.distances import unit_roots
from tlfeatures.errors import FormatError
from tlfeatures.models.outliers import SHARE, OutlierDetector


def cloud(seed, n, columns, active):
    """Rows whose activations lie in the first or the last columns, as of two kinds of images."""
    random = np.random.default_rng(seed)
    X = random.gamma(0.5, size=(n, columns)).astype(np.float32) * 0.05
    X[:, active] += random.gamma(2.0, size=X[:, active].shape).astype(np.float32)
    return X


@pytest.mark.parametrize("columns", [64, 5000])
@pytest.mark.slow
def test_new_images_of_the_same_kind_are_rarely_flagged_and_others_are(columns):
    half = columns // 2
    X = cloud(0, 500, columns, slice(0, half))
    detector = OutlierDetector.fit(X)
    assert detector.flags(cloud(1, 2000, columns, slice(0, half))).mean() < 3 * SHARE
    assert detector.flags(cloud(2, 200, columns, slice(half, None))).all()


def test_the_limit_is_what_one_in_a_hundred_exceeds_out_of_fold():
    X = cloud(3, 1000, 64, slice(0, 32))
    detector = OutlierDetector.fit(X)
    # In its own training set an image is its own nearest neighbour, so that fewer exceed it.
    assert detector.flags(X).mean() <= SHARE
    assert detector.flags(cloud(4, 3000, 64, slice(0, 32))).mean() == pytest.approx(SHARE, abs=0.01)


@pytest.fixture
def scenes():
    """Ten photos of each of 30 scenes, and which belong together."""
    scenes = cloud(5, 30, 64, slice(0, 32)).repeat(10, axis=0)
    X = scenes * (1 + 0.01 * np.random.default_rng(6).normal(size=scenes.shape)).astype(np.float32)
    return X, np.arange(30).repeat(10)


def test_what_belongs_together_does_not_vouch_for_each_other(scenes):
    """Distances to photos of the same scene don't count."""
    X, together = scenes
    assert OutlierDetector.fit(X, together).threshold > 3 * OutlierDetector.fit(X).threshold


@pytest.mark.parametrize("why", ["groups", "copies"])
def test_a_model_keeps_groups_and_copies_together_for_its_limit(scenes, why):
    X, together = scenes
    given = {
        "groups": {"groups": together.astype(str)},
        "copies": {"copies": np.array([(i, i + 1) for i in range(299) if i % 10 != 9])},
    }
    alone, kept = (
        Model.fit(make_head("logreg"), dataset(300, X=X, **fields)).outliers.threshold
        for fields in ({}, given[why])
    )
    assert kept > 3 * alone
    assert kept == OutlierDetector.fit(X, together).threshold


@pytest.mark.parametrize(("images", "beyond"), [(24, 0), (100, 0), (120, 1), (1000, 9)])
def test_how_many_exceeded_the_limit_when_left_out_is_counted(images, beyond):
    X = cloud(12, images, 64, slice(0, 32))
    X[0] = 0  # has no direction, so it is no reference and isn't compared
    facts = OutlierDetector.fit(np.concatenate([X, X[:1], cloud(13, 1, 64, slice(0, 32))])).facts()
    assert (facts["beyond"], facts["compared"]) == (beyond, images)


def test_the_sketch_keeps_distances_of_wide_embeddings():
    X, new = cloud(7, 200, 20_000, slice(0, 10_000)), cloud(8, 50, 20_000, slice(0, 10_000))
    detector = OutlierDetector.fit(X)
    exact = np.sort(cdist(unit_roots(new), unit_roots(X)), axis=1)[:, detector.neighbor - 1]
    np.testing.assert_allclose(detector.distances(new), exact, rtol=0.1)


def test_an_embedding_of_zeros_is_an_outlier_and_never_a_reference():
    X = cloud(9, 100, 64, slice(0, 32))
    X[::10] = 0
    detector = OutlierDetector.fit(X)
    assert len(detector.sketch) == 90
    assert np.isinf(detector.distances(np.zeros((2, 64), np.float32))).all()


def test_too_few_images_give_no_detector():
    assert OutlierDetector.fit(np.ones((1, 8), np.float32)) is None
    assert OutlierDetector.fit(np.zeros((5, 8), np.float32)) is None
    one_group = np.zeros(5, int)
    assert OutlierDetector.fit(cloud(0, 5, 8, slice(0, 4)), one_group) is None


def test_many_images_are_sampled_and_two_runs_agree():
    X = cloud(10, 6000, 16, slice(0, 8))
    first, second = OutlierDetector.fit(X), OutlierDetector.fit(X)
    assert first.sketch.shape == (5000, 16)
    assert first.facts()["compared"] == 5000
    assert first.threshold == second.threshold
    np.testing.assert_array_equal(first.sketch, second.sketch)


def test_images_all_alike_have_a_limit_above_zero():
    X = np.ones((20, 8), np.float32)
    detector = OutlierDetector.fit(X)
    assert detector.threshold > 0
    assert not detector.flags(X).any()


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 0},
        {"threshold": "x"},
        {"threshold": None},
        {"neighbor": 101},
        {"neighbor": 0},
        {"columns": 65},
    ],
)
def test_kept_facts_that_do_not_fit_are_refused(change):
    detector = OutlierDetector.fit(cloud(11, 100, 64, slice(0, 32)))
    kept = OutlierDetector.of(detector.facts(), detector.sketch)
    assert (kept.threshold, kept.neighbor) == (detector.threshold, detector.neighbor)
    with pytest.raises(FormatError):
        OutlierDetector.of({**detector.facts(), **change}, detector.sketch)
