"""The blocks of docs/notebook.md run one after the other, as the cells of a notebook."""

import ast
import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "notebook.md"
TEXT = DOCUMENT.read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def run_cell(text, names):
    """Run a cell; return the value of its last expression, which a notebook shows."""
    *others, last = ast.parse(text).body
    exec(compile(ast.Module(others, []), str(DOCUMENT), "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), str(DOCUMENT), "eval"), names)
    exec(compile(ast.Module([last], []), str(DOCUMENT), "exec"), names)
    return None


def test_every_block_runs_and_shows_what_it_promises(photos, flatten_file, tmp_path, monkeypatch):
    # The file exists already, with a backbone that needs no weights, so that the first block
    # computes nothing.
    assert photos.parent == flatten_file.parent == tmp_path
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    shown = [run_cell(text, names) for text in BLOCKS]
    assert len(shown) >= 5
    assert "<table>" in shown[0]._repr_html_()
    displays = [value for value in shown if hasattr(value, "_repr_png_")]
    assert len(displays) == 2
    assert (tmp_path / "confusion.png").stat().st_size > 5000
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_every_result_and_display_of_the_package_is_in_the_document():
    import tlfeatures

    values = [getattr(tlfeatures, name) for name in tlfeatures.__all__]
    shown = [value for value in values if hasattr(value, "to_frame") or hasattr(value, "plot")]
    missing = [value.__name__ for value in shown if f"`{value.__name__}`" not in TEXT]
    assert [name for name in missing if name not in ("CrossValidation", "ModelEvaluation")] == []
    assert len(shown) > 20


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", TEXT))
def test_links_lead_to_files(link):
    assert (DOCUMENT.parent / link).exists()
