"""The ONNX graph of a convolutional network, whose tensors have the names of its layers.

The same weights give the same bytes, whatever the version of onnx: the protocol's messages are
filled in here, with a fixed version of the format and of the operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IMAGES, FEATURES = "images", "features"

_IR_VERSION, _OPSET = 8, 17
_FLOAT = 1  # onnx.TensorProto's number of float32
_INT, _STRING, _INTS = 2, 3, 7  # onnx.AttributeProto's numbers of types

Floats = NDArray[np.float32]


class LayerGraph:
    """Layers in the order in which they run. A tensor has the name of the layer that computes it.

    Parameters
    ----------
    name : str
        Of the network.
    """

    def __init__(self, name: str) -> None:
        import onnx

        self._model = onnx.ModelProto(ir_version=_IR_VERSION)
        self._model.opset_import.add(domain="", version=_OPSET)
        self._graph = self._model.graph
        self._graph.name = name
        self._declare(self._graph.input.add(), IMAGES, ("n", 3, "h", "w"))

    def layer(self, name: str, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node, and give the name of its output, which is the layer's.

        Parameters
        ----------
        name : str
        kind : str
            ONNX's name of the operator.
        inputs : sequence of str
        **attributes : int, str or list of int
        """
        node = self._graph.node.add(name=name, op_type=kind, input=inputs, output=[name])
        for key, value in sorted(attributes.items()):
            _set(node.attribute.add(name=key), value)
        return name

    def convolution(
        self, name: str, source: str, kernel: Floats, bias: Floats, **attributes: Any
    ) -> str:
        """Add a convolution; its kernel is (out, in / group, h, w), its bias (out,)."""
        inputs = [source, self._constant(f"{name}.kernel", kernel)]
        inputs.append(self._constant(f"{name}.bias", bias))
        return self.layer(name, "Conv", inputs, **attributes)

    def relu6(self, name: str, source: str) -> str:
        """Limit values to 0 to 6."""
        if not any(constant.name == "six" for constant in self._graph.initializer):
            self._constant("zero", np.array(0, np.float32))
            self._constant("six", np.array(6, np.float32))
        return self.layer(name, "Clip", [source, "zero", "six"])

    def model(self, source: str, width: int) -> bytes:
        """Average a feature map over height and width, and close the graph.

        Returns
        -------
        bytes
            An ONNX model of `images` (n, 3, h, w) to `features` (n, width).
        """
        mean = self.layer("mean", "GlobalAveragePool", [source])
        self.layer(FEATURES, "Flatten", [mean], axis=1)
        self._declare(self._graph.output.add(), FEATURES, ("n", width))
        return bytes(self._model.SerializeToString(deterministic=True))

    def _constant(self, name: str, values: Floats) -> str:
        content = np.asarray(values, "<f4").tobytes()
        self._graph.initializer.add(
            name=name, data_type=_FLOAT, dims=values.shape, raw_data=content
        )
        return name

    def _declare(self, item: Any, name: str, shape: Sequence[int | str]) -> None:
        item.name = name
        item.type.tensor_type.elem_type = _FLOAT
        for length in shape:
            axis = item.type.tensor_type.shape.dim.add()
            if isinstance(length, str):
                axis.dim_param = length
            else:
                axis.dim_value = length


def _set(attribute: Any, value: int | str | Sequence[int]) -> None:
    if isinstance(value, str):
        attribute.type, attribute.s = _STRING, value.encode()
    elif isinstance(value, int):
        attribute.type, attribute.i = _INT, value
    else:
        attribute.type = _INTS
        attribute.ints.extend(value)


def folded(
    kernel: Floats, gamma: Floats, beta: Floats, mean: Floats, variance: Floats, *, epsilon: float
) -> tuple[Floats, Floats]:
    """Fold a batch normalization into the convolution before it.

    Computed in float64, and rounded once.

    Parameters
    ----------
    kernel : ndarray of shape (out, in, h, w)
    gamma, beta, mean, variance : ndarray of shape (out,)
    epsilon : float

    Returns
    -------
    kernel, bias : ndarray of shape (out, in, h, w) and (out,), float32
    """
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    scaled = kernel.astype(np.float64) * scale[:, None, None, None]
    bias = beta.astype(np.float64) - mean.astype(np.float64) * scale
    return scaled.astype(np.float32), bias.astype(np.float32)
