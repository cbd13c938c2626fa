"""Backbones as ONNX nodes: uint8 RGB images of the spec's size in, embeddings out, float32."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ModelError
from tlfeatures.features.backbones.network import Network
from tlfeatures.features.backbones.pixels import PIXELS, cell_edges, cells_of
from tlfeatures.features.backbones.quantization import Quantization, quantized_kernel
from tlfeatures.features.backbones.record import Preprocessing
from tlfeatures.features.backbones.table import find_backbone
from tlfeatures.features.backbones.tensors import Tensors
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
    parts = [(layer, pool) for layer, _, pool in (name.rpartition(".") for name in names)]
    backbone = find_backbone(spec.backbone)
    pixels = graph.op("Transpose", graph.cast(images, np.float32), perm=[0, 3, 1, 2])
    pixels = preprocessed(graph, pixels, backbone.preprocessing, rgb=True)
    network = backbone.network
    if network.kernels and tensors is not None:
        if backbone.preprocessing.channels == "BGR":
            tensors = _for_rgb(network, tensors)
        wanted = {network.map_of(layer) for layer, _ in parts}
        maps = _convolved(graph, pixels, wanted, network, tensors, spec.quantization)
        rows = [pooled_map(graph, maps[network.map_of(layer)], pool) for layer, pool in parts]
        return [
            _dense(graph, row, layer, network, tensors) if layer in network.top else row
            for row, (layer, _) in zip(rows, parts, strict=True)
        ]
    if backbone.name == PIXELS.name:
        return [
            pooled_map(graph, _mean_colours(graph, pixels, layer, spec.size), pool)
            for layer, pool in parts
        ]
    raise ModelError(f"backbone {spec.backbone} has no ONNX form")


def preprocessed(
    graph: Graph, pixels: Value, preprocessing: Preprocessing, *, rgb: bool, last: bool = False
) -> Value:
    """Do to float32 pixels what the record says, after their channels were ordered.

    Parameters
    ----------
    graph : Graph
    pixels : name of a value of shape (n, 3, h, w), or (n, h, w, 3) if `last`
    preprocessing : Preprocessing
    rgb : bool
        Whether the channels are in the order RGB, whatever the record says.
    last : bool
        Whether the channels are the last axis.
    """
    for step, values in preprocessing.steps(rgb=rgb):
        numbers = np.array(values, np.float32)
        numbers = numbers if last else numbers[:, None, None]
        pixels = graph.op("Sub" if step == "subtract" else "Div", pixels, numbers)
    return pixels


def pooled_map(graph: Graph, features: Value, pool: str) -> Value:
    """Pool a feature map (n, channels, h, w), or flatten it with channels last: (n, d)."""
    if pool in _POOLS:
        return graph.op("Flatten", graph.op(_POOLS[pool], features), axis=1)
    return graph.op("Flatten", graph.op("Transpose", features, perm=[0, 2, 3, 1]), axis=1)


# ---- networks


def _for_rgb(network: Network, tensors: Tensors) -> Tensors:
    """Reverse the input channels of the first kernel, which was trained on BGR."""
    first = next(iter(network.kernels))
    kernel, bias = tensors[first]
    return tensors | {first: (kernel[:, :, ::-1], bias)}


def _convolved(
    graph: Graph,
    features: Value,
    wanted: set[str],
    network: Network,
    tensors: Tensors,
    quantization: Quantization | None,
) -> dict[str, Value]:
    """Go through the convolutions up to the last wanted map, and give all maps by name."""
    maps = {}
    for layer, pool in network.steps(wanted):
        kernel, bias = tensors[layer]
        weights: Value | NDArray[np.float32] = kernel.transpose(3, 2, 0, 1)
        step = None if quantization is None else quantization.step(layer)
        if step is not None:
            features = _quantized(graph, features, *step)
            weights = _quantized_kernel(graph, kernel.transpose(3, 2, 0, 1))
        features = graph.op("Conv", features, weights, bias, pads=[1] * 4)
        features = maps[layer] = graph.op("Relu", features)
        if pool is not None:
            features = graph.op("MaxPool", features, kernel_shape=[2, 2], strides=[2, 2])
            maps[pool] = features
    return maps


def _quantized(graph: Graph, features: Value, scale: np.float32, offset: np.uint8) -> Value:
    """Round to 8 bits and back: a runtime joins this with the convolution into one of integers."""
    step, zero = graph.constant(np.array(scale)), graph.constant(np.array(offset))
    rounded = graph.op("QuantizeLinear", features, step, zero)
    return graph.op("DequantizeLinear", rounded, step, zero)


def _quantized_kernel(graph: Graph, kernel: NDArray[np.float32]) -> Value:
    rounded, steps = quantized_kernel(kernel)
    return graph.op("DequantizeLinear", rounded, steps, np.zeros(len(steps), np.int8), axis=0)


def _dense(graph: Graph, rows: Value, wanted: str, network: Network, tensors: Tensors) -> Value:
    last = list(network.top)[-1]
    for layer in network.top:
        rows = graph.op("Gemm", rows, *tensors[layer])
        rows = graph.op("Softmax" if layer == last else "Relu", rows)
        if layer == wanted:
            break
    return rows


# ---- pixels


def _mean_colours(graph: Graph, pixels: Value, layer: str, size: tuple[int, int]) -> Value:
    rows, columns = (_averaging(cells_of(layer), side) for side in size)
    return graph.op("MatMul", graph.op("MatMul", rows, pixels), np.ascontiguousarray(columns.T))


def _averaging(cells: int, side: int) -> NDArray[np.float32]:
    """Give the matrix (cells, side) whose product with a column of pixels is each cell's mean."""
    edges = cell_edges(side, cells)
    matrix = np.zeros((cells, side), np.float32)
    for cell, (start, stop) in enumerate(itertools.pairwise(edges)):
        matrix[cell, start:stop] = 1 / (stop - start)
    return matrix
