"""Samples of datasets, and the analyses that use them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.unit import data as made
from tests.unit.test_audit import dataset, with_same_files
from tlfeatures.cli.heads import audit as audit_command
from tlfeatures.dataset.duplicates import find_copies
from tlfeatures.dataset.samples import LEAST_OF_CLASS, sampled_rows
from tlfeatures.errors import ParameterError
from tlfeatures.model_selection.audit.audit import audit
from tlfeatures.model_selection.audit.results import Audit
from tlfeatures.model_selection.learning_curve.measure import learning_curve
from tlfeatures.model_selection.learning_curve.results import LearningCurve
from tlfeatures.terminal.audit_text import render_audit
from tlfeatures.terminal.learning_curve_text import render_learning_curve


def test_a_sample_keeps_the_shares_of_classes():
    y = np.repeat(list("abc"), [6000, 3000, 1000])
    rows = sampled_rows(y, None, 500)
    assert np.unique(y[rows], return_counts=True)[1].tolist() == [300, 150, 50]
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, sampled_rows(y, None, 500))
    assert not np.array_equal(rows, sampled_rows(y, None, 500, random_state=1))


def test_a_sample_keeps_groups_whole():
    random = np.random.default_rng(0)
    together = np.repeat(np.arange(800), random.integers(1, 9, 800))
    y = np.array(["a", "b"])[together % 2]
    rows = sampled_rows(y, together, 1000)
    inside = np.isin(together, together[rows])
    assert inside.sum() == len(rows)
    assert len(rows) == pytest.approx(1000, abs=20)


def test_a_small_class_keeps_some_images():
    y = np.repeat(["many", "few", "none"], [20_000, 12, 3])
    names, counts = np.unique(y[sampled_rows(y, None, 1000)], return_counts=True)
    assert dict(zip(names, counts, strict=True))["few"] == LEAST_OF_CLASS
    assert dict(zip(names, counts, strict=True))["none"] == 3


def test_a_sample_of_few_large_groups_has_a_part_of_their_images():
    random = np.random.default_rng(0)
    together = random.integers(8, size=100_000)
    y = np.array(["a", "b", "b"])[random.integers(3, size=100_000)]
    rows = sampled_rows(y, together, 5000)
    assert len(rows) == pytest.approx(5000, abs=1)
    assert np.unique(together[rows]).size == 8
    assert (y[rows] == "b").mean() == pytest.approx((y == "b").mean(), abs=1e-3)
    np.testing.assert_array_equal(rows, sampled_rows(y, together, 5000))
    assert not np.array_equal(rows, sampled_rows(y, together, 5000, random_state=1))


def test_a_sample_of_one_large_group_of_a_class_has_its_small_groups():
    together = np.repeat(np.arange(5), [20_000, 3, 3, 3, 3])
    rows = sampled_rows(np.zeros(len(together)), together, 500)
    assert len(rows) == 500
    assert np.unique(together[rows]).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("most", [None, 100, 200])
def test_a_sample_of_few_images_has_all(most):
    np.testing.assert_array_equal(sampled_rows(np.zeros(100), None, most), np.arange(100))


@pytest.mark.parametrize("most", [0, -1, 2.5, "all"])
def test_a_sample_of_no_number_is_refused(most):
    with pytest.raises(ParameterError, match="number of images"):
        sampled_rows(np.zeros(10), None, most)


def test_an_audit_of_a_sample_has_the_copies_of_all_images():
    data = with_same_files(dataset(300), (0, 1), (100, 200))
    copies, _ = find_copies(data.X, data.digests, None, data.spec)
    data = replace(data, copies=copies, split=None)
    result = audit(data, head="lda", cv=3, sample=60)
    assert 60 <= result.sample <= 64  # and the copies
    assert result.images == 300
    assert result.counts["near-duplicate"] == 2
    assert f"a sample of {result.sample} of the 300 images" in render_audit(result)
    assert f"a sample of {result.sample} of the 300 images" in result._repr_html_()
    assert Audit.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    whole = audit(data, head="lda", cv=3, sample=None)
    assert whole.sample is None
    assert "sample" not in render_audit(whole)
    assert whole == audit(data, head="lda", cv=3)


def test_an_audit_of_few_large_groups_is_of_a_sample():
    data = with_same_files(dataset(300), (0, 1), (100, 200))
    copies, _ = find_copies(data.X, data.digests, None, data.spec)
    groups = np.array(list("abcdef"))[np.arange(300) % 6]
    data = replace(data, copies=copies, split=None, groups=groups)
    result = audit(data, head="lda", cv=3, sample=60)
    assert 60 <= result.sample <= 64  # and the copies
    assert result.counts["near-duplicate"] == 2


def test_a_learning_curve_of_a_sample_says_so():
    data = made.dataset(2000, signal=3.0)
    curve = learning_curve(data, "lda", sample=400)
    assert (curve.images, curve.sample) == (2000, 400)
    assert curve.points[-1].train_images == pytest.approx(320)
    assert curve.sentence.startswith("Measured on a sample of 400 of the 2,000 images: ")
    assert "all 2,000 may already be enough" in curve.sentence
    assert "a sample of 400 of the 2,000 images" in render_learning_curve(curve)
    assert LearningCurve.from_dict(json.loads(json.dumps(curve.to_dict()))) == curve
    assert learning_curve(data, "lda", cv=2, sizes=[5]).sample is None


def test_a_sample_that_is_larger_than_requested_says_why():
    data = replace(dataset(300), split=None)
    result = audit(data, head="lda", cv=3, sample=5)
    curve = learning_curve(data, "lda", cv=2, sample=5)
    for sample, text in (
        (result.sample, render_audit(result)),
        (curve.sample, render_learning_curve(curve)),
    ):
        assert 20 <= sample < 300
        assert f"a sample of {sample} of the 300 images (each class has its share, but at" in text


@pytest.mark.parametrize(
    ("text", "expected"), [("all", None), ("20", 20), ("0", SystemExit), ("a", SystemExit)]
)
def test_the_option_is_a_number_or_all(text, expected):
    (option,) = (each for each in audit_command.params if each.name == "sample")
    assert option.type_cast_value(None, option.default) == 5000
    if expected is not SystemExit:
        assert option.type_cast_value(None, text) == expected
        return
    with pytest.raises(Exception, match="no number of images and not all"):
        option.type_cast_value(None, text)
