"""Images that can't be read are named wherever people look at the results."""

import csv
import json
import re

import pytest
from click.testing import CliRunner

from tlfeatures import audit, benchmark, extract, fit, load_dataset, report
from tlfeatures.cli import main

BAD = {"blue/bad0.png": b"", "red/bad1.jpg": b"text", "red/bad2.png": b"\x89PNG\r\n\x1a\n"}


@pytest.fixture
def file(photos, tmp_path):
    """Embeddings of 24 images; three more can't be read."""
    for id_, data in BAD.items():
        (photos / id_).write_bytes(data)
    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16)
    return tmp_path / "x.h5"


def test_a_dataset_names_them_with_label_and_reason(file, caplog):
    found = load_dataset(file).unreadable
    assert [(each.id, each.label) for each in found] == [(id_, id_.split("/")[0]) for id_ in BAD]
    assert found[0].reason == "the file is empty"
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "3 of 27 images could not be read" in said
    assert "blue/bad0.png (the file is empty)" in said


def test_their_labels_may_come_from_a_table(file, tmp_path, caplog):
    ids = [*load_dataset(file).ids.tolist(), *BAD]
    rows = [f"{id_},{'odd' if number % 2 else 'even'}" for number, id_ in enumerate(sorted(ids))]
    (tmp_path / "labels.csv").write_text("\n".join(["id,label", *rows]))
    caplog.clear()
    found = load_dataset(file, labels=tmp_path / "labels.csv").unreadable
    assert {each.id: each.label for each in found} == {
        id_: dict(row.split(",") for row in rows)[id_] for id_ in BAD
    }
    assert "belong to no" not in caplog.text


def test_a_label_that_only_they_have_is_no_class(file, photos):
    (photos / "green").mkdir()
    (photos / "green" / "bad.png").write_bytes(b"text")
    extract(photos, file)
    data = load_dataset(file)
    assert data.classes == ["blue", "red"]
    assert "green" in {each.label for each in data.unreadable}


def test_an_audit_lists_them(file, tmp_path):
    found = audit(file, cv=3, output=tmp_path / "found.csv")
    listed = [each for each in found.findings if each.kind == "unreadable"]
    assert {each.id: each.score for each in listed} == dict.fromkeys(BAD, 1.0)
    assert found.counts["unreadable"] == 3
    with (tmp_path / "found.csv").open(newline="") as opened:
        rows = [row for row in csv.DictReader(opened) if row["kind"] == "unreadable"]
    assert [row["id"] for row in rows] == sorted(BAD)
    assert rows[0]["reason"] == "the file is empty"
    result = CliRunner().invoke(main, ["audit", str(file), "--cv", "3"])
    assert "3 unreadable" in result.stdout
    for id_ in BAD:
        assert re.search(rf"^unreadable +{id_} +1\.000 ", result.stdout, re.MULTILINE)


@pytest.mark.slow
def test_a_page_names_them_also_without_its_audit(file, tmp_path):
    benchmark(file, heads=["centroid"], cv=3, out=tmp_path / "out")
    page = tmp_path / "page.html"
    report(tmp_path / "out", page, without=["audit", "map", "learning-curve", "images"])
    assert f"3 images could not be read and were left out: {', '.join(BAD)}." in page.read_text()
    report(tmp_path / "out", page, without=["map", "learning-curve", "images"])
    assert "unreadable images: 3" in page.read_text()


def test_those_of_every_file_of_a_benchmark_are_named(file, photos, tmp_path):
    for id_ in BAD:
        (photos / id_).unlink()
    (photos / "red" / "other.png").write_bytes(b"text")
    extract(photos, tmp_path / "y.h5", backbone="pixels", size=16)
    found = benchmark([file, tmp_path / "y.h5"], heads=["centroid"], cv=3)
    assert found.study.facts["unreadable"] == sorted([*BAD, "red/other.png"])


def test_evaluating_an_embeddings_file_names_them(file, photos, tmp_path):
    fit(file, ["centroid"], model=tmp_path / "m.model")
    for path in photos.glob("*/*[0-9].png"):
        if path.stat().st_size > 100:
            path.write_bytes(path.read_bytes() + b"\0")  # the model hasn't seen these bytes
    extract(photos, tmp_path / "new.h5", backbone="pixels", size=16)
    arguments = ["evaluate", str(tmp_path / "m.model"), str(tmp_path / "new.h5"), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert [each["id"] for each in json.loads(result.stdout)["failed"]] == sorted(BAD)
    assert result.exit_code == 3
    assert "can't read blue/bad0.png: the file is empty" in result.stderr
