"""The notebook examples/first_steps.ipynb runs, and is stored without outputs.

`make test` runs it with three of the ten digits, 20 images of each.
"""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FILE = Path(__file__).parents[2] / "examples" / "first_steps.ipynb"


FEWER = {"load_digits()": "load_digits(n_class=3)", "[:60]": "[:20]"}
# Training images, other images, classes.
COUNTS = {"few": ("60", "477", 3), "all": ("600", "1,197", 10)}


@pytest.fixture(scope="module", params=["few", pytest.param("all", marks=pytest.mark.long)])
def images(request):
    return request.param


@pytest.fixture(scope="module")
def notebook(images, tmp_path_factory):
    """The notebook, executed in an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    executed = nbformat.read(FILE, as_version=4)
    if images == "few":
        first = code_cells(executed)[0]
        for text, fewer in FEWER.items():
            assert text in first.source
            first.source = first.source.replace(text, fewer)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(executed, timeout=600, resources=resources).execute()
    assert list(folder.iterdir()) == []  # it writes to a folder of its own
    return executed


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def result_of(notebook, code):
    """What the last line of the cell with this code gave."""
    (cell,) = (cell for cell in code_cells(notebook) if code in cell.source)
    (output,) = (each for each in cell.outputs if each.output_type == "execute_result")
    return output.data


def test_it_is_stored_without_outputs():
    for cell in code_cells(nbformat.read(FILE, as_version=4)):
        assert cell.outputs == []
        assert cell.execution_count is None


def test_each_cell_runs_without_a_warning(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    others = [
        output
        for cell in cells
        for output in cell.outputs
        if output.output_type in ("error", "stream") and "/s]" not in output.get("text", "")
    ]
    assert others == []


def test_results_are_tables_and_figures(notebook):
    for code in ("extract(", "load_dataset(", "benchmark(", "Model.load(", "predictions = "):
        cells = [cell for cell in code_cells(notebook) if code in cell.source]
        assert any("text/html" in output.get("data", {}) for output in cells[0].outputs), code
    for display in ("EmbeddingMapDisplay", "RankingDisplay", "from_predictions"):
        cells = [cell for cell in code_cells(notebook) if f"{display}" in cell.source]
        assert any("image/png" in output.get("data", {}) for output in cells[0].outputs), display


def test_the_numbers_agree(images, notebook):
    """The accuracy of `score` is that of `evaluate`, which leaves out the training images."""
    trained, others, classes = COUNTS[images]
    assert result_of(notebook, "data = load_dataset(")["text/plain"].startswith(
        f"<Dataset: {trained} images x 192, {classes} classes"
    )
    predictions = result_of(notebook, "predictions = model.predict(")["text/plain"]
    assert predictions.startswith(f"<Predictions: {others} images: ")
    accuracy = float(result_of(notebook, "model.score(")["text/plain"])
    assert accuracy > 0.9
    evaluated = result_of(notebook, "evaluation = model.evaluate(")["text/plain"]
    assert f"{others} images tested: accuracy {accuracy:.3f} [" in evaluated
    score = re.search(r"'classifier__C': [\d.]+}, ([01]\.\d+)", last_result(notebook))
    assert float(score[1]) > 0.9


def last_result(notebook):
    return code_cells(notebook)[-1].outputs[-1].data["text/plain"]
