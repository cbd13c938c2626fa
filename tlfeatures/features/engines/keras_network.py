"""Open a network of Keras: what is declared about it and what it states become a `Declaration`.

The network runs once, on the check image, to find the shapes of its layers and its check vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.declaration import (
    CheckVector,
    Declaration,
    Output,
    name_of,
)
from tlfeatures.features.backbones.named_network import NamedNetwork
from tlfeatures.features.backbones.weights import IMAGENET, RANDOM, checked_source
from tlfeatures.features.engines.check_vector import check_image
from tlfeatures.features.engines.declared import DeclaredBackbone, few_enough
from tlfeatures.features.engines.keras_declared import check_row, run
from tlfeatures.features.engines.keras_layers import canonical_names
from tlfeatures.features.engines.keras_start import keras_settings, start_keras
from tlfeatures.features.engines.keras_weights import build_application, weights_sha256
from tlfeatures.names import unknown_name

if TYPE_CHECKING:
    import keras

_DIGITS = 7  # significant digits of a check vector, as float32 has them
_FIRST = 8  # values of a check vector


class KerasApplication:
    """A network of `keras.applications` by its name, before the size of images is known.

    Parameters
    ----------
    named : NamedNetwork
    weights : str
        `imagenet`, `random`, or the path of a file of Keras weights.
    random_state : int or None
        Seed of random weights; None counts as 0.

    Raises
    ------
    ParameterError
        If there is no such file.
    """

    def __init__(
        self, named: NamedNetwork, weights: str = IMAGENET, random_state: int | None = None
    ) -> None:
        self._named = named
        self._weights = checked_source(weights)
        self._content = b""
        if weights not in (IMAGENET, RANDOM):
            path = Path(weights).expanduser().resolve()
            self._weights, self._content = str(path), path.read_bytes()
        self._seed = random_state or 0

    @property
    def default_size(self) -> tuple[int, int]:
        """Height and width of the images that the weights were trained on, in pixels."""
        return self._named.default_size, self._named.default_size

    def for_size(self, size: tuple[int, int], layers: Sequence[str]) -> DeclaredBackbone:
        """Complete the declaration for images of a size; see `OpenNetwork.for_size`.

        Parameters
        ----------
        size : (int, int)
            Height and width in pixels.
        layers : sequence of str
            Layers wanted besides the default one, `LAYER` or `LAYER.POOLING`.

        Raises
        ------
        ParameterError
            If the network takes no images of this size, or has no such layer.
        WeightsError
            If the weights can't be obtained.
        EngineError
            If Keras can't be started, or has no such network.
        """
        named = self._named
        if min(size) < named.smallest:
            raise ParameterError(
                f"{named.name} takes images of {named.smallest} pixels or more a side, got size "
                f"{size[0]},{size[1]}"
            )
        start_keras()
        with keras_settings("float32"):
            network = build_application(named, self._weights, self._content, size, self._seed)
            declaration = declare(network, _facts(named), layers, size)
            sha256 = weights_sha256(network)
        return DeclaredBackbone(declaration, self._weights, sha256)


def _facts(named: NamedNetwork) -> Declaration:
    """Return the declaration of a network, without its outputs and check vector."""
    application = named.application
    assert application is not None  # of a network that Keras builds
    return Declaration(
        name=named.name,
        format="keras_application",
        network=application.network,
        input="",
        numbers="float32",
        layout="NHWC",
        colour=application.colour,
        mean=application.mean,
        std=application.std,
        outputs=(),
        default_layer=application.layer,
        check=None,
        near_duplicate=named.near_duplicate,
        source=named.source,
        licence=named.licence,
    )


def declare(
    network: keras.Model, facts: Declaration, layers: Sequence[str], size: tuple[int, int]
) -> Declaration:
    """Complete a declaration with its outputs and the check vector.

    Parameters
    ----------
    network : keras.Model
        In float32, for images of this size.
    facts : Declaration
        Its default layer is an output, its outputs aren't used.
    layers : sequence of str
        Further layers, `LAYER` or `LAYER.POOLING`.
    size : (int, int)
        Height and width in pixels.
    """
    wanted = dict.fromkeys([facts.default_layer, *(name.partition(".")[0] for name in layers)])
    names = canonical_names(network)
    drafts = [_draft(layer, names, facts.name) for layer in wanted]
    drafts.sort(key=lambda output: int(output.tensor))
    tensors = run(network, check_image(size)[None], facts.preprocessing, drafts)
    outputs = tuple(
        _output(draft, tuple(tensor.shape), facts.name)
        for draft, tensor in zip(drafts, tensors, strict=True)
    )
    values = {output.layer: tensor for output, tensor in zip(outputs, tensors, strict=True)}
    default = next(output for output in outputs if output.layer == facts.default_layer)
    check = _check(values[default.layer], default, size)
    return replace(facts, outputs=few_enough(outputs), check=check)


def _draft(layer: str, names: list[str], backbone: str) -> Output:
    """Find a layer by its canonical name; its shape isn't known yet."""
    if layer not in names:
        raise unknown_name(f"layer of {backbone}", layer, names)
    try:
        name_of(layer, "a layer")
    except ValueError as error:
        raise ParameterError(f"backbone {backbone}: {error}") from error
    return Output(layer, str(names.index(layer)), None, (1,))


def _output(draft: Output, shape: tuple[int, ...], backbone: str) -> Output:
    if len(shape) == 4:
        return replace(draft, layout="NHWC", shape=shape[1:])
    if len(shape) == 2:
        return replace(draft, shape=shape[1:])
    raise ParameterError(
        f"layer {draft.layer} of {backbone} has the shape {shape} for one image, expected a vector "
        "(1, d) or a feature map (1, h, w, c)"
    )


def _check(tensor: Any, output: Output, size: tuple[int, int]) -> CheckVector:
    row = check_row(tensor, output)
    numbers = [float(np.linalg.norm(row)), *row[:_FIRST]]
    norm, *first = [float(f"{value:.{_DIGITS}g}") for value in numbers]
    return CheckVector(output.layer, size, norm, tuple(first))
