"""An ONNX graph, built node by node. Values have names, and arrays become constants."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Old enough for runtimes of 2023, young enough for double thresholds in trees.
OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 8

Value = str  # name of the output of a node
Shape = tuple[int | str | None, ...]  # a text names a dimension that may differ between calls


class Graph:
    """Nodes in the order in which they run, and their constants.

    Parameters
    ----------
    opsets : dict of domain to version, optional
        Versions of the operators; `OPSETS` if not given.
    ir_version : int, optional
        Version of the file format.
    """

    def __init__(
        self, opsets: Mapping[str, int] | None = None, ir_version: int = IR_VERSION
    ) -> None:
        self.opsets = {**OPSETS, **(opsets or {})}
        self.ir_version = ir_version
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._numbers = itertools.count(1)

    def op(
        self, kind: str, *inputs: Value | NDArray[Any], domain: str = "", **attributes: Any
    ) -> Value:
        """Add a node of one output.

        Parameters
        ----------
        kind : str
            ONNX's name of the operator, such as `MatMul`.
        *inputs : name of a value, or ndarray
            An array becomes a constant.
        domain : str
            Set of operators, `ai.onnx.ml` for those of machine learning.
        **attributes
            The node's attributes.

        Returns
        -------
        str
            The name of its output.
        """
        return self.ops(kind, *inputs, domain=domain, **attributes)[0]

    def ops(
        self,
        kind: str,
        *inputs: Value | NDArray[Any],
        outputs: int = 1,
        domain: str = "",
        **attributes: Any,
    ) -> list[Value]:
        """Add a node of several outputs, and give their names; see `op`."""
        from onnx import helper

        values = [self.constant(v) if isinstance(v, np.ndarray) else v for v in inputs]
        results = [self._new(kind) for _ in range(outputs)]
        self._nodes.append(helper.make_node(kind, values, results, domain=domain, **attributes))
        return results

    def constant(self, array: NDArray[Any]) -> Value:
        """Add a constant of the array's type and shape."""
        from onnx import numpy_helper

        name = self._new("constant")
        self._constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def cast(self, value: Value, dtype: type[np.generic]) -> Value:
        """Change the type of a value's numbers."""
        from onnx import helper

        return self.op("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def inline(self, model: Any, value: Value) -> list[Value]:
        """Add the nodes of another ONNX model of one input, with other names.

        Returns
        -------
        list of str
            Its outputs.
        """
        from onnx import GraphProto, helper

        inner = GraphProto()
        inner.CopyFrom(model.graph)
        _rename(inner, self._new("part") + "_")
        constants = {tensor.name for tensor in inner.initializer}
        own = next(item.name for item in inner.input if item.name not in constants)
        self._nodes.append(helper.make_node("Identity", [value], [own]))
        for sparse in inner.sparse_initializer:
            name = sparse.values.name
            self._nodes.append(helper.make_node("Constant", [], [name], sparse_value=sparse))
        self._nodes += inner.node
        self._constants += list(inner.initializer)
        return [output.name for output in inner.output]

    def require(self, opsets: Mapping[str, int], ir_version: int) -> None:
        """Raise the versions to those of a model that will be inlined, if those are newer."""
        for domain in self.opsets:
            self.opsets[domain] = max(self.opsets[domain], opsets.get(domain, 0))
        self.ir_version = max(self.ir_version, ir_version)

    def for_each(
        self, values: Value, build: Callable[[Graph, Value], Sequence[Value]]
    ) -> list[Value]:
        """Compute rows for one image after the other, for what takes a batch of one image only.

        Parameters
        ----------
        values : name of a value of shape (n, h, w, 3), uint8
        build : callable (graph, value of shape (1, h, w, 3)) -> values of shape (1, d), float32
            Adds the nodes that compute one image.

        Returns
        -------
        list of str
            The names of values of shape (n, d).
        """
        from onnx import helper

        body = Graph(self.opsets)
        body._numbers = self._numbers  # a body sees the names around it
        image = body._new("image")
        rows = build(body, body.op("Unsqueeze", image, np.array([0])))
        ends = [body.op("Squeeze", row, np.array([0])) for row in rows]
        nodes, constants = body._needed(set(ends))
        graph = helper.make_graph(
            nodes,
            body._new("body"),
            [_declared(image, np.uint8, (None, None, 3))],
            [_declared(end, np.float32, (None,)) for end in ends],
            constants,
        )
        return self.ops("Scan", values, outputs=len(ends), body=graph, num_scan_inputs=1)

    def _new(self, kind: str) -> Value:
        return f"{kind}_{next(self._numbers)}"

    def model(
        self,
        inputs: Mapping[Value, tuple[type[np.generic], Shape]],
        outputs: Mapping[str, tuple[Value, type[np.generic] | None, Shape]],
        **fields: Any,
    ) -> Any:
        """Close the graph; nodes and constants on which no output depends are left out.

        Parameters
        ----------
        inputs : dict of name to (type, shape)
        outputs : dict of name to (value, type, shape)
            The type is None if runtimes are to find type and shape themselves.
        **fields
            Fields of the `onnx.ModelProto`: doc_string, producer_name.
        """
        from onnx import helper

        for name, (value, *_) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [name]))
        nodes, constants = self._needed(set(outputs))
        graph = helper.make_graph(
            nodes,
            "tlfeatures",
            [_declared(name, *kind) for name, kind in inputs.items()],
            [_declared(name, dtype, shape) for name, (_, dtype, shape) in outputs.items()],
            constants,
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=self.ir_version, **fields)

    def _needed(self, wanted: set[str]) -> tuple[list[Any], list[Any]]:
        nodes = []
        for node in reversed(self._nodes):
            if wanted & set(node.output):
                nodes.append(node)
                wanted |= _used(node)
        return nodes[::-1], [constant for constant in self._constants if constant.name in wanted]


def _rename(graph: Any, prefix: str) -> None:
    """Put a prefix before all names of values, those inside of branches and loops too."""
    for node in graph.node:
        node.input[:] = [name and prefix + name for name in node.input]  # "" is an input left out
        node.output[:] = [name and prefix + name for name in node.output]
        node.name = node.name and prefix + node.name
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, prefix)
    tensors = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    for item in (*tensors, *graph.input, *graph.output):
        item.name = prefix + item.name


def _used(node: Any) -> set[str]:
    """Name the values that a node reads, those inside of a loop's body too."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names |= _used(inner)
    return names


def _declared(name: str, dtype: type[np.generic] | None, shape: Shape) -> Any:
    from onnx import ValueInfoProto, helper

    if dtype is None:
        return ValueInfoProto(name=name)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, element, shape)


def row_sums(graph: Graph, values: Value) -> Value:
    """Sum each row of (n, d): (n, 1)."""
    return graph.op("ReduceSum", values, np.array([1]), keepdims=1)


def row_squares(graph: Graph, values: Value) -> Value:
    """Give the squared length of each row of (n, d): (n, 1)."""
    return row_sums(graph, graph.op("Mul", values, values))
