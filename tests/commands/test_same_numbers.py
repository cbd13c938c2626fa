"""The same head, images and folds show the same number, whichever command or file shows it."""

import json
import re
from html import unescape

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tlfeatures import (
    Model,
    audit,
    benchmark,
    cross_validate,
    extract,
    fit,
    learning_curve,
    load_benchmark,
    load_dataset,
)
from tlfeatures.cli import main
from tlfeatures.metrics.scores import score_name

HEADS = ["logreg", "rbf-svm", "dummy"]
FOLDS = 3
OPTIONS = {"groups": "[a-z]+/([a-z]+[0-9]*)", "random_state": 4}
ARGUMENTS = ("--cv", FOLDS, "--groups", OPTIONS["groups"], "--random-state", 4)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Images that are hard to tell apart, with a copy, and groups that make folds uneven."""
    folder = tmp_path_factory.mktemp("scenes")
    random = np.random.default_rng(5)
    for label, brightness, count in (("dark", 0, 17), ("light", 14, 23)):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(60, 120, (8, 8, 3)) + brightness + random.normal(0, 12)
            image = Image.fromarray(pixels.astype(np.uint8))
            image.save(folder / "photos" / label / f"site{number % 12}-{number}.png")
    image.save(folder / "photos" / "light" / "copy-1.png")
    extract(folder / "photos", folder / "x.h5", backbone="pixels", size=8, pools=["flatten"])
    return folder


@pytest.fixture(scope="module")
def expected(scenes):
    """The scores of each head by `benchmark`, whose folder is `out`."""
    result = benchmark(
        scenes / "x.h5", heads=HEADS, cv=FOLDS, out=scenes / "out", n_jobs=1, **OPTIONS
    )
    scores = {rank.head: rank.scores for rank in result.comparison.ranking}
    accuracy = scores["logreg"]["accuracy"]
    assert accuracy["score"] != pytest.approx(accuracy["mean"])  # or the test would show nothing
    return scores


def command(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_fit_shows_the_numbers_and_the_ranking_of_benchmark(scenes, expected):
    fitted = fit(scenes / "x.h5", HEADS, cv=FOLDS, **OPTIONS)
    assert {rank.head: rank.scores for rank in fitted.ranking} == expected
    stored = load_benchmark(scenes / "out")
    assert [rank.head for rank in fitted.ranking] == [r.head for r in stored.comparison.ranking]
    assert fitted.verdict == stored.comparison.verdict


def test_cross_validation_of_a_head_gives_these_numbers(scenes, expected):
    data = load_dataset(scenes / "x.h5", groups=OPTIONS["groups"])
    for name in HEADS:
        result = cross_validate(name, data, cv=FOLDS, random_state=OPTIONS["random_state"])
        assert result.scores == expected[name]


def test_the_whole_of_a_learning_curve_is_this_accuracy(scenes, expected):
    for name in HEADS:
        last = learning_curve(scenes / "x.h5", name, cv=FOLDS, **OPTIONS).points[-1]
        assert last.accuracy == pytest.approx(expected[name]["accuracy"]["score"])
        assert last.interval == pytest.approx(expected[name]["accuracy"]["interval"])


def test_an_audit_shows_the_accuracy_of_three_repeats(scenes):
    repeated = benchmark(scenes / "x.h5", heads="rbf-svm", cv=FOLDS, repeats=3, n_jobs=1, **OPTIONS)
    (rank,) = repeated.comparison.ranking
    accuracy = audit(scenes / "x.h5", cv=FOLDS, **OPTIONS).accuracy
    assert accuracy == pytest.approx(rank.scores["accuracy"]["score"])


def test_the_model_and_its_card_show_these_numbers(scenes, expected):
    fitted = fit(scenes / "x.h5", HEADS, cv=FOLDS, model=scenes / "m.model", **OPTIONS)
    best = fitted.ranking[0].head
    info = Model.load(scenes / "m.model").info
    assert (info["head"], info["scores"]) == (best, expected[best])
    card = (scenes / "m.model.md").read_text()
    for name, record in expected[best].items():
        interval = "none"
        if record["interval"] is not None:
            interval = "{:.3f} to {:.3f}".format(*record["interval"])
        row = [score_name(name), f"{record['score']:.3f}", interval]
        assert f"| {' | '.join(row)} | {record['mean']:.3f} | {record['std']:.3f} |" in card


def test_the_terminal_and_the_pages_show_these_numbers(scenes, expected):
    chosen = [argument for name in HEADS for argument in ("--head", name)]
    texts = [
        command("fit", scenes / "x.h5", *chosen, *ARGUMENTS, "--report", scenes / "fit.html"),
        command("benchmark", scenes / "x.h5", *chosen, *ARGUMENTS, "-o", scenes / "out"),
    ]
    command("report", scenes / "out", "-o", scenes / "out.html")
    first = max(HEADS, key=lambda name: expected[name]["accuracy"]["score"])
    for text in texts:
        for name in HEADS:
            record = expected[name]["accuracy"]
            shown = "{:.3f} [{:.3f}, {:.3f}]".format(record["score"], *record["interval"])
            assert re.search(rf"{name} +{re.escape(shown)} +{record['std']:.3f}", text), text
    # The page and the verdict show the accuracy of the best head, corrected for the choice.
    corrected = load_benchmark(scenes / "out").comparison.corrected("accuracy")
    assert expected[first]["accuracy"]["interval"][0] < corrected.score
    assert corrected.score <= expected[first]["accuracy"]["score"]
    percent = [f"{100 * value:.1f}" for value in (corrected.score, *corrected.interval)]
    for page in ("fit.html", "out.html"):
        html = unescape((scenes / page).read_text())
        assert f"<strong>{percent[0]} %</strong> of images are classified correctly" in html
        assert f"95 % interval {percent[1]} to {percent[2]}" in html
    for text in texts:
        interval = f"probably {percent[1]} to {percent[2]} %: the 95 % interval"
        assert f"accuracy {percent[0]} %, {interval}" in " ".join(text.split())


def test_json_of_both_commands_has_the_same_records(scenes, expected):
    fitted = json.loads(command("fit", scenes / "x.h5", "--head", "logreg", *ARGUMENTS, "--json"))
    compared = json.loads(
        command("benchmark", scenes / "x.h5", "--heads", "logreg", *ARGUMENTS, "--json")
    )
    assert fitted["heads"][0]["scores"] == expected["logreg"]
    assert compared["heads"][0]["scores"] == compared["ranking"][0]["scores"] == expected["logreg"]
