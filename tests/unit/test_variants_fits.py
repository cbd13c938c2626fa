"""A head fitted on images and their variants is the head that scikit-learn fits on these rows."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.data import augmented, dataset, fit_options, units
from tlfeatures import HEADS, Model, cross_validate, make_head
from tlfeatures.heads.classifiers import calibrated_svc
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.heads.table import head_grid
from tlfeatures.model_selection.cross_validation import cross_validate_heads
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.head_fit import fit_on_all
from tlfeatures.model_selection.training_curve import training_curve

GROUPED = ("linear-svm", "rbf-svm", "ridge", "centroid", "knn")  # the fit of knn takes no groups


@pytest.mark.parametrize(
    ("name", "grouped"),
    [*((name, False) for name in sorted(HEADS)), *((name, True) for name in GROUPED)],
)
@pytest.mark.slow
def test_fitting_is_that_on_images_and_variants_as_rows(name, grouped):
    groups = np.array([f"g{i // 5}" for i in range(60)]) if grouped else None
    data = augmented(groups=groups, signal=2.0)
    params = {"mlp": {"steps": 30}, "gradient-boosting": {"max_iter": 10}}.get(name, {})
    found = cross_validate(make_head(name, **params), data, cv=3)
    unit = units(data)
    for train, test in make_folds(data, cv=3)[1]:
        X = np.concatenate([data.X[train], *(data.variants[i] for i in train)])
        y = np.concatenate([data.y[train], data.y[train].repeat(2)])
        head = make_head(name, **params)
        head.fit(X, y, **fit_options(head, unit[train]))
        expected = head.predict_proba(data.X[test])
        np.testing.assert_allclose(found.probabilities[test], expected, atol=1e-5)


def test_variants_change_what_is_learned():
    data = augmented(noise=3.0)
    plain = replace(data, variants=None)
    with_them, without = (cross_validate(make_head("lda"), each) for each in (data, plain))
    np.testing.assert_array_equal(with_them.fold, without.fold)
    assert (with_them.probabilities != without.probabilities).any()


@pytest.mark.slow
def test_same_numbers_whatever_the_jobs_and_the_company():
    data = augmented(60, d=10, copies=np.array([[0, 2], [9, 11]]))
    heads = make_heads("logreg,linear-svm,knn", {"n_components": 4})
    heads["mlp"] = make_head("mlp", epochs=2, steps=1)
    heads["ridge"] = make_head("ridge")[-1]
    grids = {"knn": {"n_neighbors": [5, 1]}, "mlp": {"alpha": [1.0, 0.1]}, "ridge": {"alpha": [9]}}
    one, two = (cross_validate_heads(heads, data, grids=grids, n_jobs=n, cv=3) for n in (1, 2))
    for name, head in heads.items():
        np.testing.assert_array_equal(one[name].probabilities, two[name].probabilities)
        assert len(one[name].choices) == len(two[name].choices) == (3 if name in grids else 0)
        alone = cross_validate(head, data, grid=grids.get(name), cv=3)
        np.testing.assert_array_equal(one[name].probabilities, alone.probabilities)


def test_same_curves_by_epoch_whatever_the_jobs():
    data, params = augmented(90, classes="abc"), {"epochs": 3, "steps": 1}
    one, two = (training_curve(data, params=params, cv=3, n_jobs=n) for n in (1, 2))
    np.testing.assert_array_equal(one.loss, two.loss)


@pytest.mark.parametrize("name", ["logreg", "linear-svm", "mlp", "knn"])
@pytest.mark.slow
def test_a_model_is_fitted_on_variants_too(name):
    data = augmented(groups=np.array([f"g{i // 3}" for i in range(60)]), copies=np.array([[0, 4]]))
    model = Model.fit(make_head(name), data)
    rows = np.concatenate([data.X, data.variants.reshape(120, -1)])
    head = make_head(name)
    head.fit(rows, np.concatenate([data.y, data.y.repeat(2)]), **fit_options(head, data.together))
    expected = head.predict_proba(data.X)
    np.testing.assert_allclose(model.predict_proba(data.X), expected, atol=1e-6)
    assert (model.info["images"], model.info["variants"]) == (60, 2)
    assert model.info["counts"] == {"a": 30, "b": 30}
    plain = Model.fit(make_head(name), replace(data, variants=None))
    assert plain.info["variants"] == 0
    assert plain.outliers.threshold == model.outliers.threshold


# ---- a penalty means the same whether images have variants or not


PENALISED = {"logreg": "C", "linear-svm": "C", "rbf-svm": "C", "ridge": "alpha"}


def copied(n=90, v=3, **fields):
    """Without variants, and with variants that are the very images."""
    data = dataset(n, 8, signal=1.5, **fields)
    return data, replace(data, variants=data.X[:, None].repeat(v, axis=1))


WEIGHTED = {("ab", "none"), ("abc", "one"), ("aabc", "balanced")}
WEIGHTS = {"none": None, "balanced": "balanced", "one": {"a": 3.0}}


@pytest.mark.parametrize(
    ("classes", "weight"),
    [
        pytest.param(
            classes, weight, marks=[] if (classes, weight) in WEIGHTED else pytest.mark.long
        )
        for classes in ("ab", "abc", "aabc")
        for weight in WEIGHTS
    ],
)
@pytest.mark.parametrize("name", PENALISED)
def test_variants_that_are_the_images_change_no_decision(name, classes, weight):
    data, more = copied(classes=classes)
    for value in (0.01, 3.0):
        exact = {"tol": 1e-8} if name == "logreg" else {}
        params = {PENALISED[name]: value, "class_weight": WEIGHTS[weight], **exact}
        plain, fitted = (fit_on_all(make_head(name, **params), each) for each in (data, more))
        expected = plain.decision_function(data.X)
        np.testing.assert_allclose(fitted.decision_function(data.X), expected, atol=1e-4)


def test_nor_where_the_kernel_is_too_large_to_form(monkeypatch):
    monkeypatch.setattr(calibrated_svc, "LARGEST_KERNEL", 50)
    plain, fitted = (fit_on_all(make_head("rbf-svm"), data) for data in copied())
    X = copied()[0].X
    np.testing.assert_allclose(plain.decision_function(X), fitted.decision_function(X), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "largest"),
    [*((name, 10_000) for name in PENALISED), ("linear-svm", 50), ("rbf-svm", 50)],
)
def test_nor_what_tuning_chooses(name, largest, monkeypatch):
    monkeypatch.setattr(calibrated_svc, "LARGEST_KERNEL", largest)
    grid = {param: values[1::2] for param, values in head_grid(name).items()}
    plain, tuned = (
        cross_validate(make_head(name), data, grid=grid, cv=2).choices
        for data in copied(n=48, classes="abc")
    )
    assert len(plain) == 2
    for one, two in zip(plain, tuned, strict=True):
        assert one.params == two.params
        np.testing.assert_allclose(one.scores, two.scores)


def test_boosting_holds_no_variants_back_to_stop_by():
    assert make_head("gradient-boosting")[-1].early_stopping is False
