"""The blocks of docs/python.md run in their order, as a reader would run them."""

import inspect
import re
from pathlib import Path

import pytest
from PIL import Image

import tlfeatures
from tlfeatures import extract

TEXT = (Path(__file__).parents[2] / "docs" / "python.md").read_text("utf-8")


@pytest.fixture
def folder(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extract("photos", "photos.h5", backbone="pixels", size=16)
    (tmp_path / "new").mkdir()
    for name, path in zip("abcd", sorted(photos.glob("*/*"))[10:14], strict=True):
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "new" / f"{name}.png")
    return tmp_path


def test_the_blocks_run(folder, capsys):
    names = {}
    blocks = re.findall("```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        exec(block, names)
    shown = capsys.readouterr().out
    assert "['new/a.png', 'image 1', 'image 2']" in shown
    assert "image 11 " in shown
    assert "12 12 [" in shown  # images that the model was fitted on, and tested ones
    assert shown.endswith("4 of 4\n")
    assert len(names["table"]) == 4
    assert len(set(names["model"].predict(["new/a.png", names["array"]]).confidence)) == 1


def test_every_function_with_progress_is_named():
    functions = {name: getattr(tlfeatures, name) for name in tlfeatures.__all__}
    functions |= {
        f"Model.{name}": getattr(tlfeatures.Model, name) for name in ("predict", "evaluate")
    }
    section = TEXT.split("## Progress")[1]
    for name, function in functions.items():
        if inspect.isroutine(function) and "progress" in inspect.signature(function).parameters:
            assert f"`{name}`" in section
