"""Small networks in ONNX files, with random weights; their declarations and specs."""

import hashlib
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tlfeatures.features.settings import Settings, choose_backbone, make_spec

SIZE = (12, 16)


def engines_and_precisions():
    """List what can compute an ONNX network here; not every CPU has bfloat16."""
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precisions = ("float32", *(("bfloat16",) if "BF16" in able else ()), "int8")
    return [("onnxruntime", "float32"), *(("openvino", precision) for precision in precisions)]


MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def constant(name, *shape, seed=0):
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs, [output], **attributes)


def network(
    axes=("n", 3, "h", "w"),
    *,
    kind=TensorProto.FLOAT,
    before=(),
    image="images",
    more=(),
    inputs=(),
    outputs=("features",),
):
    """Two convolutions (maps conv/a and deep), then the means of their channels (features).

    `before` are nodes that make `image` of the input `images`, `more` further nodes.
    """
    nodes = [
        *before,
        node("Conv", [image, "kernel_a"], "conv/a", strides=[2, 2], pads=[1] * 4),
        node("Relu", ["conv/a"], "act"),
        node("Conv", ["act", "kernel_b"], "deep", strides=[2, 2], pads=[1] * 4),
        node("GlobalAveragePool", ["deep"], "mean"),
        node("Flatten", ["mean"], "features"),
        *more,
    ]
    constants = [constant("kernel_a", 8, 3, 3, 3), constant("kernel_b", 80, 8, 3, 3, seed=1)]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", kind, axes), *inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def channels_last_network(axes=("n", 12, 16, 3), kind=TensorProto.FLOAT):
    """The same network, whose input is transposed first, as in files made from TensorFlow's."""
    before = [node("Transpose", ["images"], "turned", perm=[0, 3, 1, 2])]
    if kind == TensorProto.UINT8:
        before.append(node("Cast", ["turned"], "pixels", to=TensorProto.FLOAT))
    return network(axes, kind=kind, before=before, image=before[-1].output[0])


def token_network(axes=("n", 3, 12, 16)):
    """A class token and 12 patches of 4 x 4 pixels, of 80 values each (tokens)."""
    more = [
        node("Conv", ["images", "kernel_c"], "grid", strides=[4, 4]),
        node("Reshape", ["grid", "flat"], "row"),
        node("Transpose", ["row"], "patches", perm=[0, 2, 1]),
        node("Concat", ["class", "patches"], "tokens", axis=1),
    ]
    model = network(axes, more=more, outputs=("tokens",))
    flat = numpy_helper.from_array(np.array([1, 80, 12], np.int64), "flat")
    kernel, token = constant("kernel_c", 80, 3, 4, 4, seed=2), constant("class", 1, 1, 80, seed=3)
    model.graph.initializer.extend([flat, kernel, token])
    return model


def declare(folder, model=None, *, name="small", file="small.onnx", **entries):
    """Write a network and its declaration, and give the path of the declaration.

    An entry that is None is left out; `model` may be bytes.
    """
    content = model if isinstance(model, bytes) else (model or network()).SerializeToString()
    (folder / file).write_bytes(content)
    data = {
        "format": "tlfeatures backbone",
        "version": 1,
        "name": name,
        "file": file,
        "sha256": hashlib.sha256(content).hexdigest(),
        "colour": "RGB",
        "mean": MEAN,
        "std": STD,
        "source": "tests",
        "licence": "MIT",
        **entries,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
    return path


def choose(path, **settings):
    """Choose the backbone of a declaration and, unless given, the size SIZE."""
    return choose_backbone(Settings(str(path), **{"size": SIZE, **settings}))


def spec_of(path, **settings):
    """Make the spec of the default embedding of a declared backbone."""
    backbone, size = choose(path, **settings)
    return make_spec(Settings(), backbone, size, [backbone.record.default_embedding], "cpu")


def run_plainly(model, tensors, pixels):
    """Compute tensors of prepared pixels, (n, 3, h, w) or (n, h, w, 3), by ONNX Runtime alone."""
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors)
    session = onnxruntime.InferenceSession(
        copy.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(tensors, {"images": pixels})
