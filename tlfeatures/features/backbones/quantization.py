"""How a float32 backbone becomes one of int8: by the range of each convolution's input."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import FormatError
from tlfeatures.features.backbones.record import Backbone

Ranges = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Quantization:
    """Ranges that were measured once, on a seeded sample of a file's images.

    Kernels take 8 bits, one scale a channel, symmetric; inputs of convolutions 8 bits from 0 (they
    follow a ReLU) to the largest value of the sample. Together with the weights this defines an
    int8 backbone completely, so that it is a part of the spec.

    Attributes
    ----------
    images : int
        Number of images of the sample, 1 or more.
    random_state : int
        Seed by which the sample was drawn.
    largest : tuple of (convolution, float)
        The largest value of its input, above 0.
    """

    images: int
    random_state: int
    largest: Ranges

    def scale(self, layer: str) -> np.float32 | None:
        """Give the step between two of the 256 values of a layer's input; None for float32."""
        largest = dict(self.largest).get(layer)
        return None if largest is None else np.float32(largest) / np.float32(255)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready plain data."""
        return {**asdict(self), "largest": dict(self.largest)}

    @classmethod
    def from_dict(cls, data: Any, backbone: Backbone | None) -> Quantization:
        """Read what `to_dict` wrote.

        Parameters
        ----------
        data : dict
        backbone : Backbone or None
            The backbone whose convolutions are expected; None: one that this version doesn't have,
            so that its layers can't be checked.

        Raises
        ------
        FormatError
            If it is something else, or has other layers or impossible ranges.
        """
        try:
            largest = tuple((str(layer), float(value)) for layer, value in data["largest"].items())
            quantization = cls(int(data["images"]), int(data["random_state"]), largest)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise FormatError(f"its spec has the quantization {str(data)[:60]}") from error
        layers = [layer for layer, _ in largest]
        expected = layers if backbone is None else list(backbone.network.bounding_layers)
        if layers != expected or quantization.images < 1:
            raise FormatError("its spec has a quantization of other layers, or of no image")
        if quantization.layers_without_range():
            raise FormatError("its spec has a quantization without bounds")
        return quantization

    def layers_without_range(self) -> list[str]:
        """Name the convolutions whose input has no range: 0, infinite, or no number."""
        return [layer for layer, value in self.largest if not 0 < value < math.inf]


def calibration_names(backbone: Backbone) -> list[str]:
    """Name the embeddings whose largest values `largest_inputs` takes."""
    return [f"{layer}.max" for layer in backbone.network.bounding_layers.values()]


def largest_inputs(
    backbone: Backbone, embeddings: Iterable[Mapping[str, NDArray[np.float32]]]
) -> Ranges:
    """Take the largest input of each convolution from float32 embeddings of a sample.

    Parameters
    ----------
    backbone : Backbone
    embeddings : iterable of dict of name to ndarray of shape (b, channels)
        Those of `calibration_names`, batch by batch.

    Returns
    -------
    tuple of (convolution, float)
        0 where there are no embeddings, NaN where one is NaN.
    """
    bounding = backbone.network.bounding_layers
    largest = dict.fromkeys(bounding, 0.0)
    for batch in embeddings:
        for layer, before in bounding.items():
            largest[layer] = float(np.max(batch[f"{before}.max"], initial=largest[layer]))
    return tuple(largest.items())
