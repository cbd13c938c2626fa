"""`predict -o`: labels in a file, for programs, for spreadsheets and for the eyes.

Promise: the file is complete or as it was, and no other file is replaced.
Promise: no name of an image or a class is run as a formula, and each path stays usable.
"""

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.fakes import full_disk
from tlfeatures import Model, extract, fit
from tlfeatures.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        result = CliRunner().invoke(main, ["predict", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def read(path, separator=","):
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file, delimiter=separator))


def left_in(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".new")]


# ---- the file


def test_the_file_is_the_table_that_is_printed_otherwise(run, fitted_model, photos, tmp_path):
    (photos / "bad.jpg").write_text("text")
    arguments = (fitted_model, photos, "--outliers")
    printed = run(*arguments)
    written = run(*arguments, "-o", "labels.csv")
    assert printed.exit_code == written.exit_code == 3
    assert (tmp_path / "labels.csv").read_text() == printed.stdout
    assert written.stdout == ""
    assert written.stderr == printed.stderr


def test_the_confidence_is_the_probability_of_the_label(run, fitted_model, photos, tmp_path):
    run(fitted_model, photos, "-o", "labels.csv")
    rows = read(tmp_path / "labels.csv")
    assert len(rows) == 24
    for row in rows:
        assert row["confidence"] == row[f"p_{row['label']}"]
    run(fitted_model, photos, "-o", "none.csv", "--min-confidence", 1)
    for row, unlabelled in zip(rows, read(tmp_path / "none.csv"), strict=True):
        assert unlabelled == {**row, "label": ""}


def test_the_ending_decides_what_is_written(run, fitted_model, photos, tmp_path):
    run(fitted_model, photos, "-o", "labels.csv")
    run(fitted_model, photos, "-o", "labels.tsv")
    assert read(tmp_path / "labels.tsv", "\t") == read(tmp_path / "labels.csv")
    run(fitted_model, photos, "-o", "labels.jsonl")
    run(fitted_model, photos, "-o", "labels.json", "--json")
    text = (tmp_path / "labels.jsonl").read_text()
    assert text == (tmp_path / "labels.json").read_text()
    objects = [json.loads(line) for line in text.splitlines()]
    assert [each["path"] for each in objects] == [
        row["path"] for row in read(tmp_path / "labels.csv")
    ]
    for each in objects:
        assert each["confidence"] == each["probabilities"][each["label"]]


@pytest.mark.parametrize(("excel", "separator"), [("semicolon", ";"), ("comma", ",")])
def test_a_table_for_excel(run, fitted_model, photos, tmp_path, excel, separator):
    umlaut = photos / "blue" / "Köcherfliege.png"
    (photos / "blue" / "blue00.png").rename(umlaut)
    run(fitted_model, photos, "-o", "plain.csv")
    run(fitted_model, photos, "-o", "labels.csv", "--excel", excel)
    assert (tmp_path / "labels.csv").read_bytes().startswith(b"\xef\xbb\xbfpath")
    rows = read(tmp_path / "labels.csv", separator)
    assert str(umlaut) in [row["path"] for row in rows]
    for row, plain in zip(rows, read(tmp_path / "plain.csv"), strict=True):
        if separator == ";":  # where the list separator is a semicolon, the decimal one is a comma
            assert "." not in row["confidence"]
            row |= {name: row[name].replace(",", ".") for name in row if name != "path"}
        assert row == plain


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "labels.txt"], "expected a name ending in .csv or .tsv"),
        (["-o", "labels"], "expected a name ending in .csv or .tsv"),
        (["-o", "labels.json"], "or .jsonl for JSON lines"),
        (["-o", "labels.csv", "--json"], "expected a name ending in .jsonl"),
        (["-o", "no/labels.csv"], "there is no folder"),
        (["-o", "folder.csv"], "is a folder"),
        (["-o", "mine.csv"], "mine.csv exists and is no table of `tlfeatures predict`"),
        (["-o", "mine.jsonl"], "mine.jsonl exists and is no table"),
        (["-o", "pixels.csv"], "pixels.csv exists and is no table"),
        (["-o", "checked.csv"], "checked.csv exists and is no table"),
        (["-o", "pipe.csv"], "pipe.csv is no file, but a pipe or device"),
        (["-o", "table.csv", "--report", "link.html"], "link.html is the file of -o"),
        (["--excel", "comma"], "add -o labels.csv"),
        (["--excel", "comma", "-o", "labels.jsonl"], "--excel is for a table"),
        (["--report", "labels.pdf"], "expected a name ending in .html"),
    ],
)
def test_what_can_not_be_written_is_refused_at_once(
    run, fitted_model, photos, tmp_path, monkeypatch, options, said
):
    mine = {
        "mine.csv": b"path,label,split\na.png,blue,train\n",
        "mine.jsonl": b'{"path": "a.png", "label": "blue"}\n',
        "pixels.csv": bytes(range(256)),
        "checked.csv": b"path,label,confidence,p_blue,error,by hand\na.png,blue,1,1,,red\n",
    }
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.html").symlink_to(tmp_path / "table.csv")
    (tmp_path / "folder.csv").mkdir()
    for name, data in mine.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(Model, "load", lambda path: pytest.fail("the model was loaded"))
    result = run(fitted_model, photos, *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {name: (tmp_path / name).read_bytes() for name in mine} == mine


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("labels.csv", []),
        ("labels.csv", ["--excel", "semicolon"]),
        ("labels.tsv", []),
        ("labels.jsonl", []),
    ],
)
def test_a_table_of_an_earlier_run_is_replaced(run, fitted_model, photos, tmp_path, name, options):
    (photos / "bad.jpg").write_text("text")
    run(fitted_model, photos / "bad.jpg", photos / "blue", "-o", name, *options)
    before = (tmp_path / name).read_bytes()
    result = run(fitted_model, photos / "red", "-o", name, *options)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / name).read_bytes() != before
    assert left_in(tmp_path) == []


def test_a_full_disk_leaves_the_old_table(run, fitted_model, photos, tmp_path):
    run(fitted_model, photos / "red", "-o", "labels.csv")
    before = (tmp_path / "labels.csv").read_bytes()
    with full_disk(200):
        result = run(fitted_model, photos, "-o", "labels.csv")
    assert result.exit_code == 1
    assert "labels.csv can't be written" in result.stderr
    assert (tmp_path / "labels.csv").read_bytes() == before
    assert left_in(tmp_path) == []


def test_an_error_half_way_leaves_the_old_table(run, fitted_model, photos, tmp_path, monkeypatch):
    run(fitted_model, photos / "red", "-o", "labels.csv")
    before = (tmp_path / "labels.csv").read_bytes()
    real = Model.iter_predict

    def interrupted(*given, **options):
        yield next(iter(real(*given, **options)))
        raise KeyboardInterrupt

    monkeypatch.setattr(Model, "iter_predict", interrupted)
    result = run(fitted_model, photos, "-o", "labels.csv", "--report", "labels.html")
    assert result.exit_code == 1
    assert "Interrupted." in result.stderr
    assert (tmp_path / "labels.csv").read_bytes() == before
    assert left_in(tmp_path) == []
    assert not (tmp_path / "labels.html").exists()


def test_a_page_that_can_not_be_written_loses_no_table(run, fitted_model, photos, tmp_path):
    with full_disk(8000):
        result = run(fitted_model, photos, "-o", "labels.csv", "--report", "labels.html")
    assert result.exit_code == 1
    assert "labels.html can't be written" in result.stderr
    assert len(read(tmp_path / "labels.csv")) == 24
    assert not (tmp_path / "labels.html").exists()


# ---- names that spreadsheets and programs could take for something else


@pytest.fixture(scope="module")
def strange_model(_photos, tmp_path_factory):
    """A model of classes whose names begin as formulas do."""
    folder = tmp_path_factory.mktemp("strange")
    names = ["=1+1", "@x", "-control", "-1", "+", 'a;"=2+2"']
    for number, path in enumerate(sorted(_photos.glob("*/*"))):
        (folder / "in" / names[number // 4]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / "in" / names[number // 4])
    extract(folder / "in", folder / "x.h5", backbone="pixels", size=16)
    fit(folder / "x.h5", model=folder / "x.model", near_duplicates=None, cv=2)
    return folder / "x.model"


def cells_in_a_spreadsheet(text):
    """Give all cells, whichever separator the program expects."""
    for separator in (",", ";", "\t"):
        for row in csv.reader(io.StringIO(text), delimiter=separator):
            yield from row


@pytest.mark.parametrize("excel", [[], ["--excel", "semicolon"]])
def test_no_cell_is_a_formula(run, strange_model, tmp_path, excel):
    names = ["=1+1.png", "+a.png", "-a.png", "@a.png", "\t=a.png", "a;=1+1;.png", "a\t=1.png"]
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 20, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "=bad.png").write_text("text")
    result = run(strange_model, "--", *names, "=bad.png")
    assert result.exit_code == 3
    run(strange_model, "-o", "labels.csv", *excel, "--", *names, "=bad.png")
    text = (tmp_path / "labels.csv").read_text("utf-8-sig")
    formulas = [cell for cell in cells_in_a_spreadsheet(text) if cell[:1] in tuple("=+-@\t")]
    assert set(formulas) <= {"-1", "+"}  # a number, and a sign
    rows = read(tmp_path / "labels.csv", ";" if excel else ",")
    for row, name in zip(rows, [*names, "=bad.png"], strict=True):
        assert Path(row["path"]).samefile(tmp_path / name)  # usable as it stands
        assert row["label"] in ("", "'=1+1", "'@x", "'-control", "-1", "+", 'a;"=2+2"')
    exact = run(strange_model, "--json", "--", *names)
    assert [json.loads(line)["path"] for line in exact.stdout.splitlines()] == names


def test_names_of_any_characters_are_read_back(run, fitted_model, photos, tmp_path):
    names = ['a\nb"c', "a\rb", "a,b;c\td", "é", "日本", " x ", "\u202egpj", "<b>", "x" * 200]
    for name in names:
        shutil.copy(photos / "red" / "red00.png", tmp_path / f"{name}.png")
    given = [f"{tmp_path}/{name}.png" for name in names]
    for output, separator in (("a.csv", ","), ("a.tsv", "\t"), ("b.csv", ";")):
        excel = ["--excel", "semicolon"] if output == "b.csv" else []
        assert run(fitted_model, *given, "-o", output, *excel).exit_code == 0
        assert [row["path"] for row in read(tmp_path / output, separator)] == given
    assert [row["path"] for row in csv.DictReader(io.StringIO(run(fitted_model, *given).stdout))]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_written_with_escapes(run, fitted_model, photos, tmp_path):
    shutil.copy(photos / "red" / "red00.png", tmp_path / "a\udcff.png")
    assert run(fitted_model, tmp_path / "a\udcff.png", "-o", "labels.csv").exit_code == 0
    assert read(tmp_path / "labels.csv")[0]["path"] == f"{tmp_path}/a\\udcff.png"
    assert run(fitted_model, tmp_path / "a\udcff.png").exit_code == 0


# ---- the summary


def test_the_summary_counts_labels_and_what_needs_a_look(run, fitted_model, photos):
    (photos / "bad.jpg").write_text("text")
    Image.new("RGB", (20, 16), "yellow").save(photos / "yellow.png")
    result = run(fitted_model, photos, "-o", "labels.csv", "--outliers")
    assert "25 images: 13 red, 12 blue; median confidence 0." in result.stderr
    assert " below 0.6\n1 flagged as outliers, 1 could not be read\n" in result.stderr
    result = run(fitted_model, photos / "red" / "red00.png")
    assert result.stderr.startswith("1 image: 1 red; median confidence 0.")
    result = run(fitted_model, photos / "bad.jpg")
    assert result.stderr.startswith("1 could not be read\n")


def test_the_summary_names_the_six_largest_classes(run, strange_model, photos, tmp_path):
    result = run(strange_model, photos, "-o", "labels.csv")
    counts = [row["label"].removeprefix("'") for row in read(tmp_path / "labels.csv")]
    largest = max(set(counts), key=counts.count)
    assert f"24 images: {counts.count(largest)} " in result.stderr
