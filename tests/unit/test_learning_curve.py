"""Learning curves: which images each size is fitted on, and the options, errors and output."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from click.testing import CliRunner

from tests.fakes import IMAGE, VARIANT, Recorder
from tests.unit.simulations import gaussian_classes
from tlfeatures import HEADS, extract
from tlfeatures.cli import main
from tlfeatures.errors import ParameterError
from tlfeatures.model_selection.learning_curve.measure import learning_curve
from tlfeatures.model_selection.learning_curve.results import LearningCurve
from tlfeatures.terminal.learning_curve_text import render_learning_curve

FAST = {"mlp": {"steps": 20}, "gradient-boosting": {"max_iter": 5}}

# ---- subsets


@dataclass
class Fit:
    """The images that a head was fitted on, and those that it then predicted."""

    train: frozenset
    test: frozenset
    labels: list


def fits_of(data, **options):
    """Measure a curve of a head that records its rows; give the curve and the fits."""
    Recorder.fitted.clear()
    Recorder.asked.clear()
    data.X[:, IMAGE], data.X[:, VARIANT] = np.arange(len(data.y)), 0
    curve = learning_curve(data, "tests.fakes:recording", **options)
    asked = [frozenset(int(image) for image, _ in names) for _, names in Recorder.asked]
    assert [number for number, _ in Recorder.asked] == list(range(len(Recorder.fitted)))
    fits = []
    for (names, labels), test in zip(Recorder.fitted, asked, strict=True):
        train = frozenset(int(image) for image, _ in names)
        assert len(train) == len(names)
        fits.append(Fit(train, test, labels))
    return curve, fits


def in_threes(n):
    return np.array([f"g{row // 3}" for row in range(n)])


@pytest.mark.parametrize("grouped", [False, True])
def test_subsets_are_nested_and_grow(grouped):
    data = gaussian_classes((150, 150), groups=in_threes(300) if grouped else None)
    curve, fits = fits_of(data, cv=2)
    folds = {fit.test for fit in fits}
    assert len(folds) == 2
    assert len(fits) == 2 * sum(point.draws for point in curve.points)
    for test in folds:
        own = sorted({fit.train for fit in fits if fit.test == test}, key=len)
        sizes = {}
        for point in curve.points:  # of one size, the draws differ by a group in each class
            near = [train for train in own if abs(len(train) - point.train_images) <= 6]
            assert len(near) == point.draws  # the draws of a size all differ
            sizes[point] = near
        for smaller, larger in zip(curve.points, curve.points[1:], strict=False):
            for train in sizes[larger]:
                assert any(each < train for each in sizes[smaller])
        assert own[-1] == frozenset(range(300)) - test


def test_subsets_are_chosen_by_the_seed():
    data = gaussian_classes()
    first, again, other = (
        fits_of(data, sizes=[20], cv=2, random_state=seed)[1] for seed in (0, 0, 1)
    )
    assert again == first
    assert {fit.train for fit in other}.isdisjoint({fit.train for fit in first})


def test_all_classes_are_thinned_by_the_same_factor_but_two_are_kept():
    _, fits = fits_of(gaussian_classes((200, 50, 10)), sizes=[10, 30])
    whole = np.array([160, 40, 8])
    assert len(fits) == 5 * (5 + 3 + 1)
    for fit in fits:
        counts = [fit.labels.count(name) for name in "abc"]
        shares = [1.0, *(size / whole.mean() for size in (10, 30))]
        share = min(shares, key=lambda share: abs(share * whole.sum() - len(fit.train)))
        assert counts == pytest.approx(np.maximum(whole * share, 2), abs=1)


def test_groups_enter_whole_and_are_on_one_side():
    groups = in_threes(300)
    data = gaussian_classes((150, 150), groups=groups)
    _, fits = fits_of(data, sizes=[12, 50])
    assert len(fits) == 5 * (5 + 3 + 1)
    for fit in fits:
        train, test = sorted(fit.train), sorted(fit.test)
        assert np.isin(groups, groups[train]).sum() == len(train)
        assert not np.isin(groups[test], groups[train]).any()
        # Half a group in each class, and what folds differ by.
        assert min(abs(len(train) - images) for images in (24, 100, 240)) <= 2 * 3
    _, fits = fits_of(data, cv=2)
    assert min(len(fit.train) for fit in fits) >= 2 * 3 * 4  # by default five groups a class, about


def test_every_size_is_tested_on_the_same_images():
    curve, fits = fits_of(gaussian_classes(), cv=2)
    assert set.union(*(set(fit.test) for fit in fits)) == set(range(120))
    assert sum(len(fit.test) for fit in fits) == 120 * sum(point.draws for point in curve.points)
    assert not any(fit.train & fit.test for fit in fits)


@pytest.mark.parametrize(
    ("head", "grouped"),
    [*((head, False) for head in sorted(HEADS)), ("rbf-svm", True), ("centroid", True)],
)
def test_every_head_can_be_fitted_on_the_smallest_size(head, grouped):
    groups = np.array([f"g{row // 2}" for row in range(60)]) if grouped else None
    data = gaussian_classes((20, 20, 20), groups=groups)
    curve = learning_curve(data, head, sizes=[2], cv=2, params=FAST.get(head))
    assert len(curve.points) == 2
    assert curve.points[0].images_per_class == pytest.approx(4 if grouped else 2, abs=0.5)


# ---- numbers, errors, output


def test_jobs_do_not_change_the_numbers():
    data = gaussian_classes((40, 40), signal=1.5)
    options = {"sizes": [5, 9], "cv": 3}
    one, two = (learning_curve(data, "lda", n_jobs=jobs, **options).to_dict() for jobs in (1, 2))
    assert one == two
    other = learning_curve(data, "lda", random_state=1, **options).to_dict()
    assert other["points"] != one["points"]


def test_progress_counts_the_fits():
    data, seen = gaussian_classes((20, 20)), []
    learning_curve(data, sizes=[5], cv=2, progress=lambda *counts: seen.append(counts))
    assert seen == [(done, 2 * (3 + 1)) for done in range(9)]


@pytest.mark.parametrize("sizes", [[], [1, 5], [5, 49]])
def test_sizes_that_are_not_there(sizes):
    with pytest.raises(ParameterError, match="expected numbers from 2 to 48"):
        learning_curve(gaussian_classes(), sizes=sizes)


def test_points_are_pooled_accuracies_with_intervals_around():
    curve = learning_curve(gaussian_classes(), sizes=[8, 48])
    assert [point.images_per_class for point in curve.points] == [8, 48]
    assert [point.draws for point in curve.points] == [5, 1]
    for point in curve.points:
        assert point.train_images == 2 * point.images_per_class
        assert point.interval[0] < point.accuracy < point.interval[1]
        right = point.accuracy * 120 * point.draws
        assert right == pytest.approx(round(right))


@pytest.fixture(scope="module")
def easy_curve():
    """The curve of classes far apart; 80 images a class are trained on."""
    return learning_curve(gaussian_classes((120, 120), d=5, signal=12), "lda", cv=3)


def test_a_curve_survives_json(easy_curve):
    curve = easy_curve
    assert curve.forecasts
    again = LearningCurve.from_dict(json.loads(json.dumps(curve.to_dict())))
    assert again == curve


def test_text_and_json(easy_curve):
    curve = easy_curve
    text = render_learning_curve(curve)
    assert curve.sentence in " ".join(text.split())
    assert "160 per class (2 times)" in text
    assert "320 per class (4 times)" in text
    assert "No forecast is possible for more than 4 times the images" in " ".join(text.split())
    facts = json.loads(json.dumps(curve.to_dict(), allow_nan=False))
    assert facts["verdict"] == "little"
    assert [each["factor"] for each in facts["forecasts"]] == [2, 4]
    assert facts["points"][-1]["images_per_class"] == 80
    unknown = learning_curve(gaussian_classes((12, 12)), "lda", cv=3)
    assert "times)" not in render_learning_curve(unknown)


# ---- the command


@pytest.fixture(scope="module")
def photos_file(_photos, tmp_path_factory):
    """The embeddings of twelve images a class, which tests only read."""
    path = tmp_path_factory.mktemp("curve") / "photos.h5"
    extract(_photos, path, backbone="pixels", size=16)
    return path


@pytest.fixture
def run(photos_file):
    def invoke(*arguments):
        words = ["learning-curve", photos_file, "--n-jobs", 1, *arguments]
        return CliRunner().invoke(main, [str(word) for word in words])

    return invoke


def test_the_command_prints_table_and_verdict(run):
    result = run()
    assert result.exit_code == 0, result.output
    assert "images per class" in result.stdout
    assert "It can't be said whether more images would help." in result.stdout
    assert result.stderr == ""


def test_the_command_prints_json(run):
    options = ("--head", "svm", "--param", "C=1", "--cv", 3, "--near-duplicates", "off")
    result = run("--sizes", "3,5", "--json", *options)
    facts = json.loads(result.stdout)
    assert [point["images_per_class"] for point in facts["points"]] == [3, 5, 8]
    assert (facts["head"], facts["params"], facts["folds"]) == ("rbf-svm", {"C": 1}, 3)
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
