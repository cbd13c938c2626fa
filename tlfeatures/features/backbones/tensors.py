"""A network's tensors, their hash, and random ones."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.network import Network

# Layer -> (kernel, bias), float32; kernels in Keras's layout (height, width, in, out).
Tensors = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
NamedArray = tuple[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Weights:
    """The tensors of a backbone and what identifies them.

    Attributes
    ----------
    tensors : dict of layer name to (kernel, bias)
        float32; kernels in Keras's layout (height, width, in, out).
    sha256 : str
        Over the convolution tensors' bytes, in layer order, kernel before bias.
    top_sha256 : str or None
        The same over the tensors of the dense layers; None without them.
    content : bytes
        A whole file, for a declared network: it has no tensors here. `sha256` is that of an ONNX or
        `.keras` file. For a network of `keras.applications`, the content is a file of weights or
        empty, and `sha256` is what their hash must be.
    """

    tensors: Tensors
    sha256: str
    top_sha256: str | None
    content: bytes = b""


def identify(network: Network, tensors: Tensors) -> Weights:
    """Hash tensors, those of the dense layers too if there are any."""
    has_top = bool(network.top) and network.top.keys() <= tensors.keys()
    top_sha256 = _sha256(tensors, network.top) if has_top else None
    return Weights(tensors, _sha256(tensors, network.kernels), top_sha256)


def _sha256(tensors: Tensors, layers: Iterable[str]) -> str:
    hasher = hashlib.sha256()
    for layer in layers:
        for tensor in tensors[layer]:
            hasher.update(tensor.tobytes())
    return hasher.hexdigest()


def random_tensors(network: Network, *, top: bool, seed: int) -> Tensors:
    """Draw Keras's own initialisation (Glorot uniform kernels, zero biases) by NumPy."""
    tensors = {}
    for number, (layer, shape) in enumerate(network.layers_with_weights(top=top).items()):
        generator = np.random.default_rng([seed, number])
        receptive = math.prod(shape[:-2])
        limit = np.sqrt(6 / (receptive * (shape[-2] + shape[-1])))
        kernel = generator.random(shape, dtype=np.float32) * np.float32(2 * limit)
        tensors[layer] = (kernel - np.float32(limit), np.zeros(shape[-1], np.float32))
    return tensors


def match_tensors(
    network: Network, arrays: Sequence[NamedArray], *, top: bool, origin: str
) -> Tensors:
    """Pair the arrays of a file with layers, by the layer names in the arrays' paths.

    Keras 3's own `.weights.h5` counts layers of a kind (`conv2d_3/vars/0`) and names none.

    Raises
    ------
    WeightsError
        If a layer's kernel or bias is missing, or there are several.
    """
    tensors: Tensors = {}
    for layer, shape in network.layers_with_weights(top=top).items():
        pattern = re.compile(rf"(^|/){re.escape(layer)}(/|$)")
        counted = _counted_name(network, layer)
        own = [array for name, array in arrays if pattern.search(name) or counted in name]
        kernels = [array for array in own if array.shape == shape]
        biases = [array for array in own if array.shape == shape[-1:]]
        if len(kernels) != 1 or len(biases) != 1:
            raise WeightsError(
                f"{origin} has no kernel {shape} and bias {shape[-1:]} for layer {layer}; "
                f"expected a file of this backbone's weights{' with its top' if top else ''}"
            )
        tensors[layer] = (kernels[0], biases[0])
    return tensors


def _counted_name(network: Network, layer: str) -> str:
    convolution = layer in network.kernels
    kind = "conv2d" if convolution else "dense"
    number = list(network.kernels if convolution else network.top).index(layer)
    return f"layers/{kind}_{number}/vars/" if number else f"layers/{kind}/vars/"
