"""Displays: figures of results on one's own axes, or in a notebook."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.unit.data import dataset
from tests.unit.drawings import (
    learning_curve_of,
    map_of,
    predictions,
    some_ranking,
    texts_of,
    training_of,
)
from tlfeatures import (
    ConfusionDisplay,
    EmbeddingMapDisplay,
    HeatMapDisplay,
    LearningCurveDisplay,
    PrecisionRecallDisplay,
    RankingDisplay,
    ReliabilityDisplay,
    RocDisplay,
    TrainingCurveDisplay,
    cross_validate,
    fit,
)
from tlfeatures.dataset.samples import MOST_IMAGES
from tlfeatures.errors import ParameterError
from tlfeatures.reports.embedding_map import sampled_map


@pytest.fixture(scope="module")
def fitted():
    return fit(dataset(90, classes="abc"), ["logreg", "knn"], cv=3, n_jobs=1)


OF_PREDICTIONS = [ConfusionDisplay, RocDisplay, PrecisionRecallDisplay, ReliabilityDisplay]


def every_display(fitted, ax=None):
    """Draw each display by its `from_` method."""
    result = cross_validate("knn", dataset(60), cv=3)
    return [
        *(display.from_evaluation(result, ax=ax) for display in OF_PREDICTIONS),
        ConfusionDisplay.from_predictions(list("abca"), list("abcc"), ax=ax),
        RankingDisplay.from_benchmark(fitted, ax=ax),
        HeatMapDisplay.from_benchmark(fitted.benchmark, ax=ax),
        LearningCurveDisplay.from_learning_curve(learning_curve_of("help"), ax=ax),
        TrainingCurveDisplay.from_training_curve(training_of(), what="loss", ax=ax),
        EmbeddingMapDisplay.from_dataset(dataset(30), ax=ax),
    ]


def test_each_draws_on_a_figure_of_its_own(fitted):
    for display in every_display(fitted):
        assert display.figure_.axes[0] is display.ax_
        assert display.ax_.has_data() or display.ax_.collections


@pytest.mark.slow
def test_each_draws_on_given_axes_and_leaves_others_alone(fitted):
    for index in range(len(every_display(fitted))):
        figure = Figure(figsize=(8, 4))
        left, right = figure.subplots(1, 2)
        display = every_display(fitted, ax=right)[index]
        assert display.ax_ is right
        assert display.figure_ is figure
        assert not left.has_data()
        assert tuple(figure.get_size_inches()) == (8, 4)


def test_axes_of_a_subfigure_belong_to_the_whole_figure():
    figure = Figure()
    axes = figure.subfigures(1, 2)[0].subplots()
    assert RankingDisplay(some_ranking()).plot(axes).figure_ is figure


def test_plot_returns_the_display_and_draws_again_on_other_axes():
    display = RankingDisplay(some_ranking())
    assert not hasattr(display, "ax_")  # nothing is drawn yet
    assert display.plot() is display
    first, axes = display.ax_, Figure().add_subplot()
    assert display.plot(axes).ax_ is axes is not first
    assert repr(display) == "<RankingDisplay>"


@pytest.mark.parametrize("display", OF_PREDICTIONS)
def test_predictions_come_from_evaluations_and_the_best_head_of_a_benchmark(display, fitted):
    best = fitted.benchmark.predictions_of()
    shown = [texts_of(display.from_evaluation(best).ax_)]
    shown += [texts_of(display.from_evaluation(each).ax_) for each in (fitted, fitted.benchmark)]
    assert shown[0] == shown[1] == shown[2]
    other = fitted.benchmark.predictions_of(fitted.ranking[1])
    assert texts_of(display.from_evaluation(other).ax_) != shown[0]
    with pytest.raises(ParameterError, match="the result is a Dataset; expected an Evaluation"):
        display.from_evaluation(dataset())


def test_confusion_of_labels_has_their_counts():
    display = ConfusionDisplay.from_predictions(np.array(list("abca")), ["a", "b", "c", "c"])
    assert display.confusion.classes == ["a", "b", "c"]
    assert display.confusion.counts.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]
    ordered = ConfusionDisplay.from_predictions(["a", "b"], ["b", "b"], labels=["b", "x", "a"])
    assert ordered.confusion.counts.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert texts_of(ordered.ax_)[:3] == ["b", "x", "a"]
    numbers = ConfusionDisplay.from_predictions([1, 2, 1], np.array([1, 2, 2]), labels=["2", "1"])
    assert numbers.confusion.counts.tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ((["a"], ["a", "b"], None), r"y_true has the shape \(1,\) and y_pred \(2,\)"),
        ((["a"], ["b"], ["a"]), "labels lacks 'b'"),
        ((["a"], ["b"], ["a", "b", "a"]), "labels has 'a' twice"),
        ((["a", "b"], ["b", None], None), "y_pred has no value in row 1"),
        (([], [], None), r"y_true has the shape \(0,\)"),
        (
            (pd.Series(["a"], index=["x"]), pd.Series(["a"], index=["y"]), None),
            "indexes of y_true and y_pred differ",
        ),
    ],
)
def test_labels_that_don_t_fit_are_refused(labels, words):
    true, predicted, names = labels
    with pytest.raises(ParameterError, match=words):
        ConfusionDisplay.from_predictions(true, predicted, labels=names)


def test_labels_are_compared_as_texts():
    """The labels of a table are numbers, and those that a model predicts are texts."""
    display = ConfusionDisplay.from_predictions([0, 1, 1], ["0", "1", "0"])
    assert display.confusion.classes == ["0", "1"]
    assert display.confusion.counts.tolist() == [[1, 0], [1, 1]]


def test_what_are_no_axes_is_refused():
    for wrong in ("axes", Figure(), Figure().subplots(1, 2)):
        with pytest.raises(ParameterError, match="expected the axes of a figure"):
            ConfusionDisplay.from_predictions(["a"], ["a"], ax=wrong)


def test_a_map_of_many_images_is_a_sample_with_its_rings():
    data = dataset(MOST_IMAGES + 200, 3)
    wrong = np.arange(len(data)) % 5 == 0
    display = EmbeddingMapDisplay.from_dataset(data, wrong=wrong)
    rows, points = sampled_map(data.X)
    assert len(display.map.points) == len(rows) == MOST_IMAGES
    assert np.array_equal(display.map.points, points.points)
    assert np.array_equal(display.wrong, wrong[rows])
    assert np.array_equal(display.labels, data.y[rows])
    with pytest.raises(ParameterError, match=r"wrong must have shape \(5200,\)"):
        EmbeddingMapDisplay.from_dataset(data, wrong=[True])


def test_a_notebook_gets_a_png_of_a_display_with_its_own_figure():
    display = EmbeddingMapDisplay(*map_of(20, "ab"))
    png, metadata = display._repr_png_()
    image = Image.open(io.BytesIO(png))
    # Twice the pixels, for screens of high resolution.
    assert abs(image.width - 2 * metadata["width"]) <= 2
    assert abs(image.height - 2 * metadata["height"]) <= 2
    display.ax_.set_title("a title")
    assert display._repr_png_()[0] != png  # the figure can still be changed
    assert display.plot(Figure().add_subplot())._repr_png_() is None  # the notebook shows it


def test_a_display_is_saved_as_a_file(tmp_path):
    RankingDisplay(some_ranking()).save(tmp_path / "ranking.png")
    assert Image.open(tmp_path / "ranking.png").width > 500
    with pytest.raises(ParameterError, match="expected a name ending in"):
        RankingDisplay(some_ranking()).save(tmp_path / "ranking.jpg")


@pytest.mark.slow
def test_drawing_needs_no_pyplot_and_changes_no_settings():
    program = """
import sys
from tests.unit.drawings import predictions
from tlfeatures import ConfusionDisplay
assert "matplotlib" not in sys.modules
import matplotlib
settings = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != "backend"}
before = settings()  # looking up the backend would import pyplot
ConfusionDisplay.from_evaluation(predictions(3))._repr_png_()
assert "matplotlib.pyplot" not in sys.modules
assert settings() == before
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_curves_without_probabilities_are_refused():
    bare = predictions(3)
    bare.probabilities[:] = np.nan
    for display in OF_PREDICTIONS[1:]:
        with pytest.raises(ParameterError, match="this head gives no probabilities"):
            display.from_evaluation(bare)
