"""What is said of the probabilities of a head: how they are calibrated, on how many images.

Promise: the model, its card and the JSON of a result say so, with the log
loss and the calibration error of the out-of-fold probabilities.
"""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.svm import SVC, LinearSVC

from tests.unit.data import dataset
from tlfeatures import Model, fit
from tlfeatures.models.fact_schema import wrong_facts
from tlfeatures.models.model_file import read_model_info
from tlfeatures.reports.diagnostics import reliability
from tlfeatures.terminal.fit_text import render_fit

OF_LINEAR = LinearSVC(random_state=0)


@pytest.mark.parametrize(
    ("head", "classes", "method", "said"),
    [
        ("ridge", "ab", "sigmoid", "by Platt's sigmoid, fitted on 48 images in each fold"),
        ("ridge", "abc", "temperature", "by one temperature, fitted on 48 images in each fold"),
        ("logreg", "ab", None, "by the head itself. On average, a probability is "),
        (OF_LINEAR, "ab", None, None),  # it has no probabilities
        (CalibratedClassifierCV(OF_LINEAR, cv=3), "ab", "sigmoid", "by Platt's sigmoid"),
        (
            CalibratedClassifierCV(RidgeClassifier(), method="isotonic", cv=3),
            "ab",
            "isotonic",
            "by isotonic regression, fitted on 48 images in each fold",
        ),
    ],
)
def test_the_method_and_the_number_of_its_images_are_told(head, classes, method, said):
    result = fit(dataset(60, classes=classes), head, n_jobs=1)
    found = result.probabilities
    if said is None:
        assert found is None
        assert "Probabilities" not in render_fit(result)
        assert result.to_dict()["probabilities"] is None
        return
    assert (found.method, found.images) == (method, None)
    assert found.fold_images == (None if method is None else 48)
    assert f"Probabilities: {said}" in found.sentence
    predictions = result.benchmark.predictions_of()
    assert found.calibration_error == reliability(predictions).error
    own = predictions.probabilities[np.arange(60), predictions.y]
    expected = -np.log(np.maximum(own, np.finfo(float).eps)).mean()
    assert found.log_loss == pytest.approx(expected)
    assert result.to_dict()["probabilities"] == found.to_dict()


def test_a_saved_model_says_how_many_images_its_own_calibration_has(tmp_path):
    result = fit(dataset(60), "ridge", model=tmp_path / "m.model", n_jobs=1)
    facts = read_model_info(tmp_path / "m.model")["probabilities"]
    assert (
        facts
        == result.probabilities.to_dict()
        == Model.load(tmp_path / "m.model").info["probabilities"]
    )
    said = "fitted on 48 images in each fold (60 in the saved model)."
    assert said in " ".join((tmp_path / "m.model.md").read_text().split())
    assert result.probabilities.line in render_fit(result)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "other"},
        {"images": -1},
        {"log_loss": "x"},
        {"calibration_error": None},
        {"fold_images": 1.5},
    ],
)
def test_facts_of_another_kind_are_refused(tmp_path, change):
    fit(dataset(60), "ridge", model=tmp_path / "m.model", n_jobs=1)
    facts = read_model_info(tmp_path / "m.model")
    assert not wrong_facts(facts)
    wrong = {**facts, "probabilities": {**facts["probabilities"], **change}}
    assert wrong_facts(wrong) == ["probabilities"]


def test_a_given_split_is_fitted_on_its_training_images():
    split = np.array(["train"] * 45 + ["val"] * 15)
    found = fit(dataset(60, split=split), "ridge", n_jobs=1).probabilities
    assert found.fold_images == 45


def test_a_machine_that_calibrates_itself_uses_a_sigmoid():
    heads = {"own": SVC(probability=True), "logreg": LogisticRegression()}
    result = fit(dataset(60), heads, n_jobs=1).benchmark
    methods = {rank.head: result.probabilities_of(rank).method for rank in result.ranking}
    assert methods == {"own": "sigmoid", "logreg": None}
