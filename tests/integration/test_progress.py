"""Progress in Python: bars in a notebook and in an interactive interpreter, none in a script."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import termios

import nbformat
import pytest
from nbclient import NotebookClient

from tlfeatures import (
    Extractor,
    Model,
    audit,
    benchmark,
    extract,
    fit,
    learning_curve,
    merge,
    verify,
    write_predictions,
)
from tlfeatures import report as write_report
from tlfeatures.errors import ParameterError
from tlfeatures.progress import shown_progress

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WORK = """
import tlfeatures
tlfeatures.extract("photos", "photos.h5", backbone="pixels", size=16)
result = tlfeatures.fit("photos.h5", "centroid", model="photos.model", cv=2, n_jobs=1)
predictions = result.model.predict("photos")
"""


@pytest.fixture
def folder(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_script_draws_nothing(folder):
    result = subprocess.run(
        [sys.executable, "-c", WORK], capture_output=True, text=True, check=True, timeout=300
    )
    assert (result.stdout, result.stderr) == ("", "")


def test_a_script_that_asks_for_a_bar_gets_one(folder):
    work = 'import tlfeatures; tlfeatures.extract("photos", "x.h5", backbone="pixels", progress='
    drawn = subprocess.run(
        [sys.executable, "-c", work + "True)"], capture_output=True, text=True, check=True
    )
    assert re.search(r"embedding: 100%.*24/24", drawn.stderr)


def test_an_interactive_interpreter_draws_bars(folder):
    text = typed_into_python(WORK)
    for label in ("embedding: 100%", "fitting: 100%", "predicting: 100%"):
        assert label in text


def typed_into_python(lines):
    """Type lines into Python on a terminal; return what the terminal shows."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 100))
    environment = {**os.environ, "TERM": "dumb", "PYTHON_BASIC_REPL": "1"}
    process = subprocess.Popen(
        [sys.executable, "-q"], stdin=end, stdout=end, stderr=end, env=environment
    )
    os.close(end)
    os.write(terminal, (lines + "exit()\n").encode())
    shown = b""
    with contextlib.suppress(OSError):  # the terminal of a process that has ended
        while new := os.read(terminal, 2**16):
            shown += new
    os.close(terminal)
    assert process.wait(60) == 0
    return shown.decode(errors="replace")


def test_a_notebook_shows_bars(folder):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(WORK)])
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    text = "\n".join(text_of(output) for output in notebook.cells[0].outputs)
    for label in ("embedding", "fitting", "predicting"):
        assert f"{label}: " in text
    assert "Warning" not in text


def text_of(output):
    return output.get("text", "") or output.get("data", {}).get("text/plain", "")


# ---- callables, True and False


def test_every_function_calls_a_function(folder):
    calls = []

    def show(*counts):
        calls.append(counts)

    def shown():
        found, calls[:] = list(calls), []
        assert found[-1][-2] == found[-1][-1] > 0
        return found[-1][-1]

    extract("photos", "photos.h5", backbone="pixels", size=16, progress=show)
    assert shown() == 24
    verify("photos.h5", progress=show)
    shown()
    merge("photos.h5", "merged.h5", progress=show)
    shown()
    options = {"cv": 2, "n_jobs": 1, "progress": show}
    fit("photos.h5", "centroid", model="photos.model", **options)
    assert shown() == 2 + 1 + 1  # the ranking and the saved head
    result = benchmark("photos.h5", heads=["centroid", "dummy"], repeats=2, out="out", **options)
    shown()
    write_predictions("out", "predictions.csv", progress=show)
    assert shown() == 2 * 2
    learning_curve("photos.h5", "centroid", **options)
    shown()
    audit("photos.h5", head="logreg", **options)
    shown()
    write_report(result, "page.html", without=["audit", "map", "epochs"], progress=show)
    assert {name for name, *_ in calls} == {"learning curve", "pictures"}
    calls.clear()
    model = Model.load("photos.model")
    assert len(model.predict("photos", progress=show, batch_size=5)) == 24
    assert calls[0] == (5, 24)
    assert shown() == 24
    list(model.iter_predict(iter(["photos"]), progress=show))
    assert calls[-1] == (24, 0)
    Extractor("pixels", progress=show).transform(sorted((folder / "photos").glob("*/*")))
    assert calls[-1] == (24, 24)


def test_true_draws_and_false_does_not(capsys):
    for progress, drawn in ((True, True), (False, False), (None, False)):
        with shown_progress(progress, "working", "steps") as show:
            for step in range(4):
                show(step + 1, 4)
        assert ("working: 100%" in capsys.readouterr().err) == drawn
    with shown_progress(True, "working", "steps"):
        pass  # nothing to do
    assert capsys.readouterr().err == ""


def test_what_is_no_progress_is_refused(folder):
    with pytest.raises(ParameterError, match="progress is 'yes'; expected True, False, None or"):
        extract("photos", "photos.h5", backbone="pixels", progress="yes")


def test_without_tqdm_only_true_is_an_error(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with shown_progress(None, "working", "steps") as show:
        show(1, 1)
    with (
        pytest.raises(ParameterError, match=r"pip install 'tlfeatures\[notebook\]'"),
        shown_progress(True, "working", "steps"),
    ):
        pass
