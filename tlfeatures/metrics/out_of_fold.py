"""Out-of-fold predictions of a head: its mistakes, and the images of which it is least certain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tlfeatures.equality import EqualByValue
from tlfeatures.errors import ParameterError

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]

_ROWS = 4096  # images whose probabilities are sorted together


class LabelledImages(Protocol):
    """The n images of a benchmark, for example a `tlfeatures.benchmarking.study.Study`."""

    @property
    def ids(self) -> NDArray[np.str_]:
        """Ids of the images, of shape (n,)."""

    @property
    def y(self) -> NDArray[np.str_]:
        """Labels of the images, of shape (n,)."""

    @property
    def classes(self) -> list[str] | NDArray[np.str_]:
        """Names of the k classes, sorted."""


class FoldPredictions(Protocol):
    """Predictions of a head, for example a `tlfeatures.benchmarking.entries.Entry`."""

    @property
    def fold(self) -> Codes:
        """Number of the fold that tested each image, of shape (n,); -1 if none did."""

    @property
    def predicted(self) -> Codes:
        """Predicted class codes, of shape (n,)."""

    @property
    def probabilities(self) -> NDArray[np.floating[Any]]:
        """Probabilities of the classes, of shape (n, k)."""


@dataclass(frozen=True, eq=False)
class OutOfFold(EqualByValue):
    """Predictions of a head for the n images that it was tested on.

    Attributes
    ----------
    ids : ndarray of shape (n,), str
        Ids of the images.
    classes : list of str
        Names of the k classes, sorted.
    y, predicted : ndarray of shape (n,), int
        Class codes of labels and predictions: indices of `classes`.
    probabilities : ndarray of shape (n, k), float64 or float32
        Probabilities of the classes; NaN where the head gives none.
    fold : ndarray of shape (n,), int
        Number of the fold that tested each image.
    """

    ids: NDArray[np.str_]
    classes: list[str]
    y: Codes
    predicted: Codes
    probabilities: NDArray[np.floating[Any]] = field(repr=False)
    fold: Codes = field(repr=False)

    @classmethod
    def of(cls, study: LabelledImages, entry: FoldPredictions) -> OutOfFold:
        """Create the predictions of a head. Images that no fold tested are left out."""
        some = entry.fold >= 0
        tested: Any = slice(None) if some.all() else some  # tables may be large
        return cls(
            ids=study.ids[tested],
            classes=np.asarray(study.classes).tolist(),
            y=np.searchsorted(study.classes, study.y[tested]),
            predicted=entry.predicted[tested],
            probabilities=entry.probabilities[tested],
            fold=entry.fold[tested],
        )

    def columns(self, *, every_class: bool = True) -> dict[str, NDArray[Any]]:
        """Return the predictions as columns, for tables.

        Parameters
        ----------
        every_class : bool
            Whether to give the probability of each class, or only those of two.

        Returns
        -------
        dict of name to ndarray of shape (n,)
            `id`, `label`, `predicted`, `fold`, and the probability `p_CLASS` of each class, or
            `p_predicted` of the predicted and `p_label` of the right class; NaN if the head gives
            none.
        """
        classes = np.array(self.classes)
        odds = {f"p_{name}": self.probabilities[:, k] for k, name in enumerate(self.classes)}
        if not every_class:
            odds = {"p_predicted": self.confidence, "p_label": self.given}
        return {
            "id": self.ids,
            "label": classes[self.y],
            "predicted": classes[self.predicted],
            "fold": self.fold,
            **odds,
        }

    @property
    def has_probabilities(self) -> bool:
        """Whether every image has probabilities."""
        return bool(np.isfinite(self.probabilities).all())

    def check_probabilities(self) -> None:
        """Raise `ParameterError` if an image has no probabilities."""
        if not self.has_probabilities:
            raise ParameterError(
                "this head gives no probabilities, which the curves need; choose another head"
            )

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Whether each prediction is wrong, of shape (n,)."""
        wrong: NDArray[np.bool_] = self.predicted != self.y
        return wrong

    @property
    def given(self) -> Floats:
        """Probability of the label of each image, of shape (n,)."""
        return self._of(self.y)

    @property
    def confidence(self) -> Floats:
        """Probability of the predicted class of each image, of shape (n,)."""
        return self._of(self.predicted)

    @property
    def margin(self) -> Floats:
        """Difference of the two largest probabilities of each image, of shape (n,)."""
        margin = np.empty(len(self.probabilities))
        for start in range(0, len(margin), _ROWS):  # the table of many classes may be large
            part = self.probabilities[start : start + _ROWS]
            largest = np.partition(part, -2, axis=1)[:, -2:].astype(np.float64)
            margin[start : start + _ROWS] = largest[:, 1] - largest[:, 0]
        return margin

    def mistakes(self) -> Codes:
        """Return the rows with a wrong prediction, the most confident first.

        Rows with equal confidence, and rows without probabilities, are sorted by id.
        """
        rows = np.flatnonzero(self.wrong)
        return rows[np.lexsort((self.ids[rows], -self.confidence[rows]))]

    def uncertain(self) -> Codes:
        """Return all rows that have probabilities, the smallest margin first.

        Rows with equal margins are sorted by id.

        References
        ----------
        T. Scheffer, C. Decomain and S. Wrobel (2001), Active hidden Markov models for information
        extraction, Advances in Intelligent Data Analysis, 309-318: the margin.
        """
        margin = self.margin
        rows = np.flatnonzero(np.isfinite(margin))
        # Margins are rounded, because equal margins may differ in the last digits.
        return rows[np.lexsort((self.ids[rows], margin[rows].round(12)))]

    def _of(self, codes: Codes) -> Floats:
        probability = self.probabilities[np.arange(len(codes)), codes]
        return probability.astype(np.float64)
