"""Scores of a fitted head on the test images of a fold."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer

from tlfeatures.equality import EqualByValue
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.scores import codes_of, missing_scores, pooled_scores, without_images
from tlfeatures.model_selection.fit_warnings import collected
from tlfeatures.model_selection.head_fit import Columns, Rows

_ROUNDING = 1e-6  # probabilities may be below 0 by so much
EPOCH_SCORES = ("loss", "accuracy", "validation_loss", "validation_accuracy")


@dataclass(frozen=True, eq=False)
class FoldResult(EqualByValue):
    """Predictions and scores of one head in one fold.

    Attributes
    ----------
    scores : dict of name to float
        Scores on the test images; NaN where a score is not defined.
    predicted : ndarray of shape (m,), int
        Class codes of the m test images.
    probabilities : ndarray of shape (m, k), float64
        Probabilities of the k classes; NaN if the head gives none.
    seconds : float
        Time of the fit.
    warnings : tuple of str
        Warnings of the fit and of scoring, as lines that begin with the head's name.
    reasons : dict of name to str
        Explanation for each score that is not defined.
    """

    scores: dict[str, float]
    predicted: NDArray[np.int_]
    probabilities: NDArray[np.float64]
    seconds: float
    warnings: tuple[str, ...]
    reasons: dict[str, str] = field(default_factory=dict)


def score_head(
    head: BaseEstimator,
    X: Columns,
    y: NDArray[np.str_],
    classes: NDArray[np.str_],
    scoring: Sequence[str] | None,
) -> FoldResult:
    """Score a fitted head on test images.

    Parameters
    ----------
    head : scikit-learn classifier
        Fitted head.
    X : ndarray of shape (m, d)
        Columns of the test images.
    y : ndarray of shape (m,), str
        Labels of the test images.
    classes : ndarray of shape (k,), str
        Names of the classes, sorted.
    scoring : sequence of str, or None
        Names of scores in addition to `SCORES`. With None, the head only predicts labels.

    Raises
    ------
    ParameterError
        If a score of `scoring` can't be computed although the fold has images of every class.
    """
    predicted = codes_of(head.predict(X), classes)
    if scoring is None:
        unknown = np.full((len(X), len(classes)), np.nan)
        return FoldResult({}, predicted, unknown, 0.0, ())
    table, codes = _probabilities(head, X, classes), np.searchsorted(classes, y)
    scores = _unweighted(codes, predicted, table)
    reasons = missing_scores(codes, [table], classes.tolist())
    for name in scoring:
        if name not in scores:
            scores[name], reason = _extra_score(name, head, X, y, classes)
            reasons |= {} if reason is None else {name: reason}
    return FoldResult(scores, predicted, table, 0.0, (), reasons)


def _unweighted(codes: Rows, predicted: Rows, table: NDArray[np.float64]) -> dict[str, float]:
    """Score predictions. Each image has the weight 1."""
    scores = pooled_scores(codes, predicted, table, np.ones((len(codes), 1)))
    return {name: float(value) for name, (value,) in scores.items()}


def score_epoch(
    head: BaseEstimator, sides: Sequence[tuple[Columns, Rows]], classes: NDArray[np.str_]
) -> list[float]:
    """Compute log loss and accuracy of several sets of images after an epoch.

    Scikit-learn's functions are not used, because their checks would take longer than the epoch.

    Parameters
    ----------
    head : scikit-learn classifier
        Head after the epoch.
    sides : sequence of (columns, class codes)
        The sets of images, usually training and test images.
    classes : ndarray of shape (k,), str

    Returns
    -------
    list of float
        Log loss and accuracy of each set.
    """
    scores = []
    for X, codes in sides:
        table = _probabilities(head, X, classes)
        right = np.maximum(table[np.arange(len(codes)), codes], np.finfo(float).eps)
        scores += [float(-np.log(right).mean()), float((table.argmax(axis=1) == codes).mean())]
    return scores


def score_labels(
    name: str, y: NDArray[np.str_], labels: NDArray[Any], classes: NDArray[np.str_]
) -> float:
    """Compute one of `LABEL_SCORES` of predicted labels."""
    unknown = np.full((len(y), len(classes)), np.nan)
    return _unweighted(np.searchsorted(classes, y), codes_of(labels, classes), unknown)[name]


_RATIOS = ("positive_likelihood_ratio", "neg_negative_likelihood_ratio")


def _extra_score(
    name: str, head: BaseEstimator, X: Columns, y: NDArray[np.str_], classes: NDArray[np.str_]
) -> tuple[float, str | None]:
    """Compute a score of scikit-learn; return NaN and the reason if this fold doesn't define it.

    Raises
    ------
    ParameterError
        If the score can't be computed although the fold has images of every class.
    """
    failed: Exception | None = None
    value = float("nan")
    with collected(f"scoring {name}") as lines:
        try:
            value = float(get_scorer(name)(head, X, y))
        except (ValueError, AttributeError) as error:
            failed = error
    if lines and name in _RATIOS:  # scikit-learn warns and returns 1 for an undefined ratio
        value = float("nan")
    if not np.isnan(value):
        for text in lines:  # the caller collects these warnings with the warnings of the fit
            warnings.warn(text, stacklevel=2)
        return value, None
    lacking = _lacking(head, y, classes)
    if failed is not None and lacking is None:
        reason = " ".join(str(failed).split())
        if "pos_label" in reason:
            reason = (
                "it needs to know which of the two classes is the positive one; use a score of "
                "both classes, such as f1_macro, precision_macro, recall_macro, roc_auc or log_loss"
            )
        raise ParameterError(f"scoring {name} can't be used here: {reason}") from failed
    return value, lacking or (lines[0] if lines else "the scorer gives no number")


def _lacking(head: BaseEstimator, y: NDArray[np.str_], classes: NDArray[np.str_]) -> str | None:
    """Explain which classes have no test images, or no training images, in a fold."""
    absent = classes[~np.isin(classes, y)].tolist()
    if absent:
        return without_images(absent)
    unknown = classes[~np.isin(classes, getattr(head, "classes_", classes))].tolist()
    return without_images(unknown).replace("tested", "training") if unknown else None


def _probabilities(
    head: BaseEstimator, X: Columns, classes: NDArray[np.str_]
) -> NDArray[np.float64]:
    """Return probabilities of all classes: 0 without training images, NaN if there are none."""
    if not hasattr(head, "predict_proba"):
        return np.full((len(X), len(classes)), np.nan)
    own, columns = np.asarray(head.predict_proba(X)), codes_of(head.classes_, classes)
    if own.shape != (len(X), len(columns)):
        raise ValueError(
            f"its predict_proba gives the shape {own.shape}; expected {(len(X), len(columns))}, a "
            "row for each image and a column for each of its classes"
        )
    if (own < -_ROUNDING).any() or (own.sum(axis=1) <= 0).any():  # NaN means no probability
        raise ValueError("its predict_proba gives values that are no probabilities")
    table = np.zeros((len(X), len(classes)))
    table[:, columns] = np.maximum(own, 0)
    # The sums of float32 probabilities differ from 1 by more than log_loss allows.
    normalised: NDArray[np.float64] = table / table.sum(axis=1, keepdims=True)
    return normalised
