"""A model has methods of scikit-learn's classifiers, evaluates datasets and exports itself."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

from tlfeatures import Dataset, Model, extract, load_dataset, make_head
from tlfeatures.errors import DatasetError, ImageError, ModelError, ParameterError, SpecError


@pytest.fixture
def data(flatten_file):
    return load_dataset(flatten_file)


@pytest.fixture
def model(data):
    """Fitted on every second image."""
    return Model.fit(make_head("logreg"), data[::2], name="logreg")


def test_classes_are_an_array_under_the_name_of_scikit_learn(model):
    assert isinstance(model.classes_, np.ndarray)
    assert model.classes_.tolist() == model.classes == ["blue", "red"]


# ---- score


def test_the_score_of_embeddings_and_of_images_is_the_accuracy(model, data, photos):
    truth = np.where(np.arange(24) % 5 == 0, "blue", data.y)  # some labels are wrong
    expected = accuracy_score(truth, model.predict_features(data.X).labels.tolist())
    assert 0.5 < expected < 1
    assert model.score(data.X, truth) == expected
    assert model.score(pd.DataFrame(data.X), pd.Series(truth)) == expected
    paths = [photos / id_ for id_ in data.ids]
    arrays = [np.asarray(Image.open(path)) for path in paths]
    for images in (paths, arrays, np.stack(arrays)):
        assert model.score(images, list(truth)) == expected


def test_probabilities_are_float64_whatever_the_head_computes(data):
    head = LogisticRegression().fit(data.X, data.y)
    assert head.predict_proba(data.X).dtype == np.float32
    predictions = Model.fit(LogisticRegression(), data).predict_features(data.X)
    assert predictions.probabilities.dtype == predictions.confidence.dtype == np.float64


def test_labels_are_compared_as_texts():
    X, y = load_digits(n_class=3, return_X_y=True)
    model = Model.fit(make_head("centroid"), Dataset.from_arrays(X, y))
    assert model.score(X, y) == model.score(X, y.astype(str)) > 0.9


def test_labels_that_do_not_fit_the_rows(model, data, photos, tmp_path, caplog):
    with pytest.raises(ParameterError, match=r"24 rows, but y has 23 values"):
        model.score(data.X, data.y[1:])
    with pytest.raises(ModelError, match="columns"):
        model.score(data.X[:, 1:], data.y)
    (tmp_path / "bad.jpg").write_text("text")
    with pytest.raises(ImageError, match=r"bad\.jpg: not an image .*leave it out"):
        model.score([photos / "red" / "red00.png", tmp_path / "bad.jpg"], ["red", "red"])
    with caplog.at_level(logging.WARNING):
        assert model.score(data.X, ["green"] * 24) == 0
    assert "count as wrong: green" in caplog.text


# ---- evaluate


def test_a_dataset_is_evaluated_as_its_file(model, data, flatten_file):
    by_file, by_data = model.evaluate(flatten_file), model.evaluate(data)
    assert by_data.ids.tolist() == by_file.ids.tolist() == data.ids[1::2].tolist()
    assert (by_data.seen, by_data.tested) == (12, 12)
    assert by_data.scores == by_file.scores
    assert by_data.source == data.file
    with pytest.raises(DatasetError, match="was fitted on all 12"):
        model.evaluate(data[::2])


def test_a_dataset_of_other_embeddings_is_refused(model, data, photos, tmp_path):
    extract(photos, tmp_path / "mean.h5", backbone="pixels", size=16, layers="mean")
    with pytest.raises(ParameterError, match=r"embedding .*, but the model needs"):
        model.evaluate(load_dataset(tmp_path / "mean.h5"))
    wide = replace(data, spec=replace(data.spec, value_range=(0.0, 99.0)))
    with pytest.raises(SpecError, match=r"value_range .*give the images instead of the Dataset"):
        model.evaluate(wide)
    with pytest.raises(ParameterError, match="labels can't be changed for a Dataset"):
        model.evaluate(data, labels={})
    with pytest.raises(DatasetError, match="'green', which is not a class of the model"):
        model.evaluate(replace(data, y=np.full(24, "green")))


def test_images_that_could_not_be_read_are_named_for_a_dataset_too(model, photos, tmp_path):
    (photos / "red" / "bad.png").write_bytes(b"text")
    file = tmp_path / "bad.h5"
    extract(photos, file, backbone="pixels", size=16, layers="grid8.flatten")
    found = model.evaluate(load_dataset(file))
    assert found.failed == model.evaluate(file).failed
    assert [item["id"] for item in found.failed] == ["red/bad.png"]


def test_several_sources_are_evaluated_together(model, photos):
    found = model.evaluate([photos / "red", photos / "blue"])
    assert (found.seen, found.tested, found.source) == (12, 12, f"{photos}/red, {photos}/blue")
    assert found.scores == model.evaluate(photos).scores


def test_the_folder_of_a_table_has_no_meaning_for_embeddings(model, data, flatten_file, photos):
    for given in (data, flatten_file):
        with pytest.raises(ParameterError, match="images is the folder of a table"):
            model.evaluate(given, images=photos)


def test_a_dataset_of_unknown_images_is_evaluated_with_a_warning(model, data, caplog):
    found = model.evaluate(replace(data, digests=None))
    # Without sha256, images that the model was fitted on are found as near-duplicates.
    assert (found.seen, len(found.nearly_seen), found.tested) == (0, 12, 12)
    assert "may have been fitted on some of these images" in caplog.text


def test_datasets_of_arrays_are_recognised_by_their_values():
    X, y = load_digits(n_class=2, return_X_y=True)
    model = Model.fit(make_head("centroid"), Dataset.from_arrays(X[:100], y[:100]))
    found = model.evaluate(Dataset.from_arrays(X, y))
    assert (found.seen, found.tested) == (100, len(X) - 100)


# ---- export


def test_a_model_exports_itself(model, photos, tmp_path):
    pytest.importorskip("skl2onnx")
    opened = Image.open(photos / "red" / "red00.png")
    images = [photos / "blue", opened, np.zeros((9, 9, 3), np.uint8)]
    found = model.export(tmp_path / "photos.onnx", check=images)
    assert found.file == str(tmp_path / "photos.onnx")
    assert (found.check.images, found.check.labels_differ, found.check.passed) == (14, 0, True)


def test_rows_of_pandas_objects_in_different_orders_are_refused(model, data):
    X, y = pd.DataFrame(data.X, index=data.ids), pd.Series(data.y, index=data.ids)
    assert model.score(X, y) > 0.5
    with pytest.raises(ParameterError, match="indexes of X and y differ"):
        model.score(X, y[::-1])


def test_classes_in_a_message_are_bounded():
    X = np.eye(500, 3, dtype=np.float32)
    model = Model.fit(
        make_head("centroid"), Dataset.from_arrays(X, [f"a{i % 250}" for i in range(500)])
    )
    new = Dataset.from_arrays(X + 1, ["b" * 10_000] * 500)
    with pytest.raises(
        DatasetError, match=r"not a class of the model \(a0, .* and 220 more\)"
    ) as caught:
        model.evaluate(new)
    assert len(str(caught.value)) < 500
