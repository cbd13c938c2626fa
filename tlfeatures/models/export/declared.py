"""Adding a declared ONNX network to the ONNX graph of a model.

The form that is added is compared with the network of the user's file before. Its operators may be
converted to a newer version, and its file may state that it takes any number of images though it
was traced with a single one: neither would be noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tlfeatures.errors import EngineError, ModelError
from tlfeatures.features.backbones.declaration import Declaration
from tlfeatures.features.backbones.onnx_file import OnnxFile
from tlfeatures.features.engines.declared_graph import (
    IMAGES,
    declared_model,
    declared_nodes,
    verify_check,
)
from tlfeatures.features.engines.onnx_graph import Graph, Value
from tlfeatures.features.engines.onnxruntime_engine import Runner, first_row, takes_batches

Add = Callable[[Graph, Value], list[Value]]


def add_declared(
    graph: Graph,
    images: Value,
    declaration: Declaration,
    size: tuple[int, int],
    names: Sequence[str],
    content: bytes,
) -> list[Value]:
    """Add a declared network, in float32.

    A network that takes one image only computes one image after the other.

    Parameters
    ----------
    graph : Graph
        Its versions of operators are raised to those of the network.
    images : name of a value of shape (n, h, w, 3), uint8
    declaration : Declaration
    size : (int, int)
        Height and width of the images, in pixels.
    names : sequence of str
        The embeddings wanted, `LAYER.POOLING`.
    content : bytes
        The ONNX file of the network.

    Returns
    -------
    list of str
        The names of values of shape (n, d), float32, in the order of `names`.

    Raises
    ------
    ModelError
        If the network can't be a part of another graph.
    WeightsError, EngineError
        If the file isn't one that this package loads, its check vector differs, or ONNX Runtime
        can't load it.
    """
    name = declaration.name
    file = OnnxFile(content, f"the file of backbone {name}")
    verify_check(file, declaration, first_row(name))
    one = Runner(declared_model(file, declaration, names, size), name)
    graph.require(file.opsets, file.ir_version)

    def at_once(target: Graph, value: Value) -> list[Value]:
        return declared_nodes(target, value, file, declaration, names)

    def one_by_one(target: Graph, value: Value) -> list[Value]:
        return target.for_each(value, at_once)

    for add in (at_once, one_by_one):
        if _is_same(add, one, graph, size, name):
            return add(graph, images)
    raise ModelError(
        f"backbone {name} computes something else as a part of a graph of opset "
        f"{graph.opsets['']}; its own is {file.opsets.get('')}: export the network with opset "
        f"{graph.opsets['']} or later, and extract and fit again"
    )


def _is_same(add: Add, one: Runner, graph: Graph, size: tuple[int, int], name: str) -> bool:
    """Whether a graph of the network gives the rows that the network gives for one image."""
    trial = Graph(graph.opsets, graph.ir_version)
    try:
        rows = add(trial, IMAGES)
        outputs = {f"rows{place}": (row, np.float32, ("n", "d")) for place, row in enumerate(rows)}
        model = trial.model({IMAGES: (np.uint8, ("n", *size, 3))}, outputs)
        return takes_batches(one, Runner(model.SerializeToString(), name), size)
    except EngineError:
        return False
