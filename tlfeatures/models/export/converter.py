"""Fitted estimators as ONNX nodes. Own converters are used if skl2onnx has no correct one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, NuSVC

from tlfeatures.errors import ModelError
from tlfeatures.features.engines.onnx_graph import OPSETS, Graph, Value, row_squares, row_sums
from tlfeatures.heads.classifiers.base import TINY
from tlfeatures.heads.classifiers.block_decisions import LandmarkDecisions
from tlfeatures.heads.classifiers.block_lda import BlockLDA
from tlfeatures.heads.classifiers.block_logistic import BlockLogistic
from tlfeatures.heads.classifiers.calibrated_svc import CalibratedSVC
from tlfeatures.heads.classifiers.calibration import BaseCalibration
from tlfeatures.heads.classifiers.scaled_mlp import ScaledMLP
from tlfeatures.heads.classifiers.shrunk_lda import ShrunkLDA
from tlfeatures.heads.classifiers.smoothed_neighbors import SmoothedNeighbors
from tlfeatures.heads.coordinates import PrincipalCoordinates
from tlfeatures.models.export.boosted_trees import add_boosting
from tlfeatures.models.export.support_vector_machines import add_kernel, add_machine
from tlfeatures.models.sklearn_private import kernel_gamma

Number = type[np.float32] | type[np.float64]

_CALIBRATED = BaseCalibration
_MACHINES = (SVC, NuSVC)


def steps_of(head: BaseEstimator) -> list[BaseEstimator]:
    """Return the estimators that rows pass through, the classifier last."""
    steps = [step for _, step in head.steps] if isinstance(head, Pipeline) else [head]
    return [step for step in steps if step is not None and step != "passthrough"]


class Converter:
    """Adds estimators to a graph; every value is float64.

    Parameters
    ----------
    graph : Graph
    number : float32 or float64
        Number type of the nodes by skl2onnx.
    """

    def __init__(self, graph: Graph, number: Number) -> None:
        self._graph = graph
        self._number = number

    def head(self, head: BaseEstimator, rows: Value) -> tuple[Value, Value]:
        """Add a head that takes rows of shape (n, d), float32.

        Returns
        -------
        probabilities : str
            Name of a value of shape (n, k), float64.
        labels : str
            Name of a value of shape (n,), text: the labels of the head's `predict`.
        """
        *transformers, classifier = steps_of(head)
        columns = self._graph.cast(rows, np.float64)
        for transformer in transformers:
            columns = self._transformed(transformer, columns)
        return self._classified(classifier, columns)

    # ---- transformers

    def _transformed(self, transformer: BaseEstimator, columns: Value) -> Value:
        if isinstance(transformer, PrincipalCoordinates):
            return self._coordinates(transformer, columns)
        if isinstance(transformer, StandardScaler):
            return self._standardised(columns, transformer.mean_, transformer.scale_, transformer)
        return self._by_skl2onnx(transformer, columns)[0]

    def _standardised(
        self,
        columns: Value,
        mean: NDArray[np.float64],
        scale: NDArray[np.float64],
        scaler: StandardScaler | None = None,
    ) -> Value:
        if scaler is None or scaler.with_mean:
            columns = self._graph.op("Sub", columns, mean)
        if scaler is None or scaler.with_std:
            columns = self._graph.op("Div", columns, scale)
        return columns

    def _coordinates(self, coordinates: PrincipalCoordinates, columns: Value) -> Value:
        graph = self._graph
        columns = self._standardised(columns, coordinates.mean_, coordinates.scale_)
        # Stored in their own type, mostly float32: they are the largest part of a head.
        axes = graph.cast(graph.constant(coordinates.components_.T), np.float64)
        scores = graph.op("MatMul", columns, axes)
        if coordinates.n_components is not None:
            return scores
        squared = graph.op("Sub", row_squares(graph, columns), row_squares(graph, scores))
        beyond = graph.op("Sqrt", graph.op("Max", squared, np.array(0.0)))
        return graph.op("Concat", scores, beyond, axis=1)

    # ---- probabilities

    def _classified(self, classifier: BaseEstimator, columns: Value) -> tuple[Value, Value]:
        own: Sequence[tuple[Any, Callable[[Any, Value], Value]]] = (
            (DummyClassifier, self._dummy),
            # skl2onnx doubles the log odds of a discriminant of two classes
            ((ShrunkLDA, LinearDiscriminantAnalysis), self._discriminant),
            ((BlockLDA, BlockLogistic), self._discriminant),
            (SmoothedNeighbors, self._neighbors),
            (ScaledMLP, self._perceptron),
            # skl2onnx's own fails in float64, and float32 can't hold its thresholds
            (HistGradientBoostingClassifier, self._boosting),
        )
        if isinstance(classifier, _CALIBRATED):
            probabilities, code = self._calibrated(classifier, columns)
            return probabilities, self._named(classifier, code)
        for kind, convert in own:
            if isinstance(classifier, kind):
                probabilities = convert(classifier, columns)
                return probabilities, self._named(classifier, self._largest(probabilities))
        labels, probabilities = self._by_skl2onnx(classifier, columns)
        return probabilities, labels

    def _largest(self, values: Value) -> Value:
        return self._graph.op("ArgMax", values, axis=1, keepdims=0)

    def _named(self, classifier: Any, code: Value) -> Value:
        """Convert class codes of shape (n,), int64, to class names."""
        names = np.array([str(name) for name in classifier.classes_], object)
        return self._graph.op("Gather", names, code, axis=0)

    def _dummy(self, dummy: DummyClassifier, columns: Value) -> Value:
        if dummy.strategy == "stratified":
            raise ModelError("it draws labels at random")
        row = dummy.predict_proba(np.zeros((1, 1)))
        count = self._graph.op("Shape", columns, start=0, end=1)
        shape = self._graph.op("Concat", count, np.array([row.shape[1]]), axis=0)
        return self._graph.op("Expand", row, shape)

    def _discriminant(self, linear: Any, columns: Value) -> Value:
        decisions = self._linear(linear, columns)
        if len(linear.classes_) == 2:
            return self._both(self._graph.op("Sigmoid", decisions))
        return self._graph.op("Softmax", decisions, axis=1)

    def _boosting(self, boosting: HistGradientBoostingClassifier, columns: Value) -> Value:
        raw = add_boosting(self._graph, boosting, columns)
        if len(boosting.classes_) == 2:
            return self._both(self._graph.op("Sigmoid", raw))
        return self._graph.op("Softmax", raw, axis=1)

    def _perceptron(self, perceptron: ScaledMLP, columns: Value) -> Value:
        graph = self._graph
        values = graph.op("Div", columns, np.array(perceptron.scale_, np.float64))
        layers = list(zip(perceptron.coefs_, perceptron.intercepts_, strict=True))
        for number, (weights, intercepts) in enumerate(layers):
            values = graph.op("Relu", values) if number else values
            values = graph.op("MatMul", values, np.asarray(weights, np.float64))
            values = graph.op("Add", values, np.asarray(intercepts, np.float64))
        if len(perceptron.classes_) == 2:
            return self._both(graph.op("Sigmoid", values))
        return graph.op("Softmax", values, axis=1)

    def _neighbors(self, smoothed: SmoothedNeighbors, columns: Value) -> Value:
        graph, rows = self._graph, smoothed.rows_
        # The squared lengths of the new rows are omitted, because they don't change the order.
        squares = np.einsum("ij,ij->i", rows, rows)
        products = graph.op("MatMul", columns, rows.T * -2)
        count = min(smoothed.n_neighbors, len(rows))
        nearest = self._nearest(graph.op("Add", products, squares), count)
        classes = len(smoothed.classes_)
        votes = graph.op("Gather", np.eye(classes)[smoothed.codes_], nearest, axis=0)
        votes = graph.op("ReduceSum", votes, np.array([1]), keepdims=0)
        votes = graph.op("Add", votes, np.array(1 / classes))
        votes = graph.op("Mul", votes, np.asarray(smoothed.weights_, np.float64))
        return graph.op("Div", votes, row_sums(graph, votes))

    def _nearest(self, distances: Value, count: int) -> Value:
        """Return the indices of the nearest rows; the lower index if two are equally near."""
        return self._graph.ops(
            "TopK", distances, np.array([count]), outputs=2, axis=1, largest=0, sorted=1
        )[1]

    def _both(self, second: Value) -> Value:
        """Convert probabilities (n, 1) of the second of two classes to (n, 2)."""
        first = self._graph.op("Sub", np.array(1.0), second)
        return self._graph.op("Concat", first, second, axis=1)

    # ---- calibrated decisions

    def _calibrated(self, classifier: Any, columns: Value) -> tuple[Value, Value]:
        graph = self._graph
        decisions = self._decisions_of(classifier, columns)
        slope = np.array(classifier.slope_)
        if len(classifier.classes_) > 2:
            most, least = (
                graph.op(name, decisions, np.array([1])) for name in ("ReduceMax", "ReduceMin")
            )
            spread = graph.op("Max", graph.op("Sub", most, least), np.array(TINY))
            share = graph.op("Div", np.array(classifier.widest_), spread)
            scaled = graph.op("Mul", decisions, graph.op("Min", share, np.array(1.0)))
            scaled = graph.op("Mul", scaled, slope)
            return graph.op("Softmax", scaled, axis=1), self._largest(decisions)
        highest = np.array(classifier.highest_)
        lowest = np.array(classifier.lowest_)
        limited = graph.op("Max", graph.op("Min", decisions, highest), lowest)
        scaled = graph.op("Mul", limited, slope)
        shifted = graph.op("Add", scaled, np.array(classifier.intercept_))
        second = graph.op("Squeeze", graph.op("Greater", decisions, np.array(0.0)), np.array([1]))
        return self._both(graph.op("Sigmoid", shifted)), graph.cast(second, np.int64)

    def _decisions_of(self, classifier: Any, columns: Value) -> Value:
        """Return decisions of shape (n, 1) for two classes, otherwise (n, k)."""
        graph, inner = self._graph, classifier.fitted_
        if isinstance(classifier, CalibratedSVC):
            owner = classifier if classifier.precomputed_ else inner
            vectors, kernel = owner.support_vectors_, classifier.kernel
            products = add_kernel(graph, columns, vectors, kernel, classifier.gamma_)
            return add_machine(graph, inner, products)
        if isinstance(inner, LandmarkDecisions):
            landmarks = inner.landmarks_.astype(np.float64)
            values = add_kernel(graph, columns, landmarks, "rbf", inner.gamma_)
            products = graph.op("MatMul", values, inner.dual_coef_.T)
            return graph.op("Add", products, inner.intercept_)
        if isinstance(inner, _MACHINES) and inner.kernel in ("linear", "rbf"):
            vectors, kernel = inner.support_vectors_, inner.kernel
            products = add_kernel(graph, columns, vectors, kernel, kernel_gamma(inner))
            return add_machine(graph, inner, products)
        if hasattr(inner, "coef_") and not isinstance(inner, _MACHINES):
            return self._linear(inner, columns)
        scores = self._by_skl2onnx(inner, columns, raw_scores=True)[1]
        if len(inner.classes_) > 2:
            return scores
        # The last column is the second class, whether there are one or two columns.
        start, end, axis = np.array([-1]), np.array([np.iinfo(np.int64).max]), np.array([1])
        return graph.op("Slice", scores, start, end, axis)

    def _linear(self, linear: Any, columns: Value) -> Value:
        coefficients = np.atleast_2d(np.asarray(linear.coef_, np.float64))
        intercept = np.atleast_1d(np.asarray(linear.intercept_, np.float64))
        products = self._graph.op("MatMul", columns, coefficients.T)
        return self._graph.op("Add", products, intercept)

    # ---- skl2onnx

    def _by_skl2onnx(self, estimator: BaseEstimator, columns: Value, **options: Any) -> list[Value]:
        """Return outputs of skl2onnx's graph as float64; for a classifier, labels and numbers."""
        values = self._graph.inline(
            _converted(estimator, self._number, options), self._graph.cast(columns, self._number)
        )
        return [*values[:-1], self._graph.cast(values[-1], np.float64)]


def _converted(estimator: BaseEstimator, number: Number, options: dict[str, Any]) -> Any:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    kind = DoubleTensorType if number is np.float64 else FloatTensorType
    plain = {"zipmap": False} if hasattr(estimator, "predict_proba") else {}
    return convert_sklearn(
        estimator,
        initial_types=[("columns", kind([None, estimator.n_features_in_]))],
        options={id(estimator): {**plain, **options}},
        target_opset=dict(OPSETS),
    )
