"""kill -9 of what writes models, pages and benchmarks, and of what has worker processes.

Promise: whatever was cut off, nothing half-written is read, nothing stays behind, and no model is
beside the card of another one.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from tests.integration.piped import run
from tests.unit.data import run_benchmark
from tlfeatures import extract, fit, load_benchmark
from tlfeatures.cli import main
from tlfeatures.models.describe import describe

pytestmark = pytest.mark.slow

# `tlfeatures ARGUMENTS` is killed just before (or after) the n-th change of a name on the disk.
KILLED = """
import os, signal, sys
left, after = int(sys.argv[1]), sys.argv[2] == "after"
def watched(name):
    real = getattr(os, name)
    def call(*given, **options):
        global left
        if ".lock" in str(given[0]):
            return real(*given, **options)
        left -= 1
        if left < 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*given, **options)
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(os, name, call)
from tlfeatures.cli import main
watched("replace")
watched("unlink")
main(sys.argv[3:])
"""


def killed(number, when, *arguments):
    """Whether it was killed, or had ended before."""
    code = run(KILLED, number, when, *arguments).returncode
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.fixture
def file(photos, tmp_path):
    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16, pools="flatten")
    return tmp_path / "x.h5"


def left_in(folder):
    return [path.name for path in folder.rglob("*") if path.name.endswith(".new")]


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.long)])
def test_no_model_is_ever_beside_the_card_of_another(when, file, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    model, card = models / "m.model", models / "m.model.md"
    for number in range(9):
        fit(file, "dummy", model=model)
        was_killed = killed(number, when, "fit", file, "--head", "centroid", "-o", model)
        head = describe(model)["head"]
        assert not card.exists() or f"head (classifier) {head} " in card.read_text()
        if not was_killed:
            break
    assert head == "centroid"
    assert number >= 3
    fit(file, "dummy", model=model)
    assert sorted(path.name for path in models.iterdir()) == ["m.model", "m.model.md"]


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.long)])
def test_a_killed_benchmark_is_finished_and_leaves_nothing(when, file, tmp_path):
    whole = run_benchmark(file, heads=["dummy", "ridge"], cv=3)
    for number in range(9):
        out = tmp_path / f"out{number}"
        run_benchmark(file, heads=["dummy"], cv=3, out=out)
        arguments = ["benchmark", file, "--heads", "ridge", "--cv", 3, "--n-jobs", 1, "-o", out]
        was_killed = killed(number, when, *arguments)
        again = run_benchmark(file, heads=["dummy", "ridge"], cv=3, out=out)
        found = {rank.head: rank.scores["accuracy"] for rank in again.comparison.ranking}
        assert found == {rank.head: rank.scores["accuracy"] for rank in whole.comparison.ranking}
        assert len(load_benchmark(out).entries) == 2
        assert left_in(out) == []
        if not was_killed:
            break
    assert number >= 2  # the entry, and results.json


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.long)])
def test_a_killed_benchmark_keeps_the_entries_that_it_has_computed(when, file, tmp_path):
    heads = "dummy,ridge,centroid"
    for number in range(9):
        out = tmp_path / f"out{number}"
        arguments = ["benchmark", file, "--heads", heads, "--cv", 3, "--n-jobs", 1, "-o", out]
        was_killed = killed(number, when, *arguments)
        written = len(list((out / "entries").glob("*.npz")))
        assert written == min(max(number - 1 + (when == "after"), 0), 3)  # the study comes first
        again = run_benchmark(file, heads=heads, cv=3, out=out)
        assert again.computed == 3 - written
        assert left_in(out) == []
        if not was_killed:
            break
    assert number == 5  # the study, three entries, and results.json


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.long)])
def test_a_killed_benchmark_leaves_a_folder_that_is_read(when, file, tmp_path):
    """Also while it replaces an entry by one with other scores."""
    out = tmp_path / "out"
    options = {"heads": "dummy,ridge", "cv": 3, "out": out}
    for number in range(9):
        run_benchmark(file, **options)
        arguments = ["benchmark", file, "--heads", "ridge", "--cv", 3, "--n-jobs", 1, "-o", out]
        was_killed = killed(number, when, *arguments, "--scoring", "f1_weighted")
        assert len(load_benchmark(out).entries) == 2
        if not was_killed:
            break
        shutil.rmtree(out)
    assert number >= 3  # the entry, results.json, and the entry that it replaces
    assert len(list((out / "entries").iterdir())) == 2


@pytest.mark.parametrize(
    "command",
    ["audit x.h5 --head centroid --cv 3 -o it.csv", "audit x.h5 --head dummy --cv 3 -o it.json"],
)
def test_what_was_killed_as_it_wrote_goes_with_the_next_run(command, file, monkeypatch):
    monkeypatch.chdir(file.parent)
    target = file.parent / command.split()[-1]
    target.write_text("old")
    assert killed(0, "before", *command.split())
    assert target.read_text() == "old"
    assert len(left_in(file.parent)) == 1
    assert CliRunner().invoke(main, command.split()).exit_code == 0
    assert left_in(file.parent) == []
    assert target.read_text() != "old"


# ---- worker processes

SLEEPING = """
import time
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
class Sleeping(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        with open("workers", "a") as file:
            import os
            file.write(f"{os.getpid()}\\n")
        time.sleep(120)
        return self
    def predict(self, X):
        return np.resize(self.classes_, len(X))
    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))
"""


def wait_until(true, seconds=60):
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.1)


def is_there(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.long),
        pytest.param(signal.SIGINT, marks=pytest.mark.long),
    ],
)
def test_workers_end_with_the_process_that_started_them(number, file, tmp_path):
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    command = [sys.executable, "-m", "tlfeatures", "benchmark", str(file), "--cv", "2"]
    command += ["--heads", "sleeping:Sleeping", "--n-jobs", "2", "-o", str(tmp_path / "out")]
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    noted = tmp_path / "workers"
    wait_until(lambda: noted.exists() and len(set(noted.read_text().split())) == 2)
    workers = set(map(int, noted.read_text().split()))
    assert all(map(is_there, workers))
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    wait_until(lambda: not any(map(is_there, workers)))
    assert "Traceback" not in said
