"""Fitted heads from coefficients, of the classes that heads have on one machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tlfeatures.heads.classifiers.calibrated_centroid import CalibratedCentroid
from tlfeatures.heads.classifiers.calibrated_ridge import CalibratedRidge
from tlfeatures.heads.classifiers.calibration import BaseCalibratedClassifier
from tlfeatures.heads.classifiers.shrunk_lda import ShrunkLDA
from tlfeatures.heads.coordinates import PrincipalCoordinates
from tlfeatures.model_selection.sums.moments import Floats, TrainingSums
from tlfeatures.model_selection.sums.solutions import Linear

Held = tuple[Floats, NDArray[np.int_]]  # held-out decisions, and the class of each


def fitted_classifier(
    classifier: BaseEstimator,
    classes: NDArray[np.str_],
    linear: Linear,
    held_out: Held | None,
    iterations: int | None,
) -> BaseEstimator:
    """Return a fitted classifier.

    Parameters
    ----------
    classifier : LogisticRegression, ShrunkLDA, CalibratedRidge or CalibratedCentroid
        The classifier before its fit.
    classes : ndarray of shape (c,), str
        The classes that have training rows.
    linear : (coef, intercept)
        Coefficients of shape (c, d), or (1, d) for two classes, and intercepts.
    held_out : (decisions, classes) or None
        Decisions of rows that were held out, of shape (m, c) or (m, 1), and the position of the
        class of each row in `classes`. None for a classifier that is not calibrated.
    iterations : int or None
        Number of steps of logistic regression.
    """
    fitted = clone(classifier)
    fitted.classes_ = classes
    if isinstance(fitted, BaseCalibratedClassifier):
        fitted.n_features_in_ = linear[0].shape[1]
        fitted.fitted_ = _with_coefficients(_plain(fitted, len(classes)), linear)
        assert held_out is not None
        decisions, codes = held_out
        fitted.calibrate(decisions[:, 0] if decisions.shape[1] == 1 else decisions, codes)
        return fitted
    if iterations is not None:
        fitted.n_iter_ = np.array([iterations], np.int32)
    return _with_coefficients(fitted, linear)


def _plain(classifier: BaseCalibratedClassifier, classes: int) -> Any:
    """Return a fitted inner classifier, whose coefficients are then replaced."""
    return classifier.plain().fit(np.eye(classes), np.arange(classes))


def _with_coefficients(fitted: Any, linear: Linear) -> Any:
    fitted.coef_, fitted.intercept_ = linear
    fitted.n_features_in_ = linear[0].shape[1]
    return fitted


def on_decisions(outputs: int) -> Linear:
    """Return coefficients that leave decisions as they are, which then are a classifier's columns.

    Parameters
    ----------
    outputs : int
        Number of decisions of each row.
    """
    return np.eye(outputs), np.zeros(outputs)


def scaled_head(classifier: BaseEstimator, rows: TrainingSums, pivot: Floats) -> Pipeline:
    """Put the standardisation of columns before a fitted classifier, as `compact` does."""
    coordinates = PrincipalCoordinates()
    coordinates.mean_, coordinates.scale_ = rows.shift + pivot, rows.scale
    coordinates.rows_ = int(rows.counts.sum())
    return Pipeline([("scale", coordinates.as_scaler()), ("classifier", classifier)])


# ---- which heads are sums


_FREE = {
    LogisticRegression: ("C", "class_weight", "max_iter", "random_state", "tol"),
    ShrunkLDA: ("class_weight", "shrinkage"),
    CalibratedRidge: ("alpha", "random_state"),
    CalibratedCentroid: ("random_state",),
}


def is_sum(head: BaseEstimator) -> bool:
    """Whether a head can be computed from sums over rows.

    These are logreg, lda, ridge and centroid on all coordinates. Other parameters than C, tol,
    max_iter, alpha above 0, shrinkage, random_state and, except for ridge, class_weight must have
    their defaults.
    """
    if not isinstance(head, Pipeline) or len(head) != 2:
        return False
    first, classifier = head[0], head[1]
    free = _FREE.get(type(classifier))
    if type(first) is not PrincipalCoordinates or first.n_components is not None or free is None:
        return False
    defaults = type(classifier)().get_params()
    given = classifier.get_params()
    if any(given[name] != value for name, value in defaults.items() if name not in free):
        return False
    return all(_is_usable(name, value) for name, value in given.items() if name in free)


def _is_usable(name: str, value: Any) -> bool:
    """Whether a parameter has a value that a fit accepts, and is not a limiting case."""
    if name in ("random_state", "class_weight"):
        return True
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    if name == "shrinkage":
        return bool(0 <= value <= 1)
    return bool(0 < value < np.inf)
