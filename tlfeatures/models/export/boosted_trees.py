"""Histogram gradient boosting as one ONNX node, with thresholds in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from tlfeatures.errors import ModelError
from tlfeatures.features.engines.onnx_graph import Graph, Value
from tlfeatures.models.sklearn_private import boosting_baseline, boosting_trees


def add_boosting(graph: Graph, boosting: HistGradientBoostingClassifier, columns: Value) -> Value:
    """Add the sums of the trees to a graph.

    Parameters
    ----------
    graph : Graph
    boosting : fitted HistGradientBoostingClassifier
    columns : name of a value of shape (n, d), float64

    Returns
    -------
    str
        Name of the decisions, float64, of shape (n, 1) for two classes, otherwise (n, k).

    Raises
    ------
    ModelError
        If columns are categories, or there are no trees.
    """
    baseline = boosting_baseline(boosting)
    trees = [
        (output, predictor.nodes)
        for round_ in boosting_trees(boosting)
        for output, predictor in enumerate(round_)
    ]
    if any(nodes["is_categorical"].any() for _, nodes in trees):
        raise ModelError("its columns are categories")
    if not trees:
        raise ModelError("it has no trees")
    # The sums are computed in float64 and returned as float32, with a relative error of 1e-7.
    sums = graph.op(
        "TreeEnsembleRegressor",
        columns,
        domain="ai.onnx.ml",
        n_targets=baseline.shape[1],
        **_nodes([nodes for _, nodes in trees]),
        **_leaves(trees),
    )
    return graph.op("Add", graph.cast(sums, np.float64), baseline)


def _nodes(trees: list[NDArray[Any]]) -> dict[str, Any]:
    """Return the attributes of the nodes of all trees, tree by tree."""
    nodes = np.concatenate(trees)
    inner = nodes["is_leaf"] == 0
    return {
        "nodes_treeids": np.repeat(np.arange(len(trees)), [len(nodes) for nodes in trees]).tolist(),
        "nodes_nodeids": np.concatenate([np.arange(len(nodes)) for nodes in trees]).tolist(),
        "nodes_featureids": np.where(inner, nodes["feature_idx"], 0).tolist(),
        "nodes_modes": ["BRANCH_LEQ" if is_inner else "LEAF" for is_inner in inner],
        "nodes_truenodeids": np.where(inner, nodes["left"], 0).tolist(),
        "nodes_falsenodeids": np.where(inner, nodes["right"], 0).tolist(),
        "nodes_missing_value_tracks_true": np.where(inner, nodes["missing_go_to_left"], 0).tolist(),
        "nodes_values_as_tensor": _tensor(np.where(inner, nodes["num_threshold"], 0)),
    }


def _leaves(trees: list[tuple[int, NDArray[Any]]]) -> dict[str, Any]:
    """Return the attributes of the leaves: their values and outputs."""
    leaves = [np.flatnonzero(nodes["is_leaf"]) for _, nodes in trees]
    counts = [len(rows) for rows in leaves]
    values = [nodes["value"][rows] for (_, nodes), rows in zip(trees, leaves, strict=True)]
    return {
        "target_treeids": np.repeat(np.arange(len(trees)), counts).tolist(),
        "target_nodeids": np.concatenate(leaves).tolist(),
        "target_ids": np.repeat([output for output, _ in trees], counts).tolist(),
        "target_weights_as_tensor": _tensor(np.concatenate(values)),
    }


def _tensor(values: NDArray[Any]) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values, np.float64), "values")
