"""`Model.predict` gives a sequence of predictions that is kept as arrays."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlfeatures import Model, Prediction, Predictions
from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.images import inputs as inputs_module


@pytest.fixture
def model(fitted_model):
    return Model.load(fitted_model)


@pytest.fixture
def inputs(photos, tmp_path):
    """Five images, of which the second and the last can't be read."""
    (tmp_path / "bad.jpg").write_text("text")
    good = sorted((photos / "red").iterdir())
    return [good[0], tmp_path / "bad.jpg", *good[1:3], tmp_path / "bad.jpg"]


def test_a_sequence_of_predictions(model, inputs):
    predictions = model.predict(inputs, outliers=True)
    assert isinstance(predictions, Sequence)
    assert len(predictions) == 5
    assert list(predictions) == list(model.iter_predict(inputs, outliers=True))
    assert list(predictions) == list(model.predict_stream(map(str, inputs), outliers=True))
    assert isinstance(predictions[0], Prediction)
    assert predictions[-1] == predictions[4]
    assert predictions[1] in predictions
    with pytest.raises(IndexError):
        predictions[5]


def test_arrays_of_all_images(model, inputs):
    predictions = model.predict(inputs, outliers=True, batch_size=1)
    assert predictions.paths == [str(path) for path in inputs]
    assert predictions.classes == ["blue", "red"]
    assert predictions.labels.tolist() == ["red", None, "red", "red", None]
    assert [error is None for error in predictions.errors] == [True, False, True, True, False]
    table = predictions.probabilities
    assert table.shape == (5, 2)
    assert np.isnan(table).all(axis=1).tolist() == [False, True, False, False, True]
    np.testing.assert_array_equal(predictions.confidence, table[:, 1])
    assert predictions.outliers.shape == (5,)
    assert np.isnan(predictions.distances).tolist() == [False, True, False, False, True]
    assert model.predict(inputs).outliers is None
    for row, prediction in enumerate(predictions):
        if prediction.error is None:
            assert list(prediction.probabilities.values()) == table[row].tolist()
            assert prediction.confidence == predictions.confidence[row]
            assert prediction.outlier == predictions.outliers[row]


def test_who_abstains_has_a_confidence_and_no_label(model, inputs):
    limit = model.predict(inputs).confidence[2]
    predictions = model.predict(inputs, min_confidence=np.nextafter(limit, 1))
    assert predictions.labels[2] is None
    assert predictions[2].abstained
    assert predictions.abstained[2]
    assert predictions.confidence[2] == predictions[2].confidence == limit
    assert not predictions.abstained[1]  # it can't be read


def test_parts_are_predictions_too(model, inputs):
    predictions = model.predict(inputs)
    middle = predictions[1:4]
    assert isinstance(middle, Predictions)
    assert list(middle) == list(predictions)[1:4]
    readable = predictions[predictions.codes >= 0]
    assert [each.path for each in readable] == [str(inputs[row]) for row in (0, 2, 3)]
    assert predictions[[4, 0]] == predictions[np.array([4, 0])]
    assert predictions[[4, 0]][0] == predictions[4]
    assert len(predictions[:0]) == 0
    assert predictions == model.predict(inputs)
    assert predictions != middle


def test_only_images_that_can_not_be_read(model, tmp_path):
    (tmp_path / "bad.jpg").write_text("text")
    predictions = model.predict([tmp_path / "bad.jpg"] * 3, outliers=True)
    assert predictions.labels.tolist() == [None] * 3
    assert predictions.distances.shape == (3,)
    assert repr(predictions) == "<Predictions: 3 images: blue 0, red 0; 3 unreadable>"


def test_a_line_and_a_table(model, inputs):
    predictions = model.predict(inputs, min_confidence=0.99, outliers=True)
    assert repr(predictions).startswith("<Predictions: 5 images: blue 0, red ")
    assert "; 2 unreadable" in repr(predictions)
    page = predictions._repr_html_()
    assert page.count(str(inputs[2])) == 1  # among the least confident ones
    assert str(inputs[1]) not in page
    frame = predictions.to_frame()
    assert frame.columns.tolist() == [
        *("path", "label", "confidence", "p_blue", "p_red", "outlier", "distance", "error")
    ]
    assert frame["path"].tolist() == predictions.paths
    np.testing.assert_array_equal(frame["p_red"], predictions.probabilities[:, 1])
    assert frame["error"].notna().tolist() == [False, True, False, False, True]


def test_arrays_that_do_not_fit_together():
    with pytest.raises(ParameterError, match="shapes"):
        Predictions(["a"], ["x", "y"], np.zeros((2, 2)), np.zeros(2, int))


# ---- images in memory


def test_images_in_memory_get_what_their_files_get(model, photos):
    paths = sorted((photos / "red").iterdir())[:3]
    expected = model.predict(paths)
    opened = [Image.open(path) for path in paths]
    arrays = [np.asarray(image) for image in opened]
    for images in (arrays, np.stack(arrays), opened, iter(arrays)):
        predictions = model.predict(images)
        np.testing.assert_array_equal(predictions.probabilities, expected.probabilities)
        assert predictions.paths == ["image 0", "image 1", "image 2"]
    one = model.predict(arrays[1])
    np.testing.assert_allclose(one.probabilities, expected.probabilities[1:2])
    mixed = [arrays[0], photos / "blue", opened[1], str(paths[2])]
    predictions = list(model.iter_predict(mixed, outliers=True))
    names = ["image 0", *map(str, sorted((photos / "blue").iterdir())), "image 2", str(paths[2])]
    assert [each.path for each in predictions] == names
    assert predictions == list(model.iter_predict(iter(mixed), outliers=True))


def test_an_iterator_of_images_is_read_bit_by_bit(model, photos, monkeypatch):
    monkeypatch.setattr(inputs_module, "_MOST", 4)
    path, read = sorted((photos / "red").iterdir())[0], []
    frames = (read.append(number) or np.asarray(Image.open(path)) for number in range(20))
    predictions = model.iter_predict(frames)
    assert read == []
    assert next(predictions).path == "image 0"
    assert len(read) < 10
    assert [each.path for each in predictions] == [f"image {number}" for number in range(1, 20)]


def test_what_is_no_image_is_refused_before_the_work(model, photos):
    path = photos / "red" / "red00.png"
    with pytest.raises(ParameterError, match="image 1 is an array of float64"):
        model.iter_predict([path, np.zeros((9, 9, 3))])
    with pytest.raises(ParameterError, match="image 0 is a dict"):
        model.predict([{}])
    for table in (np.zeros((4, 9)), pd.DataFrame(np.zeros((4, 9)))):
        with pytest.raises(ParameterError, match=r"shape \(4, 9\); give embeddings to .*_features"):
            model.predict(table)
    with pytest.raises(ParameterError, match="images is a float"):
        model.predict(0.5)
    for nothing in ([], iter([])):
        with pytest.raises(SourceError, match="no images are given"):
            model.predict(nothing)


@pytest.mark.parametrize("index", [None, True, [[0, 1]], np.array(2)])
def test_what_selects_no_predictions_is_one_line(model, inputs, index):
    with pytest.raises(IndexError, match=r"expected a position, .* a mask of 5 bools"):
        model.predict(inputs)[index]


def test_a_prediction_is_a_short_line():
    assert len(repr(Prediction("a" * 10_000, error="b\n" * 10_000))) < 500


@pytest.mark.parametrize("wrong", ["0.5", None, float("nan"), 2])
def test_a_confidence_that_is_no_probability(model, inputs, wrong):
    with pytest.raises(ParameterError, match="expected a probability from 0 to 1"):
        model.predict(inputs, min_confidence=wrong)


@pytest.mark.parametrize(
    ("path", "problem"), [("", "is empty"), ("a\0", "no path"), ("a" * 5000, "no path")]
)
def test_what_is_no_path_is_one_line(model, path, problem):
    """An empty path is not the current folder: a variable of a script may be empty."""
    with pytest.raises(ParameterError, match=problem) as caught:
        model.predict([path])
    assert len(str(caught.value)) < 400


def test_a_stream_takes_paths_only(model, inputs):
    (prediction,) = model.predict_stream([inputs[0]])
    assert prediction.path == str(inputs[0])
    with pytest.raises(ParameterError, match="paths has a int"):
        list(model.predict_stream([5]))


def test_dark_images_of_an_iterator_are_named_once(model, monkeypatch, caplog):
    monkeypatch.setattr(inputs_module, "_MOST", 4)
    assert len(model.predict(np.zeros((9, 9, 3), np.uint8) for _ in range(10))) == 10
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "10 images are nearly black or one colour"
    ]


def test_parts_of_images_are_cut_out(model, photos, tmp_path):
    path = photos / "red" / "red00.png"
    (tmp_path / "parts.csv").write_text("path,x,y,width,height\nphotos/red/red00.png,4,2,9,8\n")
    predictions = model.predict(tmp_path / "parts.csv")
    assert predictions.paths == [f"{path}#box=4,2,9,8"]
    part = np.asarray(Image.open(path))[2:10, 4:13]
    expected = model.predict(part).probabilities
    np.testing.assert_array_equal(predictions.probabilities, expected)
    assert (expected != model.predict(path).probabilities).any()


def test_options_of_tables_are_refused_for_images_in_memory(model):
    for images in (Image.new("RGB", (9, 9)), [np.zeros((9, 9, 3), np.uint8)]):
        with pytest.raises(ParameterError, match="leave them out for images in memory"):
            model.predict(images, columns={"path": "file"})
