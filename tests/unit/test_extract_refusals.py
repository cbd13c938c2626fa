"""What `extract` refuses, by an error that names the remedy; the file stays as it was."""

import os

import h5py
import numpy as np
import pytest
from filelock import FileLock

from tests.fakes import Constant, use_backbone, use_engine, write_image
from tests.unit.data import extract_pixels, rows_by_id
from tlfeatures import merge, verify
from tlfeatures.errors import (
    BusyError,
    FormatError,
    ParameterError,
    SourceError,
    SpecError,
    StoreError,
    TlfeaturesError,
)
from tlfeatures.features.file.reader import read_header


@pytest.mark.parametrize(
    ("options", "named"),
    [({"size": 150}, "--size"), ({"dtype": "float16"}, "--dtype")],
)
def test_other_settings_are_refused_and_nothing_is_lost(photos, file, options, named):
    extract_pixels(photos, file)
    before = file.read_bytes()
    with pytest.raises(SpecError, match=f"{next(iter(options))}.*{named}.*-o"):
        extract_pixels(photos, file, **options)
    assert file.read_bytes() == before


def test_another_folder_is_refused(photos, file, tmp_path):
    extract_pixels(photos, file)
    write_image(tmp_path / "other" / "a" / "1.png", 1)
    with pytest.raises(SourceError, match="--prune"):
        extract_pixels(tmp_path / "other", file)
    assert len(rows_by_id(file)) == 24


def test_another_seed_names_the_option_for_it(photos, file, monkeypatch):
    options = {"backbone": "vgg16", "weights": "random", "precision": "float32", "size": 32}
    options["engine"] = "keras"
    use_engine(monkeypatch, Constant)
    extract_pixels(photos, file, **options)
    with pytest.raises(SpecError, match="leave out --random-state"):
        extract_pixels(photos, file, **options, random_state=7)


def test_no_file_is_made_when_the_weights_are_missing(photos, file):
    with pytest.raises(ParameterError, match=r"there is no file .*nowhere\.h5; --weights"):
        extract_pixels(photos, file, backbone="vgg16", size=32, weights="nowhere.h5")
    assert not file.exists()


@pytest.mark.parametrize("size", [(65_536, 8), "8,70000"])
def test_a_size_that_no_file_can_hold_is_refused_by_its_option(photos, file, size):
    with pytest.raises(ParameterError, match="size must be at most 65,535"):
        extract_pixels(photos, file, size=size)
    assert not file.exists()


@pytest.mark.parametrize("seed", [-1, 1.5, "1", np.random.RandomState(0)])
def test_a_seed_that_is_no_number_is_refused(photos, file, seed):
    options = {"backbone": "vgg16", "weights": "random", "size": 32}
    with pytest.raises(ParameterError, match="random_state must be a whole number"):
        extract_pixels(photos, file, **options, random_state=seed)


def test_a_link_that_leads_back_to_itself_is_refused(photos, file):
    file.symlink_to(file.name)
    with pytest.raises(TlfeaturesError, match=file.name):
        extract_pixels(photos, file)
    for command in (verify, merge):
        with pytest.raises(TlfeaturesError, match=file.name):
            command(file)
    assert file.is_symlink()


def test_a_pipe_is_refused_as_what_it_is(photos, file):
    os.mkfifo(file)
    with pytest.raises(ParameterError, match="is no regular file"):
        extract_pixels(photos, file)


def test_no_images_says_so(tmp_path, file):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no images"):
        extract_pixels(tmp_path / "empty", file)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["grid9"]}, "there are: grid"),
        ({"pools": ["none"]}, "feature map"),
        ({"size": "0"}, "size must be"),
        ({"size": "a,b"}, "size must be"),
        ({"size": 4}, "8 pixels"),
        ({"backbone": "vgg61"}, "there are: vgg19, vgg16"),
        ({"dtype": "float8"}, "float16"),
        ({"precision": "bfloat16"}, "leave out"),
        ({"weights": "random"}, "pixels has no weights"),
        ({"backbone": "vgg16", "size": 32, "precision": "int4"}, "there are: .*float32"),
        ({"backbone": "vgg16", "size": 32, "engine": "theano"}, "there are: .*openvino"),
        (
            {"backbone": "vgg16", "size": 32, "engine": "keras", "precision": "int8"},
            "float32 or bfloat16, not in int8: leave out --engine",
        ),
        ({"backbone": "vgg16", "size": 32, "engine": "ncnn", "device": "gpu"}, "ncnn has no GPU"),
        ({"engine": "openvino"}, "leave out"),
        ({"batch_size": 0}, "batch_size must be 1"),
        ({"size": 20.5}, "size must be"),
        ({"backbone": "vgg16", "size": 224, "layers": ["block5_pol"]}, "there are: block5_pool"),
        ({"backbone": "vgg16", "layers": ["fc2"], "size": 150}, "needs --size 224"),
        ({"backbone": "vgg16", "size": 31}, "32 pixels"),
    ],
)
def test_wrong_settings_name_the_right_ones(photos, file, options, message):
    with pytest.raises(ParameterError, match=message):
        extract_pixels(photos, file, **options)
    assert not file.exists()


def test_a_folder_that_can_not_be_written_is_one_line(photos, file):
    with pytest.raises(ParameterError, match="no folder"):
        extract_pixels(photos, file.parent / "nowhere" / "photos.h5")
    with pytest.raises(ParameterError, match="is a folder"):
        extract_pixels(photos, photos)


def test_a_file_of_another_kind_is_left_alone(photos, file):
    with h5py.File(file, "w") as other:
        other["data"] = [1, 2, 3]
    before = file.read_bytes()
    with pytest.raises(FormatError, match="not one that `tlfeatures extract` made"):
        extract_pixels(photos, file)
    file.write_text("not even HDF5")
    with pytest.raises(FormatError, match="not an embeddings file"):
        extract_pixels(photos, file)
    assert before != file.read_bytes() == b"not even HDF5"


@pytest.mark.parametrize("version", [0, 2])
def test_another_version_is_left_alone(photos, file, version):
    extract_pixels(photos, file)
    with h5py.File(file, "r+") as opened:
        opened.attrs["format_version"] = version
    with pytest.raises(FormatError, match=rf"version {version}.*reads version 1.*upgrade"):
        extract_pixels(photos, file)


@pytest.mark.parametrize("kind", ["soft", "external", "virtual", "external storage"])
def test_values_outside_the_file_are_refused(photos, file, tmp_path, kind):
    extract_pixels(photos, file)
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as other:
        other["x"] = np.ones((24, 3), np.float32)
    with h5py.File(file, "r+") as opened:
        group = opened["embeddings"]
        del group["grid8.avg"]
        if kind == "soft":
            group["grid8.avg"] = h5py.SoftLink("/digest")
        elif kind == "external":
            group["grid8.avg"] = h5py.ExternalLink(str(secret), "x")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((24, 3), np.float32)
            layout[:] = h5py.VirtualSource(str(secret), "x", (24, 3))
            group.create_virtual_dataset("grid8.avg", layout)
        else:
            storage = [(str(secret), 0, 24 * 12)]
            group.create_dataset("grid8.avg", (24, 3), np.float32, external=storage)
    with pytest.raises(FormatError, match=r"grid8.avg"):
        read_header(file)


def test_a_second_writer_is_refused_and_told_who_writes(photos, file):
    with FileLock(file.with_name(".photos.h5.lock")):
        file.with_name(".photos.h5.lock").write_text("4711\n")
        with pytest.raises(BusyError, match="4711"):
            extract_pixels(photos, file)


def test_values_that_float16_can_not_hold_are_refused(photos, file, monkeypatch):
    use_backbone(monkeypatch, lambda names: Constant(names, 1e5, "pixels"))
    with pytest.raises(StoreError, match=r"grid8.avg .*--dtype float32"):
        extract_pixels(photos, file, dtype="float16")
    assert not read_header(file).done.any()
