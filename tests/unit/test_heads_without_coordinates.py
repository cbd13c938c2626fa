"""Heads without coordinates see the columns as they are stored."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tests.unit.data import augmented, dataset, fit_options
from tlfeatures import HEADS, Model, cross_validate, export, load_dataset, make_head
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.engines.onnx_session import session
from tlfeatures.heads.coordinate_step import compact, set_tuned
from tlfeatures.heads.parameters import plain_params
from tlfeatures.heads.table import head_grid
from tlfeatures.model_selection.folds import make_folds


@pytest.fixture
def file(augmented_file):
    """Embeddings of 24 images, with three variants of each."""
    return augmented_file


def without_coordinates(name, **params):
    """Give a head of the table whose classifier is its only step."""
    return Pipeline(make_head(name, **params).steps[1:])


@pytest.mark.parametrize("name", ["logreg", "ridge", "knn", "mlp", "gradient-boosting"])
def test_a_classifier_alone_sees_the_columns(name):
    data = augmented(signal=2.0, d=5)
    data.X[:, 0] *= 50  # standardising would take it back
    params = {"mlp": {"steps": 30}, "gradient-boosting": {"max_iter": 10}}.get(name, {})
    head = without_coordinates(name, **params)
    found = cross_validate(head, data, cv=3)
    train, test = make_folds(data, cv=3)[1][0]
    rows = TrainingRows.of(data)
    of = rows.of_images(train)
    classifier = make_head(name, **params)[-1]
    arguments = {
        key.removeprefix("classifier__"): value for key, value in fit_options(head, train).items()
    }
    expected = classifier.fit(rows.X[of], rows.y[of], **arguments).predict_proba(data.X[test])
    np.testing.assert_allclose(found.probabilities[test], expected, atol=1e-7)
    assert "n_components" not in plain_params(head)


def test_it_is_logistic_regression_of_the_rows():
    data = dataset(90, d=4, classes="abc")
    found = cross_validate(without_coordinates("logreg", C=1.0), data, cv=3)
    train, test = make_folds(data, cv=3)[1][0]
    plain = LogisticRegression(max_iter=2000).fit(data.X[train], data.y[train])
    expected = plain.predict_proba(data.X[test])
    np.testing.assert_allclose(found.probabilities[test], expected, atol=1e-6)


def test_another_step_of_this_name_is_kept():
    data = dataset(60, signal=3.0)
    steps = [("coordinates", PCA(1)), ("classifier", LogisticRegression())]
    found = cross_validate(Pipeline(steps), data, cv=3)
    train, test = make_folds(data, cv=3)[1][0]
    plain = Pipeline(steps).fit(data.X[train], data.y[train])
    expected = plain.predict_proba(data.X[test])
    np.testing.assert_allclose(found.probabilities[test], expected, atol=1e-6)


def test_it_is_tuned():
    data = augmented(signal=2.0)
    head = without_coordinates("knn")
    found = cross_validate(head, data, cv=3, grid=head_grid("knn"))
    assert {tuple(choice.params) for choice in found.choices} == {("classifier__n_neighbors",)}
    set_tuned(head, {"classifier__n_neighbors": 7})
    assert head[-1].n_neighbors == 7


@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_model_of_stored_columns_is_saved_and_exported(name, file, tmp_path):
    data = load_dataset(file, "grid4.flatten")
    params = {
        "mlp": {"epochs": 2, "steps": 1},
        "gradient-boosting": {"max_iter": 10},
    }.get(name, {})
    head = without_coordinates(name, **params)
    model = Model.fit(head, data, name=name)
    assert compact(model.head) is model.head
    model.save(tmp_path / "m.model")
    loaded = Model.load(tmp_path / "m.model")
    expected = model.predict_proba(data.X)
    np.testing.assert_array_equal(loaded.predict_proba(data.X), expected)
    assert loaded.info == model.info
    export(loaded, tmp_path / "m.onnx")
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    table, _ = session(tmp_path / "m.onnx").run(None, {"images": images})
    rows = PixelBackbone(["grid4.flatten"]).embed(images)["grid4.flatten"]
    np.testing.assert_allclose(table, model.predict_proba(rows), atol=1e-4)
