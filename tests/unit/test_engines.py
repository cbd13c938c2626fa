"""Which engine computes a forward pass, and what is said where one can't."""

import json
import os
import subprocess
import sys
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
from tlfeatures.features.engines.choose import ENGINES, Hardware, Request, choose_engine
from tlfeatures.features.engines.engine import fitting_batch
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.settings import Settings, make_spec
from tlfeatures.features.spec import Spec

SIZE = (224, 224)


@dataclass(frozen=True)
class Machine(Hardware):
    """A machine whose processor and GPU multiply bfloat16 as the test says.

    `cpu` names the processor's instructions, `gpu` says whether the GPU has them; None: no GPU.
    """

    cpu: str | None = None
    gpu: bool | None = None

    def cpu_bfloat16(self):
        return self.cpu

    def gpu_has_bfloat16(self, device):
        return self.gpu


AVX512, AMX = {"cpu": "avx512_bf16"}, {"cpu": "amx_bf16"}


@pytest.fixture
def install(monkeypatch):
    """Let these engines be the installed ones."""

    def make(*installed):
        for name, engine in list(ENGINES.items()):
            package = "json" if name in installed else f"no_such_package_{name}"
            monkeypatch.setitem(ENGINES, name, replace(engine, package=package))

    return make


def published(size=SIZE, **changes):
    """A spec of VGG16 with its published weights, before an engine is chosen."""
    sha256 = VGG16.published.sha256
    spec = Spec("vgg16", size, "float32", "imagenet", sha256, engine="none")
    return replace(spec, **changes)


def choose(engine, precision, device="auto", spec=None, **hardware):
    request = Request(spec or published(), ("block5_pool.avg",), device, engine, precision)
    return choose_engine(request, hardware=Machine(**hardware))


ALL = ["keras", "openvino", "ncnn"]


@pytest.mark.parametrize(
    ("installed", "hardware", "asked", "chosen"),
    [
        (["keras"], {}, (None, None), ("keras", "float32")),
        (ALL, {}, (None, "auto"), ("ncnn", "float32")),
        (["keras", "openvino"], {}, ("auto", None), ("openvino", "float32")),
        (ALL, AMX, (None, None), ("openvino", "bfloat16")),
        (["keras", "ncnn"], AMX, (None, None), ("keras", "bfloat16")),
        (ALL, AVX512, (None, None), ("ncnn", "float32")),
        (["keras", "ncnn"], AVX512, (None, None), ("ncnn", "float32")),
        (["keras", "openvino"], AVX512, (None, None), ("openvino", "bfloat16")),
        (["keras"], AVX512, (None, None), ("keras", "bfloat16")),
        (["keras", "ncnn"], AMX, ("ncnn", None), ("ncnn", "float32")),
        (["keras", "openvino"], {}, (None, "bfloat16"), ("keras", "bfloat16")),
        (["keras", "openvino"], AVX512, (None, "bfloat16"), ("openvino", "bfloat16")),
        (ALL, AMX, (None, "float32"), ("ncnn", "float32")),
        (ALL, {}, (None, "int8"), ("openvino", "int8")),
        (ALL, {}, ("openvino", "int8"), ("openvino", "int8")),
        (ALL, {"gpu": True}, (None, None), ("keras", "bfloat16")),
        (ALL, {"gpu": False}, (None, None), ("keras", "float32")),
        (ALL, {"gpu": True}, ("ncnn", None), ("ncnn", "float32")),
    ],
)
def test_what_is_not_asked_for_is_the_fastest_that_is_there(
    install, installed, hardware, asked, chosen
):
    install(*installed)
    assert choose(*asked, **hardware) == chosen


def test_small_images_have_another_fastest_engine(install):
    install(*ALL)
    sides = {side: published((side, side)) for side in (64, 96, 150, 224)}
    assert choose(None, None, spec=sides[64]) == ("openvino", "float32")
    assert choose(None, None, spec=sides[96]) == ("ncnn", "float32")
    assert choose(None, None, spec=sides[150], **AVX512) == ("openvino", "bfloat16")
    assert choose(None, None, spec=sides[224], **AVX512) == ("ncnn", "float32")


@pytest.mark.parametrize(
    "changes",
    [
        {
            "weights": "random",
            "weights_sha256": "0" * 64,
        },  # exact in bfloat16, whatever the network
        {"weights": "/my.weights.h5", "weights_sha256": "0" * 64},
    ],
)
def test_bfloat16_is_not_taken_where_nobody_measured_what_it_changes(install, changes):
    install(*ALL)
    spec = published(**changes)
    assert choose(None, None, spec=spec, **AMX) == ("ncnn", "float32")
    assert choose("keras", None, spec=spec, **AMX) == ("keras", "float32")
    assert choose(None, "bfloat16", spec=spec, **AMX) == ("openvino", "bfloat16")  # it is asked for


def test_the_published_weights_are_known_by_their_hash_whatever_file_has_them(install):
    install(*ALL)
    spec = published(weights="/copy.h5")
    assert choose(None, None, spec=spec, **AMX) == ("openvino", "bfloat16")


def test_a_file_is_brought_up_to_date_by_what_made_it(install):
    install(*ALL)

    def engine_and_precision(**asked):
        old = published(engine="ncnn", precision="float32")
        spec = make_spec(Settings(**asked), "vgg16", SIZE, ["block5_pool.avg"], "cpu", old)
        return spec.engine, spec.precision

    assert engine_and_precision() == ("ncnn", "float32")
    assert engine_and_precision(engine="auto", precision="auto") == ("ncnn", "float32")
    assert engine_and_precision(engine="keras") == ("keras", "float32")  # and is refused later


@pytest.mark.parametrize(
    ("asked", "device", "message"),
    [
        (("theano", None), "auto", "no engine 'theano'"),
        (("keras", "int4"), "auto", "no precision 'int4'"),
        (("ncnn", "bfloat16"), "auto", "computes in float32, not in bfloat16: leave out --engine"),
        (("ncnn", None), "gpu", "ncnn has no GPU: leave out --engine"),
        (("onnxruntime", None), "auto", "can't load the backbone vgg16; there are: keras"),
    ],
)
def test_what_can_not_be_names_what_can(install, asked, device, message):
    install(*ALL, "onnxruntime")
    with pytest.raises(ParameterError, match=message):
        choose(*asked, device=device)


def test_an_engine_that_is_not_installed_says_how_to_install_it(install):
    install("keras")
    with pytest.raises(EngineError, match=r"pip install 'tlfeatures\[openvino\]'"):
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


def test_the_hardware_names_the_instructions_for_bfloat16():
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text() if cpu.exists() else ""
    name = Hardware().cpu_bfloat16()
    assert name in (("amx_bf16", "avx512_bf16") if "bf16" in flags else (None,))
    assert name is None or f" {name}" in flags
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
        "smallest": [],
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
        {**quantization_of(1.0), "smallest": [-1.0] * 12},
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


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.slow
def test_a_library_keeps_and_sends_no_reports_of_use(engine, tmp_path):
    """They would keep a number of the machine in the home folder or in the cache."""
    code = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from tlfeatures.features.engines.load import load_backbone\n"
        "from tests.onnx_networks import declare, spec_of\n"
        "path = declare(Path(sys.argv[1]))\n"
        "spec = replace(spec_of(path), engine=sys.argv[2])\n"
        "load_backbone(spec, ['features.none'], device='cpu')\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    # In continuous integration OpenVINO reports nothing, so the test would hold without a reason.
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "XDG_CACHE_HOME")}
    command = [sys.executable, "-c", code, str(tmp_path), engine]
    subprocess.run(command, env={**kept, "HOME": str(home)}, check=True)
    assert list(home.iterdir()) == []
