"""Support vector machines as ONNX nodes: kernels, and scikit-learn's one-vs-rest decisions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC, NuSVC

from tlfeatures.features.engines.onnx_graph import Graph, Value, row_squares


def add_kernel(
    graph: Graph, columns: Value, vectors: NDArray[np.float64], kernel: str, gamma: float
) -> Value:
    """Add the kernel of rows and support vectors: "linear", or else "rbf".

    Returns
    -------
    str
        Name of a value of shape (n, support vectors), float64.
    """
    products = graph.op("MatMul", columns, vectors.T)
    if kernel == "linear":
        return products
    own, theirs = row_squares(graph, columns), np.einsum("ij,ij->i", vectors, vectors)
    squares = graph.op("Add", graph.op("Mul", products, np.array(-2.0)), own)
    squares = graph.op("Max", graph.op("Add", squares, theirs), np.array(0.0))
    return graph.op("Exp", graph.op("Mul", squares, np.array(-gamma)))


def add_machine(graph: Graph, svc: SVC | NuSVC, products: Value) -> Value:
    """Add the decisions of a fitted machine, from the kernel of rows and support vectors.

    A class gets one vote for each pair that it wins, and a fraction under one half by its margins.

    Returns
    -------
    str
        Name of a value of shape (n, 1) for two classes, otherwise (n, k), float64.
    """
    weights = _pair_weights(svc)
    pairs = graph.op("Add", graph.op("MatMul", products, weights), svc.intercept_)
    if len(svc.classes_) == 2:
        return pairs
    first, second = _pair_members(len(svc.classes_))
    lost = graph.cast(graph.op("Less", pairs, np.array(0.0)), np.float64)
    won = graph.op("Sub", np.array(1.0), lost)
    votes = graph.op("Add", graph.op("MatMul", won, first), graph.op("MatMul", lost, second))
    clear = graph.op("MatMul", pairs, first - second)
    spread = graph.op("Add", graph.op("Abs", clear), np.array(1.0))
    share = graph.op("Div", clear, graph.op("Mul", spread, np.array(3.0)))
    return graph.op("Add", votes, share)


def _pair_members(classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return matrices (pairs, classes) with a 1 for the first, or the second, class of a pair."""
    first, second = np.triu_indices(classes, 1)
    return np.eye(classes)[first], np.eye(classes)[second]


def _pair_weights(svc: SVC | NuSVC) -> NDArray[np.float64]:
    """Spread libsvm's coefficients out to a matrix (support vectors, pairs).

    A vector of class i has k - 1 of them, for its pairs with the other classes in their order.
    """
    coefficients = np.asarray(svc.dual_coef_, np.float64)
    if len(svc.classes_) == 2:
        return coefficients.T
    owner = np.repeat(np.arange(len(svc.classes_)), svc.n_support_)
    pairs = list(zip(*np.triu_indices(len(svc.classes_), 1), strict=True))
    weights = np.zeros((len(owner), len(pairs)))
    for column, (first, second) in enumerate(pairs):
        weights[owner == first, column] = coefficients[second - 1, owner == first]
        weights[owner == second, column] = coefficients[first, owner == second]
    return weights
