"""A declared ONNX network as nodes of a graph: uint8 RGB images in, embeddings out, float32.

The same nodes are what ONNX Runtime and OpenVINO compute and what `export` writes: preprocessing,
the network of the user's file, poolings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.declaration import Declaration, Output
from tlfeatures.features.backbones.onnx_file import OnnxFile
from tlfeatures.features.backbones.quantization import RANGE, Quantization
from tlfeatures.features.engines.check_vector import Floats, check_image, compare_check
from tlfeatures.features.engines.onnx_backbone import pooled_map, preprocessed
from tlfeatures.features.engines.onnx_graph import IR_VERSION, OPSETS, Graph, Shape, Value
from tlfeatures.features.engines.onnx_int8 import quantized_network
from tlfeatures.features.engines.onnx_session import in_short

IMAGES = "images"  # the input of a model

FirstRow = Callable[[bytes, NDArray[np.uint8]], Floats]


def declared_model(
    file: OnnxFile,
    declaration: Declaration,
    names: Sequence[str],
    size: tuple[int, int],
    quantization: Quantization | None = None,
    *,
    batch: int | str = 1,
) -> bytes:
    """Write a declared network as an ONNX model.

    Parameters
    ----------
    file : OnnxFile
    declaration : Declaration
    names : sequence of str
        The embeddings wanted, `LAYER.POOLING`; also `TENSOR.range`, the smallest and the largest
        value of a tensor of the file, of each image.
    size : (int, int)
        Height and width of the images, in pixels.
    quantization : Quantization, optional
        Ranges of an int8 network.
    batch : int or str, default 1
        Number of images; a text for any number, for a network that takes it.

    Returns
    -------
    bytes
        Its input is `IMAGES`, uint8 of shape (batch, h, w, 3), RGB. Its outputs, whose names say
        nothing, are the embeddings, float32 of shape (batch, d), in the order of `names`.

    Raises
    ------
    WeightsError
        If the file has no such tensor, or a tensor is too large.
    ParameterError
        If the ranges are those of another network.
    """
    graph = _graph_of(file)
    rows = declared_nodes(graph, IMAGES, file, declaration, names, quantization)
    return _closed(graph, file, rows, (batch, *size, 3))


def tensors_model(
    file: OnnxFile, declaration: Declaration, tensors: Sequence[str], size: tuple[int, int]
) -> bytes:
    """Write a declared network whose outputs are tensors of the file, for one image.

    Parameters and errors are those of `declared_model`.
    """
    graph = _graph_of(file)
    pixels = _prepared(graph, IMAGES, declaration)
    values = graph.inline(file.network(tensors), pixels)
    return _closed(graph, file, values, (1, *size, 3))


def _graph_of(file: OnnxFile) -> Graph:
    """Start a graph of the version of a file's operators."""
    opsets = {domain: file.opsets.get(domain, version) for domain, version in OPSETS.items()}
    return Graph(opsets, max(IR_VERSION, file.ir_version))


def declared_nodes(
    graph: Graph,
    images: Value,
    file: OnnxFile,
    declaration: Declaration,
    names: Sequence[str],
    quantization: Quantization | None = None,
) -> list[Value]:
    """Add a declared network to a graph.

    Its operators are converted to the version of the graph. This may fail, or give a network that
    computes something else.

    Parameters
    ----------
    graph : Graph
    images : name of a value of shape (n, h, w, 3), uint8
        RGB, of the declaration's size.
    file, declaration, names, quantization
        See `declared_model`.

    Returns
    -------
    list of str
        The names of values of shape (n, d), float32, in the order of `names`.

    Raises
    ------
    WeightsError, ParameterError
        See `declared_model`.
    EngineError
        If the operators can't be converted.
    """
    parts = [(layer, pool) for layer, _, pool in (name.rpartition(".") for name in names)]
    tensors = {
        layer: layer if pool == RANGE else declaration.output(layer).tensor for layer, pool in parts
    }
    wanted = list(dict.fromkeys(tensors.values()))
    network = file.network(wanted)
    if quantization is not None:
        network = quantized_network(network, quantization, declaration.name)
    network = _converted(network, file, graph.opsets[""], declaration.name)
    values = graph.inline(network, _prepared(graph, images, declaration))
    value_of = dict(zip(wanted, values, strict=True))
    return [
        _range(graph, value_of[layer])
        if pool == RANGE
        else _pooled(graph, value_of[tensors[layer]], declaration.output(layer), pool)
        for layer, pool in parts
    ]


def _converted(network: Any, file: OnnxFile, opset: int, name: str) -> Any:
    from onnx import version_converter

    own = file.opsets.get("", opset)
    if own == opset:
        return network
    try:
        return version_converter.convert_version(network, opset)
    except Exception as error:  # errors of the C++ library
        raise EngineError(
            f"backbone {name} is a file of opset {own}, which can't be converted to {opset}: "
            f"{in_short(error)}"
        ) from error


def check_row(
    file: OnnxFile, declaration: Declaration, layer: str, size: tuple[int, int], compute: FirstRow
) -> Floats:
    """Compute the features of the check image: a layer in its default pooling, (d,).

    Parameters
    ----------
    file : OnnxFile
    declaration : Declaration
    layer : str
    size : (int, int)
        Height and width of the check image, in pixels.
    compute : callable (model, image of shape (h, w, 3)) -> ndarray of shape (d,)
        Computes the first output of a model for an image, in float32; see `declared_model`.
    """
    name = f"{layer}.{declaration.output(layer).default_pool}"
    return compute(declared_model(file, declaration, [name], size), check_image(size))


def verify_check(file: OnnxFile, declaration: Declaration, compute: FirstRow) -> None:
    """Compare the features of the check image with those of the declaration, if it has some.

    Parameters are those of `check_row`.

    Raises
    ------
    WeightsError
        If they differ.
    """
    check = declaration.check
    if check is not None:
        row = check_row(file, declaration, check.layer, check.size, compute)
        compare_check(row, check, declaration.name)


def check_widths(rows: Mapping[str, NDArray[np.float32]], declaration: Declaration) -> None:
    """Refuse embeddings of another shape than the declaration's.

    Parameters
    ----------
    rows : dict of embedding name to ndarray
    declaration : Declaration

    Raises
    ------
    EngineError
        If a shape isn't (b, d): the network's shapes depend on the image.
    """
    for name, values in rows.items():
        layer, _, pool = name.rpartition(".")
        width = 2
        if pool != RANGE:
            shape = declaration.output(layer).shape
            width = math.prod(shape) if pool == "flatten" else shape[-1]
        if values.shape[1:] != (width,):
            raise EngineError(
                f"embedding {name} has the shape {values.shape[1:]} for an image, expected "
                f"{(width,)}: the network's shapes depend on the image"
            )


def _closed(graph: Graph, file: OnnxFile, values: Sequence[Value], shape: Shape) -> bytes:
    outputs = {f"output{number}": (value, None, ()) for number, value in enumerate(values)}
    model = graph.model({IMAGES: (np.uint8, shape)}, outputs)
    file.refuse_large_tensors(model)
    return bytes(model.SerializeToString())


def _prepared(graph: Graph, images: Value, declaration: Declaration) -> Value:
    """Give the network's input, of its type, axes and colour order."""
    last = declaration.layout == "NHWC"
    pixels = images if last else graph.op("Transpose", images, perm=[0, 3, 1, 2])
    if declaration.colour == "BGR":
        pixels = graph.op("Gather", pixels, np.array([2, 1, 0]), axis=3 if last else 1)
    if declaration.numbers == "uint8":
        return pixels
    pixels = graph.cast(pixels, np.float32)
    return preprocessed(graph, pixels, declaration.preprocessing, rgb=False, last=last)


def _pooled(graph: Graph, value: Value, output: Output, pool: str) -> Value:
    features = graph.cast(value, np.float32)
    if output.layout is None:
        return features
    if len(output.shape) == 2:
        return _pooled_tokens(graph, features, output, pool)
    if output.layout == "NHWC":
        features = graph.op("Transpose", features, perm=[0, 3, 1, 2])
    return pooled_map(graph, features, pool)


def _pooled_tokens(graph: Graph, tokens: Value, output: Output, pool: str) -> Value:
    """Pool (n, tokens, values); the mean and the maximum are those of the patches."""
    if pool == "cls":
        return graph.op("Gather", tokens, np.array(0), axis=1)
    if pool == "flatten":
        return graph.op("Flatten", tokens, axis=1)
    if output.prefix:
        tokens = graph.op("Gather", tokens, np.arange(output.prefix, output.shape[0]), axis=1)
    return pooled_map(graph, graph.op("Transpose", tokens, perm=[0, 2, 1]), pool)


def _range(graph: Graph, value: Value) -> Value:
    """Give (n, 2), the smallest and the largest value of each image.

    A global pooling has the same form in all versions of the operators; a reduction hasn't.
    """
    numbers = graph.op("Reshape", graph.cast(value, np.float32), np.array([0, 1, -1]))
    largest = graph.op("Flatten", graph.op("GlobalMaxPool", numbers), axis=1)
    opposite = graph.op("GlobalMaxPool", graph.op("Neg", numbers))
    smallest = graph.op("Neg", graph.op("Flatten", opposite, axis=1))
    return graph.op("Concat", smallest, largest, axis=1)
