"""Curves by epoch: what they end in, what they are made of, and what has none."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss

from tests.unit.data import dataset
from tlfeatures import cross_validate, make_head
from tlfeatures.dataset.samples import sampled_rows
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.model_selection.fold_scores import EPOCH_SCORES
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.training_curve import (
    TrainingCurve,
    training_curve,
    trains_in_epochs,
)

SHORT = {"epochs": 5, "steps": 1}
LONG = {"epochs": 60, "steps": 1, "alpha": 0.01, "learning_rate_init": 0.005}


def same(left: TrainingCurve, right: TrainingCurve) -> bool:
    return all(
        np.array_equal(getattr(left, name), getattr(right, name), equal_nan=True)
        for name in EPOCH_SCORES
    )


# ---- the numbers


BALANCED = {"class_weight": "balanced", **SHORT}


@pytest.mark.parametrize(
    ("classes", "params"),
    [
        ("ab", {"steps": 100}),
        ("abc", BALANCED),
        pytest.param("abc", {"steps": 100}, marks=pytest.mark.long),
        pytest.param("ab", BALANCED, marks=pytest.mark.long),
    ],
)
@pytest.mark.slow
def test_the_last_epoch_is_what_cross_validation_scores(classes, params):
    data = dataset(n=90, classes=classes)
    curve = training_curve(data, params=params, cv=3, random_state=5)
    head = make_head("mlp", random_state=5, **params)
    scores = cross_validate(head, data, cv=3, random_state=5).scores
    np.testing.assert_array_equal(curve.validation_accuracy[:, -1], scores["accuracy"]["folds"])
    np.testing.assert_allclose(
        curve.validation_loss[:, -1], scores["log_loss"]["folds"], rtol=1e-12
    )
    assert curve.loss.shape == (3, curve.epochs)


def test_training_scores_are_those_of_the_whole_fold_after_the_epoch():
    data = dataset()
    split, folds = make_folds(data, cv=3)
    curve = training_curve(data, params=SHORT, folds=folds, split=split)
    train, _ = folds[1]
    fitted = make_head("mlp", **SHORT).fit(data.X[train], data.y[train])
    assert curve.accuracy[1, -1] == fitted.score(data.X[train], data.y[train])
    expected = log_loss(data.y[train], fitted.predict_proba(data.X[train]))
    assert curve.loss[1, -1] == pytest.approx(expected, abs=1e-6)


def test_jobs_do_not_change_the_numbers():
    data = dataset(n=90, classes="abc")
    one, two = (training_curve(data, params=SHORT, cv=3, n_jobs=jobs) for jobs in (1, 2))
    assert same(one, two)


@pytest.mark.slow
def test_on_classes_far_apart_the_training_loss_falls_and_all_get_right():
    curve = training_curve(dataset(n=120, signal=12), params=LONG, cv=3)
    assert (np.diff(curve.loss.mean(axis=0)) < 0).mean() > 0.95
    assert (curve.loss[:, -1] < 0.1 * curve.loss[:, 0]).all()
    assert (curve.accuracy[:, -1] == 1).all()
    assert curve.validation_accuracy[:, -1].mean() > 0.97


@pytest.mark.slow
def test_random_labels_are_learned_by_heart_and_not_foretold():
    data = dataset(n=80, d=200, signal=0)
    curve = training_curve(data, params=LONG, cv=4)
    assert curve.accuracy[:, -1].mean() > 0.95
    assert abs(curve.validation_accuracy[:, -1].mean() - 0.5) < 0.2
    assert curve.validation_loss[:, -1].mean() > curve.loss[:, -1].mean() + 0.3


# ---- the folds


def test_coordinates_know_nothing_of_the_images_held_back():
    data = dataset()
    split, folds = make_folds(data, cv=3)
    curve = training_curve(data, params=SHORT, folds=folds[:1], split=split)
    X = data.X.copy()
    X[folds[0][1]] *= 1000
    other = training_curve(replace(data, X=X), params=SHORT, folds=folds[:1], split=split)
    np.testing.assert_array_equal(curve.loss, other.loss)
    assert (curve.validation_loss != other.validation_loss).all()


@pytest.mark.slow
def test_copies_are_on_one_side():
    """Noise of which each image has a copy: by heart is no help, unless a copy is held back."""
    half = dataset(n=60, d=100, signal=0)
    X, y = np.concatenate([half.X, half.X]), np.concatenate([half.y, half.y])
    pairs = np.column_stack([np.arange(60), np.arange(60, 120)])
    ids = np.array([f"{i}.png" for i in range(120)])
    data = replace(half, X=X, y=y, ids=ids, copies=pairs)
    torn = replace(data, copies=np.empty((0, 2), np.int64))
    curves = (training_curve(each, params=LONG, cv=4) for each in (data, torn))
    found = [curve.validation_accuracy[:, -1].mean() for curve in curves]
    assert found[0] < 0.7 < 0.8 < found[1]


def test_a_given_split_is_one_fold():
    data = dataset(n=60, split=np.repeat(["train", "val"], [40, 20]))
    curve = training_curve(data, params=SHORT)
    assert (curve.split, curve.folds, curve.loss.shape) == ("val", 1, (1, 5))
    again = training_curve(data, params=SHORT, split="cv", cv=3)
    assert (again.split, again.folds) == ("cv", 3)


def test_a_class_that_a_fold_cannot_train_on_is_only_wrong():
    data = dataset(n=60, classes="abc")
    rows = np.arange(60)
    held = (data.y == "c") | (rows % 4 == 0)
    curve = training_curve(data, params=SHORT, folds=[(rows[~held], rows[held])])
    right = (data.y[held] != "c").mean()
    assert (curve.validation_accuracy <= right).all()
    assert np.isfinite(curve.validation_loss).all()
    assert (curve.loss < 2).all()


def test_one_class_says_so():
    with pytest.raises(DatasetError, match="one class"):
        training_curve(dataset(classes="a"))


# ---- parameters


def test_what_tuning_chose_is_used_fold_by_fold():
    data = dataset()
    split, folds = make_folds(data, cv=3)
    chosen = [{"alpha": 10.0}, {"alpha": 0.1}, {}]
    curve = training_curve(data, params=SHORT, folds=folds, split=split, chosen=chosen)
    for number, of in enumerate(chosen):
        each = training_curve(data, params=SHORT | of, folds=[folds[number]], split=split)
        np.testing.assert_array_equal(curve.validation_loss[number], each.validation_loss[0])
    assert curve.params == SHORT
    with pytest.raises(ParameterError, match="one mapping for each of 3 folds, got 2"):
        training_curve(data, folds=folds, split=split, chosen=chosen[:2])


def test_of_many_images_a_sample_is_used_in_the_same_folds():
    data = dataset(n=300)
    split, folds = make_folds(data, cv=3)
    chosen = [{"epochs": 2}, {"epochs": 4}, {"epochs": 3}]
    curve = training_curve(
        data, params=SHORT, folds=folds, split=split, chosen=chosen, sample=60, random_state=1
    )
    rows = sampled_rows(data.y, data.together, 60, 1)
    parts = [
        tuple(np.flatnonzero(np.isin(rows, side)) for side in (train, test))
        for train, test in folds
    ]
    each = training_curve(
        data.take(rows), params=SHORT, folds=parts, split=split, chosen=chosen, random_state=1
    )
    assert (curve.images, curve.sample, each.sample) == (300, len(rows), None)
    for name in EPOCH_SCORES:
        np.testing.assert_array_equal(getattr(curve, name), getattr(each, name))
    whole = training_curve(data, params=SHORT, folds=folds, split=split, sample=None)
    assert whole.sample is None
    assert same(TrainingCurve.from_dict(json.loads(json.dumps(curve.to_dict()))), curve)


def test_a_fold_that_the_sample_leaves_empty_is_left_out():
    data = dataset(n=300)
    rows = sampled_rows(data.y, data.together, 60)
    unused = np.setdiff1d(np.arange(300), rows)
    folds = [(rows[:40], rows[40:]), (rows, unused)]
    chosen = [{"epochs": 2}, {"epochs": 4}]
    curve = training_curve(data, params=SHORT, folds=folds, chosen=chosen, sample=60)
    assert (curve.folds, curve.epochs) == (1, 2)
    with pytest.raises(DatasetError, match=r"none of the folds has .* larger sample"):
        training_curve(data, params=SHORT, folds=folds[1:], sample=60)


def test_choices_of_tuning_give_the_tuned_scores():
    data = dataset(n=90)
    made = make_folds(data, cv=3)
    evaluation = cross_validate("mlp", data, cv=3, params=SHORT, grid={"alpha": [30.0, 0.1]})
    chosen = [choice.params for choice in evaluation.choices]
    curve = training_curve(data, params=SHORT, split=made[0], folds=made[1], chosen=chosen)
    np.testing.assert_array_equal(
        curve.validation_accuracy[:, -1], evaluation.scores["accuracy"]["folds"]
    )


def test_folds_of_fewer_epochs_end_in_nan():
    chosen = [{"epochs": 2}, {"epochs": 4}, {}]
    curve = training_curve(dataset(), params={"epochs": 3, "steps": 1}, cv=3, chosen=chosen)
    assert curve.epochs == 4
    for name in EPOCH_SCORES:
        assert np.isfinite(getattr(curve, name)).sum(axis=1).tolist() == [2, 4, 3]
    again = TrainingCurve.from_dict(json.loads(json.dumps(curve.to_dict(), allow_nan=False)))
    assert same(curve, again)


@pytest.mark.parametrize("head", ["logreg", "rbf-svm", "sklearn.neural_network:MLPClassifier"])
def test_heads_that_have_no_epochs_are_refused(head):
    with pytest.raises(ParameterError, match=f"^{head} does not train in epochs.* use one of mlp$"):
        training_curve(dataset(), head)


def test_which_heads_train_in_epochs():
    assert trains_in_epochs(make_head("mlp"))
    assert trains_in_epochs(make_head("mlp")[-1])
    assert not trains_in_epochs(make_head("ridge"))


def test_a_head_without_coordinates_does_what_it_does_in_cross_validation():
    name, data = "tlfeatures.heads.classifiers.scaled_mlp:ScaledMLP", dataset()
    curve = training_curve(data, name, params=SHORT, cv=3)
    scores = cross_validate(make_head(name, **SHORT), data, cv=3).scores
    np.testing.assert_allclose(
        curve.validation_loss[:, -1], scores["log_loss"]["folds"], rtol=1e-12
    )


def test_wrong_values_are_one_line():
    with pytest.raises(ParameterError, match=r"mlp can't be fitted: .*alpha"):
        training_curve(dataset(), params={"alpha": -1.0})
    with pytest.raises(ParameterError, match="no_such"):
        training_curve(dataset(), params={"no_such": 1})


# ---- around it


def test_it_says_what_it_is_of_and_survives_json():
    told = []
    curve = training_curve(
        dataset(), params=SHORT, cv=3, progress=lambda *counts: told.append(counts)
    )
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    facts = json.loads(json.dumps(curve.to_dict(), allow_nan=False))
    assert facts["head"] == "mlp"
    assert (facts["file"], facts["embedding"], facts["weights"]) == ("x.h5", "x.avg", "none")
    assert (facts["images"], facts["split"], facts["folds"]) == (60, "cv", 3)
    again = TrainingCurve.from_dict(facts)
    assert same(curve, again)
    assert again.to_dict() == curve.to_dict()
