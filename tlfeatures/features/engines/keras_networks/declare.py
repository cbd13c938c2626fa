"""What a network of Keras states about its layers, for images of one size.

The network runs once, on the check image, to find the shapes of its layers and its check vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.declaration import TOKENS, CheckVector, Declaration, Output
from tlfeatures.features.backbones.declaration_values import name_of
from tlfeatures.features.engines.check_vector import check_image
from tlfeatures.features.engines.declared import few_enough
from tlfeatures.features.engines.keras_networks.declared import check_row, run
from tlfeatures.features.engines.keras_networks.layers import canonical_names
from tlfeatures.names import unknown_name

if TYPE_CHECKING:
    import keras

_DIGITS = 7  # significant digits of a check vector, as float32 has them
_FIRST = 8  # values of a check vector
_NEAR = 1e-2  # of a row's length; a batch may be summed in another order, and rounded to 10 bits


def draft_output(layer: str, position: int, layout: str | None = None, prefix: int = 0) -> Output:
    """Return an output whose shape isn't known yet; see `Output`."""
    return Output(layer, str(position), layout, (1,), prefix)


def draft_named(network: keras.Model, name: str, layers: Sequence[str]) -> list[Output]:
    """Find layers by their canonical names.

    Parameters
    ----------
    network : keras.Model
    name : str
        Name of the backbone, for messages.
    layers : sequence of str
        `LAYER` or `LAYER.POOLING`; a layer may be there several times.

    Raises
    ------
    ParameterError
        If the network has no such layer.
    """
    names = canonical_names(network)
    wanted = dict.fromkeys(entry.partition(".")[0] for entry in layers)
    for layer in wanted:
        if layer not in names:
            raise unknown_name(f"layer of {name}", layer, names)
    return [draft_output(layer, names.index(layer)) for layer in wanted]


def declare(
    network: keras.Model,
    facts: Declaration,
    drafts: Sequence[Output],
    size: tuple[int, int],
    patches: int | None = None,
) -> Declaration:
    """Complete a declaration with its outputs and the check vector of its default layer.

    Parameters
    ----------
    network : keras.Model
        In float32, for images of this size.
    facts : Declaration
        Its outputs and its check vector aren't used.
    drafts : sequence of Output
        Without shapes, the default layer among them.
    size : (int, int)
        Height and width in pixels.
    patches : int, optional
        Number of patches of a vision transformer: its layers are tokens, those of the patches last.

    Raises
    ------
    ParameterError
        If a layer can't be an embedding, or there are too many.
    """
    ordered = few_enough(tuple(sorted(drafts, key=lambda output: int(output.tensor))))
    tensors = run(network, check_image(size)[None], facts.preprocessing, ordered)
    outputs = tuple(
        _output(_with_prefix(draft, tuple(tensor.shape), patches), tuple(tensor.shape), facts.name)
        for draft, tensor in zip(ordered, tensors, strict=True)
    )
    values = dict(zip((output.layer for output in outputs), tensors, strict=True))
    default = next(output for output in outputs if output.layer == facts.default_layer)
    check = _check(values[default.layer], default, size)
    return replace(facts, outputs=outputs, check=check)


def _with_prefix(draft: Output, shape: tuple[int, ...], patches: int | None) -> Output:
    """Count the tokens before those of the patches."""
    if patches is None or len(shape) != 3 or shape[1] < patches:
        return draft
    return replace(draft, layout=TOKENS, prefix=shape[1] - patches)


def refuse_effects_of_batch(
    network: keras.Model, declaration: Declaration, size: tuple[int, int]
) -> None:
    """Refuse a network whose features of an image depend on the other images, or on chance.

    Raises
    ------
    ParameterError
        If the network was saved with layers that are always in training mode, or the check image
        has other features in a batch than alone.
    """
    if _is_always_training(network.get_config()):
        raise ParameterError(
            f"backbone {declaration.name} has a layer that is always in training mode, so that its "
            "features depend on chance or on the other images of a batch: build the network "
            "without training=True, and save it again"
        )
    image = check_image(size)
    images = np.stack([image, 255 - image])
    parts = (images, images[:1])
    together, alone = (
        run(network, part, declaration.preprocessing, declaration.outputs) for part in parts
    )
    for output, *tensors in zip(declaration.outputs, together, alone, strict=True):
        rows, expected = (check_row(tensor, output) for tensor in tensors)
        if not np.linalg.norm(rows - expected) <= _NEAR * np.linalg.norm(expected):
            raise ParameterError(
                f"layer {output.layer} of {declaration.name} has other values for an image in a "
                "batch than for the image alone: use layers that compute each image alone"
            )


def _is_always_training(config: Any) -> bool:
    """Whether a call of a layer states `training=True`, in a network's settings of any depth.

    Keras states it of all layers that augment images, such as RandomFlip. These can be told not to.
    """
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if str(value.get("class_name")).startswith("Rand"):
                continue
            kwargs = value.get("kwargs")
            if isinstance(kwargs, dict) and kwargs.get("training"):
                return True
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
    return False


def _output(draft: Output, shape: tuple[int, ...], backbone: str) -> Output:
    try:
        name_of(draft.layer, "a layer")
    except ValueError as error:
        raise ParameterError(f"backbone {backbone}: {error}") from error
    if draft.layout == TOKENS and len(shape) == 3:
        if draft.prefix >= shape[1]:
            raise ParameterError(
                f"layer {draft.layer} of {backbone} has {shape[1]} tokens, so that prefix must be "
                f"less, got {draft.prefix}"
            )
        return replace(draft, shape=shape[1:])
    if draft.layout != TOKENS and len(shape) == 4:
        return replace(draft, layout="NHWC", shape=shape[1:])
    if draft.layout is None and len(shape) == 2:
        return replace(draft, shape=shape[1:])
    raise ParameterError(
        f"layer {draft.layer} of {backbone} has the shape {shape} for one image, expected a vector "
        f"(1, d), a feature map (1, h, w, c), or declared tokens (1, n, d)"
    )


def _check(tensor: Any, output: Output, size: tuple[int, int]) -> CheckVector:
    row = check_row(tensor, output)
    numbers = [float(np.linalg.norm(row)), *row[:_FIRST]]
    norm, *first = [float(f"{value:.{_DIGITS}g}") for value in numbers]
    return CheckVector(output.layer, size, norm, tuple(first))
