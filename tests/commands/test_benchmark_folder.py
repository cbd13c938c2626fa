"""A benchmark lives in a folder, and nothing in it is computed twice."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.unit.data import run_benchmark
from tlfeatures import cross_validate, extract, load_dataset, make_head
from tlfeatures.benchmarking.benchmark import load_benchmark
from tlfeatures.cli import main
from tlfeatures.errors import FormatError, ParameterError

HEADS = ["logreg", "knn", "dummy"]


@pytest.fixture
def file(two_embeddings_file):
    return two_embeddings_file


def test_a_second_run_computes_nothing(file, tmp_path, no_fits):
    first = run_benchmark(file, cv=3, heads=HEADS, out=tmp_path / "out", repeats=2)
    written = [
        (tmp_path / "out" / name).read_bytes() for name in ("results.json", "predictions.csv")
    ]
    no_fits()
    again = run_benchmark(file, cv=3, heads=HEADS, out=tmp_path / "out", repeats=2)
    assert (first.computed, again.computed) == (12, 0)
    assert again.to_dict() == json.loads(json.dumps(first.to_dict()))
    assert written == [
        (tmp_path / "out" / name).read_bytes() for name in ("results.json", "predictions.csv")
    ]


def test_what_is_added_is_computed_and_ranked_with_the_rest(file, tmp_path):
    options = {"out": tmp_path / "out", "cv": 3}
    run_benchmark(file, heads=["logreg"], **options)
    result = run_benchmark(file, heads=["logreg", "ridge"], repeats=2, **options)
    assert result.computed == 6
    assert {rank.head for rank in result.comparison.ranking} == {"logreg", "ridge"}
    tuned = run_benchmark(file, heads=["logreg"], tune=True, **options)
    assert tuned.computed == 2
    assert "logreg (tuned)" in {rank.label for rank in tuned.comparison.ranking}


def test_the_same_asked_in_other_words_is_not_computed_again(file, tmp_path, no_fits):
    options = {"heads": HEADS, "out": tmp_path / "out"}
    first = run_benchmark(file, **options)
    again = run_benchmark(file, cv=5, split="cv", **options)
    assert again.computed == 0
    assert again.to_dict() == first.to_dict()
    scored = run_benchmark(file, cv=5, scoring="f1_macro", **options)  # in place of what was there
    assert len(scored.entries) == len(first.entries)
    for ours, theirs in zip(
        sorted(first.comparison.ranking, key=str), sorted(scored.comparison.ranking, key=str),
        strict=True,
    ):  # fmt: skip
        assert (ours.repeats, theirs.repeats) == (1, 1)


def test_another_seed_or_other_labels_are_another_study(file, tmp_path):
    run_benchmark(file, heads=["dummy"], out=tmp_path / "out")
    with pytest.raises(ParameterError, match="other images, labels, copies or folds"):
        run_benchmark(file, heads=["dummy"], out=tmp_path / "out", random_state=1)
    labels = {
        id_: (id_[-5] in "02468" and "even") or "odd" for id_ in load_dataset(file, "grid8.avg").ids
    }
    with pytest.raises(ParameterError, match="other images, labels, copies or folds"):
        run_benchmark(file, heads=["dummy"], out=tmp_path / "out", labels=labels)


def test_results_are_plain_data(file, tmp_path):
    result = run_benchmark(file, heads=HEADS, embeddings="grid8.flatten", out=tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "results.json").read_text())
    assert facts == json.loads(json.dumps(result.to_dict()))
    assert (facts["images"], facts["split"], facts["classes"]) == (24, "cv", ["blue", "red"])
    for entry in facts["heads"]:
        assert {"head", "embedding", "repeat", "params", "scores", "fit_seconds"} <= set(entry)
        low, high = entry["scores"]["accuracy"]["interval"]
        assert 0 <= low <= high <= 1
        assert len(entry["scores"]["accuracy"]["folds"]) == 5
    alone = cross_validate(make_head("knn"), load_dataset(file, "grid8.flatten"))
    with (tmp_path / "out" / "predictions.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["head"] == "knn"]
    assert [row["id"] for row in rows] == load_dataset(file, "grid8.flatten").ids.tolist()
    assert [int(row["fold"]) for row in rows] == alone.fold.tolist()
    table = np.array([[float(row["p_blue"]), float(row["p_red"])] for row in rows])
    np.testing.assert_array_equal(table, alone.probabilities)
    assert {row["label"] for row in rows} == {"blue", "red"}


def test_parameters_of_any_kind_make_another_entry(file, tmp_path):
    name = "sklearn.neural_network:MLPClassifier"
    options = {"heads": [name], "embeddings": "grid8.avg", "out": tmp_path / "out"}
    for sizes in ((3,), (4,)):
        result = run_benchmark(file, params={"hidden_layer_sizes": sizes, "max_iter": 5}, **options)
        assert result.computed == 1


def test_other_embeddings_of_the_same_name_are_not_mixed(file, photos, tmp_path):
    extract(photos, tmp_path / "b.h5", backbone="pixels", size=24, pools=["flatten"])
    extract(photos, tmp_path / "c.h5", backbone="pixels", size=16, pools=["flatten"])
    for each in ("b.h5", "c.h5"):
        result = run_benchmark(
            tmp_path / each, heads=["knn"], near_duplicates=None, out=tmp_path / "out"
        )
    names = {rank.embedding: rank.repeats for rank in result.comparison.ranking}
    assert names == {"b.h5:grid8.flatten": 1, "c.h5:grid8.flatten": 1}


def test_rows_that_are_lost_are_computed_again(file, tmp_path, caplog):
    first = run_benchmark(file, cv=3, heads=HEADS, embeddings="grid8.avg", out=tmp_path / "out")
    table = tmp_path / "out" / "predictions.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-3]))  # as a kill between two files may leave it
    again = run_benchmark(file, cv=3, heads=HEADS, embeddings="grid8.avg", out=tmp_path / "out")
    assert "lacks rows of 1 entries" in caplog.text
    assert again.computed == 1
    assert table.read_text() == "".join(lines)
    assert len(first.entries) == len(again.entries)


def test_a_folder_is_read_as_it_was_written(file, tmp_path):
    made = run_benchmark(
        file, cv=3, heads=HEADS, out=tmp_path / "out", repeats=2, command="tlfeatures x"
    )
    read = load_benchmark(tmp_path / "out")
    assert read.to_dict() == json.loads((tmp_path / "out" / "results.json").read_text())
    assert read.comparison == made.comparison
    assert read.commands == ["tlfeatures x"]
    assert read.study.ids.tolist() == made.study.ids.tolist()
    assert read.study.y.tolist() == made.study.y.tolist()
    for ours, theirs in zip(read.entries, made.entries, strict=True):
        assert np.array_equal(ours.fold, theirs.fold)
        assert np.allclose(ours.probabilities, theirs.probabilities)


def test_a_damaged_folder_is_one_line(file, tmp_path):
    run_benchmark(file, heads=["dummy"], out=tmp_path / "out")
    (tmp_path / "out" / "predictions.csv").write_text("key\n1\n")
    with pytest.raises(FormatError, match="damaged benchmark"):
        run_benchmark(file, heads=["dummy", "knn"], out=tmp_path / "out")
    (tmp_path / "out" / "results.json").write_text('{"format": "x", "format_version": 9}')
    with pytest.raises(FormatError, match="format x version 9"):
        run_benchmark(file, heads=["dummy"], out=tmp_path / "out")
    with pytest.raises(ParameterError, match="is a file"):
        run_benchmark(file, heads=["dummy"], out=file)


def test_a_folder_without_a_benchmark_is_said(tmp_path):
    with pytest.raises(ParameterError, match="holds no benchmark; expected the folder that"):
        load_benchmark(tmp_path)


def test_the_command_line_is_kept(file, tmp_path):
    arguments = ["benchmark", str(file), "--heads", "dummy", "--n-jobs", "1"]
    arguments += ["-o", str(tmp_path / "a b")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert CliRunner().invoke(main, arguments).exit_code == 0
    expected = f"tlfeatures benchmark {file} --heads dummy --n-jobs 1 -o '{tmp_path}/a b'"
    assert load_benchmark(tmp_path / "a b").commands == [expected]
