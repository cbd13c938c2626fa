"""Prediction sets hold the right label as often as promised, and are refused if they can't."""

import csv
import io
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.fakes import members_of, write_members
from tests.unit.data import dataset
from tests.unit.simulations import gaussian_classes
from tlfeatures import Model, describe, fit, make_head, report, report_labels
from tlfeatures.errors import FormatError, ModelError, ParameterError
from tlfeatures.metrics.conformal import (
    Thresholds,
    conformity,
    cross_fitted,
    label_sets,
    units_needed,
)
from tlfeatures.models.joined_predictions import join_predictions, with_unreadable
from tlfeatures.models.label_summary import LabelSummary
from tlfeatures.models.predictions import Predictions
from tlfeatures.reports.page.contents import OPTIONAL
from tlfeatures.terminal.prediction_lines import CsvLines, CsvStyle, JsonLines
from tlfeatures.terminal.prediction_output import summary_lines


def textbook_threshold(conformities, coverage):
    """The quantile with n + 1 images (Angelopoulos and Bates 2023, section 1), exactly."""
    n, level = len(conformities), Fraction(str(coverage))
    rank = -(-(n + 1) * level // 1)  # ceiling
    return sorted(conformities, reverse=True)[int(rank) - 1] if rank <= n else None


@pytest.mark.parametrize("n", [5, 18, 19, 20, 40, 99, 100, 333])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_without_groups_the_threshold_is_the_textbook_quantile(n, coverage):
    values = np.random.default_rng(n).random(n).astype(np.float32).astype(float)
    assert Thresholds.of(values).at(coverage) == textbook_threshold(values, coverage)


@pytest.mark.parametrize(
    ("coverage", "needed"), [(0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.9999, 9999)]
)
def test_a_coverage_needs_so_many_images(coverage, needed):
    values = np.linspace(0.1, 0.9, needed)
    assert units_needed(coverage) == needed
    assert Thresholds.of(values).at(coverage) is not None
    assert Thresholds.of(values[:-1]).at(coverage) is None


def test_images_of_a_group_count_once():
    values = np.random.default_rng(0).random(40)
    once, twice = Thresholds.of(values), Thresholds.of(np.repeat(values, 2), np.arange(80) // 2)
    assert (once.units, twice.units) == (40, 40)
    assert twice.probabilities == pytest.approx(once.probabilities)
    assert twice.misses == pytest.approx(once.misses)
    assert Thresholds.of(values, np.arange(40) // 20).at(0.7) is None  # of 2 groups


def test_mistakes_that_do_not_depend_on_groups_need_no_more_labels():
    random = np.random.default_rng(0)
    values = np.where(random.random(2000) < 0.8, 1, random.random(2000))
    alone = Thresholds.of(values).at(0.95)
    grouped = Thresholds.of(values, np.arange(2000) % 40).at(0.95)
    assert grouped == pytest.approx(alone, abs=0.01)
    whole_groups = np.where(np.arange(2000) % 40 < 32, 1, random.random(2000))
    assert Thresholds.of(whole_groups, np.arange(2000) % 40).misses[0] > 0.02


def test_many_thresholds_are_thinned_and_sets_are_never_smaller():
    values = np.random.default_rng(1).random(30_000)
    thin = Thresholds.of(values)
    assert len(thin.probabilities) <= 2000
    for coverage in (0.5, 0.9, 0.95, 0.999):
        exact = textbook_threshold(values, coverage)
        assert exact - 0.001 < thin.at(coverage) <= exact


def test_a_set_always_has_the_label_and_no_class_without_a_probability():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [np.nan] * 3])
    sets = label_sets(probabilities, np.array([1, 2, 0]), 0.4)
    assert sets.tolist() == [[True, True, False], [False, True, True], [True, False, False]]


def test_an_image_with_the_right_label_has_the_largest_conformity():
    probabilities = np.array([[0.4, 0.35, 0.25], [0.4, 0.35, 0.25]])
    assert conformity(np.array([1, 2]), np.array([1, 1]), probabilities).tolist() == [1.0, 0.25]


def test_the_measured_coverage_comes_from_other_folds_and_groups():
    y, fold = np.zeros(100, int), np.arange(100) % 5
    probabilities = np.tile([0.4, 0.6], (100, 1))
    probabilities[fold == 0] = [0.1, 0.9]  # conformities of the others are larger
    quality = cross_fitted(y, np.ones(100, int), probabilities, fold, level=0.9)
    assert quality.coverage == pytest.approx(0.8)
    assert quality.images.tolist() == [100, 0]
    assert np.isnan(quality.class_coverage[1])
    # With images of fold 0 in the group of each other image, no others are left to choose from.
    assert cross_fitted(y, np.ones(100, int), probabilities, fold, np.arange(100) // 5) is None


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "m.model"
    data = gaussian_classes((60, 60, 60), signal=1.5)
    return fit(data, ["lda", "knn"], model=path), path


def test_a_saved_model_gives_sets(fitted):
    result, path = fitted
    model, X = Model.load(path), result.data.X
    assert model.sets == result.model.sets
    predictions = model.predict_features(X, coverage=0.95)
    row = np.arange(len(X))
    assert predictions.sets[row, predictions.codes].all()
    assert predictions.sets[row, np.searchsorted(model.classes, result.data.y)].mean() > 0.93
    assert predictions.coverage == 0.95
    smaller = model.predict_features(X, coverage=0.8).sets
    assert smaller.sum() < predictions.sets.sum()
    assert not (smaller & ~predictions.sets).any()
    several = np.flatnonzero(predictions.sets.sum(axis=1) > 1)
    first = predictions[int(several[0])]
    assert first.label_set[0] == first.label
    others = [first.probabilities[name] for name in first.label_set[1:]]
    assert others == sorted(others, reverse=True)
    assert "at 95 % coverage: " in repr(first)
    assert "labels of a set at 95 % coverage" in repr(predictions)
    assert predictions[several].label_sets.tolist() == [
        predictions[int(i)].label_set for i in several
    ]


def test_a_set_stays_if_the_model_abstains(fitted):
    result, _ = fitted
    predictions = result.model.predict_features(result.data.X, coverage=0.9, min_confidence=1)
    abstained = next(one for one in predictions if one.abstained)
    assert abstained.label is None
    assert abstained.label_set


def test_without_a_coverage_there_are_no_sets(fitted):
    result, _ = fitted
    predictions = result.model.predict_features(result.data.X[:3])
    assert predictions.sets is None
    assert predictions.label_sets is None
    assert predictions[0].label_set is None


@pytest.mark.parametrize("coverage", [0, 1, 1.5, -0.1, "0.95", float("nan")])
def test_a_coverage_is_between_0_and_1(fitted, coverage):
    with pytest.raises(ParameterError, match="between 0 and 1"):
        fitted[0].model.predict_features(fitted[0].data.X, coverage=coverage)


def test_too_large_a_coverage_is_refused_with_what_is_possible(fitted):
    with pytest.raises(ParameterError, match=r"999 images.* tested on 180; .* at most 0\.994"):
        fitted[0].model.predict_features(fitted[0].data.X, coverage=0.999)


def test_few_groups_are_too_few(tmp_path):
    data = replace(dataset(60), groups=np.array([f"g{i // 5}" for i in range(60)]))
    model = fit(data, "lda", model=tmp_path / "m.model").model
    with pytest.raises(ParameterError, match=r"19 groups of images.* tested on 12; .* most 0\.92"):
        model.predict_features(data.X, coverage=0.95)
    assert model.predict_features(data.X, coverage=0.9).sets.shape == (60, 2)
    card = (tmp_path / "m.model.md").read_text()
    assert "tested on 12 groups of images: a coverage of 0.95 needs at least 19" in card


def test_a_model_that_was_not_tested_has_no_sets():
    data = dataset(40)
    model = Model.fit(make_head("lda"), data)
    with pytest.raises(ModelError, match="no prediction sets"):
        model.predict_features(data.X, coverage=0.9)


def test_the_card_and_evaluate_say_how_good_sets_are(fitted):
    result, path = fitted
    measured = describe(path)["sets"]["measured"]
    assert 0.93 < measured["coverage"] < 0.97
    card = path.with_name("m.model.md").read_text()
    assert f"Coverage of {measured['coverage']:.3f}" in card
    for name, row in measured["by_class"].items():
        assert f"| {name} | 60 | {row['coverage']:.3f} | {row['mean_size']:.2f} |" in card
    new = gaussian_classes((200, 200, 200), signal=1.5, seed=5)
    evaluation = result.model.evaluate(new)
    assert 0.9 < evaluation.sets["coverage"] < 0.99
    assert evaluation.to_dict()["sets"]["by_class"]["a"]["images"] == 200


def changed(path, target, facts=lambda facts: None, **arrays):
    """Copy a model file, and change its facts and arrays."""
    members = members_of(path)
    stored = json.loads(members["tlfeatures.json"])
    facts(stored["sets"])
    members["tlfeatures.json"] = json.dumps(stored).encode()
    for name, array in arrays.items():
        if array is None:
            del members[f"training/{name}.npy"]
            continue
        file = io.BytesIO()
        np.save(file, array)
        members[f"training/{name}.npy"] = file.getvalue()
    write_members(target, members)
    return target


def test_damaged_sets_are_refused(fitted, tmp_path):
    _, path = fitted
    sets = Model.load(path).sets.thresholds
    low, misses = sets.probabilities, sets.misses
    hostile = [
        {"set_thresholds": low[::-1]},
        {"set_thresholds": low.astype(np.float64)},
        {"set_thresholds": np.where(np.arange(len(low)) == 1, np.float32(np.nan), low)},
        {"set_thresholds": low[None]},
        {"set_thresholds": low[:-1]},
        {"set_thresholds": low[:0], "set_misses": misses[:0]},
        {"set_thresholds": low + np.float32(1)},
        {"set_misses": misses[::-1]},
        {"set_misses": misses * np.inf},
        {"set_misses": misses + 0.01},
        {"set_misses": None},
        {"facts": lambda facts: facts.update(units=0)},
        {"facts": lambda facts: facts.update(units=-1)},
        {"facts": lambda facts: facts.update(units="many")},
        {"facts": lambda facts: facts.update(units=10**6)},
        {"facts": lambda facts: facts.pop("measured")},
        {"facts": lambda facts: facts["measured"].update(coverage=2)},
        {"facts": lambda facts: facts["measured"]["by_class"].update(zebra={"images": 1})},
    ]
    for change in hostile:
        bad = changed(path, tmp_path / "bad.model", **change)
        with pytest.raises(FormatError, match="damaged"):
            Model.load(bad)


def with_an_unreadable_image():
    """Predictions of two images with sets, and of one that can't be read, between them."""
    read = Predictions(
        ["a.png", "c.png"],
        ["ant, red", "bee"],
        np.array([[0.7, 0.3], [0.1, 0.9]]),
        np.array([0, 1]),
        sets=np.array([[True, True], [False, True]]),
        coverage=0.9,
    )
    return with_unreadable(read, ["a.png", "b.png", "c.png"], {1: "broken"})


def test_lines_have_the_sets():
    predictions = with_an_unreadable_image()
    lines = CsvLines(predictions.classes, {}, False, CsvStyle(), sets=True)
    text = lines.header() + "".join(map(lines.line, predictions))
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["path", "label", "confidence", "label_set", "p_ant, red", "p_bee", "error"]
    assert [row[3] for row in rows[1:]] == ["ant, red|bee", "", "bee"]
    assert rows[2] == ["b.png", *[""] * 5, "broken"]
    objects = [json.loads(JsonLines({}, False).line(one)) for one in predictions]
    assert [one.get("label_set") for one in objects] == [["ant, red", "bee"], None, ["bee"]]


def test_parts_are_joined_and_shown_with_their_sets():
    predictions = with_an_unreadable_image()
    assert not predictions.sets[1].any()
    assert predictions[1].label_set == ()
    joined = join_predictions([predictions, predictions])
    assert joined.sets.tolist() == 2 * predictions.sets.tolist()
    assert joined[-1].coverage == 0.9
    assert "1.50 on average, one label for 50 % of the images" in joined._repr_html_()
    assert joined.to_frame().label_set.tolist()[:3] == [("ant, red", "bee"), (), ("bee",)]
    (_, line, _) = summary_lines(LabelSummary.of(joined))
    assert line == "90 % coverage: sets have 1.50 labels on average, 50 % have one label"


def test_the_page_of_labels_shows_sets(fitted, tmp_path):
    result, _ = fitted
    predictions = result.model.predict_features(result.data.X[:20], coverage=0.95)
    report_labels(predictions, tmp_path / "labels.html", model=result.model)
    page = (tmp_path / "labels.html").read_text()
    assert page.count("set: <bdi>") == 20
    assert "holds the right label in 95 of 100 images" in page


def test_the_page_of_a_benchmark_shows_coverage_by_class(fitted, tmp_path):
    result, _ = fitted
    report(result, tmp_path / "report.html", without=OPTIONAL)
    page = (tmp_path / "report.html").read_text()
    measured = result.model.sets.measured
    assert f"{100 * measured['coverage']:.1f} % of the sets of the tested images did" in page
    assert "Sets of labels by true class" in page
