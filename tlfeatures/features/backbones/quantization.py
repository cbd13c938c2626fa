"""How a float32 backbone becomes one of int8: by the range of each convolution's input.

VGG16's ranges have the names of its convolutions, and start at 0, because a ReLU is before each of
them. Those of a declared ONNX network have the names of the tensors that convolutions take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import FormatError
from tlfeatures.features.backbones.declaration_values import text_of
from tlfeatures.features.backbones.record import Backbone

Ranges = tuple[tuple[str, float], ...]

RANGE = "range"  # in place of a pooling: smallest and largest value of a tensor

# The spec is an attribute of at most 64 kB.
MOST_RANGES = 400
MOST_CHARACTERS = 25_000  # of all their names

_LEAST, _LARGEST = 1e-30, 1e38  # of a range whose steps are numbers in float32


@dataclass(frozen=True)
class Quantization:
    """Ranges that were measured once, on a seeded sample of a file's images.

    Kernels take 8 bits, one scale a channel, symmetric; inputs of convolutions 8 bits from the
    smallest to the largest value of the sample, 0 among them. Together with the weights this
    defines an int8 backbone completely, so that it is a part of the spec.

    Attributes
    ----------
    images : int
        Number of images of the sample, 1 or more.
    random_state : int
        Seed by which the sample was drawn.
    largest : tuple of (input, float)
        The largest value of each input of a convolution, 0 or above.
    smallest : tuple of (input, float)
        The smallest values, 0 or below, in the same order; empty if all are 0.
    """

    images: int
    random_state: int
    largest: Ranges
    smallest: Ranges = ()

    def step(self, name: str) -> tuple[np.float32, np.uint8] | None:
        """Give the step between two of the 256 values of an input, and which of them is 0.

        None for an input that stays in float32.
        """
        largest = dict(self.largest).get(name)
        if largest is None:
            return None
        smallest = np.float32(dict(self.smallest).get(name, 0.0))
        step = (np.float32(largest) - smallest) / np.float32(255)
        return step, np.uint8(np.clip(np.rint(-smallest / step), 0, 255))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready plain data."""
        # Names once only: the spec is an attribute of at most 64 kB.
        smallest = [value for _, value in self.smallest]
        return {**asdict(self), "largest": dict(self.largest), "smallest": smallest}

    @classmethod
    def from_dict(cls, data: Any, backbone: Backbone | None) -> Quantization:
        """Read what `to_dict` wrote.

        Parameters
        ----------
        data : dict
        backbone : Backbone or None
            The backbone whose convolutions are expected; None: one that this version doesn't have.
            The names of a declared backbone are checked when its file is loaded.

        Raises
        ------
        FormatError
            If it is something else, or has other layers or impossible ranges.
        """
        try:
            largest = tuple(
                (text_of(name, "an input"), float(value)) for name, value in data["largest"].items()
            )
            below = [float(value) for value in data["smallest"]]
            names = [name for name, _ in largest]
            smallest = tuple(zip(names, below, strict=bool(below)))
            quantization = cls(int(data["images"]), int(data["random_state"]), largest, smallest)
        except (TypeError, ValueError, OverflowError, KeyError, AttributeError) as error:
            raise FormatError(f"its spec has the quantization {str(data)[:60]}") from error
        if backbone is None or (backbone.trained and not backbone.network.kernels):
            matches = 0 < len(names) <= MOST_RANGES
        else:
            matches = names == list(backbone.network.bounding_layers) and not below
        if not matches or quantization.images < 1:
            raise FormatError("its spec has a quantization of other layers, or of no image")
        if quantization.layers_without_range():
            raise FormatError("its spec has a quantization without bounds")
        return quantization

    def layers_without_range(self) -> list[str]:
        """Name the inputs that have no range in float32: of one value, infinite, or no number."""
        smallest = dict(self.smallest)
        ranges = [(name, smallest.get(name, 0.0), value) for name, value in self.largest]
        return [
            name
            for name, low, high in ranges
            if not (-_LARGEST <= low <= 0 <= high <= _LARGEST and high - low >= _LEAST)
        ]


def quantized_kernel(
    kernel: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round a kernel to 8 bits: one scale for each output channel, symmetric about zero.

    Parameters
    ----------
    kernel : ndarray of shape (channels out, channels in, h, w)

    Returns
    -------
    rounded : ndarray of the same shape
    steps : ndarray of shape (channels out,)
        What the rounded values are multiplied with.
    """
    axes = tuple(range(1, kernel.ndim))
    steps = np.maximum(np.abs(kernel).max(axis=axes), np.float32(1e-30)) / np.float32(127)
    rounded = np.rint(kernel / np.expand_dims(steps, axes)).astype(np.int8)
    return rounded, steps


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


def ranges_of(embeddings: Iterable[Mapping[str, NDArray[np.float32]]]) -> tuple[Ranges, Ranges]:
    """Take the largest and the smallest values of tensors, and 0, from embeddings of a sample.

    Padding adds zeros to an input, so that 0 is a value of each.

    Parameters
    ----------
    embeddings : iterable of dict of `TENSOR.range` to ndarray of shape (b, 2)
        Smallest and largest value of each image, batch by batch.

    Returns
    -------
    largest, smallest : tuple of (tensor, float)
        NaN where a value is NaN; empty where there are no embeddings.
    """
    largest: dict[str, float] = {}
    smallest: dict[str, float] = {}
    for batch in embeddings:
        for name, rows in batch.items():
            tensor = name.removesuffix(f".{RANGE}")
            largest[tensor] = float(np.max(rows, initial=largest.get(tensor, 0.0)))
            smallest[tensor] = float(np.min(rows, initial=smallest.get(tensor, 0.0)))
    return tuple(largest.items()), tuple(smallest.items())
