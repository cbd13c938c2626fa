"""Heads with `coordinates=passthrough`: on the columns as they are stored."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.unit.data import augmented, dataset, fit_options
from tlfeatures import HEADS, Model, cross_validate, export, load_dataset, make_head
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.heads.coordinate_step import compact, set_tuned
from tlfeatures.heads.parameters import plain_params
from tlfeatures.heads.table import head_grid, make_heads
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.models.export.runtime import session


@pytest.fixture
def file(augmented_file):
    """Embeddings of 24 images, with three variants of each."""
    return augmented_file


@pytest.mark.parametrize("name", ["logreg", "ridge", "knn", "mlp", "gradient-boosting"])
def test_passthrough_shows_the_columns(name):
    data = augmented(signal=2.0, d=5)
    data.X[:, 0] *= 50  # standardising would take it back
    params = {"mlp": {"steps": 30}, "gradient-boosting": {"max_iter": 10}}.get(name, {})
    head = make_head(name, coordinates="passthrough", **params)
    found = cross_validate(head, data, cv=3)
    train, test = make_folds(data, cv=3)[1][0]
    rows = TrainingRows.of(data)
    of = rows.of_images(train)
    classifier = make_head(name, **params)[-1]
    told = fit_options(head, train)
    told = {name.removeprefix("classifier__"): value for name, value in told.items()}
    expected = classifier.fit(rows.X[of], rows.y[of], **told).predict_proba(data.X[test])
    np.testing.assert_allclose(found.probabilities[test], expected, atol=1e-7)
    assert plain_params(head)["coordinates"] == "passthrough"
    assert "n_components" not in plain_params(head)


def test_passthrough_is_logistic_regression_of_the_rows():
    data = dataset(90, d=4, classes="abc")
    found = cross_validate(make_head("logreg", coordinates="passthrough", C=1.0), data, cv=3)
    train, test = make_folds(data, cv=3)[1][0]
    plain = LogisticRegression(max_iter=2000).fit(data.X[train], data.y[train])
    expected = plain.predict_proba(data.X[test])
    np.testing.assert_allclose(found.probabilities[test], expected, atol=1e-6)


def test_passthrough_is_tuned():
    data = augmented(signal=2.0)
    head = make_head("knn", coordinates="passthrough")
    found = cross_validate(head, data, cv=3, grid=head_grid("knn"))
    assert {tuple(choice.params) for choice in found.choices} == {("n_neighbors",)}
    set_tuned(head, {"n_neighbors": 7})
    assert head[-1].n_neighbors == 7


@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_model_of_stored_columns_is_saved_and_exported(name, file, tmp_path):
    data = load_dataset(file, "grid4.flatten")
    params = {
        "mlp": {"epochs": 2, "steps": 1, "scale": 0.5, "variants": "turns"},
        "gradient-boosting": {"max_iter": 10},
    }.get(name, {})
    head = make_head(name, coordinates="passthrough", **params)
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


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"coordinates": "raw"}, "coordinates must be passthrough, got 'raw'"),
        ({"coordinates": None}, "coordinates must be passthrough, got None"),
        ({"coordinates": "passthrough", "n_components": 3}, "has no n_components"),
        ({"coordinates": "passthrough", "n_components": None}, "has no n_components"),
        ({"coordinates": "passthrough", "coordinates__n_components": 3}, "has no n_components"),
    ],
)
def test_coordinates_are_used_or_passed_through(params, message):
    with pytest.raises(ParameterError, match=message):
        make_head("mlp", **params)
    with pytest.raises(ParameterError, match=message):
        make_heads(["mlp", "logreg"], params)


def test_heads_of_others_have_no_coordinates():
    with pytest.raises(ParameterError, match=r"no parameter of .* 'coordinates'"):
        make_head("sklearn.ensemble:ExtraTreesClassifier", coordinates="passthrough")
