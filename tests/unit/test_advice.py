"""What `doctor` advises: only what was measured on such a processor."""

import pytest

from tlfeatures.features.advice import advise
from tlfeatures.features.diagnosis import EngineFacts, Gpu
from tlfeatures.features.measured_rates import Rate
from tlfeatures.machine import Cores, Processor


def engines(*installed):
    names = ("keras", "openvino", "ncnn", "onnxruntime")
    return {
        name: EngineFacts("1.0" if name in installed else None, name, ("float32",))
        for name in names
    }


def advice(*installed, instructions=("AVX2",), rates=None, gpu=None, **variables):
    processor = Processor("", "", instructions)
    cores = Cores(4, 4, 4, None, variables)
    return " | ".join(advise(engines(*installed), rates, processor, cores, gpu))


def test_ncnn_is_advised_where_it_is_missing_and_was_measured():
    assert "pip install ncnn" in advice("keras")
    assert "pip install ncnn" not in advice("keras", "ncnn")
    assert "pip install ncnn" not in advice("keras", instructions=("NEON",))
    assert "pip install ncnn" not in advice("keras", instructions=None)


def test_int8_is_advised_only_where_the_processor_multiplies_it():
    vnni = ("AVX2", "AVX512-VNNI")
    assert "int8" not in advice("keras", "ncnn", "openvino")
    assert "--precision int8" in advice("ncnn", "openvino", instructions=vnni)
    assert "tlfeatures[openvino]" not in advice("ncnn", "openvino", instructions=vnni)
    assert "tlfeatures[openvino]" in advice("ncnn", instructions=vnni)
    assert "with AMX" in advice("openvino", instructions=(*vnni, "AMX-INT8"))


def vgg16(speed, size=224, layer="block5_pool"):
    return Rate("ncnn", "float32", (size, size), layer, speed, None)


def lite0(speed, precision="float32", cosine=None):
    return Rate("openvino", precision, (224, 224), "features", speed, cosine)


@pytest.mark.parametrize(
    ("rates_of_vgg16", "rates_of_lite0", "said"),
    [
        ([vgg16(10.0)], [lite0(45.0)], "4.5 times as fast as VGG16 here"),
        ([vgg16(10.0)], [], "7 to 12 times"),
        ([vgg16(90.0, 64)], [lite0(45.0)], "7 to 12 times"),  # other images
        ([vgg16(90.0, 64), vgg16(10.0)], [lite0(45.0)], "4.5 times"),
        ([vgg16(90.0, layer="block1_pool")], [lite0(45.0)], "7 to 12 times"),
        ([vgg16(10.0)], [lite0(90.0, "int8"), lite0(45.0)], "4.5 times"),
        ([vgg16(10.0)], [lite0(90.0, "bfloat16", 0.988), lite0(45.0)], "4.5 times"),
        ([vgg16(10.0)], [lite0(90.0, "bfloat16", 0.9995), lite0(45.0)], "9.0 times"),
    ],
)
def test_a_smaller_backbone_is_advised_by_what_was_measured_here(
    rates_of_vgg16, rates_of_lite0, said
):
    rates = {"vgg16": tuple(rates_of_vgg16), "efficientnet-lite0": tuple(rates_of_lite0)}
    assert said in advice("ncnn", rates=rates)


def test_a_smaller_backbone_that_is_not_faster_here_is_not_advised():
    rates = {"vgg16": (vgg16(50.0),), "efficientnet-lite0": (lite0(45.0),)}
    assert "--backbone" not in advice("ncnn", rates=rates)


def test_speeds_of_other_sizes_and_layers_are_not_compared():
    vgg16 = (
        Rate("ncnn", "float32", (64, 64), "block5_pool", 150.0, None),
        Rate("ncnn", "float32", (224, 224), "block1_pool", 90.0, None),
        Rate("ncnn", "float32", (224, 224), "block5_pool", 10.0, None),
    )
    small = (Rate("openvino", "float32", (224, 224), "features", 45.0, None),)
    rates = {"vgg16": vgg16, "efficientnet-lite0": small}
    assert "4.5 times as fast as VGG16 here" in advice("ncnn", rates=rates)
    rates["vgg16"] = vgg16[:2]
    assert "7 to 12 times" in advice("ncnn", rates=rates)


def test_a_variable_that_limits_tensorflow_is_named():
    assert "TF_NUM_INTRAOP_THREADS" in advice("ncnn", TF_NUM_INTRAOP_THREADS="1")
    assert "TF_NUM_INTRAOP_THREADS" not in advice("ncnn", TF_NUM_INTRAOP_THREADS="4")
    assert "TF_NUM_INTRAOP_THREADS" not in advice("ncnn", TF_NUM_INTRAOP_THREADS="many")


def test_a_gpu_that_no_engine_sees_is_named():
    assert "tensorflow[and-cuda]" in advice("keras", gpu=Gpu(("NVIDIA",), (), ()))
    assert "cuda" not in advice("keras", gpu=Gpu(("NVIDIA",), (), ("keras",)))
    assert "cuda" not in advice("keras", gpu=Gpu((), (), ()))


def test_nothing_is_advised_on_what_is_not_known():
    assert all("--backbone" in line for line in advise(None, None, None, None, None))
