"""Backbones as ONNX nodes: uint8 RGB images of the spec's size in, embeddings out, float32."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ModelError
from tlfeatures.features.backbones.pixels import cell_edges
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.backbones.weights import (
    CONV_KERNELS,
    RGB_MEAN,
    TOP_KERNELS,
    Tensors,
    map_of,
)
from tlfeatures.features.engines.onnx_graph import Graph, Value
from tlfeatures.features.spec import Spec

# A feature map (n, channels, h, w) to rows; Keras flattens channels last.
_POOLS = {"avg": "GlobalAveragePool", "max": "GlobalMaxPool"}


def backbone_nodes(
    graph: Graph, images: Value, spec: Spec, names: Sequence[str], tensors: Tensors | None
) -> list[Value]:
    """Add the backbone of a spec to a graph.

    Parameters
    ----------
    graph : Graph
    images : name of a value of shape (n, h, w, 3), uint8
        RGB, of the spec's size.
    spec : Spec
    names : sequence of str
        The embeddings wanted, `LAYER.POOLING`.
    tensors : Tensors or None
        The weights, where the backbone has some.

    Returns
    -------
    list of str
        The names of values of shape (n, d), float32, in the order of `names`.

    Raises
    ------
    ModelError
        If this backbone has no ONNX form.
    """
    named = [(layer, pool) for layer, _, pool in (name.rpartition(".") for name in names)]
    pixels = graph.op("Transpose", graph.cast(images, np.float32), perm=[0, 3, 1, 2])
    if spec.backbone == "vgg16" and tensors is not None:
        return _vgg16(graph, pixels, named, tensors, spec.quantization)
    if spec.backbone == "pixels":
        return [
            _pooled(graph, _mean_colours(graph, pixels, layer, spec.size), pool)
            for layer, pool in named
        ]
    raise ModelError(f"backbone {spec.backbone} has no ONNX form")


def _pooled(graph: Graph, features: Value, pool: str) -> Value:
    if pool in _POOLS:
        return graph.op("Flatten", graph.op(_POOLS[pool], features), axis=1)
    return graph.op("Flatten", graph.op("Transpose", features, perm=[0, 2, 3, 1]), axis=1)


# ---- VGG16


def _vgg16(
    graph: Graph,
    pixels: Value,
    named: list[tuple[str, str]],
    tensors: Tensors,
    quantization: Quantization | None,
) -> list[Value]:
    # The padding's zeros come after the mean is subtracted, so it can't go into the first bias.
    mean = np.array(RGB_MEAN, np.float32)[:, None, None]
    wanted = {map_of(layer) for layer, _ in named}
    maps = _convolved(graph, graph.op("Sub", pixels, mean), wanted, tensors, quantization)
    pooled = [(layer, _pooled(graph, maps[map_of(layer)], pool)) for layer, pool in named]
    return [
        _dense(graph, rows, layer, tensors) if layer in TOP_KERNELS else rows
        for layer, rows in pooled
    ]


def _convolved(
    graph: Graph,
    features: Value,
    wanted: set[str],
    tensors: Tensors,
    quantization: Quantization | None,
) -> dict[str, Value]:
    """Go through the blocks up to the last layer that is wanted, and give those by name."""
    layers, maps = list(CONV_KERNELS), {}
    for layer, following in zip(layers, [*layers[1:], ""], strict=True):
        kernel, bias = tensors[layer]
        if layer == layers[0]:
            kernel = kernel[:, :, ::-1]  # it was trained on BGR
        kernel = kernel.transpose(3, 2, 0, 1)
        scale = None if quantization is None else quantization.scale(layer)
        if scale is not None:
            features = _quantized(graph, features, scale)
            weights = _quantized_kernel(graph, kernel)
            features = graph.op("Conv", features, weights, bias, pads=[1] * 4)
        else:
            features = graph.op("Conv", features, kernel, bias, pads=[1] * 4)
        features = maps[layer] = graph.op("Relu", features)
        block = layer.partition("_")[0]
        if not following.startswith(block):
            features = graph.op("MaxPool", features, kernel_shape=[2, 2], strides=[2, 2])
            maps[f"{block}_pool"] = features
        if wanted <= maps.keys():
            break
    return {layer: maps[layer] for layer in wanted}


def _quantized(graph: Graph, features: Value, scale: np.float32) -> Value:
    """Round to 8 bits and back: a runtime joins this with the convolution into one of integers."""
    step, zero = graph.constant(np.array(scale)), graph.constant(np.array(0, np.uint8))
    rounded = graph.op("QuantizeLinear", features, step, zero)
    return graph.op("DequantizeLinear", rounded, step, zero)


def _quantized_kernel(graph: Graph, kernel: NDArray[np.float32]) -> Value:
    """One scale for each output channel, symmetric about zero."""
    steps = np.maximum(np.abs(kernel).max(axis=(1, 2, 3)), np.float32(1e-30)) / np.float32(127)
    rounded = np.rint(kernel / steps[:, None, None, None]).astype(np.int8)
    zeros = np.zeros(len(steps), np.int8)
    return graph.op("DequantizeLinear", rounded, steps, zeros, axis=0)


def _dense(graph: Graph, rows: Value, wanted: str, tensors: Tensors) -> Value:
    for layer in TOP_KERNELS:
        rows = graph.op("Gemm", rows, *tensors[layer])
        rows = graph.op("Softmax", rows) if layer == "predictions" else graph.op("Relu", rows)
        if layer == wanted:
            break
    return rows


# ---- pixels


def _mean_colours(graph: Graph, pixels: Value, layer: str, size: tuple[int, int]) -> Value:
    cells = 1 if layer == "mean" else int(layer.removeprefix("grid"))
    rows, columns = (_averaging(cells, side) for side in size)
    scaled = graph.op("Div", pixels, np.array(255, np.float32))
    return graph.op("MatMul", graph.op("MatMul", rows, scaled), np.ascontiguousarray(columns.T))


def _averaging(cells: int, side: int) -> NDArray[np.float32]:
    """Give the matrix (cells, side) whose product with a column of pixels is each cell's mean."""
    edges = cell_edges(side, cells)
    matrix = np.zeros((cells, side), np.float32)
    for cell, (start, stop) in enumerate(itertools.pairwise(edges)):
        matrix[cell, start:stop] = 1 / (stop - start)
    return matrix
