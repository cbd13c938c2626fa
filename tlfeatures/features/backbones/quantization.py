"""What turns a float32 backbone into one of 8-bit integers: the range of each layer's input."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import FormatError
from tlfeatures.features.backbones.weights import CONV_KERNELS

# Convolution -> the layer whose largest value bounds its input (pooling makes nothing larger). The
# first stays in float32: it sees pixels, and takes 3 % of the time.
_BEFORE = dict(zip(list(CONV_KERNELS)[1:], CONV_KERNELS, strict=False))


Ranges = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Quantization:
    """Ranges that were measured once, on a seeded sample of a file's images.

    Kernels take 8 bits, one scale a channel, symmetric; inputs of convolutions 8 bits from 0 (they
    follow a ReLU) to the largest value of the sample. With the weights this says the whole of an
    int8 backbone, so that it travels in a spec.

    Attributes
    ----------
    images : int
        Number of images of the sample, 1 or more.
    random_state : int
        The seed that drew it.
    largest : tuple of (convolution, float)
        The largest value of its input, above 0.
    """

    images: int
    random_state: int
    largest: Ranges

    def scale(self, layer: str) -> np.float32 | None:
        """Give the step between two of the 256 values of a layer's input; None: it has more."""
        largest = dict(self.largest).get(layer)
        return None if largest is None else np.float32(largest) / np.float32(255)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data."""
        return {**asdict(self), "largest": dict(self.largest)}

    @classmethod
    def from_dict(cls, data: Any) -> Quantization:
        """Read what `to_dict` wrote, or raise `FormatError`."""
        try:
            largest = tuple((str(layer), float(value)) for layer, value in data["largest"].items())
            made = cls(int(data["images"]), int(data["random_state"]), largest)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise FormatError(f"its spec has the quantization {str(data)[:60]}") from error
        if [layer for layer, _ in largest] != list(_BEFORE) or made.images < 1:
            raise FormatError("its spec has a quantization of other layers, or of no image")
        if made.layers_without_range():
            raise FormatError("its spec has a quantization without bounds")
        return made

    def layers_without_range(self) -> list[str]:
        """Name the convolutions whose input has no range: 0, infinite, or no number."""
        return [layer for layer, value in self.largest if not 0 < value < math.inf]


def calibration_names() -> list[str]:
    """Name the embeddings whose largest values `measured` wants."""
    return [f"{layer}.max" for layer in _BEFORE.values()]


def measured(
    embeddings: Iterable[Mapping[str, NDArray[np.float32]]],
) -> tuple[tuple[str, float], ...]:
    """Take the largest inputs from a float32 backbone's embeddings of a sample.

    Parameters
    ----------
    embeddings : iterable of dict of name to ndarray of shape (b, channels)
        Those of `calibration_names`, batch by batch.

    Returns
    -------
    tuple of (convolution, float)
        0 where there are no embeddings, NaN where one is NaN.
    """
    largest = dict.fromkeys(_BEFORE, 0.0)
    for batch in embeddings:
        for layer, before in _BEFORE.items():
            largest[layer] = float(np.max(batch[f"{before}.max"], initial=largest[layer]))
    return tuple(largest.items())
