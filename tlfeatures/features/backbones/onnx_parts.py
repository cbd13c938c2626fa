"""The parts of an ONNX model: nodes, tensors and shapes, also those inside of branches and loops.

Nothing here calls itself, as a crafted file may nest graphs deeply.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any


def parts(model: Any) -> Iterator[Any]:
    """Give every node and every tensor of a model."""
    waiting: list[Any] = [model.graph]
    found: list[Any] = []
    for function in model.functions:
        found += function.node
        for attribute in function.attribute_proto:
            yield from _tensors(attribute)
            waiting += [attribute.g, *attribute.graphs]
    while waiting or found:
        if waiting:
            graph = waiting.pop()
            found += graph.node
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            continue
        node = found.pop()
        yield node
        for attribute in node.attribute:
            yield from _tensors(attribute)
            waiting += [attribute.g, *attribute.graphs]


def nodes(graph: Any) -> Iterator[Any]:
    """Give every node of a graph."""
    waiting: list[Any] = [graph]
    while waiting:
        for node in waiting.pop().node:
            yield node
            for attribute in node.attribute:
                waiting += [attribute.g, *attribute.graphs]


def stated_shapes(model: Any) -> Iterator[Any]:
    """Give the shapes of the tensors of a model."""
    waiting: list[Any] = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield from (*graph.value_info, *graph.output)
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g, *attribute.graphs]


def _tensors(attribute: Any) -> Collection[Any]:
    sparse = [attribute.sparse_tensor, *attribute.sparse_tensors]
    inner = [tensor for item in sparse for tensor in (item.values, item.indices)]
    return [attribute.t, *attribute.tensors, *inner]
