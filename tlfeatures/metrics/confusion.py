"""The confusion matrix: the number of images for each pair of true and predicted class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.equality import EqualByValue
from tlfeatures.metrics.out_of_fold import OutOfFold

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class Confusion(EqualByValue):
    """Confusion matrix of k classes.

    Attributes
    ----------
    classes : list of str
        Names of the classes, in the order of rows and columns.
    counts : ndarray of shape (k, k), int
        Numbers of images. Rows are true classes, and columns are predicted classes.
    """

    classes: list[str]
    counts: Codes

    @property
    def rates(self) -> Floats:
        """Counts divided by the images of the true class; NaN for a class without images."""
        images = self.counts.sum(axis=1, keepdims=True)
        rates = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, images, out=rates, where=images > 0)
        return rates


def confusion(predictions: OutOfFold) -> Confusion:
    """Compute the confusion matrix of predictions."""
    return count_pairs(predictions.classes, predictions.y, predictions.predicted)


def count_pairs(classes: list[str], y: Codes, predicted: Codes) -> Confusion:
    """Compute the confusion matrix of class codes.

    Parameters
    ----------
    classes : list of str
        Names of the k classes.
    y, predicted : ndarray of shape (n,), int
        Labels and predictions, as indices of `classes`.
    """
    k = len(classes)
    counts = np.bincount(y * k + predicted, minlength=k * k).reshape(k, k)
    return Confusion(classes, counts)
