"""Convolutions of a declared ONNX network with 8-bit integers.

Each convolution but the first, which sees pixels, gets its input and its kernel rounded to 8 bits
and back. A runtime joins this with the convolution into one of integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.declaration_values import text_of
from tlfeatures.features.backbones.onnx_file import OnnxFile
from tlfeatures.features.backbones.quantization import (
    MOST_CHARACTERS,
    MOST_RANGES,
    RANGE,
    Quantization,
    quantized_kernel,
)

_LEAST_OPSET = 13  # the first one with a scale for each channel


def range_names(file: OnnxFile, name: str) -> list[str]:
    """Name the ranges that an int8 network needs: `TENSOR.range` of its convolutions' inputs.

    Parameters
    ----------
    file : OnnxFile
    name : str
        Name of the backbone, for messages.

    Raises
    ------
    ParameterError
        If the network can't be computed in int8.
    """
    if file.opsets.get("", 0) < _LEAST_OPSET:
        raise ParameterError(
            f"backbone {name} is a file of opset {file.opsets.get('', 0)}, and int8 needs "
            f"{_LEAST_OPSET} or later: export it again, or leave out --precision int8"
        )
    inputs = _inputs(_convolutions(file.network([])))
    if not 0 < len(inputs) <= MOST_RANGES:
        raise ParameterError(
            f"backbone {name} has {len(inputs)} convolutions that int8 could compute, expected 1 "
            f"to {MOST_RANGES} behind the first: leave out --precision int8"
        )
    try:
        names = [text_of(tensor, "an input of a convolution") for tensor in inputs]
    except ValueError as error:
        raise ParameterError(f"backbone {name}: {error}; leave out --precision int8") from error
    if sum(map(len, names)) > MOST_CHARACTERS:
        raise ParameterError(
            f"the tensors of backbone {name} have names of {sum(map(len, names)):,} characters, "
            f"expected up to {MOST_CHARACTERS:,} for int8: leave out --precision int8"
        )
    return [f"{tensor}.{RANGE}" for tensor in names]


def quantized_network(network: Any, quantization: Quantization, name: str) -> Any:
    """Round the inputs and the kernels of a network's convolutions, and give the network.

    Parameters
    ----------
    network : onnx.ModelProto
        It is changed.
    quantization : Quantization
    name : str
        Name of the backbone, for messages.

    Raises
    ------
    ParameterError
        If the ranges are those of another network.
    """
    convolutions = _convolutions(network)
    if _inputs(convolutions) != [tensor for tensor, _ in quantization.largest]:
        raise ParameterError(
            f"the int8 ranges are not those of the convolutions of backbone {name}: extract again"
        )
    # What rounds the first and the second input of a convolution.
    roundings = (
        partial(_rounded_tensor, network, quantization),
        partial(_rounded_kernel, network, _kernels(network)),
    )
    nodes: list[Any] = []
    rounded: dict[str, str] = {}  # several convolutions may share a tensor or a kernel
    for node in [_copied(node) for node in network.graph.node]:
        if node.output[0] in convolutions:
            for position, rounding in enumerate(roundings):
                source = node.input[position]
                if source not in rounded:
                    rounded[source] = f"int8/{len(rounded)}/{source}"
                    nodes += rounding(source, rounded[source])
                node.input[position] = rounded[source]
        nodes.append(node)
    del network.graph.node[:]
    network.graph.node.extend(nodes)
    return network


def _rounded_tensor(
    network: Any, quantization: Quantization, tensor: str, output: str
) -> list[Any]:
    from onnx import helper

    step = quantization.step(tensor)
    assert step is not None  # each input of a convolution has a range
    names = _constants(network, output, [np.array(value) for value in step])
    integers = f"{output}/integers"
    return [
        helper.make_node("QuantizeLinear", [tensor, *names], [integers]),
        helper.make_node("DequantizeLinear", [integers, *names], [output]),
    ]


def _rounded_kernel(
    network: Any, kernels: Mapping[str, Any], kernel: str, output: str
) -> list[Any]:
    from onnx import helper, numpy_helper

    values, steps = quantized_kernel(numpy_helper.to_array(kernels[kernel]))
    names = _constants(network, output, [values, steps, np.zeros(len(steps), np.int8)])
    return [helper.make_node("DequantizeLinear", names, [output], axis=0)]


def _constants(network: Any, output: str, arrays: list[NDArray[Any]]) -> list[str]:
    from onnx import numpy_helper

    names = [f"{output}/{number}" for number in range(len(arrays))]
    tensors = map(numpy_helper.from_array, arrays, names)
    network.graph.initializer.extend(tensors)
    return names


def _copied(node: Any) -> Any:
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)  # the node itself goes with the list that it is in
    return copy


def _inputs(convolutions: dict[str, str]) -> list[str]:
    return list(dict.fromkeys(convolutions.values()))


def _convolutions(network: Any) -> dict[str, str]:
    """Give the convolutions that int8 computes, by their output, and their inputs."""
    kernels, computed = _kernels(network), set()
    convolutions: dict[str, str] = {}
    first = True
    for node in network.graph.node:
        if node.op_type == "Conv":
            if not first and node.input[1] in kernels and node.input[0] in computed:
                convolutions[node.output[0]] = node.input[0]
            first = False
        computed |= set(node.output)
    return convolutions


def _kernels(network: Any) -> dict[str, Any]:
    """Give the constants of float32 of a network by name."""
    from onnx import TensorProto

    constants = {tensor.name: tensor for tensor in network.graph.initializer}
    for node in network.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    return {
        name: tensor for name, tensor in constants.items() if tensor.data_type == TensorProto.FLOAT
    }
