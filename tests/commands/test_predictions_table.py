"""The table of a benchmark's out-of-fold predictions: CSV, Parquet, and columns in Python."""

import csv
import json
import math
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from tests.fakes import write_image
from tests.unit.data import run_benchmark
from tlfeatures import extract, load_benchmark, load_dataset, write_predictions
from tlfeatures.cli import main
from tlfeatures.errors import FormatError

HEADS = ["knn", "tests.commands.test_benchmark:Blind"]  # Blind gives no probabilities
COLUMNS = ["id", "label", "head", "embedding", "repeat", "fold", "tuned", "key", "predicted"]


@pytest.fixture(scope="module")
def finished(embeddings, tmp_path_factory):
    """The folder of a benchmark that has ended."""
    out = tmp_path_factory.mktemp("table") / "out"
    run_benchmark(embeddings, heads=HEADS, cv=3, repeats=2, out=out)
    return out


def run(*arguments):
    result = CliRunner().invoke(main, ["predictions", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_tested_image_of_each_entry(finished, tmp_path):
    result = run(finished, "-o", tmp_path / "t.csv")
    assert result.exit_code == 0, result.output
    assert "192 predictions; 24 images, each predicted by 8 entries" in result.stdout
    rows, benchmark = read_rows(tmp_path / "t.csv"), load_benchmark(finished)
    assert list(rows[0]) == [*COLUMNS, "p_blue", "p_red"]
    study = benchmark.study
    for place, entry in enumerate(benchmark.entries):
        own, facts = rows[24 * place : 24 * (place + 1)], entry.facts
        assert [row["id"] for row in own] == study.ids.tolist()
        assert [row["label"] for row in own] == study.y.tolist()
        assert [int(row["fold"]) for row in own] == entry.fold.tolist()
        names = np.array(study.classes)[entry.predicted]
        assert [row["predicted"] for row in own] == names.tolist()
        for name in ("head", "embedding", "key"):
            assert {row[name] for row in own} == {facts[name]}
        assert {(row["repeat"], row["tuned"]) for row in own} == {(str(facts["repeat"]), "0")}
        values = [[float(row[f"p_{name}"] or "nan") for name in study.classes] for row in own]
        np.testing.assert_array_equal(values, entry.probabilities)  # to the last bit


def test_the_three_forms_are_the_same(finished, tmp_path):
    from pyarrow.parquet import read_table

    for name in ("t.csv", "t.parquet"):
        assert json.loads(run(finished, "-o", tmp_path / name, "--json").stdout) == {
            "file": str(tmp_path / name),
            "rows": 192,
            "entries": 8,
            "every_class": True,
        }
    columns = load_benchmark(finished).predictions_table()
    table = read_table(tmp_path / "t.parquet").to_pydict()
    rows = read_rows(tmp_path / "t.csv")
    assert list(columns) == list(table) == list(rows[0])
    for name, values in columns.items():
        wanted = [None if value != value else value for value in values.tolist()]
        assert table[name] == wanted
        assert [row[name] for row in rows] == ["" if v is None else str(v) for v in wanted]
    assert any(math.isnan(value) for value in columns["p_red"].tolist())


def test_ids_of_any_characters_are_read_back(tmp_path):
    from pyarrow.parquet import read_table

    names = ['a\nb"c', "a,b", "é", "日本", "=1+1", " x "]
    for label in ("x", 'y "z", \n'):
        for number, name in enumerate(names):
            write_image(tmp_path / "p" / label / f"{name}{label[0]}.png", number)
    extract(tmp_path / "p", tmp_path / "p.h5", backbone="pixels", size=16)
    data = load_dataset(tmp_path / "p.h5", near_duplicates=None)
    run_benchmark(
        tmp_path / "p.h5", heads="dummy", cv=2, near_duplicates=None, out=tmp_path / "out"
    )
    assert load_benchmark(tmp_path / "out").study.ids.tolist() == data.ids.tolist()
    for name in ("t.csv", "t.parquet"):
        write_predictions(tmp_path / "out", tmp_path / name)
    rows = read_rows(tmp_path / "t.csv")
    assert [row["id"] for row in rows] == data.ids.tolist()
    assert [row["label"] for row in rows] == data.y.tolist()
    assert read_table(tmp_path / "t.parquet")["id"].to_pylist() == data.ids.tolist()


def test_images_that_were_not_tested_have_no_row(embeddings, finished, tmp_path):
    folds = [(np.arange(6, 24), np.arange(6))]
    run_benchmark(
        embeddings, heads="dummy", embeddings="grid8.avg", cv=folds, near_duplicates=None,
        labels={id_: "ab"[row % 2] for row, id_ in enumerate(load_benchmark(finished).study.ids)},
        out=tmp_path / "out",
    )  # fmt: skip
    written = write_predictions(tmp_path / "out", tmp_path / "t.csv")
    assert written.rows == len(read_rows(tmp_path / "t.csv")) == 6


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("t.txt", "expected a name ending in .csv or .parquet"),
        ("t", "expected a name ending in .csv or .parquet"),
        ("no/t.csv", "there is no folder"),
        ("folder.csv", "is a folder"),
    ],
)
def test_a_file_that_can_not_be_made_is_refused(finished, tmp_path, name, said):
    (tmp_path / "folder.csv").mkdir()
    result = run(finished, "-o", tmp_path / name)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_without_a_benchmark_is_refused(tmp_path):
    result = run(tmp_path, "-o", tmp_path / "t.csv")
    assert result.exit_code == 2
    assert "contains no benchmark; expected a folder that" in result.stderr


def test_an_error_half_way_leaves_the_old_table(embeddings, tmp_path):
    folder = tmp_path / "out"
    run_benchmark(embeddings, heads=["dummy", "knn"], cv=3, out=folder)
    last = json.loads((folder / "results.json").read_text())["heads"][-1]["key"]
    (folder / "entries" / f"{last}.npz").write_bytes(b"PK")
    for name in ("t.csv", "t.parquet"):
        (tmp_path / name).write_text("what was there")
        with pytest.raises(FormatError, match=f"{last}.npz can't be read"):
            write_predictions(folder, tmp_path / name)
        assert (tmp_path / name).read_text() == "what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "t.csv", "t.parquet"]


def test_without_pyarrow_one_line_says_what_to_install(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run(finished, "-o", tmp_path / "t.parquet")
    assert result.exit_code == 2
    assert "pip install 'tlfeatures[parquet]', or give a name that ends in .csv" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert run(finished, "-o", tmp_path / "t.csv").exit_code == 0


def test_a_csv_needs_no_pyarrow(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # importing it fails
    assert run(finished, "-o", tmp_path / "t.csv").exit_code == 0
