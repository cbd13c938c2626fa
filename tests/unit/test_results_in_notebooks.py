"""What each result shows in a notebook: one line, a table of bounded size, and a data frame."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.one_of_each import ARABIC, CLASSES, SCRIPT, TURNED, one_of_each
from tests.unit.data import dataset
from tests.unit.drawings import training_of
from tests.unit.simulations import random_predictions
from tlfeatures import Prediction, cross_validate, list_backbones
from tlfeatures.errors import ParameterError
from tlfeatures.html_tables import facts_html, result_html, table_html, text_html
from tlfeatures.metrics.confusion import confusion
from tlfeatures.model_selection.audit.results import Audit, Finding
from tlfeatures.model_selection.evaluation_html import confusion_table
from tlfeatures.model_selection.learning_curve.results import LearningCurve

TAGS = {"style", "div", "p", "strong", "span", "dl", "dt", "dd", "bdi"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return one_of_each(tmp_path_factory.mktemp("results"))


class Read(HTMLParser):
    """The tags and the texts of some HTML; each element must be closed by its own tag."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style" and data.strip():
            self.texts.append(data.strip())


def texts_of(result):
    return Read(result._repr_html_()).texts


@pytest.mark.slow
def test_each_is_one_line_and_html_without_foreign_markup(results):
    for name, result in results.items():
        line = repr(result)
        assert re.fullmatch(rf"<{name.split()[0]}: .{{10,400}}>", line), line
        assert "array(" not in line
        html = result._repr_html_()
        read = Read(html)
        assert set(read.tags) <= TAGS, name
        assert read.texts[0] == name.split()[0]
        assert len(html) < 20_000


def test_characters_that_turn_texts_are_not_written(results):
    for name, result in results.items():
        assert "\u202e" not in repr(result) + result._repr_html_(), name


@pytest.mark.parametrize(
    "name", ["Dataset", "CrossValidation", "ModelEvaluation", "Model", "Export"]
)
def test_class_names_are_shown_as_they_are(results, name):
    shown = " ".join(texts_of(results[name]))
    assert SCRIPT in shown
    assert ARABIC in shown
    assert TURNED.replace("\u202e", "\ufffd") in shown


def test_each_gives_a_data_frame(results):
    for name, result in results.items():
        if name != "Model":
            frame = result.to_frame()
            assert list(frame.columns) == list(dict.fromkeys(frame.columns)), name


def test_backbones_are_one_line_each():
    assert all(len(repr(facts)) < 120 for facts in list_backbones())
    assert repr(list_backbones()[0]).startswith("<BackboneFacts: vgg16, 224 x 224 pixels to 512")


def test_a_prediction_is_one_line_without_its_probabilities(results):
    one = results["Predictions"][0]
    assert re.fullmatch(r"<Prediction: .*png: .*, confidence 0\.\d{3}>", repr(one))
    assert TURNED not in repr(replace(one, label=TURNED))
    assert repr(replace(one, label=None, outlier=True)).endswith(", outlier>")
    assert ": no label, confidence 0." in repr(replace(one, label=None))
    unread = Prediction("a.png", error="not an image")
    assert repr(unread) == "<Prediction: a.png: can't be read: not an image>"


# ---- what a person wants to see first


def test_a_dataset_shows_its_classes_and_splits():
    split = np.array(["train", "test"] * 30)
    groups = np.array([str(row // 2) for row in range(60)])
    data = dataset(60, classes="abc", split=split, groups=groups, copies=np.array([[0, 3]]))
    assert repr(data) == ("<Dataset: 60 images x 6, 3 classes: a 20, b 20, c 20; x.avg of x.h5>")
    texts = texts_of(data)
    assert texts[1] == ": 60 images x 6, 3 classes"
    at = texts.index("class")
    assert texts[at : at + 8] == ["class", "images", "train", "test", "a", "20", "10", "10"]
    for name, value in {"groups": "30", "pairs of copies": "1", "embedding": "x.avg"}.items():
        assert texts[texts.index(name) + 1] == value


def test_a_benchmark_shows_the_verdict_and_the_ranking(results):
    fitted = results["FitResult"]
    texts = texts_of(fitted)
    assert fitted.verdict[0] in texts
    heads = [text[2:] for text in texts if text[:2] in ("● ", "○ ", "? ")]
    assert heads == [rank.label for rank in fitted.ranking]
    best = fitted.ranking[0].scores["accuracy"]
    assert f"{100 * best['score']:.1f}" in texts
    low, high = best["interval"]
    assert f"{100 * low:.1f} to {100 * high:.1f}" in texts


def test_an_evaluation_shows_scores_and_the_confusion_matrix(results):
    result = results["CrossValidation"]
    texts = texts_of(result)
    score = result.scores["accuracy"]
    low, high = score["interval"]
    shown = f"accuracy {100 * score['score']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    assert texts[1].endswith(shown)
    at = texts.index("true / predicted")
    counts = result.confusion.counts
    row = texts[at + 5 : at + 10]
    assert row == [result.classes[0], *map(str, counts[0]), str(counts[0].sum())]


def test_an_evaluation_on_new_images_says_what_was_left_out(results):
    texts = texts_of(replace(results["ModelEvaluation"], seen=3))
    assert texts[texts.index("left out") + 1] == "3 images that the model was fitted on"


def test_a_learning_curve_shows_forecasts_only_if_they_are_reliable(results):
    curve = results["LearningCurve with a forecast"]
    texts = texts_of(curve)
    assert "forecast for images per class" in texts
    for point in (*curve.points, *curve.forecasts):
        low, high = (f"{100 * bound:.1f}" for bound in point.interval)
        at = texts.index(f"{low} to {high}")
        assert texts[at - 1] == f"{100 * point.accuracy:.1f}"  # in per cent, as on the page
    unknown = replace(curve, verdict="unknown", sentence="It is not known.")
    assert "forecast for images per class" not in texts_of(unknown)
    assert "It is not known." in texts_of(unknown)


def test_a_training_curve_shows_ten_of_its_epochs():
    texts = texts_of(training_of(epochs=34))
    assert "Means over folds after 10 of 34 epochs" in texts
    assert {"1", "34"} <= set(texts)


def test_failures_and_problems_are_listed(results):
    assert "<i>broken<i>.png" in texts_of(results["Extraction"])
    assert "1 failed" in repr(results["Extraction"])
    changed = results["Verification of a folder that has changed"]
    assert re.search("problems: (new 1, gone 1|gone 1, new 1)>", repr(changed))
    assert {"new", "gone", "<u>new<u>.png"} <= set(texts_of(changed))
    assert "No problems found." in texts_of(replace(changed, findings=[]))


# ---- the size is bounded


def test_a_thousand_classes_and_100_000_images_have_a_short_table():
    names = [f"class {number:04d}" for number in range(1000)]
    data = dataset(100_000, 2, classes=names)
    assert len(repr(data)) < 300
    assert "class 0005 100 and 994 more" in repr(data)
    html = data._repr_html_()
    assert len(html) < 10_000
    assert "... and 990 more" in html


def test_the_confusion_of_many_classes_is_the_list_of_the_largest_mistakes():
    found = confusion(random_predictions(8, 400))
    large = replace(found, classes=[f"class {k}" for k in range(9)], counts=np.diag(range(9)))
    large.counts[[3, 4], [5, 0]] = 7, 9
    texts = Read(confusion_table(large)).texts
    at = texts.index("of the true class") + 1
    assert texts[at:] == ["class 4", "class 0", "9", "69 %", "class 3", "class 5", "7", "70 %"]
    many = np.random.default_rng(0).integers(1, 9, (1000, 1000))
    html = confusion_table(replace(found, classes=[str(k) for k in range(1000)], counts=many))
    assert len(html) < 4000
    assert "... and 998,992 more" in html


def test_many_findings_are_cut():
    finding = Finding("label", "a.png", "a", "b", 0.9, "b is more probable")
    result = Audit("x.h5", "x.avg", "none", 10**6, "logreg", 0.9, [finding] * 100_000)
    html = result._repr_html_()
    assert len(html) < 10_000
    assert "... and 99,990 more" in html


def test_tables_facts_and_texts_are_cut():
    html = table_html(["a", "b"], ((row, "x" * 10_000) for row in range(10**9)), total=10**9)
    assert len(html) < 5000
    assert "... and 999,999,990 more" in html
    assert "…" in html
    assert len(facts_html({"a": "x" * 10**6})) < 500
    assert len(text_html("x" * 10**6)) < 1500
    assert facts_html({"a": None, "b": ""}) == table_html(["a"], []) == text_html("") == ""


def test_numbers_pairs_and_missing_values_have_their_form():
    html = table_html(["a", "b", "c", "d", "e"], [("x", 12345, 0.12345, ("1", "0 to 2"), None)])
    assert Read(html).texts[5:] == ["x", "12,345", "0.123", "1", "0 to 2"]


def test_attributes_can_t_be_left():
    html = result_html("t", table_html(['" onfocus="alert(1)'], [("x",)]), about='"><img>')
    assert set(Read(html).tags) <= TAGS
    assert 'onfocus="alert' not in html


# ---- slices


def test_a_dataset_has_a_length_and_slices():
    data = dataset(60, copies=np.array([[0, 1], [1, 2], [10, 11]]))
    assert len(data) == 60
    assert data[:10].ids.tolist() == data.ids[:10].tolist()
    assert data[::-2] == data.take(np.arange(60)[::-2])
    assert data[data.y == "a"].y.tolist() == ["a"] * 30
    assert data[[5, -1]].ids.tolist() == [data.ids[5], data.ids[59]]
    assert data[[0, 2]].copies.tolist() == [[0, 1]]  # by row 1, which is a copy of both
    X, y = data[:3].X, data[:3].y
    assert (X.shape, y.shape) == ((3, 6), (3,))
    assert len(data[:0]) == 0
    assert "0 images" in repr(data[:0])
    assert "0 images" in data[:0]._repr_html_()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (0, "by the single number 0; expected a slice"),
        ("a", "by 'a'; expected a slice"),
        (1.5, "by 1.5; expected"),
        ([1.5], "by .1.5.; expected"),
        ([True], "a mask has 1 values and the Dataset has 60 rows"),
        ([60], "there is no row 60 in a Dataset of 60 rows"),
        ([-61], "there is no row -61"),
        ([3, -57], "a row is selected twice; expected each image once"),
    ],
)
def test_other_selections_are_refused(rows, words):
    with pytest.raises(ParameterError, match=words):
        dataset(60)[rows]


def test_a_loop_over_a_dataset_is_refused():
    with pytest.raises(TypeError, match="not iterable"):
        iter(dataset())


# ---- data frames


def test_the_frame_of_a_dataset_has_its_rows():
    data = dataset(6, split=np.array(["train", "val", "test"] * 2), groups=np.array(list("uvwxyz")))
    frame = data.to_frame(X=True)
    assert frame["id"].tolist() == data.ids.tolist()
    assert frame["label"].tolist() == data.y.tolist()
    assert frame["group"].tolist() == data.groups.tolist()
    assert frame["split"].tolist() == data.split.tolist()
    columns = [f"x.avg.{column}" for column in range(6)]
    assert list(frame.columns) == ["id", "label", "group", "split", *columns]
    assert np.array_equal(frame[columns].to_numpy(), data.X)
    assert set(frame[columns].dtypes) == {np.dtype(np.float32)}
    assert list(dataset(6).to_frame().columns) == ["id", "label"]
    assert data[(frame["label"] == "a")].ids.tolist() == data.ids[data.y == "a"].tolist()


def test_the_frame_of_an_evaluation_has_each_tested_image():
    result = cross_validate("knn", dataset(60), cv=3)
    frame = result.to_frame()
    assert list(frame.columns) == ["id", "label", "predicted", "fold", "p_a", "p_b"]
    assert (frame["label"] == frame["predicted"]).mean() == result.scores["accuracy"]["score"]
    assert np.array_equal(frame[["p_a", "p_b"]].to_numpy(), result.probabilities)
    assert frame["fold"].tolist() == result.fold.tolist()
    some = replace(result, fold=np.where(np.arange(60) < 20, -1, result.fold))
    assert some.to_frame()["id"].tolist() == result.ids[20:].tolist()


def test_the_frame_of_a_benchmark_has_the_ranking_as_numbers(results):
    fitted = results["FitResult"]
    frame = fitted.to_frame()
    assert frame.equals(fitted.benchmark.to_frame())
    assert frame["head"].tolist() == [rank.label for rank in fitted.ranking]
    for row, rank in enumerate(fitted.ranking):
        for name, score in rank.scores.items():
            low, high = score["interval"] or (np.nan, np.nan)
            values = [score["score"], low, high, score["std"]]
            names = [name, f"{name}_low", f"{name}_high", f"{name}_std"]
            assert np.array_equal(frame.loc[row, names].to_numpy(float), values, equal_nan=True)
    assert np.isnan(frame["p"][0])
    assert frame["p"].dtype == frame["accuracy"].dtype == float
    assert frame["tuned"].dtype == bool


def test_the_frames_of_curves_have_a_row_for_each_point(results):
    curve: LearningCurve = results["LearningCurve with a forecast"]
    frame = curve.to_frame()
    assert frame["accuracy"].tolist() == [point.accuracy for point in curve.points]
    assert frame["accuracy_low"].tolist() == [point.interval[0] for point in curve.points]
    training = training_of(folds=2, epochs=5, ended=[(1, 3)])
    frame = training.to_frame()
    assert frame[["fold", "epoch"]].to_numpy().tolist() == [
        *([0, epoch] for epoch in range(1, 6)),
        *([1, epoch] for epoch in range(1, 4)),
    ]
    assert frame["loss"][7] == training.loss[1, 2]


def test_the_frames_of_findings_have_a_row_for_each(results):
    found = results["Audit"]
    frame = found.to_frame()
    assert list(frame.columns) == ["kind", "id", "label", "other", "score", "reason"]
    assert frame["id"].tolist() == [finding.id for finding in found.findings]
    assert results["Extraction"].to_frame()["id"].tolist() == ["<i>broken<i>.png"]
    changed = results["Verification of a folder that has changed"]
    assert sorted(changed.to_frame()["kind"]) == ["gone", "new"]


def test_frames_without_rows_have_columns_of_texts(results):
    result = results["Audit"]
    for empty in (
        replace(result, findings=[]).to_frame(),
        replace(results["Extraction"], failed=[]).to_frame(),
        replace(results["Verification"], findings=[]).to_frame(),
    ):
        assert len(empty) == 0
        assert len(empty.columns) >= 2
        assert empty["id"].dtype == dataset().to_frame()["id"].dtype


def test_ids_that_are_not_utf_8_stay_as_they_are():
    data = dataset(2, ids=np.array(["a\udcff.png", "b.png"]))
    assert data.to_frame()["id"].tolist() == data.ids.tolist()


def test_a_frame_without_pandas_is_one_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r"pip install 'tlfeatures\[notebook\]'") as raised:
        dataset().to_frame()
    assert "\n" not in str(raised.value)


def test_hostile_names_are_those_of_the_fixture(results):
    assert set(results["Dataset"].classes) == set(CLASSES)
