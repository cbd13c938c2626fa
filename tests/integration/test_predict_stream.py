"""The running command `tlfeatures predict MODEL -`: each line is answered before the next is asked.

Promise: `predict -` starts the backbone once and answers each line as it comes.
"""

import json
import os
import select
import signal
import subprocess
import sys

import pytest

from tests.integration.piped import COMMAND, Program
from tlfeatures import extract, fit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(_photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    extract(_photos, folder / "photos.h5", backbone="pixels", size=16, pools=["flatten"])
    fit(folder / "photos.h5", model=folder / "m.model")
    return folder / "m.model"


HEADER = "path,label,confidence,p_blue,p_red,error"
REAL = (sys.executable, "-m", "tlfeatures", "predict")  # where Python's own start or end matters


@pytest.fixture
def start(model):
    """Start `predict MODEL -`, buffered as for any user; it does not outlive the test."""
    running = []

    def run(*options):
        running.append(Program(COMMAND, "predict", model, "-", *options))
        return running[-1]

    yield run
    for process in running:
        process.kill()


def line_of(stream):
    """The next line, if it comes without more being asked."""
    assert select.select([stream], [], [], 120)[0], "no line came"
    return stream.readline().decode()


def test_a_running_command_answers_each_line_before_the_next_is_asked(start, photos):
    process = start("--json", "--outliers")
    for path in (photos / "red" / "red00.png", photos / "nowhere.png", photos / "blue/blue00.png"):
        process.stdin.write(f"{path}\n".encode())
        answer = json.loads(line_of(process.stdout))
        assert answer["path"] == str(path)
        if path.exists():
            assert answer["label"] == path.parent.name
            assert answer["outlier"] is False
        else:
            assert "No such file" in answer["error"]
    _, said = process.communicate()
    assert process.returncode == 3
    assert said.decode().startswith("can't read")


def test_a_table_begins_before_the_input_and_reasons_come_at_once(start, photos, tmp_path):
    process = start()
    assert line_of(process.stdout) == HEADER + "\n"
    os.mkfifo(tmp_path / "pipe")
    good = photos / "red" / "red00.png"
    asked = [tmp_path / "nowhere.png", "a\0b.png", tmp_path / "pipe", photos, good]
    reasons = []
    for path in asked:
        process.stdin.write(f"{path}\n".encode())
        answer = line_of(process.stdout)
        if path == good:
            assert answer.startswith(f"{path},red,0.")
        else:
            assert answer.startswith(f"{path},,,,,")
            told = line_of(process.stderr)
            begins = f"can't read {path}: ".replace("\0", r"\x00")
            assert told.startswith(begins)
            reasons.append(told.strip().removeprefix(begins))
            assert reasons[-1] in answer.replace('""', '"')  # quotes are doubled in a CSV
    assert len(set(reasons)) == 4
    assert "No such file" in reasons[0]
    assert "null" in reasons[1]
    assert "directory" in reasons[3]
    out, said = process.communicate()
    assert (process.returncode, out) == (3, b"")
    assert "can't read" not in said.decode()  # again


def test_a_table_has_a_row_for_each_line_and_ends_with_the_input(start, photos):
    process = start()
    lines = [str(photos / "red" / "red00.png"), "", "nowhere.png", str(photos / "blue/blue00.png")]
    out, _ = process.communicate("\r\n".join(lines).encode())
    rows = out.decode().splitlines()
    assert rows[0] == HEADER
    assert rows[1].startswith(f"{lines[0]},red,0.")
    assert rows[2] == "nowhere.png,,,,,No such file or directory"
    assert rows[3].startswith(f"{lines[3]},blue,0.")
    assert process.returncode == 3


def test_a_closed_input_is_an_empty_one(model):
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *REAL, str(model), "-"]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        HEADER + "\n",
        "",
    )


def test_an_interrupted_stream_ends_without_a_traceback(model, photos):
    """Nor does Python, which ends while a thread waits for the next line."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*REAL, str(model), "-"], bufsize=0, **pipes) as process:
        process.stdin.write(f"{photos / 'red' / 'red00.png'}\n".encode())
        assert line_of(process.stdout).startswith("path")
        assert ",red," in line_of(process.stdout)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "Fatal" not in said
