"""Layers of a Keras network by name, and their pooled outputs.

Keras names a layer without a name of its own after its class, and counts in the whole process:
`activation_17` of the first network is `activation_102` of another. So a layer's canonical name is
the one that it has in a process with no other network.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.declaration import TOKENS, Output
from tlfeatures.features.backbones.record import Preprocessing

if TYPE_CHECKING:
    import keras


def canonical_names(network: keras.Model) -> list[str]:
    """Name the layers of a network, in the order of `network.layers`.

    The layers of a class that have automatic names are counted again, in the order of their
    numbers, which is the order in which they were created.
    """
    names = [layer.name for layer in network.layers]
    automatic: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for position, layer in enumerate(network.layers):
        base = _snake_case(type(layer).__name__)
        match = re.fullmatch(rf"{re.escape(base)}(?:_(\d+))?", layer.name)
        if match:
            automatic[base].append((int(match[1] or 0), position))
    for base, numbered in automatic.items():
        for rank, (_, position) in enumerate(sorted(numbered)):
            names[position] = f"{base}_{rank}" if rank else base
    return names


def _snake_case(name: str) -> str:
    """Write the name of a class as Keras does in automatic names: `re_lu` of `ReLU`."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def layer_of(network: keras.Model, output: Output) -> Any:
    """Find the layer of a declared output, at its position.

    Raises
    ------
    EngineError
        If the network has fewer layers, as in another version of Keras.
    """
    position = int(output.tensor) if output.tensor.isdecimal() else len(network.layers)
    if position >= len(network.layers):
        raise EngineError(
            f"this version of Keras builds {len(network.layers)} layers, and layer {output.layer} "
            f"was number {output.tensor[:20]}: use the version that computed the embeddings"
        )
    return network.layers[position]


def check_names(network: keras.Model, outputs: Sequence[Output]) -> None:
    """Compare the canonical names of layers with those of declared outputs.

    Raises
    ------
    EngineError
        If another layer is at the position of an output, as in another version of Keras.
    """
    names = canonical_names(network)
    for output in outputs:
        layer_of(network, output)
        name = names[int(output.tensor)]
        if name != output.layer:
            raise EngineError(
                f"this version of Keras builds the layer {name} where {output.layer} was: use the "
                "version that computed the embeddings"
            )


def tensor_of(layer: Any) -> Any:
    """Return the one output of a layer; raises `ValueError` if it has none or several."""
    tensor = layer.output  # Keras raises ValueError or AttributeError without a single one
    if isinstance(tensor, list | tuple | dict):
        raise ValueError(f"layer {layer.name} has several outputs")
    return tensor


def preprocessed(pixels: Any, preprocessing: Preprocessing) -> Any:
    """Apply the preprocessing of the backbone's record to RGB values from 0 to 255."""
    import keras

    if preprocessing.channels == "BGR":
        pixels = keras.ops.flip(pixels, axis=-1)
    for step, values in preprocessing.steps(rgb=False):
        numbers = np.array(values, np.float32)
        pixels = pixels - numbers if step == "subtract" else pixels / numbers
    return pixels


def pooled(tensor: Any, pool: str, name: str | None, output: Output | None = None) -> Any:
    """Pool the output of a layer in float32 whatever its precision: the sums are long.

    Parameters
    ----------
    tensor : keras.KerasTensor
        Shape (b, h, w, channels), (b, tokens, values) or (b, values).
    pool : str
        See `tlfeatures.features.backbones.table.POOLINGS`.
    name : str
        Name of the layer that pools.
    output : Output, optional
        The declared output, of which tokens have a prefix.
    """
    import keras

    if output is not None and output.layout == TOKENS:
        tokens = keras.ops.cast(tensor, "float32")
        if pool == "cls":
            return tokens[:, 0]
        if pool == "avg":
            return keras.ops.mean(tokens[:, output.prefix :], axis=1)
        if pool == "max":
            return keras.ops.max(tokens[:, output.prefix :], axis=1)
    poolings = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
        "none": keras.layers.Flatten,  # of a vector: the vector
    }
    return poolings[pool](dtype="float32", name=name)(tensor)
