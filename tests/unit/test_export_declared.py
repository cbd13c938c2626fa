"""A declared ONNX network as a part of an exported graph: the same rows, whatever the network."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.onnx_networks import (
    SIZE,
    channels_last_network,
    declare,
    network,
    node,
    spec_of,
)
from tlfeatures.errors import ModelError
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.engines.onnx_graph import Graph
from tlfeatures.features.engines.onnx_session import session
from tlfeatures.models.export import declared
from tlfeatures.models.export.backbone import add_backbone


def images(count=3):
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), np.uint8)


def exported(spec, name):
    graph = Graph()
    rows = add_backbone(graph, "images", spec, name)
    return graph.model(
        {"images": (np.uint8, ("n", *SIZE, 3))}, {"rows": (rows, np.float32, ("n", "d"))}
    )


def operators(model):
    return {item.op_type for item in model.graph.node}


def assert_same_rows(path, name="features.none"):
    spec = spec_of(path)
    model = exported(spec, name)
    onnx.checker.check_model(model, full_check=True)
    runtime = session(model.SerializeToString())
    rows = load_backbone(spec, [name]).embed(images())[name]
    scale = np.abs(rows).max()
    for count in (3, 1):
        found = runtime.run(None, {"images": images()[:count]})[0]
        np.testing.assert_allclose(found, rows[:count], atol=1e-5 * scale)
    return model


def in_opset(model, version):
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", version))
    model.ir_version = 10 if version > 18 else 8
    return model


@pytest.mark.parametrize("version", [9, 12, 17, 18, 20, 21])
def test_of_older_and_newer_operators(tmp_path, version):
    model = assert_same_rows(declare(tmp_path, in_opset(network(), version)))
    opsets = {item.domain: item.version for item in model.opset_import}
    assert opsets == {"": max(18, version), "ai.onnx.ml": 3}
    assert "Scan" not in operators(model)


@pytest.mark.parametrize("name", ["deep.avg", "deep.max", "deep.flatten"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_of_feature_maps(tmp_path, layout, name):
    outputs = {"deep": {"tensor": "deep", "layout": "NCHW"}, "features": "features"}
    model = network() if layout == "NCHW" else channels_last_network()
    assert_same_rows(declare(tmp_path, model, outputs=outputs), name)


def test_of_bgr_and_of_uint8(tmp_path):
    assert_same_rows(declare(tmp_path, colour="BGR"))
    model = channels_last_network(kind=TensorProto.UINT8)
    entries = {"mean": None, "std": None, "colour": "BGR"}
    assert_same_rows(declare(tmp_path, model, **entries))


def reshaping(axes):
    """A network that was traced with one image: a second one would be added to its row."""
    model = network(axes, more=[node("Reshape", ["features", "shape"], "row")], outputs=("row",))
    shape = numpy_helper.from_array(np.array([1, -1]), "shape")
    model.graph.initializer.append(shape)
    return model


@pytest.mark.parametrize("count", [1, "n"])
def test_a_network_of_one_image_computes_one_after_the_other(tmp_path, count):
    path = declare(tmp_path, reshaping((count, 3, *SIZE)))
    assert "Scan" in operators(assert_same_rows(path, "row.none"))


def test_a_network_that_states_one_image_and_takes_more_computes_them_at_once(tmp_path):
    model = assert_same_rows(declare(tmp_path, network((1, 3, *SIZE))))
    assert "Scan" not in operators(model)


def test_names_of_the_network_do_not_collide_with_those_of_the_graph(tmp_path):
    names = {"conv/a": "probabilities", "act": "label", "mean": "Conv_1", "features": "rows"}
    model = network()
    for item in model.graph.node:
        item.input[:] = [names.get(name, name) for name in item.input]
        item.output[:] = [names.get(name, name) for name in item.output]
    model.graph.output[0].name = "rows"
    assert_same_rows(declare(tmp_path, model), "rows.none")


def test_of_a_network_with_branches_and_inputs_left_out(tmp_path):
    branch = helper.make_graph(
        [node("Clip", ["features", "", "most"], "clipped")],
        "branch",
        [],
        [helper.make_tensor_value_info("clipped", TensorProto.FLOAT, None)],
    )
    choice = node("If", ["true"], "chosen", then_branch=branch, else_branch=branch)
    model = network(more=[choice], outputs=("chosen",))
    true = numpy_helper.from_array(np.array(True), "true")
    most = numpy_helper.from_array(np.array(3, np.float32), "most")
    model.graph.initializer.extend([true, most])
    assert_same_rows(declare(tmp_path, model), "chosen.none")


def test_of_a_network_whose_constants_are_inputs_too(tmp_path):
    model = network()
    kernel = helper.make_tensor_value_info("kernel_a", TensorProto.FLOAT, [8, 3, 3, 3])
    model.graph.input.insert(0, kernel)
    assert_same_rows(declare(tmp_path, model))


def test_a_network_that_would_compute_something_else_is_refused(tmp_path, monkeypatch):
    spec = spec_of(declare(tmp_path))
    nodes = declared.declared_nodes
    monkeypatch.setattr(
        declared,
        "declared_nodes",
        lambda graph, *given: [graph.op("Neg", row) for row in nodes(graph, *given)],
    )
    with pytest.raises(ModelError, match=r"computes something else .* its own is 17: export"):
        exported(spec, "features.none")


def test_operators_that_cannot_be_converted_are_refused(tmp_path, monkeypatch):
    def convert_version(model, version):
        raise RuntimeError("no adapter")

    monkeypatch.setattr(onnx.version_converter, "convert_version", convert_version)
    with pytest.raises(ModelError, match="export the network with opset 18 or later"):
        exported(spec_of(declare(tmp_path)), "features.none")


def test_a_keras_network_is_refused(tmp_path):
    spec = spec_of(declare(tmp_path))
    keras = replace(spec.declaration, format="keras_application", network="ResNet50")
    with pytest.raises(ModelError, match="the Keras network small can't be exported"):
        exported(replace(spec, declaration=keras), "features.none")
