"""The audit of a file: what the command prints, what it writes, and what it refuses."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tlfeatures import audit, extract, load_dataset
from tlfeatures.cli import main
from tlfeatures.errors import ParameterError
from tlfeatures.model_selection.audit.results import Audit, Finding

# ---- what is written


@pytest.mark.parametrize(
    ("output", "message"),
    [("rows.xlsx", r"ending in \.csv or \.json"), ("nowhere/rows.csv", "in no folder")],
)
def test_what_can_not_be_written_is_said_before_the_file_is_read(output, message):
    with pytest.raises(ParameterError, match=message):
        audit("no-such-file.h5", output=output)


def test_labels_that_are_read_are_not_replaced(tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("id,label\n")
    with pytest.raises(ParameterError, match="would replace"):
        audit("no-such-file.h5", labels=labels, output=tmp_path / "." / "labels.csv")
    assert labels.read_text() == "id,label\n"


def test_csv_and_json_hold_every_row(tmp_path):
    findings = [
        Finding("near-duplicate", 'a/"ü",1.png', "a", "b/2.png", 1.0, "in train, but"),
        Finding("outlier", "a/3.png", "a", None, 0.6, "far"),
    ]
    result = Audit("x.h5", "x.avg", "none", 9, "rbf-svm", 0.9, findings)
    result.write_csv(tmp_path / "x.csv")
    result.write_json(tmp_path / "x.json")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["kind", "id", "label", "other", "score", "reason"]
    assert [(row["id"], row["other"]) for row in rows] == [
        ('a/"ü",1.png', "b/2.png"),
        ("a/3.png", ""),
    ]
    facts = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert facts == result.to_dict()
    assert facts["counts"] == {"near-duplicate": 1, "label": 0, "outlier": 1, "unreadable": 0}
    assert facts["findings"][1]["other"] is None


# ---- the command


@pytest.fixture(scope="module")
def faulty(_photos, tmp_path_factory):
    """Embeddings of twenty photos a class: one is in the other's folder, one is in both.

    Tests only read the file.
    """
    folder = tmp_path_factory.mktemp("audit")
    photos = shutil.copytree(_photos, folder / "photos")
    for label, channel in (("blue", 2), ("red", 0)):
        for number in range(8):
            random = np.random.default_rng([channel, number, 1])
            pixels = random.integers(0, 160, (16, 20, 3), np.uint8)
            pixels[..., channel] += np.uint8(60)
            Image.fromarray(pixels).save(photos / label / f"more{number}.png")
    (photos / "red" / "red03.png").rename(photos / "blue" / "wrong.png")
    shutil.copy(photos / "red" / "red01.png", photos / "blue" / "copy.png")
    extract(photos, folder / "photos.h5", backbone="pixels", size=16, pools=["flatten"])
    return folder / "photos.h5"


def command(*arguments):
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def test_the_command_lists_the_planted_ones(faulty, tmp_path):
    before = faulty.read_bytes()
    result = command(faulty, "-o", tmp_path / "rows.csv")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    body = lines[lines.index(next(line for line in lines if line.startswith("---"))) + 1 :]
    assert body[0].split()[:3] == ["near-duplicate", "blue/copy.png", "1.000"]
    assert "the same file is red/red01.png" in body[0]
    assert body[1].split()[:2] == ["label", "blue/wrong.png"]
    assert "changes no image and no label" in result.stdout
    assert "1 near-duplicate, 1 label" in result.stdout
    rows = list(csv.DictReader((tmp_path / "rows.csv").open(newline="")))
    assert [row["id"] for row in rows[:2]] == ["blue/copy.png", "blue/wrong.png"]
    assert faulty.read_bytes() == before


def test_top_limits_the_table_and_not_the_output(faulty, tmp_path):
    options = ("--head", "lda", "--top", 1)
    result = command(faulty, *options, "-o", tmp_path / "rows.json")
    facts = json.loads((tmp_path / "rows.json").read_text())
    count = len(facts["findings"])
    assert count >= 2
    assert f"and {count - 1} more" in result.stdout
    assert "wrong.png" not in result.stdout
    printed = json.loads(command(faulty, *options, "--json").stdout)
    assert printed == facts


def test_labels_from_a_csv_are_what_is_judged(faulty, tmp_path):
    labels = tmp_path / "labels.csv"
    truth = {"blue/wrong.png": "red", "blue/copy.png": "red"}
    lines = [f"{id_},{truth.get(id_, id_.split('/')[0])}" for id_ in load_dataset(faulty).ids]
    labels.write_text("id,label\n" + "\n".join(lines) + "\n")
    facts = json.loads(command(faulty, "--labels", labels, "--head", "lda", "--json").stdout)
    assert facts["judged"]
    assert facts["accuracy"] > 0.9
    assert not {each["id"] for each in facts["findings"]} & set(truth)


def test_help_and_errors(faulty, tmp_path):
    assert command("--help").stdout.startswith("Usage: main audit")
    for arguments, message in (
        ((faulty, "-o", "rows.xlsx"), ".csv or .json"),
        ((faulty, "--head", "nohead"), "there are: "),
        ((tmp_path / "no.h5",), "tlfeatures extract"),
    ):
        result = command(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stdout == ""


@pytest.mark.slow
def test_it_loads_no_tensorflow_and_prints_nothing_else(faulty):
    program = (
        "import sys; from tlfeatures import audit; audit(sys.argv[1], head='lda', cv=2); "
        "print([name for name in ('tensorflow', 'torch', 'keras') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(faulty)], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
