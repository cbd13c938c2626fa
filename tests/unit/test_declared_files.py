"""What a declaration and its ONNX file may say, and what is refused in one line."""

import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import clone

from tests.onnx_networks import (
    SIZE,
    channels_last_network,
    choose,
    constant,
    declare,
    network,
    node,
    spec_of,
)
from tlfeatures import Extractor
from tlfeatures.errors import EngineError, ParameterError, WeightsError
from tlfeatures.features.backbones import onnx_file


def external(model):
    """Let the first constant be the beginning of a file outside of the folder."""
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "../../../../../etc/hostname")
    tensor.ClearField("raw_data")
    return model


def external_in_a_branch():
    branch = helper.make_graph(
        [node("Constant", [], "b", value=constant("c", 1))],
        "branch",
        [],
        [onnx.ValueInfoProto(name="b")],
    )
    onnx.external_data_helper.set_external_data(branch.node[0].attribute[0].t, "/etc/hostname")
    true = numpy_helper.from_array(np.array(True), "true")
    model = network(more=[node("If", ["true"], "x", then_branch=branch, else_branch=branch)])
    model.graph.initializer.append(true)
    return model


def huge_constant():
    model = network()
    tensor = model.graph.initializer[0]
    tensor.dims[:] = [10**6, 10**6, 3, 3]
    tensor.raw_data = b""
    return model


def huge_computed():
    shape = numpy_helper.from_array(np.array([10**6, 10**7]), "shape")
    model = network(
        more=[
            node("ConstantOfShape", ["shape"], "huge"),
            node("ReduceMax", ["huge"], "one", keepdims=0),
            node("Add", ["features", "one"], "sum"),
        ],
        outputs=["sum"],
    )
    model.graph.initializer.append(shape)
    return model


def huge_in_a_branch():
    nodes = [
        node("Constant", [], "shape", value=numpy_helper.from_array(np.array([10**6, 10**7]))),
        node("ConstantOfShape", ["shape"], "huge"),
        node("ReduceMax", ["huge"], "one", keepdims=0),
    ]
    one = helper.make_tensor_value_info("one", TensorProto.FLOAT, [])
    branch = helper.make_graph(nodes, "branch", [], [one])
    true = numpy_helper.from_array(np.array(True), "true")
    model = network(
        more=[
            node("If", ["true"], "x", then_branch=branch, else_branch=branch),
            node("Add", ["features", "x"], "sum"),
        ],
        outputs=["sum"],
    )
    model.graph.initializer.append(true)
    return model


def mask_input():
    return helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1])


def with_function():
    """Let a function of the file take the place of ONNX's Relu."""
    model = network()
    opsets = [helper.make_opsetid("", 17)]
    nodes = [node("Neg", ["x"], "y")]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], nodes, opsets))
    return model


def with_noise(kind, **attributes):
    """Add noise to the features."""
    noise = node(kind, ["features"], "noise", **attributes)
    total = node("Add", ["features", "noise"], "sum")
    return network(more=[noise, total], outputs=["sum"])


def with_noise_in_a_branch():
    branch = helper.make_graph(
        [node("RandomNormal", [], "b", shape=[1, 80])],
        "branch",
        [],
        [onnx.ValueInfoProto(name="b")],
    )
    model = network(more=[node("If", ["true"], "x", then_branch=branch, else_branch=branch)])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "true"))
    return model


def with_dropout(on):
    """Drop half of the features if it is switched on."""
    model = network(more=[node("Dropout", ["features", "half", "on"], "left")], outputs=["left"])
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(on), "on"))
    return model


HOSTILE = {
    "external": (lambda: external(network()), "its tensor 'kernel_a' is in another file"),
    "branch": (external_in_a_branch, "is in another file"),
    "domain": (
        lambda: network(more=[node("Run", ["mean"], "x", domain="evil")]),
        "its operator 'Run' is of the domain 'evil'",
    ),
    "random": (
        lambda: network(more=[node("RandomNormalLike", ["features"], "x")], outputs=["x"]),
        "its operator 'RandomNormalLike' draws random numbers",
    ),
    "function": (with_function, "it has a function 'Relu' of its own: export it without"),
    "two inputs": (
        lambda: network(inputs=[mask_input()]),
        r"it has 2 inputs \('images', 'mask'\), expected one of images",
    ),
    "huge constant": (huge_constant, "can't load|values"),
    "huge computed": (huge_computed, "its tensor 'huge' has 10,000,000,000,000 values"),
    "huge in a branch": (huge_in_a_branch, "huge' has 10,000,000,000,000 values"),
    "truncated": (lambda: network().SerializeToString()[:900], "no ONNX file, or a damaged one"),
    "text": (lambda: b"no ONNX", "no ONNX file, or a damaged one"),
    "empty": (lambda: b"", "is empty, expected a .onnx file"),
    "doubles": (lambda: network(kind=TensorProto.DOUBLE), "neither float32 nor uint8"),
    "grey": (lambda: network(("n", 1, "h", "w")), "expected 3 channels"),
    "batch": (lambda: network((8, 3, "h", "w")), "it takes 8 images at once"),
    "axes": (lambda: network(("n", 3)), "has 2 axes"),
    "noise": (lambda: with_noise("RandomNormalLike"), "'RandomNormalLike' draws random"),
    "noise in a branch": (with_noise_in_a_branch, "'RandomNormal' draws random numbers"),
    "dropout": (lambda: with_dropout(True), "'Dropout' draws random numbers"),
    "constant": (
        lambda: network(more=[node("Relu", ["kernel_a"], "k")], outputs=["k"]),
        "its tensor 'k' is the same for all images",
    ),
    "not a number": (
        lambda: network(more=[node("Log", ["features"], "log")], outputs=["log"]),
        "layer log of backbone small has values that aren't finite numbers",
    ),
    "contradiction": (lambda: network(image="act"), "contradict|can't load|the same for all"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_one_line_that_says_why(tmp_path, kind):
    make, message = HOSTILE[kind]
    path = declare(tmp_path, make())
    with pytest.raises((WeightsError, EngineError), match=message) as raised:
        spec_of(path)
    assert "\n" not in str(raised.value)


def test_a_dropout_that_is_switched_off_is_taken(tmp_path):
    assert spec_of(declare(tmp_path, with_dropout(False))).backbone == "small"


def named(name):
    model = network()
    model.graph.input[0].name = model.graph.node[0].input[0] = name
    return model


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nb", "a" * 201])
def test_an_input_s_name_is_a_text_of_one_line(tmp_path, name):
    with pytest.raises(ParameterError, match="the input's name must be a text of one line"):
        spec_of(declare(tmp_path, named(name)))


def test_messages_hold_no_control_characters_of_a_file(tmp_path):
    model = network(more=[node("\x1b[31mRun", ["mean"], "x")], outputs=["x"])
    with pytest.raises((WeightsError, EngineError)) as raised:
        spec_of(declare(tmp_path, model))
    assert str(raised.value).isprintable()


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 500)
    with pytest.raises(WeightsError, match="has more than 500 bytes"):
        spec_of(declare(tmp_path))


def test_a_pipe_is_no_file(tmp_path):
    path = declare(tmp_path)
    (tmp_path / "small.onnx").unlink()
    os.mkfifo(tmp_path / "small.onnx")
    with pytest.raises(WeightsError, match=r"there is no file .*small.onnx"):
        spec_of(path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"file": "../small.onnx"}, "file must be a name in the same folder"),
        ({"file": "/etc/passwd"}, "file must be a name in the same folder"),
        ({"file": ".."}, "file must be a name in the same folder"),
        ({"format": "x"}, 'it must have "format": "tlfeatures backbone"'),
        ({"version": 2}, '"version": 1'),
        ({"color": "RGB"}, "unknown key 'color'"),
        ({"colour": None}, "colour is missing"),
        ({"colour": "GBR"}, "colour must be RGB or BGR, got 'GBR'"),
        ({"mean": [1, 2]}, "mean must be 3 numbers"),
        ({"mean": [1, 2, float("nan")]}, "mean must be a finite number"),
        ({"mean": [1, 2, 10**400]}, "mean must be a finite number"),
        ({"std": [1, 0, 1]}, "std must be 1e-06 or more"),
        ({"std": [1, 1e-40, 1]}, "std must be 1e-06 or more"),
        ({"std": None}, "mean and std are needed"),
        ({"sha256": "12"}, "sha256 must be 64 hexadecimal digits"),
        ({"size": [0, 3]}, "size must be one side or"),
        ({"layout": "CHW"}, "layout must be NCHW or NHWC"),
        ({"layout": "NHWC"}, "layout is NHWC, the file has NCHW"),
        ({"input": "x"}, "input is 'x', the file's is 'images'"),
        ({"outputs": {"a/b": "deep"}}, "a layer in outputs must be up to 64 letters"),
        ({"outputs": {"a": 3}}, "output a must be a JSON object"),
        ({"outputs": {"a": {"tensor": "deep", "axes": 1}}}, "unknown key 'axes'"),
        ({"outputs": {str(n): "deep" for n in range(33)}}, "outputs must name up to 32 layers"),
        ({"source": "two\nlines"}, "source must be a text of one line"),
        ({"check": {"norm": 0, "first": [0]}}, "norm must be above 0"),
        ({"check": {"norm": 1}}, "first must be 1 to 64 numbers"),
        ({"check": {"norm": 1, "first": [1]}}, "check: size is missing"),
        ({"check": {"norm": 1, "first": [1], "layer": "x", "size": 12}}, "no layer x"),
    ],
)
def test_a_wrong_entry_of_a_declaration_is_one_line(tmp_path, entries, message):
    path = declare(tmp_path)
    data = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
    with pytest.raises(ParameterError, match=message) as raised:
        spec_of(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not JSON"),
        ("[1]", "must be a JSON object"),
        ("[" * 9999, "not JSON"),
        ('{"colour": "RGB", "colour": "BGR"}', "the key 'colour' is there more than once"),
    ],
)
def test_a_file_that_is_no_declaration_is_one_line(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ParameterError, match=message):
        spec_of(tmp_path / "x.json")
    with pytest.raises(ParameterError, match="there is no declaration"):
        spec_of(tmp_path / "y.json")


def test_a_name_of_the_table_is_no_name_of_a_declaration(tmp_path):
    with pytest.raises(ParameterError, match="the name vgg16 is that of another backbone"):
        spec_of(declare(tmp_path, name="vgg16"))


def test_the_onnx_file_may_be_given_if_its_declaration_is_in_the_same_folder(tmp_path):
    path = declare(tmp_path)
    assert spec_of(tmp_path / "small.onnx") == spec_of(path)
    path.rename(tmp_path / "other.json")
    with pytest.raises(ParameterError, match=r"there is no .*small.json.*declare colour, mean"):
        spec_of(tmp_path / "small.onnx")


def test_the_hash_of_the_declaration_is_that_of_the_file(tmp_path):
    path = declare(tmp_path)
    (tmp_path / "small.onnx").write_bytes(network(more=[]).SerializeToString() + b"\x08\x08")
    with pytest.raises(WeightsError, match=r"small.onnx is not the file of backbone small: its"):
        spec_of(path)


def test_without_a_hash_any_file_is_taken_and_its_hash_recorded(tmp_path):
    stated = spec_of(declare(tmp_path))
    assert spec_of(declare(tmp_path, sha256=None)).weights_sha256 == stated.weights_sha256


# ---- what the file says is read from it


def test_the_size_is_the_file_s_then_the_declared_one(tmp_path):
    fixed = declare(tmp_path, network(("n", 3, *SIZE)))
    assert choose(fixed, size=None)[1] == SIZE
    with pytest.raises(ParameterError, match=r"takes images of 12 x 16 .*got size 20,20"):
        choose(fixed, size=20)
    with pytest.raises(ParameterError, match=r"size is \(30, 30\), the file takes \(12, 16\)"):
        choose(declare(tmp_path, network(("n", 3, *SIZE)), size=30), size=None)
    assert choose(declare(tmp_path, size=[30, 40]), size=None)[1] == (30, 40)
    assert choose(declare(tmp_path), size=None)[1] == (224, 224)


def test_the_transformer_takes_the_size_of_the_file_too(tmp_path):
    path = declare(tmp_path, network((1, 3, *SIZE)))
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    rows = Extractor(str(path)).fit_transform([image])
    np.testing.assert_array_equal(rows, Extractor(str(path), size=SIZE).transform([image]))


def test_an_open_layout_must_be_declared(tmp_path):
    model = channels_last_network(("n", "a", "b", "c"))
    with pytest.raises(ParameterError, match="which axis has the colours: add layout"):
        spec_of(declare(tmp_path, model))
    assert spec_of(declare(tmp_path, model, layout="NHWC")).declaration.layout == "NHWC"


def test_a_map_of_a_file_with_channels_last_must_name_its_axes(tmp_path):
    model = channels_last_network()
    with pytest.raises(ParameterError, match=r'"deep": \{"tensor": "deep", "layout": "NCHW"\}'):
        spec_of(declare(tmp_path, model, outputs={"deep": "deep"}))
    mean = spec_of(declare(tmp_path, model, outputs={"features": "mean"})).declaration
    assert mean.output("features").shape == (1, 1, 80)


def test_a_map_with_channels_last_in_a_file_with_channels_first_must_name_its_axes(tmp_path):
    size = (96, 128)
    model = network(more=[node("Transpose", ["deep"], "last", perm=[0, 2, 3, 1])])
    with pytest.raises(ParameterError, match=r"axes \(1, 24, 32, 80\) of layer last"):
        choose(declare(tmp_path, model, outputs={"last": "last"}), size=size)
    outputs = {"last": {"tensor": "last", "layout": "NHWC"}, "deep": "deep"}
    backbone, _ = choose(declare(tmp_path, model, outputs=outputs), size=size)
    assert backbone.record.shapes(size) == {"deep": (24, 32, 80), "last": (24, 32, 80)}


def test_layers_are_the_declared_outputs_else_the_file_s_and_tensors_asked_for(tmp_path):
    outputs = {"last": "features", "middle": "conv/a"}
    backbone, _ = choose(declare(tmp_path, outputs=outputs), layers=["act.max"])
    record = backbone.record
    # shallow layers first; by default the first that is declared
    assert record.shapes(SIZE) == {"middle": (6, 8, 8), "act": (6, 8, 8), "last": (80,)}
    assert (record.default_layer, record.default_embedding) == ("last", "last.none")
    backbone, _ = choose(declare(tmp_path, network(outputs=["deep"])))
    assert backbone.record.default_embedding == "deep.avg"


@pytest.mark.parametrize(
    ("model", "entries", "message"),
    [
        (network(outputs=["conv/a"]), {}, "give the tensor 'conv/a' a name"),
        (network(), {"outputs": {"x": "nothing"}}, "it computes no tensor 'nothing'"),
        (network(), {"outputs": {"x": "kernel_a"}}, "it computes no tensor 'kernel_a'"),
        (
            network(more=[node("ArgMax", ["features"], "best", axis=1)]),
            {"outputs": {"x": "best"}},
            "numbers of int64",
        ),
        (
            network(more=[node("SequenceConstruct", ["features"], "list")]),
            {"outputs": {"x": "list"}},
            "layer x is a list, expected a tensor",
        ),
        (
            network(more=[node("Unsqueeze", ["features", "one"], "tokens")]),
            {"outputs": {"x": "tokens"}},
            r"has the shape \(1, 1, 80\) for one image",
        ),
    ],
)
def test_a_layer_is_a_vector_or_a_map_of_the_file(tmp_path, model, entries, message):
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    with pytest.raises((ParameterError, WeightsError), match=message):
        spec_of(declare(tmp_path, model, **entries))


def test_a_network_that_takes_pixels_as_uint8_has_no_mean(tmp_path):
    model = channels_last_network(kind=TensorProto.UINT8)
    with pytest.raises(ParameterError, match="uint8: leave out mean and std"):
        spec_of(declare(tmp_path, model))
    assert spec_of(declare(tmp_path, model, mean=None, std=None)).preprocessing == "none"


def test_an_extractor_opens_its_network_at_fit_and_not_again(tmp_path):
    path = declare(tmp_path, network())
    image = np.zeros((*SIZE, 3), np.uint8)
    extractor = Extractor(str(path)).fit()
    rows = extractor.transform([image])
    path.unlink()
    np.testing.assert_array_equal(extractor.transform([image]), rows)
    assert len(extractor.get_feature_names_out()) == rows.shape[1]
    with pytest.raises(ParameterError, match="there is no declaration"):
        extractor.fit()
    with pytest.raises(ParameterError, match="there is no declaration"):
        clone(extractor).transform([image])


def test_an_extractor_with_other_settings_opens_the_network_that_they_name(tmp_path):
    path = declare(tmp_path, network())
    extractor = Extractor(str(path)).fit()
    names = extractor.get_feature_names_out()
    assert list(extractor.set_params(layers="act").get_feature_names_out()) != list(names)
