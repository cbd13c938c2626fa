"""README's code blocks are executed, in order, as a reader would."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tlfeatures.demo import write_digits

pytestmark = pytest.mark.integration

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", README.read_text(), re.DOTALL)


def test_code_blocks_run(tmp_path):
    """`photos` is a folder of digits here; `make` is run by its own users."""
    write_digits(tmp_path / "photos", per_class=10)
    write_digits(tmp_path / "new", per_class=1)
    write_digits(tmp_path / "checked", per_class=12)  # of which `photos` has ten a class
    ran = 0
    for language, text in BLOCKS:
        if language == "python":
            run([sys.executable, "-c", text], tmp_path)
            ran += 1
        elif "tlfeatures" in text:
            run(["bash", "-ec", f'PATH="{Path(sys.executable).parent}:$PATH"\n{text}'], tmp_path)
            ran += 1
    assert ran >= 2


def run(command, folder):
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
