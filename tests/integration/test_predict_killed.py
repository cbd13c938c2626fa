"""`predict -o` that is killed or interrupted: the file is as it was, and nothing stays behind.

Promise: a table of labels is complete, or it is that of the run before.
"""

import signal
import time

import pytest

from tests.integration.piped import COMMAND, Program
from tests.integration.piped import run as run_program

pytestmark = pytest.mark.integration


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
