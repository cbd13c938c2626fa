"""ROC and precision-recall curves of one class against the others, for all thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.equality import EqualByValue
from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.metrics.roc_auc import areas, ranked_classes

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]

_POINTS = 200  # maximum number of points of a curve; more would not be visible in a figure


@dataclass(frozen=True, eq=False)
class Curve(EqualByValue):
    """The curve of one class against the others, for decreasing thresholds on its probability.

    Attributes
    ----------
    label : str
        The class that counts as positive.
    x, y : ndarray of shape (p,), float64
        False and true positive rate, or recall and precision. x never decreases. There are at most
        about 200 points, which are chosen after the area is computed.
    area : float
        Area under the ROC curve, or average precision.
    positives, negatives : int
        Numbers of images of the class, and of the others.
    """

    label: str
    x: Floats
    y: Floats
    area: float
    positives: int
    negatives: int


Curves = tuple[Curve, ...]


def roc(predictions: OutOfFold, *, most: int | None = None) -> Curves:
    """Compute ROC curves over the images of all folds together.

    Parameters
    ----------
    predictions : OutOfFold
    most : int, optional
        Largest number of curves. Of more classes, those with the smallest areas have one.

    Returns
    -------
    tuple of Curve
        With two classes, one curve, in which the second class is positive. With more classes, one
        curve of each class against the others. Classes without positives or negatives are left out.

    Raises
    ------
    ParameterError
        If the head gives no probabilities.

    References
    ----------
    T. Fawcett (2006), An introduction to ROC analysis, Pattern Recognition Letters 27, 861-874.
    """
    from sklearn.metrics import auc, roc_curve

    curves = []
    for label, positive, score in _against_the_rest(predictions, most, 0):
        x, y, _ = roc_curve(positive, score)
        curves.append(_curve(label, positive, x, y, auc(x, y)))
    return tuple(curves)


def precision_recall(predictions: OutOfFold, *, most: int | None = None) -> Curves:
    """Compute precision-recall curves over the images of all folds together.

    Parameters
    ----------
    predictions : OutOfFold
    most : int, optional
        Largest number of curves. Of more classes, those with the smallest average precisions have
        one.

    Returns
    -------
    tuple of Curve
        Curves of the same classes as `roc`. A precision applies to recalls down to the recall of
        the previous point.

    Raises
    ------
    ParameterError
        If the head gives no probabilities.

    References
    ----------
    J. Davis and M. Goadrich (2006), The relationship between Precision-Recall and ROC curves,
    ICML, 233-240: such a curve must be drawn in steps and not in straight lines.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    curves = []
    for label, positive, score in _against_the_rest(predictions, most, 1):
        precision, recall, _ = precision_recall_curve(positive, score, drop_intermediate=True)
        area = average_precision_score(positive, score)
        curves.append(_curve(label, positive, recall[::-1], precision[::-1], area))
    return tuple(curves)


def _against_the_rest(
    predictions: OutOfFold, most: int | None, area: int
) -> list[tuple[str, NDArray[np.bool_], NDArray[np.floating[Any]]]]:
    """Return the name of each class, whether images belong to it, and its probabilities.

    Of more classes than `most`, these are those with the smallest areas; `area` is their place in
    the result of `areas`.
    """
    predictions.check_probabilities()
    classes = predictions.classes
    codes = list(ranked_classes(len(classes)))
    if most is not None and len(codes) > most:
        values = areas(predictions.y, predictions.probabilities)[area]
        codes = np.sort(np.argsort(values, kind="stable")[:most]).tolist()  # NaN comes last
    curves = [(classes[c], predictions.y == c, predictions.probabilities[:, c]) for c in codes]
    return [curve for curve in curves if 0 < curve[1].sum() < len(curve[1])]


def _curve(label: str, positive: NDArray[np.bool_], x: Floats, y: Floats, area: Any) -> Curve:
    kept, positives = _thinned(x, y), int(positive.sum())
    return Curve(label, x[kept], y[kept], float(area), positives, len(positive) - positives)


def _thinned(x: Floats, y: Floats) -> Codes:
    """Return points at equal distances along the curve, so that steep parts keep their points."""
    if len(x) <= _POINTS:
        return np.arange(len(x))
    along = np.cumsum(np.hypot(np.diff(x, prepend=x[0]), np.diff(y, prepend=y[0])))
    return np.unique(np.searchsorted(along, np.linspace(0, along[-1], _POINTS)).clip(0, len(x) - 1))
