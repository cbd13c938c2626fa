"""A network without branches, as data: convolutions, max pooling, dense layers on top.

Engines that have no ready-made network (OpenVINO, ncnn) build one from this description. Every
convolution has a kernel of 3 x 3, a padding of one pixel, a bias and a ReLU. Max pooling takes the
maximum of 2 x 2 values, with a stride of 2. Dense layers have a ReLU, the last one a softmax.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

Shape = tuple[int, ...]
Shapes = dict[str, Shape]  # layer -> shape of its output, without the batch axis

FLATTEN = "flatten"  # the layer that makes one vector of the last feature map


@dataclass(frozen=True, eq=False)
class Network:
    """Layers in the order in which they are computed.

    Attributes
    ----------
    kernels : mapping of convolution to (height, width, channels in, channels out)
    pools : mapping of convolution to layer
        Names the pooling layer that follows a convolution.
    top : mapping of dense layer to (values in, values out)
        The part that fixes the size of the images.
    """

    kernels: Mapping[str, Shape] = field(default_factory=dict)
    pools: Mapping[str, str] = field(default_factory=dict)
    top: Mapping[str, Shape] = field(default_factory=dict)

    def layers_with_weights(self, *, top: bool) -> dict[str, Shape]:
        """Give the kernel's shape of each layer that has weights, with or without the top."""
        return {**self.kernels, **(self.top if top else {})}

    def steps(self, wanted: Collection[str]) -> Iterator[tuple[str, str | None]]:
        """Go through the convolutions up to the last wanted feature map.

        Yields
        ------
        (convolution, the pooling layer that follows it or None)
        """
        missing = set(wanted)
        for layer in self.kernels:
            pool = self.pools.get(layer)
            yield layer, pool
            missing -= {layer, pool}
            if not missing:
                return

    @cached_property
    def last_map(self) -> str:
        """Name of the deepest feature map."""
        last = list(self.kernels)[-1]
        return self.pools.get(last, last)

    def map_of(self, layer: str) -> str:
        """Name the feature map that a layer is, or is computed from."""
        return self.last_map if layer == FLATTEN or layer in self.top else layer

    @cached_property
    def bounding_layers(self) -> dict[str, str]:
        """Convolutions that int8 quantises -> layer whose largest value bounds their input.

        Pooling makes nothing larger, so that this is the convolution before. The first convolution
        stays in float32: it sees pixels, and takes 3 % of the time.
        """
        layers = list(self.kernels)
        return dict(zip(layers[1:], layers, strict=False))

    @cached_property
    def parameters(self) -> int:
        """Number of the weights and biases without the dense layers."""
        return sum(math.prod(kernel) + kernel[-1] for kernel in self.kernels.values())

    def shapes(self, size: tuple[int, int]) -> Shapes:
        """Give the shape of each layer's output for images of a height and width in pixels."""
        height, width = size
        channels = 0
        shapes: Shapes = {}
        for layer, kernel in self.kernels.items():
            channels = kernel[-1]
            shapes[layer] = (height, width, channels)
            if layer in self.pools:
                height, width = height // 2, width // 2
                shapes[self.pools[layer]] = (height, width, channels)
        shapes[FLATTEN] = (height * width * channels,)
        return shapes | {layer: kernel[-1:] for layer, kernel in self.top.items()}
