"""How much each image moves a score, from which the variance of a score follows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.roc_auc import placements, ranked_classes
from tlfeatures.metrics.scores import SCORES, Codes, Floats, losses


def influences(
    y: ArrayLike, predicted: ArrayLike, probabilities: ArrayLike, scoring: str
) -> Floats:
    """Compute the influence of each image on a pooled score.

    The influence of an image is n times the derivative of the score with respect to the image's
    weight, where all weights are 1. For accuracy, it is 1 minus the accuracy if the prediction is
    right, and 0 minus the accuracy if it is wrong. The influences add up to 0, and the sum of
    their squares divided by n**2 is the variance of the score over other images of the same kind.
    The difference of two heads has the difference of their influences.

    Parameters
    ----------
    y, predicted : array-like of shape (n,), int
        Class codes of labels and predictions, 0 to k - 1.
    probabilities : array-like of shape (n, k)
        Probabilities of the classes. Only log loss and ROC AUC need them.
    scoring : str
        Name of a score of `pooled_scores`.

    Returns
    -------
    ndarray of shape (n,), float64
        NaN if the score is not defined.

    Raises
    ------
    ParameterError
        If the score is not one of `pooled_scores`.

    References
    ----------
    B. Efron (1982), The Jackknife, the Bootstrap and Other Resampling Plans, SIAM, chapter 6: the
    infinitesimal jackknife and the influence function.
    E. DeLong, D. DeLong and D. Clarke-Pearson (1988), Comparing the areas under two or more
    correlated receiver operating characteristic curves, Biometrics 44, 837-845: for ROC AUC.
    """
    if scoring not in SCORES:
        raise ParameterError(f"scoring must be one of {', '.join(SCORES)}, got {scoring!r}")
    y, predicted, table = np.asarray(y), np.asarray(predicted), np.asarray(probabilities)
    if scoring in ("log_loss", "roc_auc") and not np.isfinite(table).all():
        return np.full(len(y), np.nan)
    return _OF_SCORES[scoring](y, predicted, table)


def _accuracy(y: Codes, predicted: Codes, table: Floats) -> Floats:
    right = (y == predicted).astype(np.float64)
    influence: Floats = right - right.mean()
    return influence


def _balanced_accuracy(y: Codes, predicted: Codes, table: Floats) -> Floats:
    right = (y == predicted).astype(np.float64)
    true = np.bincount(y, minlength=table.shape[1])
    recall = np.bincount(y, weights=right, minlength=table.shape[1]) / np.maximum(true, 1)
    influence: Floats = len(y) / (true > 0).sum() * (right - recall[y]) / true[y]
    return influence


def _f1_macro(y: Codes, predicted: Codes, table: Floats) -> Floats:
    k, right = table.shape[1], (y == predicted).astype(np.float64)
    true = np.bincount(y, minlength=k)
    both = np.where(true > 0, true + np.bincount(predicted, minlength=k), np.inf)
    f1 = 2 * np.bincount(y, weights=right, minlength=k) / both
    of_label = (2 * right - f1[y]) / both[y]
    influence: Floats = len(y) / (true > 0).sum() * (of_label - (f1 / both)[predicted])
    return influence


def _log_loss(y: Codes, predicted: Codes, table: Floats) -> Floats:
    own = losses(y, table)
    influence: Floats = own - own.mean()
    return influence


def _roc_auc(y: Codes, predicted: Codes, table: Floats) -> Floats:
    classes = ranked_classes(table.shape[1])
    influence = np.zeros(len(y))  # not one array for each class: there may be 1,000
    for code in classes:
        influence += _auc_of_class(table[:, code], y == code)
    return influence / len(classes)


def _auc_of_class(score: Floats, positive: NDArray[np.bool_]) -> Floats:
    """Return the influences on the ROC AUC of a class against the rest; NaN without one of them."""
    if positive.all() or not positive.any():
        return np.full(len(score), np.nan)
    won = placements(score, positive)
    auc, share = won[positive].mean(), positive.mean()
    influence: Floats = (won - auc) / np.where(positive, share, 1 - share)
    return influence


_OF_SCORES: dict[str, Callable[[Codes, Codes, Floats], Floats]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1_macro": _f1_macro,
    "log_loss": _log_loss,
    "roc_auc": _roc_auc,
}
