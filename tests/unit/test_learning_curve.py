"""Curves of classes whose truth is known, and what is said where it can't be told."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import curve_fit

from tlfeatures.cli import main
from tlfeatures.dataset import Dataset
from tlfeatures.errors import ParameterError
from tlfeatures.features.spec import Spec
from tlfeatures.folds import make_folds
from tlfeatures.heads import HEADS, make_head
from tlfeatures.learning_curves import (
    CurvePoint,
    LearningCurve,
    _draws,
    _fit_law,
    _judge,
    _Measured,
    _shares,
    _subsets,
    _verdict,
    measure_curve,
)
from tlfeatures.render import render_learning_curve

SPEC = Spec(
    backbone="pixels", size=(8, 8), precision="float32", weights="none", weights_sha256=None
)


def dataset(counts=(60, 60), d=20, signal=2.0, seed=0, groups=None) -> Dataset:
    """Gaussian classes, each shifted along its own axis."""
    codes = np.repeat(np.arange(len(counts)), counts)
    X = np.random.default_rng(seed).normal(size=(len(codes), d)).astype(np.float32)
    X[np.arange(len(codes)), codes] += signal
    y = np.array(list("abcde"))[codes]
    ids = np.array([f"{label}/{number}.png" for number, label in enumerate(y)])
    return Dataset(
        X=X, y=y, groups=groups, ids=ids, split=None, embedding="x.avg", spec=SPEC, file="x.h5"
    )


# ---- against the truth


def true_accuracy(counts, **made) -> float:
    """Of heads fitted on so many images, each tested on many others."""
    new = dataset((1000,) * len(counts), seed=1000, **made)
    fitted = (
        make_head("logreg").fit(data.X, data.y)
        for data in (dataset(counts, seed=seed, **made) for seed in range(100, 112))
    )
    return float(np.mean([head.score(new.X, new.y) for head in fitted]))


def test_doubling_is_foretold():
    made = {"d": 200, "signal": 1.6}
    now, doubled = (true_accuracy((count,) * 2, **made) for count in (200, 400))
    assert doubled - now > 0.015  # else this would test nothing
    curves = [measure_curve(dataset((250,) * 2, seed=seed, **made)) for seed in range(3)]
    told = [curve.forecasts[0] for curve in curves if curve.forecasts]
    assert len(told) >= 2
    assert sum(each.interval[0] <= doubled <= each.interval[1] for each in told) >= len(told) - 1
    gains = [each.gain_interval for each in told]
    assert sum(low <= doubled - now <= high for low, high in gains) >= len(told) - 1
    assert np.mean([each.gain for each in told]) == pytest.approx(doubled - now, abs=0.015)
    assert all(high - low < 0.1 for low, high in gains)
    assert not [curve for curve in curves if curve.verdict == "little"]
    assert "help" in {curve.verdict for curve in curves}


def test_where_every_image_is_right_more_help_little_and_certainty_is_not_claimed():
    curve = measure_curve(dataset((150, 150), d=5, signal=12))
    assert curve.verdict == "little"
    assert curve.sentence.endswith("more images would help little.")
    assert curve.points[-1].accuracy == 1
    doubled = curve.forecasts[0]
    assert doubled.gain_interval[1] < 0.005
    assert 0.97 < doubled.interval[0] < 0.995  # 300 right ones leave room for 3 errors in 300


def test_random_labels_are_flat_at_chance_and_nothing_is_foretold():
    curve = measure_curve(dataset((100, 100), signal=0))
    assert all(abs(point.accuracy - 0.5) < 0.12 for point in curve.points)
    assert curve.points[-1].interval[0] <= 0.5 <= curve.points[-1].interval[1]
    assert (curve.verdict, curve.forecasts) == ("unknown", ())
    assert "always naming the largest class (0.500)" in curve.sentence


def test_naming_only_the_large_class_is_chance_too():
    curve = measure_curve(dataset((150, 15), d=40, signal=0.5), params={"C": 1e-5})
    assert curve.points[-1].accuracy > 0.85
    assert curve.verdict == "unknown"
    assert "largest class (0.909)" in curve.sentence


def test_few_images_say_so():
    curve = measure_curve(dataset((12, 12), d=5, signal=4))
    assert (curve.verdict, curve.law, curve.forecasts) == ("unknown", None, ())
    assert "too few" in curve.sentence
    assert "images a class would give" not in curve.sentence


def measured(accuracy, spread=0.002) -> _Measured:
    """Make the measurement of 7 sizes, 10 to 80 images a class, without a dataset."""
    images = 10 * 2 ** np.arange(0, 3.1, 0.5)
    seen = np.array([accuracy(size) for size in images])
    points = tuple(
        CurvePoint(size, 2 * size, 3, value, (value - 0.01, value + 0.01))
        for size, value in zip(images, seen, strict=True)
    )
    resampled = seen[:, None] + np.random.default_rng(0).normal(size=(1, 500)) * 0.005
    return _Measured(points, resampled, np.full(7, spread), np.full(7, 1e4), 0.5)


def test_a_law_that_fails_its_backtest_gives_no_number():
    good = _judge(measured(lambda size: 0.95 - size**-0.5), 0)
    assert good.backtest.passed
    assert good.backtest.predicted == pytest.approx(good.backtest.seen, abs=0.002)
    assert good.forecasts[0].accuracy == pytest.approx(0.95 - 160**-0.5, abs=0.003)
    assert good.verdict == "help"
    bad = _judge(measured(lambda size: 0.7 if size < 50 else 0.9), 0)
    assert not bad.backtest.passed
    assert not bad.backtest.interval[0] <= bad.backtest.seen <= bad.backtest.interval[1]
    assert (bad.verdict, bad.forecasts) == ("unknown", ())
    assert "predicts an accuracy of 0.700" in bad.sentence
    assert "0.900 was seen" in bad.sentence


def test_a_wide_interval_is_no_verdict():
    judged = _judge(measured(lambda size: 0.95 - size**-0.5, spread=0.03), 0)
    assert judged.verdict == "unknown"
    assert "may be anything from" in judged.sentence
    low, high = judged.forecasts[0].gain_interval
    assert high - low > 0.02


def test_what_the_law_missed_in_its_backtest_widens_the_intervals():
    # The whole is 0.003 above the law: passed, but the law errs by as much at each doubling.
    def bent(size):
        return 0.95 - size**-0.5 + 0.004 * (size > 75)

    exact = _judge(measured(lambda size: 0.95 - size**-0.5), 0)
    judged = _judge(measured(bent), 0)
    assert judged.backtest.passed
    missed = abs(judged.backtest.predicted - judged.backtest.seen)
    assert missed > 0.003
    assert judged.backtest.missed(2) == pytest.approx(missed, rel=0.01)
    assert judged.backtest.missed(4) == pytest.approx(2 * missed, rel=0.01)
    for forecast, straight in zip(judged.forecasts, exact.forecasts, strict=True):
        reach = 1.96 * judged.backtest.missed(forecast.factor)
        low, high = forecast.gain_interval
        assert low <= forecast.gain - reach
        assert high >= forecast.gain + reach
        low, high = straight.gain_interval
        assert high - low < 4 * reach


@pytest.mark.parametrize("law", [(0.9, 0.8, 0.5), (0.99, 0.3, 1.5), (0.7, 0.2, 0.1)])
def test_the_fit_finds_the_law(law):
    sizes = np.array([0.125, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0])
    a, b, c = law
    b *= 0.125**c  # within 0 to 1
    curve = a - b * sizes**-c
    fitted = _fit_law(sizes, curve[:, None], np.ones(7))
    assert fitted.at(2)[0] == pytest.approx(a - b * 2.0**-c, abs=5e-4)
    assert fitted.at(4)[0] == pytest.approx(a - b * 4.0**-c, abs=2e-3)


def test_the_fit_stays_within_its_bounds():
    sizes = np.geomspace(0.1, 1, 8)
    curves = np.column_stack([np.linspace(0.9, 0.5, 8), np.linspace(0.1, 1, 8), np.ones(8)])
    fitted = _fit_law(sizes, curves, np.arange(1.0, 9))
    assert (fitted.a <= 1).all()
    assert (fitted.b >= 0).all()
    assert fitted.b[[0, 2]] == pytest.approx(0)
    assert fitted.at(4).max() <= 1


@pytest.mark.parametrize(("top", "drop"), [(0.9, 0.1), (1.02, 0.05)])  # the second ends at a = 1
def test_the_fit_is_as_good_as_scipys(top, drop):
    random = np.random.default_rng(0)
    sizes, weights = np.geomspace(0.125, 1, 7), random.uniform(1, 5, 7)
    curve = top - drop * sizes**-0.6 + random.normal(size=7) * 0.01
    ours = _fit_law(sizes, curve[:, None], weights)
    if top > 1:
        assert ours.a[0] == pytest.approx(1)

    def loss(values):
        return weights @ (values - curve) ** 2

    found, _ = curve_fit(
        lambda x, a, b, c: a - b * x**-c,
        sizes,
        curve,
        p0=[0.8, 0.1, 0.5],
        sigma=weights**-0.5,
        bounds=([0, 0, 0.02], [1, 10, 2]),
    )
    mine = loss(np.array([ours.at(size)[0] for size in sizes]))
    assert mine <= loss(found[0] - found[1] * sizes ** -found[2]) * 1.005


@pytest.mark.parametrize(
    ("gain", "interval", "verdict"),
    [
        (0.03, (0.001, 0.06), "help"),
        (0.03, (-0.001, 0.06), "unknown"),
        (0.005, (-0.01, 0.019), "little"),
        (0.005, (-0.01, 0.021), "unknown"),
    ],
)
def test_no_verdict_stands_beside_an_interval_that_contradicts_it(gain, interval, verdict):
    assert _verdict(np.full(100, gain), interval) == verdict


# ---- subsets


def subsets_of(data, sizes=None, seed=0):
    _, folds = make_folds(data, cv=5, split="cv")
    shares = _shares(data, folds, sizes)
    y = np.unique(data.y, return_inverse=True)[1]
    return folds, shares, _subsets(y, data.together, folds, shares, seed)


@pytest.mark.parametrize("grouped", [False, True])
def test_subsets_are_nested_and_grow(grouped):
    groups = np.array([f"g{row // 3}" for row in range(300)]) if grouped else None
    folds, shares, subsets = subsets_of(dataset((150, 150), groups=groups))
    chains = {}
    for subset in sorted(subsets, key=lambda subset: subset.size):
        rows = set(subset.train.tolist())
        smaller = chains.get((subset.fold, subset.draw), set())
        assert smaller < rows
        chains[subset.fold, subset.draw] = rows
    assert len(subsets) == 5 * sum(map(_draws, shares))
    for subset in subsets:
        if subset.size == len(shares) - 1:
            np.testing.assert_array_equal(subset.train, folds[subset.fold][0])
    different = {tuple(s.train) for s in subsets if s.size == 0 and s.fold == 0}
    assert len(different) == 5
    other = subsets_of(dataset((150, 150), groups=groups), seed=1)[2]
    assert different != {tuple(s.train) for s in other if s.size == 0 and s.fold == 0}


def test_all_classes_are_thinned_by_the_same_factor_but_two_are_kept():
    data = dataset((200, 50, 10))
    _, shares, subsets = subsets_of(data, sizes=[10, 30])
    for subset in subsets:
        counts = [int((data.y[subset.train] == name).sum()) for name in "abc"]
        whole = np.array([160, 40, 8])
        assert counts == pytest.approx(np.maximum(whole * shares[subset.size], 2), abs=1)


def test_groups_enter_whole_and_never_stand_on_both_sides():
    groups = np.array([f"g{row // 3}" for row in range(300)])
    data = dataset((150, 150), groups=groups)
    folds, shares, subsets = subsets_of(data)
    for subset in subsets:
        inside = np.isin(groups, groups[subset.train])
        assert inside.sum() == len(subset.train)
        assert not inside[folds[subset.fold][1]].any()
        wanted = shares[subset.size] * len(folds[subset.fold][0])
        assert abs(len(subset.train) - wanted) <= 2 * 3  # half a group each class, and rounding
    least = min(len(subset.train) for subset in subsets)
    assert least >= 2 * 3 * 4  # five groups a class, about


def test_every_size_is_tested_on_the_same_images(monkeypatch):
    tested = []

    class Spy(type(make_head("centroid")[-1])):
        def predict(self, X):
            tested.append(len(X))
            return super().predict(X)

    monkeypatch.setitem(HEADS, "spy", replace(HEADS["centroid"], make=lambda seed: Spy()))
    curve = measure_curve(dataset(), "spy")
    assert sum(tested) == 120 * sum(point.draws for point in curve.points)


@pytest.mark.parametrize(
    ("head", "grouped"),
    [*((head, False) for head in sorted(HEADS)), ("rbf-svm", True), ("centroid", True)],
)
def test_every_head_can_be_fitted_on_the_smallest_size(head, grouped):
    groups = np.array([f"g{row // 2}" for row in range(60)]) if grouped else None
    data = dataset((20, 20, 20), groups=groups)
    curve = measure_curve(data, head, sizes=[2], cv=2)
    assert len(curve.points) == 2
    assert curve.points[0].images_per_class == pytest.approx(4 if grouped else 2, abs=0.5)


# ---- numbers, errors, output


def test_jobs_do_not_change_the_numbers():
    data = dataset((40, 40), signal=1.5)
    one, two = (measure_curve(data, "lda", sizes=[5, 9], n_jobs=jobs).to_dict() for jobs in (1, 2))
    assert one == two
    other = measure_curve(data, "lda", sizes=[5, 9], random_state=1).to_dict()
    assert other["points"] != one["points"]


def test_progress_counts_the_fits():
    seen = []
    measure_curve(dataset((20, 20)), sizes=[5], cv=2, progress=lambda *counts: seen.append(counts))
    assert seen == [(done + 1, 2 * (3 + 1)) for done in range(8)]


@pytest.mark.parametrize("sizes", [[], [1, 5], [5, 49]])
def test_sizes_that_are_not_there(sizes):
    with pytest.raises(ParameterError, match="expected numbers from 2 to 48"):
        measure_curve(dataset(), sizes=sizes)


def test_points_are_pooled_accuracies_with_intervals_around():
    curve = measure_curve(dataset(), sizes=[8, 48])
    assert [point.images_per_class for point in curve.points] == [8, 48]
    assert [point.draws for point in curve.points] == [5, 1]
    for point in curve.points:
        assert point.train_images == 2 * point.images_per_class
        assert point.interval[0] < point.accuracy < point.interval[1]
        right = point.accuracy * 120 * point.draws
        assert right == pytest.approx(round(right))


def test_text_and_json():
    curve = measure_curve(dataset((100, 100), d=5, signal=12))
    text = render_learning_curve(curve)
    assert curve.sentence in text
    assert "160 (2 times)" in text
    assert "320 (4 times)" in text
    assert "Further than 4 times the images it says nothing" in text
    facts = json.loads(json.dumps(curve.to_dict(), allow_nan=False))
    assert facts["verdict"] == "little"
    assert [each["factor"] for each in facts["forecasts"]] == [2, 4]
    assert facts["points"][-1]["images_per_class"] == 80
    unknown = measure_curve(dataset((12, 12)))
    assert "times)" not in render_learning_curve(unknown)


# ---- the command


@pytest.fixture
def run(photos, tmp_path):
    file = tmp_path / "photos.h5"

    def invoke(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    result = invoke("extract", photos, "-o", file, "--backbone", "pixels", "--size", 16)
    assert result.exit_code == 0, result.output
    return lambda *arguments: invoke("learning-curve", file, "--n-jobs", 1, *arguments)


def test_the_command_prints_table_and_verdict(run):
    result = run()
    assert result.exit_code == 0, result.output
    assert "images a class" in result.stdout
    assert "can't be told" in result.stdout.splitlines()[-1]
    assert result.stderr == ""


def test_the_command_prints_json(run):
    options = ("--head", "svm", "--param", "C=1", "--cv", 3, "--near-duplicates", "off")
    result = run("--sizes", "3,5", "--json", *options)
    facts = json.loads(result.stdout)
    assert [point["images_per_class"] for point in facts["points"]] == [3, 5, 8]
    assert (facts["head"], facts["params"], facts["folds"]) == ("svm", {"C": 1}, 3)
    assert facts["verdict"] == "unknown"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--sizes", "5,x"], 2, "expected numbers, as in 5,10,20"),
        (["--sizes", "100"], 2, "expected numbers from 2 to 10"),
        (["--head", "xgboost"], 2, "there are: "),
        (["--param", "D=1"], 2, "parameter of logreg"),
        (["--cv", "13"], 1, "--cv 12"),
        (["--embedding", "fc2.none"], 2, "there are: "),
    ],
)
def test_errors_are_one_line(run, arguments, code, message):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_curve_survives_json():
    curve = measure_curve(dataset(), "centroid", cv=3)
    again = LearningCurve.from_dict(json.loads(json.dumps(curve.to_dict())))
    assert again == curve
