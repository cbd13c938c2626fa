"""Variants are trained on, never tested on, and never part from their image."""

import numpy as np
import pytest

from tests.fakes import Recorder, with_variants
from tests.unit.data import augmented, named, units
from tlfeatures import Model, audit, cross_validate
from tlfeatures.errors import ModelError
from tlfeatures.model_selection.folds import inner_folds, make_folds
from tlfeatures.model_selection.learning_curve.measure import learning_curve


@pytest.fixture
def file(augmented_file):
    """Embeddings of 24 images, with three variants of each."""
    return augmented_file


RELATED = {
    "alone": {},
    "groups": {"groups": np.array([f"g{i // 6}" for i in range(60)])},
    "copies": {"copies": np.array([[0, 7], [7, 20], [31, 44]])},
    "both": {
        "groups": np.array([f"g{i // 4}" for i in range(60)]),
        "copies": np.array([[0, 7], [31, 44]]),
    },
}


@pytest.mark.parametrize("related", RELATED)
def test_no_relative_of_a_tested_image_is_trained_on(recorder, related):
    data = named(**RELATED[related])
    found = cross_validate(recorder, data, cv=4)
    folds = make_folds(data, cv=4)[1]
    assert len(Recorder.fitted) == 4
    unit = units(data)
    for (train, test), (known, y), (_, new) in zip(
        folds, Recorder.fitted, Recorder.asked, strict=True
    ):
        assert sorted(known) == with_variants(train)
        assert new == [(image, 0) for image in test]
        images = np.array([int(image) for image, _ in known])
        assert not set(unit[images]) & set(unit[test])
        assert y == data.y[images].tolist()
    np.testing.assert_array_equal(found.fold, cross_fold(folds))
    assert found.test_fraction == pytest.approx(np.mean([len(b) / len(a) for a, b in folds]))


def cross_fold(folds):
    fold = np.full(sum(len(test) for _, test in folds), -1)
    for number, (_, test) in enumerate(folds):
        fold[test] = number
    return fold


@pytest.mark.parametrize("related", RELATED)
def test_nor_in_the_inner_folds_of_tuning(recorder, related):
    data = named(**RELATED[related])
    cross_validate(recorder, data, cv=3, grid={"value": [1, 2]})
    unit = units(data)
    outer = make_folds(data, cv=3)[1]
    inner = [inner_folds(data.y, data.together, train, 0) for train, _ in outer]
    expected = [fold for folds in inner for fold in folds for _ in range(2)] + outer
    assert len(Recorder.fitted) == len(expected)
    for (train, held), (known, _), (_, new) in zip(
        expected, Recorder.fitted, Recorder.asked, strict=True
    ):
        assert sorted(known) == with_variants(train)
        assert new == [(image, 0) for image in held]
        assert not set(unit[train]) & set(unit[held])
    points = 2 * len(inner[0])
    for number, (_, test) in enumerate(outer):
        for known, _ in Recorder.fitted[number * points : (number + 1) * points]:
            assert not {unit[int(image)] for image, _ in known} & set(unit[test])


def test_nor_with_a_given_split(recorder, caplog):
    """Of a copy across the splits neither the training image nor its variants are used."""
    split = np.repeat(["train", "val", "test"], [30, 15, 15])
    data = named(split=split, copies=np.array([[3, 40], [5, 6]]))
    cross_validate(recorder, data)
    ((known, _),), ((_, new),) = Recorder.fitted, Recorder.asked
    assert sorted(known) == with_variants(set(range(30)) - {3})
    assert new == [(image, 0) for image in range(30, 45)]
    assert "No head is trained on the training images of these pairs" in caplog.text


def test_nor_with_a_splitter_of_ones_own(recorder):
    data = named(copies=np.array([[0, 30]]))
    cross_validate(recorder, data, cv=[(np.arange(30), np.arange(30, 60))])
    assert sorted(Recorder.fitted[0][0]) == with_variants(range(1, 30))
    assert {variant for _, variant in Recorder.asked[0][1]} == {0}


def test_nor_in_a_learning_curve(recorder):
    data = named(groups=np.array([f"g{i // 3}" for i in range(60)]))
    learning_curve(data, "tests.fakes:recording", sizes=[6, 12], cv=3)
    unit = units(data)
    sizes = set()
    for (known, _), (_, new) in zip(Recorder.fitted, Recorder.asked, strict=True):
        images = {int(image) for image, _ in known}
        assert sorted(known) == with_variants(images)
        assert {variant for _, variant in new} == {0}
        assert not {unit[image] for image in images} & {unit[int(image)] for image, _ in new}
        sizes.add(len(images))
    assert len(sizes) >= 3


def test_an_audit_is_of_the_images_alone(recorder, file):
    audit(file, head="tests.fakes:guessing", embedding="grid8.flatten", cv=3, n_jobs=1)
    assert {len(known) for known, _ in Recorder.fitted} == {16}


def test_a_head_without_probabilities_is_still_refused_at_once(recorder):
    with pytest.raises(ModelError, match="CalibratedClassifierCV"):
        Model.fit(recorder, augmented())
    assert not Recorder.fitted
