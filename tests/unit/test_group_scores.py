"""Scores by group, the range between a few groups, and folds that leave one group out."""

import re
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.honesty.groups import held, run
from tests.unit.data import dataset
from tests.unit.simulations import entries_of
from tlfeatures import benchmark, cross_validate, fit, learning_curve, load_benchmark
from tlfeatures.benchmarking.rank import compare
from tlfeatures.errors import DatasetError, FormatError, ParameterError
from tlfeatures.metrics.group_scores import few_groups, score_groups
from tlfeatures.metrics.intervals import wilson
from tlfeatures.metrics.score_records import score_line
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.learning_curve.results import LearningCurve
from tlfeatures.reports.drawing.progress_curves import LearningCurveDisplay
from tlfeatures.terminal.learning_curve_text import render_learning_curve
from tlfeatures.terminal.model_text import render_evaluation
from tlfeatures.terminal.ranking_text import ranking_lines

LEAVE = "leave-one-group-out"


def sites(n, count):
    return np.array([f"site{i % count}" for i in range(n)])


def data_of(count, n=120, **fields):
    """Images of so many sites, with both classes in each."""
    return dataset(n, **{"groups": np.repeat(sites(n // 2, count), 2), **fields})


def simulated(count, accuracies, n=400):
    made, study, scorer = entries_of(data_of(count, n), accuracies, cv=2)
    return compare(made, study, "accuracy", scorer)


# ---- scores by group


def test_groups_have_their_names_and_the_worst_is_first():
    right = [1] * 20 + [1] * 15 + [0] * 5 + [0]
    found = score_groups(right, ["b"] * 20 + ["a"] * 20 + ["one"])
    assert [(group.name, group.images, group.accuracy) for group in found.worst] == [
        ("a", 20, 0.75),
        ("b", 20, 1.0),
        ("one", 1, 0.0),  # too small to be the worst
    ]
    assert (found.count, found.lowest, found.highest) == (3, found.worst[0], found.worst[1])
    assert (found.too_small, found.small_names) == (1, ["one"])
    assert found.left_out() == "; 1 group with fewer than 5 images is left out (one)"
    assert found.worst[0].interval == pytest.approx(wilson(0.75, 20).tolist())
    assert found.worst[2].interval is None  # one image


def test_of_equal_groups_the_larger_is_first():
    names = ["small"] * 5 + ["large"] * 6 + ["right"] * 5
    found = score_groups([0] * 11 + [1] * 5, names)
    assert [group.name for group in found.worst] == ["large", "small", "right"]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (
            (40, 40, 1, 2),
            r"ranges from .* % \(g\d, 40 images\) to .* % \(g\d, 40 images\), and another group "
            r"may lie outside of this range; 2 groups with fewer than 5 images are left out "
            r"\(g2, g3\)\.",
        ),
        ((90, 4, 4), r"no range between them, because only one has 5 or more images: g0 with "),
        ((4, 4, 4), r"no range between them, because each has fewer than 5 images\."),
    ],
)
def test_a_range_of_few_groups_leaves_small_ones_out(sizes, said):
    groups = np.repeat([f"g{i}" for i in range(len(sizes))], sizes)
    data = dataset(len(groups), groups=groups)
    made, study, scorer = entries_of(data, {"a": 0.8}, cv=2)
    found = compare(made, study, "accuracy", scorer)
    (sentence,) = [line for line in found.verdict if line.startswith("With only")]
    assert re.search(said, sentence)
    record = found.ranking[0].scores["accuracy"]["groups_range"]
    large = sum(size >= 5 for size in sizes)
    assert (record and (record["groups"], record["too_small"])) == (
        (large, len(sizes) - large) if large else None
    )
    text = "\n".join(ranking_lines(found))
    assert "groups with fewer than 5 images last" in text
    assert (f"between {large} of {len(sizes)} groups" in text) == (large > 1)


def test_of_thousands_of_groups_the_worst_are_shown():
    right = np.arange(3000) >= 30
    found = score_groups(right, np.arange(3000).astype(str))
    assert (found.count, len(found.worst), found.highest) == (3000, 20, None)
    assert found.left_out().endswith("left out (0, 1, 10 and 2,997 more)")
    assert {group.accuracy for group in found.worst} == {0}
    assert len(score_groups(right, np.arange(3000), most=None).worst) == 3000


def test_not_one_group_for_each_image_is_refused():
    with pytest.raises(ParameterError, match="shape"):
        score_groups([1, 0], ["a"])


# ---- few groups


@pytest.mark.parametrize(("count", "few"), [(1, True), (3, True), (9, True), (10, False)])
def test_under_ten_groups_are_few(count, few):
    reason = few_groups(sites(100, count))
    assert (reason is not None) == few
    if few:
        assert f"only {count} group" in reason


def test_few_groups_have_a_range_in_place_of_an_interval():
    found = cross_validate("logreg", data_of(3), cv=LEAVE)
    record = found.scores["accuracy"]
    by_group = found.by_group()
    assert record["interval"] is None
    assert "only 3 groups" in record["reason"]
    ends = {"lowest": by_group.lowest.accuracy, "highest": by_group.highest.accuracy}
    expected = {**ends, "groups": 3, "too_small": 0}
    assert record["groups_range"] == pytest.approx(expected)
    assert re.search(
        r"accuracy 0\.\d+ \(0\.\d+ to 0\.\d+ between the 3 groups\)",
        score_line("accuracy", found.scores),
    )
    html = found._repr_html_()
    assert "between the 3 groups" in html
    assert "95 % interval</th>" not in html.split("Accuracy of each group")[0]
    assert found.to_dict()["group_scores"]["worst"][0]["name"] == by_group.worst[0].name
    many = cross_validate("logreg", data_of(12)).scores["accuracy"]
    assert many["interval"] is not None
    assert many["groups_range"] is None


def test_near_duplicates_are_no_few_groups():
    pairs = np.array([[i, i + 1] for i in range(0, 118, 2)])
    scores = cross_validate("logreg", dataset(120, y=np.repeat(["a", "b"], 60), copies=pairs))
    assert scores.scores["accuracy"]["interval"] is not None
    assert scores.by_group() is None


def test_the_verdict_of_few_groups_gives_the_range_and_the_worst_group():
    found = simulated(3, {"a": 0.9, "b": 0.6})
    text = " ".join(found.verdict)
    worst, best = found.group_scores.lowest, found.group_scores.highest
    assert text.count("there is no interval") == 1
    assert "With only 3 groups, fewer than 10, there is no interval" in text
    assert "the accuracy of each of these groups is higher" in text
    assert (
        f"ranges from {100 * worst.accuracy:.1f} % ({worst.name}, {worst.images} images) to "
        f"{100 * best.accuracy:.1f} % ({best.name}, {best.images} images)"
    ) in text
    table = "\n".join(ranking_lines(found))
    assert "95 %]" not in table
    assert "between the 3 groups" in table
    assert "accuracy by group of a, the worst first" in table
    assert table.index(worst.name) < table.index(found.group_scores.worst[1].name)


def test_the_verdict_of_many_groups_has_an_interval_and_the_worst_group():
    found = simulated(12, {"a": 0.9, "b": 0.6})
    text = " ".join(found.verdict)
    assert "there is no interval" not in text
    assert "Worst of the 12 groups: site" in text
    assert "95 %]" in "\n".join(ranking_lines(found))


def test_the_groups_of_a_benchmark_are_read_again(tmp_path):
    made = benchmark(data_of(12), ["logreg", "knn"], out=tmp_path / "out", cv=LEAVE, n_jobs=1)
    again = load_benchmark(tmp_path / "out")
    assert again.comparison.group_scores == made.comparison.group_scores == made.by_group()
    assert again.by_group(again.ranking[1], most=None).count == 12
    assert set(again.study.groups) == {f"site{i}" for i in range(12)}
    file = tmp_path / "out/results.json"
    file.write_text(file.read_text().replace('"worst":', '"best":'))
    with pytest.raises(FormatError, match="worst"):
        load_benchmark(tmp_path / "out")


def test_without_groups_there_are_no_scores_by_group():
    found = benchmark(dataset(), ["logreg"], n_jobs=1)
    assert found.by_group() is None
    assert found.comparison.group_scores is None
    assert not any("group" in sentence for sentence in found.verdict)


# ---- leave one group out


def test_each_group_is_tested_by_a_head_of_the_others():
    data = data_of(4)
    split, folds = make_folds(data, cv=LEAVE)
    assert split == "cv"
    assert len(folds) == 4
    for train, test in folds:
        assert len(set(data.groups[test])) == 1
        assert set(data.groups[train]) == set(data.groups) - set(data.groups[test])
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(120))


def test_copies_in_other_groups_are_not_trained_on_but_the_rest_of_these_groups_is():
    data = replace(data_of(4), copies=np.array([[0, 2]]))
    assert data.groups[0] != data.groups[2]
    for train, test in make_folds(data, cv=LEAVE)[1]:
        tested = data.groups == data.groups[test[0]]
        copies = {0, 2} if tested[[0, 2]].any() else set()
        assert set(np.flatnonzero(~tested)) - set(train) == copies - set(test)


@pytest.mark.parametrize(
    ("changed", "cv", "error", "message"),
    [
        ({"groups": None}, LEAVE, ParameterError, "needs groups, found none: give --groups"),
        ({"groups": sites(120, 1)}, LEAVE, ParameterError, "two groups or more, found only site0"),
        ({"groups": sites(120, 2)}, LEAVE, DatasetError, "without the group site0, .* images of a"),
        ({}, "leave-one-out", ParameterError, "expected a number of folds.* leave-one-group-out"),
    ],
)
def test_what_can_not_leave_one_group_out_is_one_line(changed, cv, error, message):
    with pytest.raises(error, match=message) as raised:
        make_folds(replace(data_of(4), **changed), cv=cv)
    assert "\n" not in str(raised.value)


def test_such_folds_are_not_repeated():
    with pytest.raises(ParameterError, match=f"{LEAVE}.*--repeats 1"):
        benchmark(data_of(4), ["logreg"], cv=LEAVE, repeats=2)


def test_the_card_says_how_groups_were_left_out(tmp_path):
    fit(data_of(4), "logreg", cv=LEAVE, model=tmp_path / "m.model")
    card = (tmp_path / "m.model.md").read_text()
    assert "leave-one-group-out cross-validation (4 groups)" in card
    assert "between the 4 groups" in card
    assert "95 % interval" not in card.split("## How good it is")[1].split("\n\n")[2]


def test_a_learning_curve_of_few_groups_has_no_intervals_and_no_forecast():
    curve = learning_curve(data_of(4, signal=3.0), "centroid", cv=LEAVE, n_jobs=1)
    assert curve.folds == 4
    assert {point.interval for point in curve.points} == {None}
    assert (curve.verdict, curve.forecasts) == ("unknown", ())
    assert "there are only 4 groups" in curve.sentence
    assert LearningCurve.from_dict(curve.to_dict()) == curve
    assert "none" in render_learning_curve(curve)
    assert "none" in curve._repr_html_() or "4 groups" in curve._repr_html_()
    assert "[" not in repr(curve)
    assert np.isnan(curve.to_frame()["accuracy_low"]).all()
    legend = LearningCurveDisplay.from_learning_curve(curve).ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["measured"]
    many = learning_curve(data_of(12, signal=3.0), "centroid", cv=3, n_jobs=1)
    assert all(0 <= point.interval[0] <= point.interval[1] <= 1 for point in many.points)


def test_evaluate_shows_groups(tmp_path):
    model = fit(data_of(4)[:60], "logreg", cv=2, model=tmp_path / "m.model").model
    found = model.evaluate(data_of(3)[60:])
    text = render_evaluation(found)
    assert re.search(r"accuracy +0\.\d+ +0\.\d+ to [01]\.\d+ between the 3 groups", text)
    assert "accuracy by group, the worst first\ngroup  images" in text
    assert "95 % interval" not in text.split("accuracy by group")[0]
    assert found.by_group().count == 3


# ---- the simulation of benchmarks/honesty.md


def test_intervals_of_ten_sites_hold_and_fewer_have_a_range():
    found = held(10, 0.5, 0.85, uneven=False, draws=60)
    assert found.printed == "interval"
    assert found.interval > 0.85  # 95 %: fewer with a probability below 0.001
    assert found.bootstrap < found.interval
    few = held(3, 0.5, 0.85, uneven=False, draws=20)
    assert few.printed == "range"
    assert few.range < 0.9
    assert "| 20 | 97 % | 1 | uneven | interval |" in run(2)


@pytest.mark.long
@pytest.mark.parametrize("sites", [10, 20])
@pytest.mark.parametrize("accuracy", [0.85, 0.97])
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("uneven", [False, True])
def test_intervals_of_sites_hold_in_almost_all_draws(sites, accuracy, spread, uneven):
    found = held(sites, spread, accuracy, uneven=uneven, draws=500)
    assert found.interval > 0.89
    assert found.interval > found.bootstrap
