"""More than 100 classes: what results, entries and tables keep of them."""

import csv
import json

import numpy as np
import pytest

from tests.unit.data import dataset
from tlfeatures import benchmark, fit, load_benchmark, report, write_predictions
from tlfeatures.heads.make_heads import make_one_head
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions
from tlfeatures.metrics.confusion import ConfusedPair, Confusion, count_pairs
from tlfeatures.model_selection.cross_validation import cross_validate
from tlfeatures.reports.page.contents import OPTIONAL
from tlfeatures.reports.page.errors_section import confusion_matrix
from tlfeatures.terminal.model_text import render_evaluation
from tlfeatures.terminal.predictions_text import render_predictions

CLASSES = [f"c{code:03d}" for code in range(120)]


def many(n=480):
    random = np.random.default_rng(0)
    data = dataset(n, d=12, classes=CLASSES)
    means = random.normal(size=(len(CLASSES), 12))
    data.X[:] = means[np.arange(n) % len(CLASSES)] + 0.7 * random.normal(size=(n, 12))
    return data


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("many") / "out"
    return benchmark(many(), ["centroid", "ridge"], cv=2, repeats=2, n_jobs=1, out=out)


def test_the_most_confused_pairs_come_first():
    counts = np.array([[5, 0, 3], [1, 2, 3], [0, 0, 9]])
    table = Confusion(list("abc"), counts)
    assert table.pairs == 3
    assert table.confused() == [
        ConfusedPair("a", "c", 3, 3 / 8),
        ConfusedPair("b", "c", 3, 3 / 6),
        ConfusedPair("b", "a", 1, 1 / 6),
    ]
    assert table.confused(1) == table.confused()[:1]
    assert not table.is_large


def test_results_have_pairs_instead_of_a_matrix():
    trial = cross_validate("centroid", many(), cv=2)
    facts = json.loads(json.dumps(trial.to_dict()))
    assert facts["confusion"] is None
    assert len(facts["confused"]) == 100
    first = facts["confused"][0]
    assert first["images"] == max(pair["images"] for pair in facts["confused"])
    few = cross_validate("centroid", dataset(), cv=2).to_dict()
    assert len(few["confusion"]) == 2
    assert len(few["confused"]) <= 2


def test_the_page_has_the_worst_and_the_best_classes():
    y = np.repeat(np.arange(120), 5)
    predicted = np.where(np.arange(600) % 5 < y // 24, y, (y + 1) % 120)
    shown = confusion_matrix(count_pairs(CLASSES, y, predicted))
    assert shown["figure"] is None
    assert len(shown["pairs"]) == 50
    assert (shown["all_pairs"], shown["all_classes"]) == (120, 120)
    recalls = [one["recall"] for one in shown["classes"]]
    assert len(recalls) == 50
    assert recalls == sorted(recalls)
    assert recalls[:24] == [0.0] * 24
    assert recalls[-10:] == [0.8] * 10
    pair = shown["pairs"][0]
    assert CLASSES[pair["row"]] == pair["true"]
    assert CLASSES[pair["column"]] == pair["predicted"]


@pytest.mark.slow
def test_entries_are_the_same_in_memory_and_in_the_folder(finished):
    again = load_benchmark(finished.out)
    for own, read in zip(finished.entries, again.entries, strict=True):
        assert own.probabilities.dtype == read.probabilities.dtype == np.float32
        np.testing.assert_array_equal(own.probabilities, read.probabilities)
    with np.load(f"{finished.out}/entries/{finished.entries[0].facts['key']}.npz") as arrays:
        assert arrays["probabilities"].dtype == np.float32


def test_kept_probabilities_have_the_precision_of_float32(finished):
    data = many()
    (entry,) = (
        entry
        for entry in finished.entries
        if entry.facts["head"] == "centroid" and entry.facts["repeat"] == 0
    )
    _, head = make_one_head("centroid")
    exact = cross_validate(head, data, cv=2).probabilities
    np.testing.assert_array_equal(entry.probabilities, exact.astype(np.float32))


def confident(repeats):
    """A benchmark of a head whose probabilities of most classes are far below 1e-8."""
    data = many()
    return data, benchmark(data, ["lda"], cv=2, repeats=repeats, n_jobs=1)


def test_scores_before_and_after_keeping_are_the_same():
    data, result = confident(1)
    ((entry,), trial) = result.entries, cross_validate("lda", data, cv=2)
    assert (trial.probabilities < 1e-12).mean() > 0.1  # is the head confident?
    own = BootstrapScorer.of(data.y, None, entry.fold >= 0, CLASSES, random_state=0)
    again = own.score([HeadPredictions(entry.predicted, entry.probabilities)])
    before = own.score([HeadPredictions(trial.predicted, trial.probabilities)])
    for name, record in entry.facts["scores"].items():
        assert record["score"] == again[name]["score"]
        assert record["interval"] == again[name]["interval"]
        assert record["score"] == pytest.approx(before[name]["score"], rel=1e-6)
        assert record["interval"] == pytest.approx(before[name]["interval"], rel=1e-6)


@pytest.mark.slow
def test_a_ranking_of_repeats_has_the_mean_of_their_scores():
    _, result = confident(2)
    (rank,) = result.comparison.ranking
    for name, record in rank.scores.items():
        each = [entry.facts["scores"][name]["score"] for entry in result.entries]
        assert record["score"] == pytest.approx(np.mean(each), rel=1e-9)


def test_a_csv_table_has_two_probabilities_and_a_parquet_table_all(finished, tmp_path):
    from pyarrow.parquet import read_table

    written = write_predictions(finished.out, tmp_path / "t.csv")
    assert not written.every_class
    assert ".parquet" in render_predictions(written)
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-3:] == ["predicted", "p_predicted", "p_label"]
    assert len(rows) == 4 * 480
    entry, classes = finished.entries[0], finished.study.classes
    for place in (0, 479):
        row, odds = rows[place], entry.probabilities[place]
        assert float(row["p_label"]) == odds[classes.index(row["label"])]
        assert float(row["p_predicted"]) == odds[classes.index(row["predicted"])]
    whole = write_predictions(finished.out, tmp_path / "t.parquet")
    assert whole.every_class
    assert ".parquet gives" not in render_predictions(whole)
    table = read_table(tmp_path / "t.parquet")
    assert len([name for name in table.column_names if name.startswith("p_")]) == 120


@pytest.fixture(scope="module")
def separable():
    """A dataset of 120 classes that a head tells without an error."""
    data, random = many(), np.random.default_rng(0)
    means = random.normal(size=(120, 12))
    data.X[:] = np.tile(means, (4, 1)) + 0.01 * random.normal(size=(480, 12))
    return data


def test_without_an_error_evaluate_has_no_table_of_confused_classes(separable, tmp_path):
    fitted = fit(separable[:360], "centroid", cv=3, n_jobs=1, model=tmp_path / "m.model")
    result = fitted.model.evaluate(separable[360:])
    assert result.scores["accuracy"]["score"] == 1
    text = render_evaluation(result)
    assert text.endswith("\nno tested image is classified wrongly")
    assert "confused" not in text


@pytest.mark.slow
def test_without_an_error_the_page_has_no_table_of_confused_classes(separable, finished, tmp_path):
    right = benchmark(separable, "centroid", cv=2, n_jobs=1)
    for name, result, shown in ("right", right, 0), ("wrong", finished, 1):
        report(result, tmp_path / f"{name}.html", without=OPTIONAL)
        page = (tmp_path / f"{name}.html").read_text()
        assert page.count('aria-label="Table of confused classes"') == shown
        assert page.count("Choose a number in the table") == shown
        assert ": 0 of 480 images are classified wrongly" in page or shown
        assert 'aria-label="Table of classes"' in page
