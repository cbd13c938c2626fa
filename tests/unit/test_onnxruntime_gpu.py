"""ONNX Runtime's CUDA provider, by a session that says it has one and computes on the CPU."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper

from tests.onnx_networks import SIZE, declare, network, node, spec_of
from tlfeatures.errors import EngineError
from tlfeatures.features.engines.load import load_backbone

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
IMAGES = np.random.default_rng(0).integers(0, 256, (5, *SIZE, 3), np.uint8)


class Session(onnxruntime.InferenceSession):
    """Notes the number of images of each run, and whether a GPU was asked for."""

    has_card = True
    runs: ClassVar[list[tuple[bool, int]]] = []

    def __init__(self, source, options, providers):
        self._options = dict(item for item in providers if isinstance(item, tuple))
        super().__init__(source, options, providers=[CPU])

    def get_providers(self):
        return [CUDA, CPU] if self.has_card and CUDA in self._options else [CPU]

    def run(self, names, images):
        on_gpu = CUDA in self.get_providers()
        assert not on_gpu or self._options[CUDA] == {"use_tf32": "0"}  # float32 is float32
        self.runs.append((on_gpu, len(next(iter(images.values())))))
        return super().run(names, images)


@pytest.fixture(autouse=True)
def session(monkeypatch):
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(Session, "runs", [])
    monkeypatch.setattr(Session, "has_card", True)
    return Session


def one_image_network():
    """A network that was traced with one image."""
    more = [node("Reshape", ["features", "shape"], "row")]
    model = network(more=more, outputs=("row",))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, -1]), "shape"))
    return model


def load(path, device):
    spec = replace(spec_of(path), engine="onnxruntime", precision="float32")
    name = f"{spec.declaration.default_layer}.none"
    loaded = load_backbone(spec, [name], device=device, threads=1 if device == "cpu" else None)
    Session.runs.clear()
    return loaded, lambda images: loaded.embed(images)[name]


@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_a_batch_goes_through_at_once(tmp_path, device):
    path = declare(tmp_path)
    loaded, embed = load(path, device)
    rows = embed(IMAGES)
    assert Session.runs == [(True, 5)]
    assert loaded.one_shape
    assert loaded.most > 32
    expected = load(path, "cpu")[1](IMAGES)
    assert Session.runs == [(False, 1)] * 5
    np.testing.assert_allclose(rows, expected, atol=1e-5 * np.abs(expected).max())


def test_a_network_of_one_image_gets_one_after_the_other(tmp_path):
    path = declare(tmp_path, one_image_network())
    rows = load(path, "gpu")[1](IMAGES)
    assert Session.runs == [(True, 1)] * 5
    np.testing.assert_array_equal(rows, load(path, "cpu")[1](IMAGES))


def test_without_a_card_the_cpu_computes_unless_a_gpu_is_asked_for(tmp_path, session):
    session.has_card = False
    path = declare(tmp_path)
    load(path, "auto")[1](IMAGES)
    assert Session.runs == [(False, 1)] * 5
    with pytest.raises(EngineError, match="ONNX Runtime finds no GPU with CUDA here"):
        load(path, "gpu")
