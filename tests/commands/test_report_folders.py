"""What is kept in a benchmark's folder for its page, and folders that moved or are damaged."""

import json
import logging

import numpy as np
import pytest

from tests.commands.pages import benchmark, page_of, sections
from tests.fakes import write_image
from tlfeatures import extract, load_benchmark, report
from tlfeatures.benchmarking.benchmark_result import load_with_predictions_of
from tlfeatures.errors import DatasetError, FormatError, ParameterError
from tlfeatures.reports.benchmark_analyses import Analyses


def analyses_of(folder):
    return Analyses(load_benchmark(folder), n_jobs=1)


@pytest.mark.slow
def test_what_was_computed_once_is_kept(page_folder, page_copy):
    computed = []
    made = report(
        page_copy / "out",
        page_copy / "again.html",
        n_jobs=1,
        progress=lambda what, done, total: computed.append(what),
    )
    assert set(made.sections) >= {"learning_curve", "epochs", "audit", "map"}
    assert set(computed) == {"pictures"}
    first = (page_folder / "report.html").read_text().replace(str(page_folder), str(page_copy))
    assert (page_copy / "again.html").read_text() == first


def test_only_the_predictions_of_the_shown_head_are_kept(page_folder):
    whole = load_benchmark(page_folder / "out")
    part = load_with_predictions_of(page_folder / "out", lambda comparison: comparison.ranking[1])
    assert part.comparison == whole.comparison
    assert part.predictions_of(part.ranking[1]) == whole.predictions_of(whole.ranking[1])
    assert [entry.facts for entry in part.entries] == [entry.facts for entry in whole.entries]
    kept = {entry.facts["key"] for entry in part.entries if entry.predicted.size}
    assert kept == set(whole.ranking[1].keys)


@pytest.mark.parametrize("text", ["[1]", "null", '{"kept": {}}', "", '{"sha256": "0", "kept": {}}'])
def test_damaged_analyses_are_computed_again(page_copy, text):
    analyses = analyses_of(page_copy / "out")
    rank = analyses.rank("mlp")
    first = {**analyses.training(rank).to_dict(), "file": str(page_copy / "a.h5")}
    path = page_copy / "out" / "analyses.json"
    path.write_text(text)
    computed = []
    again = Analyses(
        load_benchmark(page_copy / "out"), n_jobs=1, progress=lambda *told: computed.append(told)
    )
    assert again.training(rank).to_dict() == first
    assert computed[-1] == ("epochs", 3, 3)
    assert list(json.loads(path.read_text())["kept"].values()) == [first]


def test_the_folds_are_those_of_the_benchmark(page_folder):
    """The last epoch's accuracy is the benchmark's, fold by fold."""
    analyses = analyses_of(page_folder / "out")
    rank = analyses.rank("mlp")
    curve = analyses.training(rank)
    folds = analyses.entry(rank).facts["scores"]["accuracy"]["folds"]
    last = [row[np.isfinite(row)][-1] for row in curve.validation_accuracy]
    assert np.allclose(last, folds)


# ---- the file


@pytest.mark.slow
def test_without_its_file_the_page_has_what_the_folder_knows(page_copy, caplog):
    (page_copy / "a.h5").unlink()
    (page_copy / "out" / "analyses.json").unlink()
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        made = report(page_copy / "out", page_copy / "again.html")
    assert sections((page_copy / "again.html").read_text()) == [
        "heads", "controls", "errors", "probabilities", "audit", "made",
    ]  # fmt: skip  # the audit's section has the copies
    assert made.images == 0
    for name in ("map", "audit", "learning curve", "epochs", "images"):
        assert f"the page has no {name}" in caplog.text
    assert "does not exist; run the command in the folder where the benchmark" in caplog.text


@pytest.mark.parametrize("change", ["another picture", "a picture less"])
@pytest.mark.slow
def test_a_file_that_holds_something_else_by_now_is_not_mixed_in(page_copy, caplog, change):
    image = page_copy / "photos" / "red" / "red03.png"
    image.unlink()
    if change == "another picture":
        write_image(image, 99)
    extract(page_copy / "photos", page_copy / "a.h5")
    (page_copy / "out" / "analyses.json").unlink()
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        _, html = page_of(page_copy / "out", ["map", "audit", "learning-curve", "epochs"])
    assert caplog.text.count("has changed since the benchmark was computed") == 4
    assert not {"map", "more-images", "epochs"} & set(sections(html))


def test_the_file_is_found_beside_the_folder(page_copy, tmp_path, monkeypatch):
    """A benchmark that was run with a relative path, moved somewhere else as a whole."""
    path = page_copy / "out" / "results.json"
    path.write_text(path.read_text().replace(str(page_copy), "elsewhere"))
    monkeypatch.chdir(tmp_path)
    analyses = analyses_of(page_copy / "out")
    assert analyses.dataset(analyses.rank()).X.shape[0] == 25


def test_results_found_again_by_another_path_are_of_that_path(page_copy, monkeypatch):
    monkeypatch.chdir(page_copy)
    benchmark("a.h5", heads="centroid", out="rel")
    monkeypatch.chdir(page_copy.parent)
    again = benchmark(f"{page_copy.name}/a.h5", heads="centroid", out=page_copy / "rel")
    assert again.computed == 0
    assert {entry.facts["file"] for entry in again.entries} == {f"{page_copy.name}/a.h5"}
    assert set(again.study.facts["files"]) == {f"{page_copy.name}/a.h5"}
    analyses = analyses_of(page_copy / "rel")
    assert len(analyses.map(analyses.rank())[0]) == 25


def test_an_analysis_says_what_its_file_lacks(page_copy):
    path = page_copy / "out" / "results.json"
    facts = json.loads(path.read_text())
    facts["heads"] = [{**each, "matrix": "0" * 16} for each in facts["heads"]]
    path.write_text(json.dumps(facts))
    analyses = analyses_of(page_copy / "out")
    with pytest.raises(DatasetError, match="has changed since the benchmark was computed"):
        analyses.map(analyses.rank())


def test_a_heads_name_from_the_folder_is_never_imported(page_copy):
    """The folder may come from anywhere: only this package's own heads are fitted again."""
    path = page_copy / "out" / "results.json"
    path.write_text(path.read_text().replace('"logreg"', '"os:abort"'))
    analyses = analyses_of(page_copy / "out")
    with pytest.raises(ParameterError, match="os:abort is not a head of this package"):
        analyses.learning_curve(analyses.rank("os:abort"))


def test_a_file_with_more_images_or_in_another_order_is_the_same(page_copy):
    """Its rows are found by id; only images of the benchmark are used."""
    write_image(page_copy / "photos" / "blue" / "aaa.png", 1)
    first = analyses_of(page_copy / "out")
    X = first.dataset(first.rank()).X
    settings = {"backbone": "pixels", "size": 16, "pools": ["avg", "flatten"]}
    extract(page_copy / "photos", page_copy / "a.h5", **settings)
    again = analyses_of(page_copy / "out")
    data = again.dataset(again.rank())
    assert "blue/aaa.png" not in data.ids
    np.testing.assert_array_equal(data.X, X)


# ---- folders cut off or damaged


def test_an_entry_that_is_lost_is_said(page_copy):
    next((page_copy / "out" / "entries").iterdir()).unlink()
    with pytest.raises(FormatError, match=r"lacks an entry of .* that results\.json names; run"):
        report(page_copy / "out", page_copy / "again.html")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("images", {}, "its images is"),
        ("classes", "ab", "its classes is"),
        ("copy_pairs", None, "its copy_pairs is"),
        ("files", [1], "its files is"),
        ("ranking", [], "its ranking is empty"),
        ("verdict", True, "its verdict is"),
        ("scoring", 3, "its scoring is"),
        ("folds", [], "its folds is"),
    ],
)
def test_a_damaged_benchmark_is_one_line(page_copy, name, value, said):
    path = page_copy / "out" / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(FormatError, match=said) as error:
        report(page_copy / "out", page_copy / "again.html")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("scores", []), ("p", "0.1"), ("label", None), ("keys", {}), ("fit_seconds", "x")],
)
def test_a_damaged_rank_is_one_line(page_copy, name, value):
    path = page_copy / "out" / "results.json"
    facts = json.loads(path.read_text())
    facts["ranking"][0][name] = value
    path.write_text(json.dumps(facts))
    with pytest.raises(FormatError, match=f"its {name} is") as error:
        report(page_copy / "out", page_copy / "again.html")
    assert "\n" not in str(error.value)
