"""`import`, `export-features`, and `predict` and `evaluate` on features, as a user calls them."""

import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.unit.features_files import IDS, LABELS, values
from tlfeatures.cli import main

X = values()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder, the working directory, with the features of a user: train.npz and new.csv."""
    monkeypatch.chdir(tmp_path)
    np.savez("train.npz", X=X, y=np.array(LABELS), ids=np.array(IDS))
    header = ",".join(["filename", *(f"f{column}" for column in range(6))])
    rows = [f"new{row}.jpg," + ",".join(map(str, values(8, seed=1)[row])) for row in range(8)]
    (tmp_path / "new.csv").write_text("\n".join([header, *rows]) + "\n")
    return tmp_path


def run(line, code=0):
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == code, result.output
    return result.output if code else result.stdout


def test_features_from_import_to_labels(folder):
    printed = run("import train.npz -o train.h5 --backbone-name clip")
    assert "train.h5: 20 rows imported from train.npz" in printed
    assert "2 classes: cat 10, dog 10" in printed
    run("fit train.h5 --head centroid -o m.model --near-duplicates off")
    rows = list(csv.DictReader(io.StringIO(run("predict m.model new.csv"))))
    assert [row["path"] for row in rows] == [f"new{row}.jpg" for row in range(8)]
    assert {row["label"] for row in rows} == {"cat", "dog"}
    lines = run("predict m.model new.csv --json").splitlines()
    assert [json.loads(line)["label"] for line in lines] == [row["label"] for row in rows]
    np.savez("other.npz", X=values(10, seed=2), y=np.array(LABELS[5:15]))
    run("import other.npz -o other.h5")
    assert "10 images tested" in run("evaluate m.model other.h5 --near-duplicates off")
    assert "20 labelled images" in run("evaluate m.model train.h5", code=1)


@pytest.mark.slow
def test_texts_name_the_origin_and_invent_nothing(folder):
    run("import train.npz -o train.h5 --backbone-name clip --note tiles")
    run("fit train.h5 --head centroid -o m.model --near-duplicates off")
    run("benchmark train.h5 --heads centroid,dummy --near-duplicates off -o results")
    run("report results -o r.html")
    for text in (
        run("info train.h5"),
        run("info m.model"),
        (folder / "m.model.md").read_text(),
        (folder / "r.html").read_text(),
    ):
        assert "imported" in text
        assert "train.npz" in text
        assert "clip" in text
        for invented in ("size: 0", "0 × 0", "0 x 0 pixels", "bilinear", "exif", "random"):
            assert invented not in text, invented
    assert "labels: " + str(folder / "train.npz") in run("info train.h5")


def test_images_are_refused_with_what_to_do_instead(folder, photos):
    run("import train.npz -o train.h5")
    run("fit train.h5 --head centroid -o m.model --near-duplicates off")
    for line in (
        f"predict m.model {photos}",
        f"predict m.model {photos} new.csv",
        f"predict m.model {photos}/blue/blue00.png",
        f"evaluate m.model {photos}",
        "export m.model -o m.onnx",
        f"extract {photos} -o train.h5 --backbone pixels",
        f"verify train.h5 --source {photos}",
    ):
        printed = run(line, code=1)
        assert printed.startswith("Error: ")
        assert printed.count("\n") == 1
        assert "imported" in printed
    assert "no problems found" in run("verify train.h5")
    assert not (folder / "m.onnx").exists()


def test_labels_and_groups_given_at_export(folder):
    run("import train.npz -o train.h5")
    (folder / "l.csv").write_text("id,label\n" + "".join(f"{id_},x{id_[0]}\n" for id_ in IDS))
    printed = run(r"export-features train.h5 -o out.csv --labels l.csv --groups /(\d)")
    assert "out.csv: 20 rows (20 with a label)" in printed
    rows = list(csv.DictReader((folder / "out.csv").open()))
    assert rows[0]["label"] == "xc"
    assert rows[3]["group"] == "3"
    facts = json.loads(run("import out.csv -o out.h5 --json"))
    assert facts["classes"] == {"xc": 10, "xd": 10}
    assert facts["groups"] == 10


def test_a_page_of_labels_without_images(folder):
    run("import train.npz -o train.h5")
    run("fit train.h5 --head centroid -o m.model --near-duplicates off")
    run("predict m.model new.csv --report labels.html -o labels.csv")
    assert "new3.jpg" in (folder / "labels.html").read_text()


def test_columns_are_for_features_and_tables(folder, photos, fitted_model):
    message = run(f"predict {fitted_model} {photos} --columns id=a", code=2)
    assert "is no table; leave out --images and --columns" in message


def test_features_of_a_model_of_images(folder, photos, fitted_model):
    """`photos.h5` beside the model has its embeddings: the labels are those of the images."""
    run(f"extract {photos} -o photos.h5 --backbone pixels --size 16 --pool flatten")
    run("export-features photos.h5 -o photos.npz")
    by_images = list(csv.DictReader(io.StringIO(run(f"predict {fitted_model} {photos}"))))
    for source in ("photos.npz", "photos.h5"):
        rows = list(csv.DictReader(io.StringIO(run(f"predict {fitted_model} {source}"))))
        assert [row["label"] for row in rows] == [row["label"] for row in by_images]
        assert [row["confidence"] for row in rows] == [row["confidence"] for row in by_images]
