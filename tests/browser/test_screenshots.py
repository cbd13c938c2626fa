"""The pictures in docs/ can be taken again, of any page."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "docs" / "screenshots.py"


def test_screenshots_of_a_page_show_it_in_light_in_dark_and_on_a_phone(page_file, tmp_path):
    subprocess.run([sys.executable, SCRIPT, page_file, tmp_path], check=True, timeout=600)
    pictures = {path.stem: Image.open(path).convert("L") for path in tmp_path.iterdir()}
    assert pictures.keys() == {"report", "report-dark", "report-phone"}
    assert pictures["report"].size == pictures["report-dark"].size
    light, dark = (float(np.median(pictures[name])) for name in ("report", "report-dark"))
    assert light > 200
    assert dark < 60
    assert pictures["report-phone"].width > 4 * 300  # four parts of the page, side by side
