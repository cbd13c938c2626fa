"""Each figure shows what it promises, as text and as shapes."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.unit.data import dataset
from tests.unit.drawings import (
    NAMES,
    learning_curve_of,
    lines_of,
    map_of,
    predictions,
    rank_of,
    ranking_of,
    some_ranking,
    svg_of,
    tagged,
    texts_of,
    training_of,
)
from tests.unit.simulations import entries_of
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
)
from tlfeatures.benchmarking.rank import compare
from tlfeatures.errors import ParameterError
from tlfeatures.names import shortened
from tlfeatures.reports.diagnostics import OutOfFold, confusion, precision_recall, reliability, roc
from tlfeatures.reports.drawing import cells, figure_files, style

# ---- names are data


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.slow
def test_names_stay_as_they_are(given):
    found = predictions(4, names=NAMES)
    points, labels = map_of(40, NAMES)
    draws = [
        lambda ax: ConfusionDisplay(confusion(found)).plot(ax).ax_,
        lambda ax: RocDisplay(roc(found)).plot(ax).ax_,
        lambda ax: PrecisionRecallDisplay(precision_recall(found)).plot(ax).ax_,
        lambda ax: EmbeddingMapDisplay(points, labels).plot(ax).ax_,
        lambda ax: HeatMapDisplay(ranking_of(*(rank_of(n, 0.5) for n in NAMES))).plot(ax).ax_,
        lambda ax: RankingDisplay(ranking_of(*(rank_of(n, 0.5) for n in NAMES))).plot(ax).ax_,
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # among them: characters that the font lacks
        for draw in draws:
            texts = " ".join(texts_of(draw(Figure().add_subplot() if given else None)))
            assert all(name in texts for name in NAMES)


def test_long_names_are_cut_in_the_middle():
    name = "Coccinella septempunctata of the northern kind"
    assert shortened(name) == "Coccinella se…orthern kind"
    assert shortened("short") == "short"
    assert shortened("0123456789", 5) == "01…89"


def test_characters_that_xml_forbids_are_replaced():
    points, _ = map_of(4, "a")
    axes = EmbeddingMapDisplay(points, ["a\x00b", "a\x00b", "c\nd", "e\udcff"]).plot().ax_
    assert {"a�b", "c d", "e�"} <= set(texts_of(axes))


# ---- one by one


def test_the_ranking_tells_the_best_apart():
    axes = RankingDisplay(some_ranking()).plot().ax_
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    filled = [dot.get_markerfacecolor() != style.COLORS["paper"] for dot in dots]
    assert filled == [True, True, False, False]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [0.9, 0.88, 0.7, 0.6]
    assert [float(dot.get_ydata()[0]) for dot in dots] == [0, 1, 2, 3]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the best on top
    assert len(axes.collections) == 3  # the last one has no interval
    texts = texts_of(axes)
    for words in ("best, or not significantly different", "significantly different"):
        assert texts.count(words) == 1
    assert texts.count("can't be tested") == 1
    assert "accuracy, with 95 % interval" in texts
    assert {"logreg", "knn", "lda", "odd"} <= set(texts)


def test_the_ranking_names_embeddings_where_there_are_several():
    ranks = [rank_of("knn", 0.9, embedding=name) for name in ("x.avg", "x.max")]
    texts = texts_of(RankingDisplay(ranking_of(*ranks)).plot().ax_)
    assert {"knn on x.avg", "knn on x.max"} <= set(texts)


def test_a_long_ranking_is_cut_and_says_so():
    found = ranking_of(*(rank_of(f"head {i}", 0.9 - i / 100) for i in range(50)))
    texts = texts_of(RankingDisplay(found).plot().ax_)
    sizes = [RankingDisplay(of).plot().figure_.get_figheight() for of in (found, some_ranking())]
    assert "the first 40 of 50 heads" in texts
    assert "head 39" in texts
    assert "head 40" not in texts
    assert sizes[0] > sizes[1]


def test_a_benchmark_is_drawn_by_any_score():
    made, study, scorer = entries_of(dataset(100), {"a": 0.9, "b": 0.6})
    found = compare(made, study, "log_loss", scorer)
    made[0].facts["scores"]["log_loss"]["score"] = None
    assert "log loss (less is better), with 95 % interval" in texts_of(
        RankingDisplay(found).plot().ax_
    )
    assert "log loss (less is better)" in texts_of(HeatMapDisplay(found).plot().ax_)


def test_heads_without_a_score_leave_their_row_empty():
    found = ranking_of(rank_of("a", 0.9, best=True), rank_of("b", 0.5, interval=None))
    found.ranking[1].scores["accuracy"]["score"] = None
    axes = RankingDisplay(found).plot().ax_
    assert len([line for line in axes.lines if line.get_marker() == "o"]) == 1
    assert "b" in texts_of(axes)
    assert "0.900" in texts_of(HeatMapDisplay(found).plot().ax_)
    found.ranking[0].scores["accuracy"]["score"] = None
    assert RankingDisplay(found).plot().ax_.get_legend() is None
    assert "accuracy" in texts_of(HeatMapDisplay(found).plot().ax_)


def test_the_heat_map_leaves_blank_what_is_missing():
    found = ranking_of(
        rank_of("a", 0.91, embedding="x.avg"),
        rank_of("b", 0.82, embedding="x.max"),
        rank_of("a", 0.73, embedding="x.max"),
        rank_of("dummy", 0.1, embedding="x.max"),
    )
    axes = HeatMapDisplay(found).plot().ax_
    (mesh,) = axes.collections
    assert np.ma.getmaskarray(mesh.get_array()).tolist() == [
        [False, False],
        [True, False],
        [True, True],  # dummy has its number, and no colour
    ]
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0.73, 0.91)
    texts = texts_of(axes)
    assert sorted(text for text in texts if text.startswith("0.")) == [
        "0.100", "0.730", "0.820", "0.910",
    ]  # fmt: skip
    assert [text for text in texts if text in ("a", "b", "dummy")] == ["a", "b", "dummy"]


def test_numbers_can_be_read_on_their_cells():
    axes = HeatMapDisplay(ranking_of(rank_of("a", 0.9), rank_of("b", 0.1))).plot().ax_
    colors = {text.get_text(): text.get_color() for text in axes.texts}
    assert colors == {"0.900": cells.ON_LIGHT, "0.100": cells.ON_DARK}


def test_the_confusion_has_counts_and_shares():
    table = np.full((4, 2), 0.5)
    found = OutOfFold(
        np.array(list("wxyz")), ["no", "yes"], np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]),
        table, np.zeros(4, int),
    )  # fmt: skip
    axes = ConfusionDisplay(confusion(found)).plot().ax_
    assert [text.get_text() for text in axes.texts] == ["2\n67 %", "1\n33 %", "1\n100 %"]
    assert {"true class", "predicted class", "no", "yes"} <= set(texts_of(axes))


def test_a_large_confusion_has_a_scale_in_place_of_numbers():
    axes = ConfusionDisplay(confusion(predictions(13))).plot().ax_
    assert not axes.texts
    assert "share of the true class" in texts_of(axes)
    many = figure_files.to_svg(ConfusionDisplay(confusion(predictions(90, 900))).plot().ax_, "x")
    assert len(many) < 100_000
    assert "class 88" not in many  # every third has its name
    assert "class 87" in many


@pytest.mark.parametrize(
    ("draw", "compute", "words"),
    [
        (RocDisplay, roc, "area"),
        (PrecisionRecallDisplay, precision_recall, "average precision"),
    ],
)
def test_curves_have_their_areas(draw, compute, words):
    curves = compute(predictions(3))
    axes = draw(curves).plot().ax_
    texts = texts_of(axes)
    assert {f"{curve.label}  {curve.area:.3f}" for curve in curves} <= set(texts)
    assert {f"class, {words}", "chance"} <= set(texts)
    for place, curve in enumerate(curves):
        (line,) = lines_of(axes, f"c{place}")
        assert np.array_equal(line.get_xdata(), curve.x)


@pytest.mark.parametrize(
    ("draw", "compute"),
    [(RocDisplay, roc), (PrecisionRecallDisplay, precision_recall)],
)
def test_of_many_curves_the_worst_are_drawn(draw, compute):
    curves = compute(predictions(11, 1000))
    text = " ".join(texts_of(draw(curves).plot().ax_))
    ordered = sorted(curves, key=lambda curve: curve.area)
    assert "8 of 11 classes," in text
    assert all(curve.label in text for curve in ordered[:8])
    assert not any(curve.label in text for curve in ordered[8:])


def test_curves_of_one_class_are_an_empty_figure():
    assert "chance" in texts_of(RocDisplay(()).plot().ax_)
    PrecisionRecallDisplay(()).plot()


def test_chance_in_precision_is_the_share_of_positives():
    (curve,) = precision_recall(predictions(2))
    axes = PrecisionRecallDisplay((curve,)).plot().ax_
    (chance,) = lines_of(axes, "muted")
    assert set(chance.get_ydata()) == {curve.positives / 300}


def test_reliability_has_dots_intervals_and_bars():
    found = reliability(predictions(3))
    axes = ReliabilityDisplay(found).plot().ax_
    (dots,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert np.array_equal(dots.get_xydata(), np.column_stack([found.confidence, found.right]))
    heights = np.array([bar.get_height() for bar in axes.patches])
    assert np.allclose(heights / heights.max(), found.counts / found.counts.max())
    texts = texts_of(axes)
    assert f"expected calibration error {found.error:.3f}" in texts
    assert f"up to {found.counts.max()} images" in texts


@pytest.mark.parametrize("verdict", ["help", "little", "unknown"])
def test_a_forecast_is_drawn_only_where_it_is_believed(verdict):
    curve = learning_curve_of(verdict)
    axes = LearningCurveDisplay(curve).plot().ax_
    drawn = [line.get_xdata() for line in axes.lines]
    assert (max(map(np.max, drawn)) > 161) == (verdict != "unknown")
    texts = texts_of(axes)
    assert ("forecast, with 95 % interval" in texts) == (verdict != "unknown")
    assert {"measured, with 95 % interval", "fitted law", "10", "20", "100"} <= set(texts)
    assert axes.get_xscale() == "log"


def test_the_law_is_drawn_where_it_was_fitted():
    axes = LearningCurveDisplay(learning_curve_of("unknown")).plot().ax_
    (law,) = lines_of(axes, "c1")
    x, y = law.get_data()
    assert (x[0], x[-1]) == pytest.approx((20, 160))
    assert y == pytest.approx(0.9 - 0.8 / np.sqrt(x))
    bare = replace(learning_curve_of("unknown"), law=None, forecasts=())
    assert "fitted law" not in texts_of(LearningCurveDisplay(bare).plot().ax_)


@pytest.mark.parametrize("what", ["accuracy", "loss"])
def test_training_has_folds_and_means(what):
    curve = training_of(ended=[(1, 4)])
    axes = TrainingCurveDisplay(curve, what).plot().ax_
    for color, values in (
        ("c0", getattr(curve, what)),
        ("c1", getattr(curve, f"validation_{what}")),
    ):
        *folds, mean = lines_of(axes, color)
        assert np.array_equal([fold.get_ydata() for fold in folds], values, equal_nan=True)
        # Where one fold has ended there is no mean.
        assert np.array_equal(mean.get_ydata(), values.mean(axis=0), equal_nan=True)
        assert mean.get_linewidth() > folds[0].get_linewidth()
    assert {lines_of(axes, color)[0].get_linestyle() for color in ("c0", "c1")} == {"-", "--"}
    texts = texts_of(axes)
    assert {"epoch", what, "training, mean of 3 folds", "validation, mean of 3 folds"} <= set(texts)
    assert all(float(tick) == int(tick) for tick in axes.get_xticks())


def test_training_of_one_fold_or_epoch_can_be_seen():
    texts = texts_of(TrainingCurveDisplay(training_of(folds=1)).plot().ax_)
    assert {"training", "validation"} <= set(texts)
    axes = TrainingCurveDisplay(training_of(epochs=1)).plot().ax_
    assert lines_of(axes, "c0")[-1].get_marker() == "o"
    with pytest.raises(ParameterError, match="accuracy or loss; got 'time'"):
        TrainingCurveDisplay(training_of(), "time").plot()


def test_a_map_can_be_searched_for_its_points():
    points, labels = map_of(50, "bacc")
    root = svg_of(EmbeddingMapDisplay(points, labels, wrong=np.arange(50) % 7 == 0).plot().ax_)
    groups = {group.get("id"): group for group in tagged(root, "g") if group.get("id")}
    assert sorted(groups) == ["map-0", "map-1", "map-2"]
    for place, label in enumerate("abc"):
        drawn = tagged(groups[f"map-{place}"], "use")
        own = points.points[labels == label]
        assert len(drawn) == len(own)
        x, y = (np.array([float(use.get(name)) for use in drawn]) for name in "xy")
        assert np.corrcoef(x, own[:, 0])[0, 1] > 0.9999  # in the order of the rows
        assert np.corrcoef(y, own[:, 1])[0, 1] < -0.9999
    ringed = EmbeddingMapDisplay(points, labels, wrong=labels == "a").plot().ax_
    assert {"a", "b", "c", "wrong"} <= set(texts_of(ringed))


def test_a_class_of_one_image_is_a_point_of_its_group():
    points, _ = map_of(4, "a")
    root = svg_of(EmbeddingMapDisplay(points, list("aaab")).plot().ax_)
    (group,) = [group for group in tagged(root, "g") if group.get("id") == "map-1"]
    assert len(tagged(group, "use")) == 1


def test_many_classes_differ_in_color_or_marker():
    points, labels = map_of(128, [f"class {place:02d}" for place in range(64)])
    axes = EmbeddingMapDisplay(points, labels).plot().ax_
    looks = {
        (dots.get_facecolor().tobytes(), dots.get_paths()[0].vertices.tobytes())
        for dots in axes.collections
    }
    assert len(looks) == 64
    texts = texts_of(axes)
    assert "20 of 64 classes" in texts
    assert "class 19" in texts
    assert "class 20" not in texts


def test_a_map_says_what_its_axes_are():
    texts = texts_of(EmbeddingMapDisplay(*map_of(9, "ab")).plot().ax_)
    assert {"first principal axis, 25.0 % of the variance", "second, 12.5 %"} <= set(texts)
    (words,) = [
        t for t in texts_of(EmbeddingMapDisplay(*map_of(9, "ab", "tsne")).plot().ax_) if len(t) > 9
    ]
    assert words.startswith("t-SNE")


def test_labels_of_another_length_are_said():
    points, labels = map_of(9, "ab")
    with pytest.raises(ParameterError, match=r"labels must have shape \(9,\)"):
        EmbeddingMapDisplay(points, labels[:5]).plot()
    with pytest.raises(ParameterError, match=r"wrong must have shape \(9,\)"):
        EmbeddingMapDisplay(points, labels, wrong=[True]).plot()
