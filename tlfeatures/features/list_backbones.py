"""The list of backbones that have a name, with what is known of each on this machine.

No weights are loaded, and neither TensorFlow nor another engine is started.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.kept_weights import KeptWeights, find_kept_weights
from tlfeatures.features.backbones.named_network import Accuracy, NamedNetwork
from tlfeatures.features.backbones.recipes.published import declaration_of
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.table import BACKBONES, embedding_widths
from tlfeatures.features.measured_rates import Rate, measured_rates
from tlfeatures.features.settings import DEFAULT_SIZE

NO_WEIGHTS, PACKAGE_INDEX, KERAS = "none", "package index", "Keras"


@dataclass(frozen=True)
class BackboneFacts:
    """A backbone, and what is known of it on this machine.

    Attributes
    ----------
    name : str
        For `--backbone` and for the parameter `backbone` of `extract` and `Extractor`.
    title : str
        For people.
    layer : str
        Default layer.
    width : int
        Number of values of its default embedding.
    default_size : int
        Height and width of its images unless others are given, in pixels.
    smallest : int
        Least height and width of its images, in pixels.
    parameters : int
        Number of the weights that the default embedding needs.
    licence, source : str
        Of the weights.
    weights_from : {"package index", "Keras", "none"}
        Where the weights can be downloaded: from the package index; from the host of
        `keras.applications` alone; or there are none.
    weights : KeptWeights or None
        Their file on this machine; None if it isn't here yet, or if there are no weights.
    rates : tuple of Rate
        Measured images per second on this machine, the fastest first.
    accuracy : dict of "scenes" or "insects" to (accuracy, low, high)
        On the two reference sets, with the interval of 95 %; empty if it wasn't measured.
    near_duplicate : float or None
        Least similarity of two images that count as the same photograph; None if it wasn't
        measured.
    """

    name: str
    title: str
    layer: str
    width: int
    default_size: int
    smallest: int
    parameters: int
    licence: str
    source: str
    weights_from: str
    weights: KeptWeights | None
    rates: tuple[Rate, ...]
    accuracy: Mapping[str, Accuracy]
    near_duplicate: float | None

    def __repr__(self) -> str:
        """Describe it in one line."""
        weights = "here" if self.weights_here else "not downloaded yet"
        size = f"{self.default_size} x {self.default_size} pixels"
        return f"<BackboneFacts: {self.name}, {size} to {self.width:,} values, weights {weights}>"

    @property
    def weights_here(self) -> bool:
        """Whether nothing has to be downloaded before it embeds."""
        if self.weights_from == NO_WEIGHTS:
            return True
        return self.weights is not None and self.weights.damage is None

    @property
    def images_per_second(self) -> float | None:
        """Of the fastest engine on this machine, at the default size and layer.

        Precisions whose rows are not close to float32 don't count. None if it wasn't measured.
        """
        default = (self.default_size, self.default_size), self.layer
        speeds = [
            rate.images_per_second
            for rate in self.rates
            if (rate.size, rate.layer) == default and rate.close_to_float32
        ]
        return max(speeds, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON-ready values, with `weights_here` and `images_per_second`."""
        accuracy = {name: list(values) for name, values in self.accuracy.items()}
        return asdict(self) | {
            "weights_here": self.weights_here,
            "images_per_second": self.images_per_second,
            "rates": [asdict(rate) for rate in self.rates],
            "accuracy": accuracy,
        }


def list_backbones() -> list[BackboneFacts]:
    """List the backbones that have a name.

    Returns
    -------
    list of BackboneFacts
        VGG16 first, then those whose weights are on the package index, then those of
        `keras.applications`.

    Examples
    --------
    >>> from tlfeatures import list_backbones
    >>> [facts.width for facts in list_backbones() if facts.name == "vgg16"]
    [512]
    """
    rates = measured_rates()
    described = [_described(backbone, rates) for backbone in BACKBONES.values()]
    named = [_named(network, rates) for network in NAMED.values()]
    order = (PACKAGE_INDEX, NO_WEIGHTS, KERAS)
    return sorted(described + named, key=lambda facts: order.index(facts.weights_from))


def _described(backbone: Backbone, rates: Mapping[str, tuple[Rate, ...]]) -> BackboneFacts:
    layer, _, pool = (backbone.default_embedding or backbone.default_layer).partition(".")
    widths = embedding_widths(
        backbone, [layer], [pool] if pool else [], (DEFAULT_SIZE, DEFAULT_SIZE)
    )
    published = backbone.published
    return BackboneFacts(
        name=backbone.name,
        title=backbone.title,
        layer=layer,
        width=math.prod(widths.values()),
        default_size=DEFAULT_SIZE,
        smallest=backbone.smallest,
        parameters=backbone.network.parameters,
        licence=published.licence if published else "",
        source=published.credit if published else "",
        weights_from=PACKAGE_INDEX if backbone.trained else NO_WEIGHTS,
        weights=find_kept_weights(backbone.name),
        rates=rates.get(backbone.name, ()),
        accuracy=backbone.accuracy,
        near_duplicate=backbone.near_duplicate if backbone.trained else None,
    )


def _named(network: NamedNetwork, rates: Mapping[str, tuple[Rate, ...]]) -> BackboneFacts:
    return BackboneFacts(
        name=network.name,
        title=network.title,
        layer=_default_layer(network),
        width=network.width,
        default_size=network.default_size,
        smallest=network.smallest,
        parameters=network.parameters,
        licence=network.licence,
        source=network.source,
        weights_from=PACKAGE_INDEX if network.recipe else KERAS,
        weights=find_kept_weights(network.name),
        rates=rates.get(network.name, ()),
        accuracy=network.accuracy,
        near_duplicate=network.near_duplicate,
    )


def _default_layer(network: NamedNetwork) -> str:
    if network.application is not None:
        return network.application.layer
    return str(declaration_of(network).default_layer)
