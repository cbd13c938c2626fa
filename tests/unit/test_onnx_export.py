"""The ONNX file of a model: the facts in it, what it may replace, its check, and the command."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from click.testing import CliRunner

from tests.unit.exported import model_of
from tlfeatures import export
from tlfeatures.cli import main
from tlfeatures.errors import ModelError, ParameterError, SourceError
from tlfeatures.models.export import check
from tlfeatures.models.export import export as export_module


@pytest.fixture
def model():
    return model_of("logreg", name="logreg")


def props(path):
    return {each.key: each.value for each in onnx.load(path).metadata_props}


def test_it_says_what_it_is(model, tmp_path):
    result = export(model, tmp_path / "m.onnx")
    made = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(made, full_check=True)
    found = props(tmp_path / "m.onnx")
    assert (found["format"], found["format_version"]) == ("tlfeatures onnx", "1")
    assert json.loads(found["labels"]) == model.classes == ["ant", "bee"]
    assert json.loads(found["spec"]) == model.spec.to_dict()
    assert (found["embedding"], found["head"]) == (model.embedding, "logreg")
    assert json.loads(found["model"])["images"] == 60
    assert set(json.loads(found["versions"])) >= {"tlfeatures", "skl2onnx", "scikit-learn"}
    assert "(n, 50, 67, 3)" in made.doc_string
    assert model.spec.resize in made.doc_string
    assert result.bytes == (tmp_path / "m.onnx").stat().st_size
    assert json.loads(json.dumps(result.to_dict()))["classes"] == model.classes


def test_precision_of_the_model_and_of_the_graph(model, tmp_path):
    model = replace(model, spec=replace(model.spec, precision="bfloat16"))
    result = export(model, tmp_path / "m.onnx")
    assert (result.precision, result.model_precision) == ("float32", "bfloat16")
    found = props(tmp_path / "m.onnx")
    assert (found["precision"], found["model_precision"]) == ("float32", "bfloat16")


def test_the_same_model_gives_the_same_file(model, tmp_path):
    for name in ("a.onnx", "b.onnx"):
        export(model, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_model_file_is_exported_as_the_model_is(model, tmp_path):
    model.save(tmp_path / "m.model")
    export(tmp_path / "m.model", tmp_path / "a.onnx")
    export(model, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"embedding": "grid8.flatten"}, "fit it again"),
        (
            {"info": {"classes": ["ant"]}},
            "2 probabilities, the model has 1 classes: .* fit it again",
        ),
        ({"info": {"columns": 7}}, "fit it again"),
    ],
)
def test_a_damaged_model_is_not_written(model, tmp_path, damage, said):
    if "info" in damage:
        damage = {"info": {**model.info, **damage["info"]}}
    with pytest.raises(ModelError, match=said):
        export(replace(model, **damage), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


# ---- where it is written


def test_what_is_no_export_is_never_replaced(model, tmp_path):
    model.save(tmp_path / "m.model")
    foreign = onnx.helper.make_model(onnx.helper.make_graph([], "other", [], []))
    onnx.save(foreign, tmp_path / "foreign.onnx")
    (tmp_path / "empty.onnx").touch()
    for name, reason in {
        "m.model": "not the ending of an ONNX file",
        "foreign.onnx": "give another name",
        "empty.onnx": "give another name",
        ".": "is a folder",
        "nowhere/m.onnx": "make it first",
    }.items():
        before = content(tmp_path / name)
        with pytest.raises(ParameterError, match=reason):
            export(model, tmp_path / name)
        assert content(tmp_path / name) == before


def content(path: Path):
    return path.read_bytes() if path.is_file() else None


def test_an_export_is_replaced_also_through_a_link(model, tmp_path):
    export(model, tmp_path / "real.onnx")
    (tmp_path / "link.onnx").symlink_to("real.onnx")
    export(model_of("dummy", name="dummy"), tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    assert props(tmp_path / "real.onnx")["head"] == "dummy"


def test_a_disk_that_refuses_leaves_what_was_there(model, tmp_path, monkeypatch):
    export(model, tmp_path / "m.onnx")
    before = content(tmp_path / "m.onnx")

    def refuse(self, data):
        Path(self).touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(ModelError, match="can't be written: No space left"):
        export(model_of("dummy"), tmp_path / "m.onnx")
    assert content(tmp_path / "m.onnx") == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("package", ["skl2onnx", "onnxruntime"])
def test_without_the_extra_it_says_how_to_get_it(package, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError) as refused:
        export(model, tmp_path / "m.onnx")
    expected = f"`tlfeatures export` needs {package}: pip install 'tlfeatures[onnx]'"
    assert str(refused.value) == expected


# ---- beside the model, and the command


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def saved(fitted_model):
    return fitted_model


def test_the_command(run, saved, photos, tmp_path):
    result = run("export", saved, "-o", tmp_path / "m.onnx", "--check", photos)
    assert result.exit_code == 0, result.output
    for words in ("uint8, (n, 16, 16, 3)", "24 images compared", "0 labels differ", "speed"):
        assert words in result.stdout
    result = run("export", saved, "-o", tmp_path / "m.onnx", "--json")
    facts = json.loads(result.stdout)
    assert (facts["head"], facts["precision"], facts["check"]) == ("logreg", "float32", None)


def test_the_check_in_figures(saved, photos, tmp_path):
    (photos / "red" / "bad.png").write_text("text")
    found = export(saved, tmp_path / "m.onnx", check=[photos / "red", photos / "blue"]).check
    assert (found.images, found.labels_differ, found.passed) == (24, 0, True)
    assert 0 <= found.largest_difference < 1e-5
    assert found.own_precision == "float32"
    assert min(found.onnx_images_per_second, found.own_images_per_second) > 0
    assert [Path(path).name for path in found.failed] == ["bad.png"]


def test_exit_codes(run, saved, photos, tmp_path, monkeypatch):
    command = ["export", saved, "-o", tmp_path / "m.onnx", "--check", photos]
    assert run("export", saved, "-o", tmp_path).exit_code == 2
    (photos / "red" / "bad.png").write_text("text")
    result = run(*command)
    assert result.exit_code == 3
    assert "bad.png" in result.stderr
    monkeypatch.setattr(check, "LARGEST_DIFFERENCE", -1.0)
    result = run(*command)
    assert result.exit_code == 1
    assert "was not written" in result.stderr


def test_nothing_is_written_where_the_check_fails(saved, photos, tmp_path, monkeypatch):
    (tmp_path / "bad.png").write_text("text")
    target = tmp_path / "m.onnx"
    with pytest.raises(SourceError, match="can be read"):
        export(saved, target, check=tmp_path / "bad.png")
    assert not target.exists()
    export(saved, target)
    before = target.read_bytes()
    monkeypatch.setattr(check, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(ModelError, match="not written"):
        export(saved, target, check=photos)
    assert target.read_bytes() == before


def test_a_graph_that_is_too_large_for_a_file_is_one_line(model, tmp_path, monkeypatch):
    def serialize():
        raise ValueError("Message onnx.ModelProto exceeds maximum protobuf size of 2GB")

    large = SimpleNamespace(SerializeToString=serialize)
    monkeypatch.setattr(export_module, "_graph_of", lambda model, weights: large)
    with pytest.raises(ModelError, match="more than 2 GB, the limit of an ONNX file"):
        export(model, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
