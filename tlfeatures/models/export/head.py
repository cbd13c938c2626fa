"""A fitted head as ONNX nodes, in float64 if possible.

The graph of a head is compared with the head before anything is written: converters depend on
scikit-learn's version, and a wrong one would not be noticed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from tlfeatures.errors import ModelError
from tlfeatures.features.engines.onnx_graph import Graph, Value
from tlfeatures.features.engines.onnx_session import in_short, session
from tlfeatures.heads.classifiers.calibrated_classifier import CalibratedClassifier
from tlfeatures.models.export.converter import Converter, Number, steps_of

TOLERANCE = 1e-4  # difference of a probability between a head and its graph
_TRIED = 64  # rows on which they are compared


def add_head(graph: Graph, head: BaseEstimator, rows: Value, width: int) -> tuple[Value, Value]:
    """Add a fitted head to a graph.

    Parameters
    ----------
    graph : Graph
    head : fitted scikit-learn classifier
        Alone, or the last step of a Pipeline.
    rows : name of a value of shape (n, d), float32
    width : int
        d.

    Returns
    -------
    probabilities : str
        Name of a value of shape (n, k), float64, in the order of the head's classes.
    labels : str
        Name of a value of shape (n,), text.

    Raises
    ------
    ModelError
        If the head can't be exported. The message has the reason.
    """
    return Converter(graph, _proved_number(head, width)).head(head, rows)


def _proved_number(head: BaseEstimator, width: int) -> Number:
    """Choose the number type of skl2onnx's nodes: float64 if the graph then equals the head.

    Some converters are correct in float32 only.
    """
    reasons = []
    for number in (np.float64, np.float32):
        try:
            rows = _trial_rows(head, width)
            (table, labels), expected = _run_alone(head, rows, number), head.predict_proba(rows)
            other = _unlike(labels, head.predict(rows), expected)
        except (ImportError, MemoryError):
            raise  # these don't depend on the head
        except Exception as error:  # converters and the runtime raise any exception
            reasons.append(_reason(error))
            continue
        gap = np.abs(table - expected).max() if table.shape == expected.shape else np.inf
        if gap <= TOLERANCE and not other:
            return number
        reasons.append(
            f"the graph's probabilities are off by {gap:.2g}"
            if gap > TOLERANCE
            else f"{other} of {_TRIED} labels of the graph are others than the head's"
        )
    raise ModelError(
        f"{_named(head)} can't be exported to ONNX: {reasons[0]}; fit another head, as with "
        "--head logreg"
    )


def _unlike(graph: NDArray[Any], labels: NDArray[Any], table: NDArray[np.float64]) -> int:
    """Count different labels, except in rows whose two best classes are equally probable."""
    two = np.sort(table, axis=1)[:, -2:]
    clear = two[:, 1] - two[:, 0] > TOLERANCE
    return int(((graph != labels.astype(str)) & clear).sum())


def _trial_rows(head: BaseEstimator, width: int) -> NDArray[np.float32]:
    """Draw random rows with the mean and scale of the training rows, if the head has these."""
    first = steps_of(head)[0]
    random = np.random.default_rng(0).normal(size=(_TRIED, width))
    mean, scale = (getattr(first, name, None) for name in ("mean_", "scale_"))
    random = random if scale is None else random * scale
    return np.asarray(random if mean is None else random + mean, np.float32)


def _run_alone(
    head: BaseEstimator, rows: NDArray[np.float32], number: Number
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return the graph's probabilities and labels."""
    graph = Graph()
    probabilities, labels = Converter(graph, number).head(head, "rows")
    model = graph.model(
        {"rows": (np.float32, ("n", rows.shape[1]))},
        {
            "probabilities": (probabilities, np.float64, ("n", "k")),
            "labels": (labels, np.str_, ("n",)),
        },
    )
    table, names = session(model.SerializeToString()).run(None, {"rows": rows})
    return table, names


def _named(head: BaseEstimator) -> str:
    classifier = steps_of(head)[-1]
    inner = classifier.estimator if isinstance(classifier, CalibratedClassifier) else classifier
    return type(inner).__name__


def _reason(error: Exception) -> str:
    if type(error).__name__ == "MissingShapeCalculator":
        return "neither tlfeatures nor skl2onnx has a converter for it"
    if isinstance(error, ModelError):
        return str(error)
    return f"its conversion fails with {type(error).__name__}: {in_short(error)}"
