"""`predict -o` as a process: killed, interrupted, and watched by a person.

Promise: a table of labels is complete, or it is that of the run before.
"""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from tests.integration.piped import COMMAND, Program
from tests.integration.piped import run as run_program

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def temporary(folder):
    return [path for path in folder.iterdir() if path.name.endswith(".new")]


@pytest.fixture
def labelling(fitted_model, photos, tmp_path):
    """A running `predict MODEL - -o labels.csv` that has its temporary file; there was a table."""
    done = run_program(
        COMMAND, "predict", fitted_model, photos / "red", "-o", tmp_path / "labels.csv"
    )
    assert done.returncode == 0
    arguments = ("predict", fitted_model, "-", "-o", tmp_path / "labels.csv")
    program = Program(COMMAND, *arguments, "--report", tmp_path / "labels.html")
    program.stdin.write(f"{photos / 'blue' / 'blue00.png'}\n".encode())
    ends = time.monotonic() + 120
    while not temporary(tmp_path):
        assert time.monotonic() < ends
        time.sleep(0.05)
    yield program
    program.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_is_there_stays(labelling, fitted_model, photos, tmp_path, number):
    before = (tmp_path / "labels.csv").read_text()
    labelling.send_signal(number)
    labelling.communicate()
    assert labelling.returncode != 0
    assert (tmp_path / "labels.csv").read_text() == before
    assert before.count("\n") == 13
    assert not (tmp_path / "labels.html").exists()
    if number == signal.SIGINT:
        assert temporary(tmp_path) == []
    output = ("-o", tmp_path / "labels.csv", "--report", tmp_path / "labels.html")
    assert run_program(COMMAND, "predict", fitted_model, photos, *output).returncode == 0
    assert (tmp_path / "labels.csv").read_text().count("\n") == 25
    assert temporary(tmp_path) == []


def test_a_person_sees_a_bar_and_a_file_none(fitted_model, photos, tmp_path):
    command = [sys.executable, "-m", "tlfeatures", "predict", str(fitted_model), str(photos)]
    ours, terminal = pty.openpty()
    with open(terminal, "wb", closefd=True) as screen:  # noqa: PTH123
        done = subprocess.run(
            [*command, "-o", str(tmp_path / "labels.csv")], stderr=screen, check=True, timeout=300
        )
    text = os.read(ours, 2**20).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "predicting" in text
    assert "24/24" in text
    assert "24 images: 12 blue, 12 red" in text
    silent = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert silent.stderr.count("\n") == 1
