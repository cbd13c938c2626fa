"""The confusion matrix: the number of images for each pair of true and predicted class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.equality import EqualByValue
from tlfeatures.metrics.out_of_fold import OutOfFold

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]

MANY_CLASSES = 100  # with more, results and pages have the most confused pairs, not the matrix
MOST_PAIRS = 100  # pairs that are shown and stored


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that are predicted as another class.

    Attributes
    ----------
    true, predicted : str
        Names of the classes.
    images : int
        Number of images of the true class that are predicted as the other one.
    share : float
        This number divided by the number of images of the true class.
    """

    true: str
    predicted: str
    images: int
    share: float


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
    def is_large(self) -> bool:
        """Whether there are more than 100 classes, so that the matrix is not shown."""
        return len(self.classes) > MANY_CLASSES

    def confused(self, most: int = MOST_PAIRS) -> list[ConfusedPair]:
        """Return the pairs of classes that are confused most often.

        Parameters
        ----------
        most : int
            Largest number of pairs.

        Returns
        -------
        list of ConfusedPair
            Only pairs with images, most images first. Equal ones are in the order of the matrix.
        """
        true, predicted = np.nonzero(self.counts)
        wrong = true != predicted
        true, predicted = true[wrong], predicted[wrong]
        counts, images = self.counts[true, predicted], self.counts.sum(axis=1)
        return [
            ConfusedPair(
                self.classes[true[place]],
                self.classes[predicted[place]],
                int(counts[place]),
                float(counts[place] / images[true[place]]),
            )
            for place in np.argsort(-counts, kind="stable")[:most].tolist()
        ]

    @property
    def pairs(self) -> int:
        """Number of pairs of different classes that are confused."""
        return int(np.count_nonzero(self.counts) - np.count_nonzero(self.counts.diagonal()))

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
