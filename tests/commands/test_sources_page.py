"""The commands of docs/sources.md run as they are written, by a backbone that needs no weights."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.contract.sources_table import PROMISES
from tlfeatures import extract, fit, load_dataset
from tlfeatures.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "sources.md"
TEXT = PAGE.read_text("utf-8")
FILES = re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
# What is added to a command of the page, so that it runs on a few images without weights.
ADDED = {"extract": "--backbone pixels --size 16", "fit": "--head logreg --cv 2", "predict": ""}


def write_photograph(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder where all commands have run."""
    folder = tmp_path_factory.mktemp("sources")
    for number in range(1, 5):
        write_photograph(folder / "flat" / f"{number}.jpg", number)
        for above in ("photos", "more"):
            name = "cat" if number % 2 else "dog"
            write_photograph(
                folder / above / name / f"{above}{number}.jpg", number + len(above) * 10
            )
    for name, text in FILES:
        (folder / name).write_text(text, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        extract("photos", "labelled.h5", backbone="pixels", size=16)
        fit("labelled.h5", "logreg", cv=2, model="MODEL")
        for line in COMMANDS:
            program, command, *arguments = line.split()
            assert program == "tlfeatures"
            arguments = [command, *arguments, *ADDED[command].split()]
            result = CliRunner().invoke(main, arguments, catch_exceptions=False)
            assert result.exit_code == 0, f"{line}\n{result.output}"
    return folder


def ids_and_labels(file):
    data = load_dataset(file)
    return dict(zip(data.ids.tolist(), data.y.tolist(), strict=True))


def test_the_commands_give_the_ids_and_labels_that_the_page_states(folder, monkeypatch):
    monkeypatch.chdir(folder)
    species = {"1.jpg": "Löwe", "2.jpg": "Bär", "3.jpg": "Löwe", "4.jpg": "Bär"}
    assert ids_and_labels("table.h5") == species
    boxes = {"1.jpg#box=0,0,40,48": "cow", "1.jpg#box=40,0,24,48": "pig",
             "2.jpg#box=10,5,30.5,30": "cow"}  # fmt: skip
    assert ids_and_labels("herd.h5") == boxes
    assert ids_and_labels("coco.h5") == boxes
    assert ids_and_labels("project.h5") == {"1.jpg": "cow", "2.jpg": "pig"}
    assert "photos/cat/photos1.jpg" in ids_and_labels("both.h5")


def test_the_page_has_the_table_of_promises():
    assert f"| source | {' | '.join(PROMISES)} |" in TEXT
    assert "| no |" not in TEXT
