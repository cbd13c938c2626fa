"""int8 of declared ONNX networks: what is measured, how it is rounded, what is refused."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.onnx_networks import SIZE, constant, declare, network, node, spec_of
from tests.unit.test_export_declared import in_opset
from tlfeatures.errors import FormatError, ParameterError
from tlfeatures.features.backbones.onnx_file import OnnxFile
from tlfeatures.features.backbones.quantization import MOST_RANGES, Quantization, ranges_of
from tlfeatures.features.calibrate import calibration_run
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.engines.onnx_int8 import quantized_network, range_names
from tlfeatures.features.spec import Spec

IMAGES = np.random.default_rng(0).integers(0, 256, (30, *SIZE, 3), np.uint8)


def branching():
    """After the first convolution, two that share an input, one by one kernel, one by groups."""
    nodes = [
        node("Conv", ["deep", "kernel_c"], "left", pads=[1] * 4, group=80),
        node("Conv", ["deep", "kernel_c"], "right", pads=[1] * 4, group=80),
        node("Sub", ["left", "right"], "zero"),
        node("Add", ["zero", "left"], "sum"),
        node("GlobalAveragePool", ["sum"], "sum_mean"),
        node("Flatten", ["sum_mean"], "row"),
    ]
    model = network(more=nodes, outputs=("row",))
    model.graph.initializer.append(constant("kernel_c", 80, 1, 3, 3, seed=2))
    return model


def names_of(model):
    return range_names(OnnxFile(model.SerializeToString(), "it"), "small")


def int8_spec(spec, model):
    rows = load_backbone(spec, names_of(model)).embed(IMAGES)
    quantization = Quantization(len(IMAGES), 0, *ranges_of([rows]))
    return replace(spec, engine="openvino", precision="int8", quantization=quantization)


def test_inputs_of_all_convolutions_but_the_first_are_measured_once():
    assert names_of(network()) == ["act.range"]
    assert names_of(branching()) == ["act.range", "deep.range"]


def test_ranges_are_those_of_the_tensors_and_hold_zero(tmp_path):
    model = branching()
    path = declare(tmp_path, model, outputs={"row": "row", "act": "act", "deep": "deep"})
    spec = spec_of(path)
    maps = load_backbone(spec, ["act.flatten", "deep.flatten"]).embed(IMAGES)
    quantization = int8_spec(spec, model).quantization
    act, deep = maps["act.flatten"], maps["deep.flatten"]
    largest, smallest = dict(quantization.largest), dict(quantization.smallest)
    np.testing.assert_allclose(
        [largest["act"], largest["deep"]], [act.max(), deep.max()], rtol=1e-6
    )
    np.testing.assert_allclose([smallest["act"], smallest["deep"]], [0, deep.min()], rtol=1e-6)
    step, zero = quantization.step("deep")
    values = (np.arange(256) - float(zero)) * step
    assert abs(values[0] - deep.min()) <= step
    assert abs(values[-1] - deep.max()) <= step
    assert 0 in values


@pytest.mark.parametrize("make", [network, branching])
def test_rounded_rows_are_near_those_of_float32(tmp_path, make):
    model = make()
    spec = spec_of(declare(tmp_path, model))
    name = f"{spec.declaration.default_layer}.none"
    exact = load_backbone(spec, [name]).embed(IMAGES)[name]
    rounded = load_backbone(int8_spec(spec, model), [name]).embed(IMAGES)[name]
    cosine = (exact * rounded).sum(1) / np.linalg.norm(exact, axis=1)
    assert (cosine / np.linalg.norm(rounded, axis=1)).min() > 0.999
    assert np.abs(exact - rounded).max() > 1e-4 * np.abs(exact).max()


def test_the_network_is_the_definition_written_out():
    """An input has 256 values between its ends, a kernel 255 for each channel."""
    model = network()
    quantization = Quantization(1, 0, (("act", 3.0),), (("act", -1.0),))
    file = OnnxFile(model.SerializeToString(), "it")
    made = quantized_network(file.network(["deep"]), quantization, "it")
    constants = {item.name: numpy_helper.to_array(item) for item in made.graph.initializer}
    rounding = next(item for item in made.graph.node if item.op_type == "QuantizeLinear")
    step, zero = (constants[name] for name in rounding.input[1:])
    assert (rounding.input[0], step, zero.dtype) == (
        "act",
        np.float32(4) / np.float32(255),
        np.uint8,
    )
    assert zero == 64
    kernel = next(
        item
        for item in made.graph.node
        if item.op_type == "DequantizeLinear" and item.input[0] in constants
    )
    values, steps = (constants[name] for name in kernel.input[:2])
    own = constants["kernel_b"]
    assert (values.dtype, np.abs(values).max(axis=(1, 2, 3)).tolist()) == (np.int8, [127] * 80)
    np.testing.assert_allclose(steps, np.abs(own).max(axis=(1, 2, 3)) / 127, rtol=1e-6)
    assert np.abs(values * steps[:, None, None, None] - own).max() <= steps.max() / 2 * 1.001


def test_kernels_in_nodes_are_constants_too():
    model = network()
    kernel = next(item for item in model.graph.initializer if item.name == "kernel_b")
    model.graph.initializer.remove(kernel)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["kernel_b"], value=kernel))
    assert names_of(model) == ["act.range"]


def without_convolutions():
    nodes = [node("Flatten", ["images"], "row")]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, *SIZE])
    graph = helper.make_graph(nodes, "flat", [images], [onnx.ValueInfoProto(name="row")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def named(name):
    """The network whose second convolution takes a tensor of this name."""
    model = network()
    for item in model.graph.node:
        item.input[:] = [name if each == "act" else each for each in item.input]
        item.output[:] = [name if each == "act" else each for each in item.output]
    return model


def many_convolutions():
    nodes = [node("Conv", ["deep", "kernel_d"], "x0", pads=[0] * 4)]
    nodes += [node("Conv", [f"x{i}", "kernel_d"], f"x{i + 1}") for i in range(MOST_RANGES)]
    model = network(more=nodes, outputs=(f"x{MOST_RANGES}",))
    same = np.eye(80, dtype=np.float32).reshape(80, 80, 1, 1)  # so that the values stay finite
    model.graph.initializer.append(numpy_helper.from_array(same, "kernel_d"))
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: in_opset(network(), 12), "a file of opset 12, and int8 needs 13 or later"),
        (without_convolutions, "has 0 convolutions that int8 could compute"),
        (lambda: named("a\x1b[31m"), "an input of a convolution must be a text of one line"),
        (many_convolutions, rf"has {MOST_RANGES + 2} convolutions that int8 could compute"),
    ],
)
def test_a_network_without_int8_is_refused_before_it_is_calibrated(tmp_path, make, message):
    spec = replace(spec_of(declare(tmp_path, make())), engine="openvino", precision="int8")
    with pytest.raises(ParameterError, match=message):
        calibration_run(spec, [], ComputeOptions())


def test_ranges_of_another_network_are_refused(tmp_path):
    spec = spec_of(declare(tmp_path, branching()))
    ranges = Quantization(1, 0, (("act", 1.0),), (("act", 0.0),))
    spec = replace(spec, engine="openvino", precision="int8", quantization=ranges)
    with pytest.raises(ParameterError, match="not those of the convolutions of backbone small"):
        load_backbone(spec, ["row.none"])


@pytest.mark.parametrize(
    "change",
    [
        {"largest": {}, "smallest": []},
        {"smallest": [-1.0, -1.0]},
        {"smallest": [1.0]},
        {"smallest": {"act": -1.0}},
        {"largest": {"a\x1b[31m": 1.0}},
        {"largest": {"act": -1.0}},
        {"largest": {"act": float("nan")}},
        {"largest": {"act": 0.0}, "smallest": [0.0]},
        {"largest": {str(number): 1.0 for number in range(MOST_RANGES + 1)}, "smallest": []},
    ],
)
def test_impossible_ranges_in_a_file_are_damage(tmp_path, change):
    model = network()
    spec = int8_spec(spec_of(declare(tmp_path, model)), model)
    data = spec.to_dict()
    assert Spec.from_dict(data) == spec
    with pytest.raises(FormatError, match="quantization"):
        Spec.from_dict({**data, "quantization": {**data["quantization"], **change}})


@pytest.mark.parametrize(
    "changes",
    [
        {"largest": {"act": 10**400}, "smallest": []},
        {"largest": {"act": 1e300}, "smallest": []},
        {"largest": {"act": 1e-300}, "smallest": []},
        {"largest": {"act": 1.0}, "smallest": [0.5]},
    ],
)
def test_ranges_that_are_none_in_float32_are_refused(changes):
    data = {"images": 1, "random_state": 0, "largest": {"act": 1.0}, "smallest": [-1.0]}
    assert Quantization.from_dict(data, None).images == 1
    with pytest.raises(FormatError, match="its spec has"):
        Quantization.from_dict({**data, **changes}, None)
