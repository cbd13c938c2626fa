"""A file whose backbone only a newer version has: commands say so, and its rows can be used."""

import json

import h5py
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.fakes import rows_of
from tlfeatures import Model, extract, load_dataset
from tlfeatures.cli import main

NAME = "dinov9"
TEXT = f"this version of tlfeatures has no backbone {NAME}: use a newer version"


def named(spec):
    spec.update(backbone=NAME, weights="imagenet", weights_sha256="ab" * 32, engine="keras")


def int8(spec):
    named(spec)
    ranges = {"images": 64, "random_state": 0, "largest": {"a": 1.0}, "smallest": [-1.0]}
    spec.update(engine="openvino", precision="int8", quantization=ranges)


def another_engine(spec):
    named(spec)
    spec.update(engine="tensorrt", precision="float8")


def declared(spec):
    named(spec)
    spec["declaration"] = {"name": NAME, "format": "safetensors", "new": [1]}


@pytest.fixture(params=[named, int8, another_engine, declared])
def file(request, photos, tmp_path):
    """A file of 24 photos whose spec a newer version could have written."""
    path = tmp_path / "x.h5"
    extract(photos, path, backbone="pixels", layers="grid8", pools="flatten", size=16)
    with h5py.File(path, "r+") as opened:
        spec = json.loads(opened.attrs["spec"])
        request.param(spec)
        opened.attrs["spec"] = json.dumps(spec)
    return path


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def last_line(result):
    return result.output.splitlines()[-1]


def test_its_rows_are_shown_checked_and_fitted(file, photos, tmp_path):
    assert TEXT in last_line(run("info", file))
    assert run("verify", file).exit_code == 0
    made = tmp_path / "x.model"
    result = run("fit", file, "--head", "logreg", "-o", made, "--n-jobs", "1")
    assert result.exit_code == 0, result.output
    assert f"no limit of near-duplicates was measured for backbone {NAME}" in result.output
    assert "damaged" not in result.output
    assert TEXT in last_line(run("info", made))
    # The model keeps what the newer version needs, and labels rows.
    with h5py.File(file) as opened:
        assert Model.load(made).spec.to_dict() == json.loads(opened.attrs["spec"])
    assert Model.load(made).predict_codes(rows_of(file)[1]["grid8.flatten"]).shape == (24,)


def test_what_needs_the_backbone_names_it_in_one_line(file, photos, tmp_path):
    made = tmp_path / "x.model"
    run("fit", file, "--head", "logreg", "-o", made, "--n-jobs", "1")
    Image.new("RGB", (20, 20), (200, 10, 10)).save(photos / "red" / "new.png")
    for words in (
        ("extract", photos, "-o", file),
        ("extract", photos, "-o", file, "--layer", "grid4"),
        ("verify", file, "--source", photos),
        ("predict", made, photos),
        ("export", made, "-o", tmp_path / "x.onnx"),
    ):
        result = run(*words)
        assert result.exit_code != 0, words
        assert TEXT in last_line(result), words
        assert "damaged" not in result.output


def test_only_identical_files_are_near_duplicates(file):
    dataset = load_dataset(file)
    assert not len(dataset.copies)
    assert len(load_dataset(file, near_duplicates=0.01).copies)
