"""Out-of-fold predictions: which images a head got wrong, and of which it was least certain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tlfeatures.equality import EqualByValue
from tlfeatures.errors import ParameterError

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]


class LabelledImages(Protocol):
    """The n images of a benchmark; `tlfeatures.benchmarking.study.Study` is one."""

    @property
    def ids(self) -> NDArray[np.str_]:
        """Ids, of shape (n,)."""

    @property
    def y(self) -> NDArray[np.str_]:
        """Labels, of shape (n,)."""

    @property
    def classes(self) -> list[str]:
        """The k classes, sorted."""


class FoldPredictions(Protocol):
    """A head's predictions of n images; `tlfeatures.benchmarking.entries.Entry` is one."""

    @property
    def fold(self) -> Codes:
        """Number of the fold that tested each image, of shape (n,); -1 if none did."""

    @property
    def predicted(self) -> Codes:
        """Class codes, of shape (n,)."""

    @property
    def probabilities(self) -> Floats:
        """Probabilities, of shape (n, k)."""


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

    @classmethod
    def of(cls, study: LabelledImages, entry: FoldPredictions) -> OutOfFold:
        """Take the tested images of a benchmark's entry; others are left out."""
        tested = entry.fold >= 0
        return cls(
            ids=study.ids[tested],
            classes=study.classes,
            y=np.searchsorted(study.classes, study.y[tested]),
            predicted=entry.predicted[tested],
            probabilities=entry.probabilities[tested],
            fold=entry.fold[tested],
        )

    @property
    def has_probabilities(self) -> bool:
        """Whether every image has its probabilities."""
        return bool(np.isfinite(self.probabilities).all())

    def check_probabilities(self) -> None:
        """Raise `ParameterError` if an image has no probabilities."""
        if not self.has_probabilities:
            raise ParameterError(
                "this head gives no probabilities, which curves are made of; take another head"
            )

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
