"""Which engine computes a forward pass, and what is said where one can't."""

import json

import numpy as np
import pytest

from tests.unit.data import SPEC
from tlfeatures.errors import EngineError, FormatError, ParameterError
from tlfeatures.features import engines
from tlfeatures.features.backbone import load_backbone
from tlfeatures.features.batches import fitting_batch
from tlfeatures.features.engines import ENGINES, choose_engine
from tlfeatures.features.plan import Settings, make_spec
from tlfeatures.features.quantization import Quantization, calibration_names, measured
from tlfeatures.features.spec import Spec

SIZE = (224, 224)


@pytest.fixture
def machine(monkeypatch):
    """A machine with these engines, and with bfloat16 where it is said."""

    def make(*installed, cpu=False, gpu=None):
        monkeypatch.setattr(engines, "_cpu_has_bfloat16", lambda: cpu)
        monkeypatch.setattr(engines, "_gpu_has_bfloat16", lambda device: gpu)
        for name in ENGINES:
            known = "json" if name in installed else f"no_such_package_{name}"
            replaced = engines.Engine(
                ENGINES[name].precisions, ENGINES[name].load, known, ENGINES[name].gpu
            )
            monkeypatch.setitem(ENGINES, name, replaced)

    return make


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
    machine, installed, hardware, asked, chosen
):
    machine(*installed, **hardware)
    assert choose_engine(*asked, "auto", SIZE) == chosen


def test_small_images_have_another_fastest_engine(machine):
    machine("keras", "openvino", "ncnn")
    assert choose_engine(None, None, "auto", (64, 64)) == ("openvino", "float32")
    assert choose_engine(None, None, "auto", (96, 96)) == ("ncnn", "float32")
    machine("keras", "ncnn")
    assert choose_engine(None, None, "auto", (64, 64)) == ("keras", "float32")


def test_a_file_is_brought_up_to_date_by_what_made_it(machine):
    from dataclasses import replace

    machine("keras", "openvino", "ncnn", cpu=True)
    old = replace(SPEC, engine="ncnn", precision="float32")
    assert choose_engine(None, None, "auto", SIZE, old) == ("ncnn", "float32")
    assert choose_engine("auto", "auto", "auto", SIZE, old) == ("ncnn", "float32")
    assert choose_engine("keras", None, "auto", SIZE, old) == (
        "keras",
        "float32",
    )  # and is refused later


@pytest.mark.parametrize(
    ("asked", "device", "message"),
    [
        (("theano", None), "auto", "no engine 'theano'"),
        (("keras", "int4"), "auto", "no precision 'int4'"),
        (("ncnn", "bfloat16"), "auto", "computes in float32, not in bfloat16: leave out --engine"),
        (("ncnn", None), "gpu", "ncnn has no GPU: leave out --engine"),
    ],
)
def test_what_can_not_be_names_what_can(machine, asked, device, message):
    machine("keras", "openvino", "ncnn")
    with pytest.raises(ParameterError, match=message):
        choose_engine(*asked, device, SIZE)


def test_an_engine_that_is_not_installed_names_its_extra(machine):
    machine("keras")
    with pytest.raises(EngineError, match=r"pip install 'tlfeatures\[no_such_package_openvino\]'"):
        choose_engine(None, "int8", "auto", SIZE)


def test_keras_stands_in_for_predictions_and_says_so(machine, caplog, monkeypatch):
    settings = Settings(weights="random", engine="ncnn", precision="float32")
    spec = make_spec(settings, "vgg16", (32, 32), ["block5_pool.avg"], "cpu")
    machine("keras")
    stand_in = object()
    monkeypatch.setattr(
        "tlfeatures.features.backbone._load",
        lambda spec, *_: stand_in if spec.engine == "keras" else _missing(),
    )
    with pytest.raises(EngineError, match="not installed"):
        load_backbone(spec, ["block5_pool.avg"])
    assert load_backbone(spec, ["block5_pool.avg"], substitute=True) is stand_in
    assert "Keras stands in" in caplog.text


def _missing():
    raise EngineError("engine ncnn is not installed")


def test_specs_of_before_there_were_engines_are_of_keras():
    data = SPEC.to_dict()
    del data["engine"], data["quantization"]
    assert Spec.from_dict(data | {"weights": "imagenet"}).engine == "keras"
    assert Spec.from_dict(data | {"weights": "none"}).engine == "none"


# ---- int8


def quantization(**changes):
    names = calibration_names()
    batches = [
        {name: np.full((2, 3), value + number, np.float32) for number, name in enumerate(names)}
        for value in (1, 5, 2)
    ]
    made = Quantization(6, 0, measured(batches))
    return Quantization(**{**vars(made), **changes})


def quantization_of(value):
    return {"images": 1, "random_state": 0, "largest": dict.fromkeys(_layers(), value)}


def _layers():
    return [layer for layer, _ in measured([])]


def test_ranges_are_the_largest_inputs_of_each_convolution_but_the_first():
    made = dict(quantization().largest)
    assert len(made) == 12
    assert (made["block1_conv2"], made["block5_conv3"]) == (5.0, 16.0)
    assert quantization().scale("block1_conv1") is None
    assert quantization().scale("block1_conv2") == np.float32(5) / np.float32(255)


def test_ranges_travel_in_the_spec_and_are_compared():
    from dataclasses import replace

    spec = replace(SPEC, engine="openvino", precision="int8", quantization=quantization())
    again = Spec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert hash(again) == hash(spec)
    wider = replace(spec, quantization=quantization(largest=measured([])))
    assert [name for name, *_ in spec.differences(wider)] == ["quantization"]


@pytest.mark.parametrize(
    "damaged",
    [
        3,
        {},
        {"images": 1, "random_state": 0, "largest": {"block1_conv2": 1.0}},
        {"images": 1, "random_state": 0, "largest": [["block1_conv2", 1.0]]},
        {"images": "many", "random_state": 0, "largest": {}},
        quantization_of(float("nan")),
        quantization_of(-1.0),
    ],
)
def test_a_damaged_quantization_is_an_error_of_this_package(damaged):
    data = SPEC.to_dict() | {"precision": "int8", "quantization": damaged}
    with pytest.raises(FormatError, match="quantization"):
        Spec.from_dict(data)


def test_int8_without_ranges_is_no_spec():
    with pytest.raises(FormatError, match="int8"):
        Spec.from_dict(SPEC.to_dict() | {"precision": "int8"})


# ---- batches


def test_auto_batches_shrink_with_the_size_of_the_images():
    sizes = (32, 224, 320, 512, 1024, 4000)
    assert [fitting_batch((side, side), 32) for side in sizes] == [32, 32, 8, 4, 1, 1]
