"""The predictions of one head for images that it was tested on, and which classes it confuses."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tlfeatures.equality import EqualByValue

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class OutOfFold(EqualByValue):
    """One head's predictions for the images it was tested on.

    Attributes
    ----------
    ids : ndarray of shape (n,), str
    classes : list of str
        k of them, sorted.
    y, predicted : ndarray of shape (n,), int
        Codes: places in `classes`.
    probabilities : ndarray of shape (n, k), float64
        NaN where the head gives none.
    fold : ndarray of shape (n,), int
    """

    ids: NDArray[np.str_]
    classes: list[str]
    y: Codes
    predicted: Codes
    probabilities: Floats = field(repr=False)
    fold: Codes = field(repr=False)

    @property
    def has_probabilities(self) -> bool:
        """Whether every image has its probabilities."""
        return bool(np.isfinite(self.probabilities).all())

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which images were predicted wrong, of shape (n,)."""
        wrong: NDArray[np.bool_] = self.predicted != self.y
        return wrong

    @property
    def given(self) -> Floats:
        """The probability of each image's own label, of shape (n,)."""
        return self._of(self.y)

    @property
    def confidence(self) -> Floats:
        """The probability of the class that was predicted, of shape (n,)."""
        return self._of(self.predicted)

    @property
    def margin(self) -> Floats:
        """By how much the most probable class leads the next one, of shape (n,)."""
        ordered = np.sort(self.probabilities, axis=1)
        margin: Floats = ordered[:, -1] - ordered[:, -2]
        return margin

    def mistakes(self) -> Codes:
        """Give the rows that were predicted wrong, the most confident first.

        Ties, and all rows of a head without probabilities, are in the order of their ids.
        """
        rows = np.flatnonzero(self.wrong)
        return rows[np.lexsort((self.ids[rows], -self.confidence[rows]))]

    def uncertain(self) -> Codes:
        """Give all rows, the least certain first: those of the smallest margin.

        Ties are in the order of their ids; rows without probabilities are left out.

        References
        ----------
        T. Scheffer, C. Decomain and S. Wrobel (2001), Active hidden Markov models for information
        extraction, Advances in Intelligent Data Analysis, 309-318: the margin.
        """
        margin = self.margin
        rows = np.flatnonzero(np.isfinite(margin))
        # Rounded: equal margins, subtracted, differ in the last digits.
        return rows[np.lexsort((self.ids[rows], margin[rows].round(12)))]

    def _of(self, codes: Codes) -> Floats:
        probability: Floats = self.probabilities[np.arange(len(codes)), codes]
        return probability


@dataclass(frozen=True, eq=False)
class Confusion(EqualByValue):
    """How often each class was taken for each.

    Attributes
    ----------
    classes : list of str
    counts : ndarray of shape (k, k), int
        Images; a row is a true class, a column a predicted one.
    """

    classes: list[str]
    counts: Codes

    @property
    def rates(self) -> Floats:
        """Shares of each true class, of shape (k, k); NaN for a class without images."""
        images = self.counts.sum(axis=1, keepdims=True)
        rates = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, images, out=rates, where=images > 0)
        return rates


def confusion(predictions: OutOfFold) -> Confusion:
    """Count how often each class was taken for each."""
    k = len(predictions.classes)
    pairs = predictions.y * k + predictions.predicted
    counts = np.bincount(pairs, minlength=k * k).reshape(k, k)
    return Confusion(predictions.classes, counts)
