"""Not significantly different from the best, different, or not to be tested: shown as three."""

import json
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from click.testing import CliRunner

from tests.commands.pages import page_of
from tests.unit.data import dataset, run_benchmark
from tests.unit.simulations import entries_of
from tlfeatures import RankingDisplay, extract
from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.benchmarking.rank import compare
from tlfeatures.cli import main
from tlfeatures.terminal.benchmark_text import render_benchmark
from tlfeatures.terminal.ranking_text import verdict_lines

HEADS = {"good": 0.95, "as good": 0.95, "bad": 0.6, "odd": 0.8}


def with_mcc(made):
    """Give entries a score that is known for folds only, not for images."""
    for entry in made:
        scores = entry.facts["scores"]
        scores["mcc"] = {**scores["accuracy"], "folds": [*scores["accuracy"]["folds"]]}
    return made


def without(entry, name="mcc", fold=0):
    """Make a score of one fold undefined."""
    score = entry.facts["scores"][name]
    score["folds"][fold] = score["mean"] = None
    score["reason"] = "no tested image is of b in fold 1"


@pytest.fixture
def compared():
    made, study, scorer = entries_of(dataset(1000), HEADS)
    for entry in with_mcc(made):
        if entry.facts["head"] == "odd":
            without(entry)
    return compare(made, study, "mcc", scorer)


def test_a_head_whose_p_is_undefined_is_not_called_different(compared):
    found = {rank.head: rank for rank in compared.ranking}
    assert {name: rank.standing for name, rank in found.items()} == {
        compared.ranking[0].head: "best",
        compared.ranking[1].head: "not different",
        "bad": "different",
        "odd": "untested",
    }
    assert found["odd"].p is None
    assert not found["odd"].best
    assert "no tested image is of b" in found["odd"].reason
    assert all(found[name].reason is None for name in ("good", "as good", "bad"))
    said = " ".join(compared.verdict)
    assert "Not tested against the best head: odd." in said


def test_json_has_the_standing_and_the_reason(compared):
    facts = json.loads(json.dumps({**compared.to_dict(), "folds": 5}, allow_nan=False))
    assert {each["standing"] for each in facts["ranking"]} == {
        "best",
        "not different",
        "different",
        "untested",
    }
    assert Comparison.from_dict(facts) == compared


def test_all_are_untested_where_the_best_is_not_defined_in_a_fold():
    made, study, scorer = entries_of(dataset(400), HEADS)
    for entry in with_mcc(made):
        if entry.facts["head"] in ("good", "as good"):
            without(entry)
    found = compare(made, study, "mcc", scorer)
    assert [rank.standing for rank in found.ranking] == ["best"] + ["untested"] * 3
    assert "the best head's mcc is not defined" in found.ranking[-1].reason
    assert "but the other heads can't be tested against it." in found.verdict[2]


@pytest.mark.parametrize(("scoring", "standing"), [("mcc", "untested"), ("accuracy", "different")])
def test_a_head_with_other_repeats_is_tested_over_images_only(scoring, standing):
    made, study, scorer = entries_of(dataset(400), {"a": 0.9, "b": 0.6}, repeats=2)
    parts = (("a", 0), ("b", 1))
    kept = [e for e in with_mcc(made) if (e.facts["head"], e.facts["repeat"]) in parts]
    found = compare(kept, study, scoring, scorer)
    assert found.ranking[1].standing == standing
    if standing == "untested":
        assert "no repeat in common" in found.ranking[1].reason


def test_a_head_whose_score_is_undefined_in_a_fold_is_tested_over_images():
    made, study, scorer = entries_of(dataset(400), {"a": 0.9, "b": 0.6})
    without(made[1], "accuracy")
    assert compare(made, study, "accuracy", scorer).ranking[1].standing == "different"


@pytest.mark.parametrize(
    ("n", "scoring", "reason"),
    [(30, "accuracy", "needs 20 tested images or more"), (200, "mcc", "there is no test")],
)
def test_a_single_split_that_can_not_be_tested_says_why(n, scoring, reason):
    split = np.array(["train", "val"] * (n // 2))
    data = dataset(n, split=split, y=np.array(list("aabb") * n)[:n])
    made, study, scorer = entries_of(data, {"good": 0.95, "bad": 0.5})
    for entry in made:
        entry.facts["scores"]["mcc"] = {**entry.facts["scores"]["accuracy"]}
    found = compare(made, study, scoring, scorer)
    assert found.ranking[1].standing == "untested"
    assert reason in found.ranking[1].reason


def test_the_figure_shows_three(compared):
    texts = [text.get_text() for text in RankingDisplay(compared).plot().ax_.get_legend().texts]
    assert texts == [
        "best, or not significantly different",
        "can't be tested",
        "significantly different",
    ]


@pytest.fixture(scope="module")
def folder(_photos, tmp_path_factory):
    """A benchmark on a split of too few images for a test."""
    place = tmp_path_factory.mktemp("few")
    for number, path in enumerate(sorted(_photos.glob("*/*.png"))):
        part = "val" if number % 3 == 0 else "train"
        target = place / "photos" / part / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    extract(place / "photos", place / "x.h5", backbone="pixels", size=16)
    run_benchmark(place / "x.h5", heads=["logreg", "dummy"], out=place / "out")
    return place


def test_the_text_and_the_page_show_that_it_can_not_be_tested(folder):
    result = CliRunner().invoke(
        main, ["benchmark", str(folder / "x.h5"), "--heads", "logreg,dummy", "-o", f"{folder}/out"]
    )
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert "dummy" in rows["?"]
    assert "none" in rows["?"]
    assert "?: can't be tested" in result.stdout
    reason = "the test needs 20 tested images or more, found only 8"
    assert reason in " ".join(result.stdout.split())
    html = unescape(page_of(folder / "out")[1])
    assert "(can't be tested)" in html
    assert reason in html
    assert "(significantly different from the best)" not in html


def test_the_text_marks_each_standing(compared):
    made, study, _ = entries_of(dataset(1000), HEADS)
    study.facts.update(weights="none", file="x.h5")
    from tlfeatures.benchmarking.benchmark_result import Benchmark

    text = render_benchmark(Benchmark(study, made, compared, 4, None))
    marks = {}
    for line in text.splitlines():
        for rank in compared.ranking:
            if f" {rank.label} " in line and "0." in line:
                marks.setdefault(rank.standing, line.strip()[0])
    assert (marks["best"], marks["not different"], marks["untested"]) == ("*", "*", "?")
    assert marks["different"] not in "*?"


def test_a_long_verdict_says_where_the_rest_of_it_is(compared):
    sentences = [f"Sentence {number}." for number in range(6)]
    long = replace(compared, verdict=sentences)
    lines = verdict_lines(long)
    assert lines[:4] == sentences[:4]
    assert lines[4:] == ["The verdict has 2 more sentences: see --report PAGE.html or --json."]
    assert verdict_lines(replace(compared, verdict=sentences[:4])) == sentences[:4]
