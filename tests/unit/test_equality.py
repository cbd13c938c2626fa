"""Results and data are compared by their values; `==` never raises."""

import re
from dataclasses import fields, replace

import numpy as np
import pytest

from tests.unit.data import augmented, dataset
from tlfeatures import (
    Model,
    benchmark,
    cross_validate,
    fit,
    load_benchmark,
    load_dataset,
    make_head,
    training_curve,
)
from tlfeatures.dataset.dataset import FilePart, Unreadable
from tlfeatures.dataset.labelled import label_images
from tlfeatures.reports.diagnostics import (
    OutOfFold,
    confusion,
    embedding_map,
    precision_recall,
    reliability,
    roc,
)


def test_datasets_are_equal_if_their_values_are():
    data = augmented()
    assert data == augmented()
    assert data == replace(data, X=data.X.copy())
    others = {
        "X": data.X + 1, "y": data.y[::-1], "groups": data.y, "ids": data.ids[::-1],
        "split": data.y, "embedding": "y.avg", "file": "y.h5", "copies": np.array([[0, 1]]),
        "digests": np.zeros((60, 32), np.uint8), "variants": None, "looks": data.X,
        "spec": replace(data.spec, size=(9, 9)), "unreadable": (Unreadable("a", None, "b"),),
        "near_duplicates": 0.5, "properties": data.X,
        "joined": (FilePart("p", data.spec, "x.avg", "x.h5"),),
    }  # fmt: skip
    assert set(others) == {each.name for each in fields(data)}
    for name, value in others.items():
        changed = replace(data, **{name: value})
        assert changed != data, name
        assert data != changed, name
    assert data != dataset(30)
    assert data != "x"
    assert data is not None
    assert data in [dataset(30), data]
    with pytest.raises(TypeError, match="unhashable"):
        hash(data)


def test_values_that_are_no_number_equal_themselves():
    data = dataset()
    data.X[3, 2] = np.nan
    assert data == replace(data, X=data.X.copy())


def test_labelled_images_are_equal_if_their_values_are():
    ids = ["a/1", "b/2"]
    labelled = label_images(ids, "x.h5")
    assert labelled == label_images(ids, "x.h5")
    assert labelled != label_images(["a/1", "c/2"], "x.h5")
    assert labelled != label_images(ids, "x.h5", groups="a|b")
    assert labelled != 1


@pytest.mark.slow
def test_results_can_be_compared(flatten_file, tmp_path):
    data = load_dataset(flatten_file)
    result = benchmark(flatten_file, heads=["centroid"], cv=3, n_jobs=1, out=tmp_path / "out")
    other = benchmark(flatten_file, heads=["centroid"], cv=4, n_jobs=1)
    predictions, others = (OutOfFold.of(each.study, each.entries[0]) for each in (result, other))
    pairs = [
        (result.study, other.study),
        (result.entries[0], other.entries[0]),
        (predictions, others),
        (reliability(predictions), reliability(others)),
        (roc(predictions), precision_recall(others)),
        (embedding_map(data.X), embedding_map(data.X * 2)),
        (cross_validate(make_head("centroid"), data, cv=3), cross_validate(make_head("knn"), data)),
        (training_curve(data, params={"steps": 2}), training_curve(data, params={"steps": 3})),
        (load_benchmark(tmp_path / "out"), result),
        (fit(flatten_file, "centroid"), fit(flatten_file, "knn")),
        (Model.fit(make_head("centroid"), data), Model.fit(make_head("knn"), data)),
    ]
    for one, two in pairs:
        assert one == one
        assert one != two, type(one)
        assert one != "x"
    assert predictions == OutOfFold.of(result.study, result.entries[0])
    assert confusion(predictions) == confusion(replace(predictions))
    assert embedding_map(data.X) == embedding_map(data.X.copy())


def test_results_are_described_in_one_line(tmp_path):
    data = dataset(60)
    fitted = fit(data, ["logreg", "dummy"], cv=3)
    best = r"best of 2 heads: logreg on x\.avg, corrected"
    score = r"accuracy 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]"
    expected = {
        r"<Dataset: 60 images x 6, 2 classes: a 30, b 30; x\.avg of x\.h5>": data,
        rf"<CrossValidation: logreg on x\.avg, 60 images tested: {score}>": cross_validate(
            "logreg", data, cv=3
        ),
        rf"<Benchmark: 60 images, <Comparison: {best} {score}>>": fitted.benchmark,
        rf"<FitResult: <Comparison: .*{score}>, no model saved>": fitted,
    }
    for text, result in expected.items():
        assert re.fullmatch(text, repr(result)), repr(result)
