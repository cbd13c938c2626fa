"""The confusion matrix: how often each class was predicted as each class."""

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
    """How often images of each class were predicted as each class.

    Attributes
    ----------
    classes : list of str
    counts : ndarray of shape (k, k), int
        Numbers of images; a row is a true class, a column a predicted one.
    """

    classes: list[str]
    counts: Codes

    @property
    def rates(self) -> Floats:
        """Shares of each true class's images, of shape (k, k); NaN for a class without images."""
        images = self.counts.sum(axis=1, keepdims=True)
        rates = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, images, out=rates, where=images > 0)
        return rates


def confusion(predictions: OutOfFold) -> Confusion:
    """Count how often images of each class were predicted as each class."""
    k = len(predictions.classes)
    pairs = predictions.y * k + predictions.predicted
    counts = np.bincount(pairs, minlength=k * k).reshape(k, k)
    return Confusion(predictions.classes, counts)
