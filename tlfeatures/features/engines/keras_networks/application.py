"""Open a network of `keras.applications`: its record and its layers become a `Declaration`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.declaration import Declaration
from tlfeatures.features.backbones.named_network import NamedNetwork
from tlfeatures.features.backbones.weights import IMAGENET, checked_source, read_weights
from tlfeatures.features.engines.declared import DeclaredBackbone
from tlfeatures.features.engines.keras_networks.application_weights import (
    build_application,
    obtain_imagenet,
    weights_sha256,
)
from tlfeatures.features.engines.keras_networks.declare import declare, draft_named
from tlfeatures.features.engines.keras_start import keras_settings, start_keras


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
    WeightsError
        If it can't be read, or is empty or too large.
    """

    def __init__(
        self, named: NamedNetwork, weights: str = IMAGENET, random_state: int | None = None
    ) -> None:
        self._named = named
        self._weights = checked_source(weights)
        self._content = read_weights(self._weights)
        if self._content:
            self._weights = str(Path(weights).expanduser().resolve())
        self._seed = random_state or 0

    @property
    def default_size(self) -> tuple[int, int]:
        """Height and width of the images that the weights were trained on, in pixels."""
        return self._named.default_size, self._named.default_size

    def for_size(self, size: tuple[int, int], layers: Sequence[str]) -> DeclaredBackbone:
        """Complete the declaration for images of a size; see `OpenNetwork.for_size`.

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
        if self._weights == IMAGENET:
            obtain_imagenet(named)  # before Keras is started, which takes long
        start_keras()
        with keras_settings("float32"):
            network = build_application(named, self._weights, self._content, size, self._seed)
            facts = _facts(named)
            drafts = draft_named(network, named.name, [facts.default_layer, *layers])
            declaration = declare(network, facts, drafts, size)
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
