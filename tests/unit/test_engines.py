"""Which engine computes a forward pass, and what is said where one can't."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import Constant, use_engine
from tests.unit.data import SPEC
from tlfeatures.errors import EngineError, FormatError, ParameterError
from tlfeatures.features.backbones.quantization import (
    Quantization,
    calibration_names,
    largest_inputs,
)
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.features.engines.choose import ENGINES, Hardware, choose_engine
from tlfeatures.features.engines.engine import fitting_batch
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.settings import Settings, make_spec
from tlfeatures.features.spec import Spec

SIZE = (224, 224)


@dataclass(frozen=True)
class Machine(Hardware):
    """A machine with bfloat16 where it is said."""

    cpu: bool = False
    gpu: bool | None = None

    def cpu_has_bfloat16(self):
        return self.cpu

    def gpu_has_bfloat16(self, device):
        return self.gpu


@pytest.fixture
def install(monkeypatch):
    """Let these engines be the installed ones."""

    def make(*installed):
        for name, engine in list(ENGINES.items()):
            package = "json" if name in installed else f"no_such_package_{name}"
            monkeypatch.setitem(ENGINES, name, replace(engine, package=package))

    return make


def choose(*asked, size=SIZE, device="auto", old=None, **hardware):
    return choose_engine(*asked, device, size, old, Machine(**hardware))


@pytest.mark.parametrize(
    ("installed", "hardware", "asked", "chosen"),
    [
        (["keras"], {}, (None, None), ("keras", "float32")),
        (["keras", "openvino", "ncnn"], {}, (None, "auto"), ("ncnn", "float32")),
        (["keras", "openvino"], {}, ("auto", None), ("openvino", "float32")),
        (["keras", "openvino", "ncnn"], {"cpu": True}, (None, None), ("openvino", "bfloat16")),
        (["keras", "ncnn"], {"cpu": True}, (None, None), ("keras", "bfloat16")),
        (["keras", "ncnn"], {"cpu": True}, ("ncnn", None), ("ncnn", "float32")),
        (["keras", "openvino"], {}, (None, "bfloat16"), ("keras", "bfloat16")),
        (["keras", "openvino", "ncnn"], {}, (None, "int8"), ("openvino", "int8")),
        (["keras", "openvino", "ncnn"], {"gpu": True}, (None, None), ("keras", "bfloat16")),
        (["keras", "openvino", "ncnn"], {"gpu": False}, (None, None), ("keras", "float32")),
        (["keras", "openvino", "ncnn"], {"gpu": True}, ("ncnn", None), ("ncnn", "float32")),
    ],
)
def test_what_is_not_asked_for_is_the_fastest_that_is_there(
    install, installed, hardware, asked, chosen
):
    install(*installed)
    assert choose(*asked, **hardware) == chosen


def test_small_images_have_another_fastest_engine(install):
    install("keras", "openvino", "ncnn")
    assert choose(None, None, size=(64, 64)) == ("openvino", "float32")
    assert choose(None, None, size=(96, 96)) == ("ncnn", "float32")
    install("keras", "ncnn")
    assert choose(None, None, size=(64, 64)) == ("keras", "float32")


def test_a_file_is_brought_up_to_date_by_what_made_it(install):
    install("keras", "openvino", "ncnn")
    options = {"old": replace(SPEC, engine="ncnn", precision="float32"), "cpu": True}
    assert choose(None, None, **options) == ("ncnn", "float32")
    assert choose("auto", "auto", **options) == ("ncnn", "float32")
    assert choose("keras", None, **options) == ("keras", "float32")  # and is refused later


@pytest.mark.parametrize(
    ("asked", "device", "message"),
    [
        (("theano", None), "auto", "no engine 'theano'"),
        (("keras", "int4"), "auto", "no precision 'int4'"),
        (("ncnn", "bfloat16"), "auto", "computes in float32, not in bfloat16: leave out --engine"),
        (("ncnn", None), "gpu", "ncnn has no GPU: leave out --engine"),
    ],
)
def test_what_can_not_be_names_what_can(install, asked, device, message):
    install("keras", "openvino", "ncnn")
    with pytest.raises(ParameterError, match=message):
        choose(*asked, device=device)


def test_an_engine_that_is_not_installed_names_its_extra(install):
    install("keras")
    with pytest.raises(EngineError, match=r"pip install 'tlfeatures\[no_such_package_openvino\]'"):
        choose(None, "int8")


def test_keras_stands_in_for_predictions_and_says_so(install, caplog, monkeypatch):
    install("keras", "ncnn")
    settings = Settings(weights="random", engine="ncnn", precision="float32")
    spec = make_spec(settings, "vgg16", (32, 32), ["block5_pool.avg"], "cpu")
    install("keras")
    stand_in = Constant(["block5_pool.avg"])
    use_engine(monkeypatch, lambda names: stand_in)
    with pytest.raises(EngineError, match="not installed"):
        load_backbone(spec, ["block5_pool.avg"])
    assert load_backbone(spec, ["block5_pool.avg"], substitute=True) is stand_in
    assert "Keras stands in" in caplog.text


def test_the_hardware_says_whether_the_cpu_has_bfloat16():
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text() if cpu.exists() else ""
    assert Hardware().cpu_has_bfloat16() is ("amx_bf16" in flags or "avx512_bf16" in flags)
    assert Hardware().gpu_has_bfloat16("cpu") is None


# ---- int8


def quantization(**changes):
    names = calibration_names(VGG16)
    batches = [
        {name: np.full((2, 3), value + number, np.float32) for number, name in enumerate(names)}
        for value in (1, 5, 2)
    ]
    made = Quantization(6, 0, largest_inputs(VGG16, batches))
    return replace(made, **changes)


def quantization_of(value):
    layers = [layer for layer, _ in largest_inputs(VGG16, [])]
    return {
        "images": 1,
        "random_state": 0,
        "largest": dict.fromkeys(layers, value),
        "smallest": {},
    }


def test_ranges_are_the_largest_inputs_of_each_convolution_but_the_first():
    made = dict(quantization().largest)
    assert len(made) == 12
    assert (made["block1_conv2"], made["block5_conv3"]) == (5.0, 16.0)
    assert quantization().step("block1_conv1") is None
    assert quantization().step("block1_conv2") == (np.float32(5) / np.float32(255), 0)


def test_ranges_travel_in_the_spec_and_are_compared():
    int8 = {"engine": "openvino", "precision": "int8", "quantization": quantization()}
    spec = replace(SPEC, backbone="vgg16", **int8)
    again = Spec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert hash(again) == hash(spec)
    wider = replace(spec, quantization=quantization(largest=largest_inputs(VGG16, [])))
    assert [name for name, *_ in spec.differences(wider)] == ["quantization"]


@pytest.mark.parametrize(
    "damaged",
    [
        3,
        {},
        {**quantization_of(1.0), "largest": {"block1_conv2": 1.0}},
        {**quantization_of(1.0), "largest": [["block1_conv2", 1.0]]},
        {**quantization_of(1.0), "smallest": {"block1_conv2": -1.0}},
        {**quantization_of(1.0), "images": "many"},
        quantization_of(float("nan")),
        quantization_of(-1.0),
        quantization_of(0.0),
        quantization_of(float("inf")),
        {**quantization_of(1.0), "images": 0},
    ],
)
def test_a_damaged_quantization_is_an_error_of_this_package(damaged):
    data = replace(SPEC, backbone="vgg16").to_dict() | {
        "precision": "int8",
        "quantization": damaged,
    }
    with pytest.raises(FormatError, match="quantization"):
        Spec.from_dict(data)


def test_int8_without_ranges_is_no_spec():
    with pytest.raises(FormatError, match="int8"):
        Spec.from_dict(SPEC.to_dict() | {"precision": "int8"})


# ---- batches


def test_auto_batches_shrink_with_the_size_of_the_images():
    sizes = (32, 224, 320, 512, 1024, 4000)
    assert [fitting_batch(VGG16, (side, side), 32) for side in sizes] == [32, 32, 8, 4, 1, 1]
