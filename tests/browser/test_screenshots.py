"""The pictures in docs/ can be taken again, of any page."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tlfeatures import extract

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT, OF_NOTEBOOK = DOCS / "screenshots.py", DOCS / "notebook_screenshots.py"


def test_screenshots_of_a_page_show_it_in_light_in_dark_and_on_a_phone(page_file, tmp_path):
    subprocess.run([sys.executable, SCRIPT, page_file, tmp_path], check=True, timeout=600)
    pictures = {path.stem: Image.open(path).convert("L") for path in tmp_path.iterdir()}
    assert pictures.keys() == {"report", "report-dark", "report-phone"}
    assert pictures["report"].size == pictures["report-dark"].size
    light, dark = (float(np.median(pictures[name])) for name in ("report", "report-dark"))
    assert light > 200
    assert dark < 60
    assert pictures["report-phone"].width > 4 * 300  # four parts of the page, side by side


def test_screenshots_of_results_show_them_in_light_in_dark_and_on_a_phone(tmp_path):
    for code, label in enumerate(["glacier", "mountain"]):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng(number).integers(60 * code, 200, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    extract(tmp_path / "photos", tmp_path / "photos.h5", backbone="pixels", size=8)
    command = [sys.executable, OF_NOTEBOOK, tmp_path / "photos.h5", tmp_path]
    subprocess.run(command, check=True, timeout=600)
    wide = np.asarray(Image.open(tmp_path / "notebook.png").convert("L"))
    light, dark = (np.median(half) for half in np.array_split(wide, 2, axis=1))
    assert light > 200
    assert dark < 60
    assert Image.open(tmp_path / "notebook-phone.png").width > 2 * 300
