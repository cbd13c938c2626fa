"""The labels of an operating point as ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlfeatures.features.engines.onnx_graph import Graph, Value
from tlfeatures.models.operating_point import OperatingPoint


def add_labels(
    graph: Graph, probabilities: Value, point: OperatingPoint, classes: Sequence[str]
) -> Value:
    """Add the labels of an operating point to a graph.

    Parameters
    ----------
    graph : Graph
    probabilities : name of a value of shape (n, k), float64
    point : OperatingPoint
    classes : sequence of str
        Names of the k classes.

    Returns
    -------
    str
        Name of a value of shape (n,), text.
    """
    code = classes.index(point.label)
    own = graph.op("Gather", probabilities, np.array(code), axis=1)
    decided = graph.op("GreaterOrEqual", own, np.array(point.threshold))
    excluded = 2.0 * (np.arange(len(classes)) == code)  # then below every other probability
    other = graph.op("ArgMax", graph.op("Sub", probabilities, excluded), axis=1, keepdims=0)
    chosen = graph.op("Where", decided, np.array(code), other)
    return graph.op("Gather", np.array(classes, object), chosen, axis=0)
