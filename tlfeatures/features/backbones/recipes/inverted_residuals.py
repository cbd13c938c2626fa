"""Networks of inverted residual blocks: MobileNetV2 and those that have its blocks.

A block has a convolution of 1 x 1 that expands the channels, a convolution of each channel on its
own, and a convolution of 1 x 1 that projects. Batch normalizations are folded into the convolutions
before them. Where the block keeps the shape, its input is added.

Source: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.recipes.layer_graph import IMAGES, LayerGraph, folded

State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Step:
    """A convolution and its batch normalization, by the names of their tensors.

    Attributes
    ----------
    convolution, normalization : str
        Their names in the state are `CONVOLUTION.weight`, `NORMALIZATION.running_mean` and so on.
    """

    convolution: str
    normalization: str


@dataclass(frozen=True)
class Block:
    """An inverted residual block.

    Attributes
    ----------
    expand : Step or None
        None if the channels aren't expanded.
    depthwise, project : Step
    stride : int
    """

    expand: Step | None
    depthwise: Step
    project: Step
    stride: int


class InvertedResiduals:
    """Writes the ONNX graph of such a network.

    Parameters
    ----------
    name : str
    state : dict of name to ndarray
    epsilon : float
        Of the batch normalizations.
    same_upper : bool
        Whether convolutions are padded as TensorFlow's "SAME" does, which for an odd number of
        pixels pads the right and the bottom by one more; otherwise all sides alike.
    """

    def __init__(self, name: str, state: State, *, epsilon: float, same_upper: bool) -> None:
        self._graph, self._name, self._state = LayerGraph(name), name, state
        self._epsilon, self._same_upper = epsilon, same_upper

    def convert(self, stem: Step, blocks: Sequence[Block], head: Step) -> bytes:
        """Return the ONNX model; its layers are stem, block1, block2, ..., head and features.

        Raises
        ------
        WeightsError
            If a tensor is missing or has another shape.
        """
        try:
            value = self._activated("stem", IMAGES, stem, 2)
            for number, block in enumerate(blocks, 1):
                value = self._block(f"block{number}", value, block)
            value = self._activated("head", value, head, 1)
            return self._graph.model(value, len(self._state[f"{head.convolution}.weight"]))
        except (KeyError, ValueError, IndexError) as error:
            raise WeightsError(f"these are not the weights of {self._name}: {error}") from error

    def _block(self, name: str, source: str, block: Block) -> str:
        value = source
        if block.expand is not None:
            value = self._activated(f"{name}-expand", value, block.expand, 1)
        value = self._activated(f"{name}-depthwise", value, block.depthwise, block.stride)
        if block.stride > 1 or self._changes_channels(block):
            return self._normalized(name, value, block.project, 1)
        value = self._normalized(f"{name}-project", value, block.project, 1)
        return self._graph.layer(name, "Add", [source, value])

    def _changes_channels(self, block: Block) -> bool:
        first = block.expand or block.depthwise  # the depthwise one has one kernel for each channel
        kernel = self._state[f"{first.convolution}.weight"]
        before = kernel.shape[1] if block.expand else kernel.shape[0]
        return bool(before != len(self._state[f"{block.project.convolution}.weight"]))

    def _activated(self, name: str, source: str, step: Step, stride: int) -> str:
        return self._graph.relu6(name, self._normalized(f"{name}-conv", source, step, stride))

    def _normalized(self, name: str, source: str, step: Step, stride: int) -> str:
        parts = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (self._state[f"{step.normalization}.{p}"] for p in parts)
        kernel, bias = folded(
            self._state[f"{step.convolution}.weight"],
            *(gamma, beta, mean, variance),
            epsilon=self._epsilon,
        )
        channels, of_group, *sides = kernel.shape
        padding: dict[str, Any] = {"pads": [side // 2 for side in sides] * 2}
        if self._same_upper and max(sides) > 1:
            padding = {"auto_pad": "SAME_UPPER"}
        return self._graph.convolution(
            name,
            source,
            kernel,
            bias,
            group=channels if of_group == 1 else 1,
            kernel_shape=sides,
            strides=[stride, stride],
            **padding,
        )
