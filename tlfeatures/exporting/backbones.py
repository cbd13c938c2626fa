"""Backbones as ONNX nodes: uint8 RGB images of the spec's size in, one embedding out, float32."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ModelError
from tlfeatures.exporting.graph import Graph, Value, row_squares
from tlfeatures.features.backbone import find_weights
from tlfeatures.features.embedding import parts_of
from tlfeatures.features.pixels import cell_edges
from tlfeatures.features.spec import Spec
from tlfeatures.features.weights import CONV_KERNELS, TOP_KERNELS, Tensors

_RGB_MEAN = (123.68, 116.779, 103.939)  # Keras's, which it gives for BGR

# A feature map (n, channels, h, w) to rows; Keras flattens channels last.
_POOLS = {"avg": "GlobalAveragePool", "max": "GlobalMaxPool"}


def add_backbone(
    graph: Graph, images: Value, spec: Spec, embedding: str, weights: str | None = None
) -> Value:
    """Add the backbone of a spec to a graph.

    Parameters
    ----------
    graph : Graph
    images : name of a value of shape (n, h, w, 3), uint8
        RGB, of the spec's size.
    spec : Spec
    embedding : str
        `LAYER.POOLING`, or several side by side.
    weights : str, optional
        Where the weights are, if not where the spec says.

    Returns
    -------
    str
        The name of a value of shape (n, d), float32.

    Raises
    ------
    WeightsError
        If the weights can't be had, or are not those of the spec.
    SpecError
        If the spec asks for what this version doesn't do to an image.
    ModelError
        If this backbone has no ONNX form.
    """
    parts = parts_of(embedding)
    tensors = find_weights(spec, parts, weights)
    named = [(layer, pool) for layer, _, pool in (part.rpartition(".") for part in parts)]
    pixels = graph.op("Transpose", graph.cast(images, np.float32), perm=[0, 3, 1, 2])
    if spec.backbone == "vgg16" and tensors is not None:
        rows = _vgg16(graph, pixels, named, tensors.tensors)
    elif spec.backbone == "pixels":
        rows = [
            _pooled(graph, _mean_colours(graph, pixels, layer, spec.size), pool)
            for layer, pool in named
        ]
    else:
        raise ModelError(f"backbone {spec.backbone} has no ONNX form")
    return _side_by_side(graph, rows)


def _side_by_side(graph: Graph, parts: list[Value]) -> Value:
    """Do what `tlfeatures.features.embedding.join` does."""
    if len(parts) == 1:
        return parts[0]
    least = np.array(1e-30, np.float32)  # a row of zeros stays one
    scaled = [
        graph.op("Div", rows, graph.op("Max", graph.op("Sqrt", row_squares(graph, rows)), least))
        for rows in parts
    ]
    return graph.op("Concat", *scaled, axis=1)


def _pooled(graph: Graph, features: Value, pool: str) -> Value:
    if pool in _POOLS:
        return graph.op("Flatten", graph.op(_POOLS[pool], features), axis=1)
    return graph.op("Flatten", graph.op("Transpose", features, perm=[0, 2, 3, 1]), axis=1)


# ---- VGG16


def _vgg16(
    graph: Graph, pixels: Value, named: list[tuple[str, str]], tensors: Tensors
) -> list[Value]:
    # The padding's zeros come after the mean is subtracted, so it can't go into the first bias.
    mean = np.array(_RGB_MEAN, np.float32)[:, None, None]
    wanted = {_map_of(layer) for layer, _ in named}
    maps = _convolved(graph, graph.op("Sub", pixels, mean), wanted, tensors)
    pooled = [(layer, _pooled(graph, maps[_map_of(layer)], pool)) for layer, pool in named]
    return [
        _dense(graph, rows, layer, tensors) if layer in TOP_KERNELS else rows
        for layer, rows in pooled
    ]


def _map_of(layer: str) -> str:
    """Name the feature map that a layer is, or is made from."""
    return "block5_pool" if layer == "flatten" or layer in TOP_KERNELS else layer


def _convolved(
    graph: Graph, features: Value, wanted: set[str], tensors: Tensors
) -> dict[str, Value]:
    """Go through the blocks up to the last layer that is wanted, and give those by name."""
    layers, maps = list(CONV_KERNELS), {}
    for layer, following in zip(layers, [*layers[1:], ""], strict=True):
        kernel, bias = tensors[layer]
        if layer == layers[0]:
            kernel = kernel[:, :, ::-1]  # it was trained on BGR
        features = graph.op("Conv", features, kernel.transpose(3, 2, 0, 1), bias, pads=[1] * 4)
        features = maps[layer] = graph.op("Relu", features)
        block = layer.partition("_")[0]
        if not following.startswith(block):
            features = graph.op("MaxPool", features, kernel_shape=[2, 2], strides=[2, 2])
            maps[f"{block}_pool"] = features
        if wanted <= maps.keys():
            break
    return {layer: maps[layer] for layer in wanted}


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
