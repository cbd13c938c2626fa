"""Prediction sets of a model: the labels that hold the right one at a given coverage.

`tlfeatures.metrics.conformal` has the method and its references. A model stores the thresholds of
all coverages, which come from the out-of-fold predictions of its head, and how good the sets were:
the coverage and the size for each class, measured with thresholds from other folds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.equality import EqualByValue
from tlfeatures.errors import FormatError, ModelError, ParameterError
from tlfeatures.metrics.conformal import (
    LEVEL,
    SetQuality,
    Thresholds,
    conformity,
    cross_fitted,
    label_sets,
    units_needed,
)
from tlfeatures.metrics.out_of_fold import OutOfFold


@dataclass(frozen=True, eq=False)
class PredictionSets(EqualByValue):
    """Gives sets of labels.

    Attributes
    ----------
    thresholds : Thresholds
    images : int
        Number of images that the thresholds come from. Images that belong together count once in
        `thresholds.units`.
    measured : dict or None
        JSON-ready: `level`, and at this coverage `coverage`, `mean_size` and `single` (share of
        sets with one label), each measured out-of-fold, and `by_class`: the number of images, the
        coverage and the mean size for each class that has images. None if there were too few
        images for this level.
    """

    thresholds: Thresholds
    images: int
    measured: dict[str, Any] | None = field(default=None)

    @classmethod
    def fit(cls, tested: OutOfFold, groups: NDArray[Any] | None = None) -> PredictionSets | None:
        """Create sets from out-of-fold predictions.

        Parameters
        ----------
        tested : OutOfFold
            Predictions of the head for the n images that it was tested on.
        groups : ndarray of shape (n,), optional
            Group of each image. Images of a group count once.

        Returns
        -------
        PredictionSets, or None if an image has no probabilities
        """
        if not len(tested.y) or not tested.has_probabilities:
            return None
        predictions = (tested.y, tested.predicted, tested.probabilities)
        quality = cross_fitted(*predictions, tested.fold, groups)
        measured = None if quality is None else quality_facts(quality, tested.classes)
        return cls(Thresholds.of(conformity(*predictions), groups), len(tested.y), measured)

    @classmethod
    def of(
        cls,
        facts: Any,
        probabilities: NDArray[Any] | None,
        misses: NDArray[Any] | None,
        classes: list[str],
    ) -> PredictionSets | None:
        """Create sets from the facts and arrays of a model file; None if there are none.

        Raises
        ------
        FormatError
            If facts and arrays don't fit each other.
        """
        if facts is None and probabilities is None and misses is None:
            return None
        if facts is None or probabilities is None or misses is None:
            raise FormatError("its prediction sets are incomplete")
        measured = facts["measured"]
        fits = (
            _is_ascending(probabilities, np.float32, 0, 1)
            and _is_ascending(misses, np.float64, 0, 1)
            and probabilities.shape == misses.shape
            and 0 < facts["units"] <= facts["images"]
            and misses[0] <= 1 / (facts["units"] + 1) + 1e-9
            and (measured is None or set(measured["by_class"]) <= set(classes))
        )
        if not fits:
            raise FormatError("the thresholds of its prediction sets don't fit each other")
        return cls(Thresholds(probabilities, misses, facts["units"]), facts["images"], measured)

    def facts(self) -> dict[str, Any]:
        """Return all attributes except the arrays, as JSON-ready facts."""
        return {
            "units": self.thresholds.units,
            "images": self.images,
            "measured": self.measured,
        }

    def threshold(self, coverage: float) -> float:
        """Return the threshold for a coverage.

        Raises
        ------
        ParameterError
            If the coverage isn't between 0 and 1, or needs more images than the model was tested
            on. The message says what is possible.
        """
        check_coverage(coverage)
        threshold = self.thresholds.at(coverage)
        if threshold is None:
            units, needed = self.thresholds.units, units_needed(coverage)
            what = "groups of images" if units < self.images else "images"
            raise ParameterError(
                f"coverage is {coverage:g}, which needs {needed:,} {what}, but this model was "
                f"tested on {units:,}; give a coverage of at most {self.possible}, or fit the "
                "model on more"
            )
        return threshold

    @property
    def possible(self) -> str:
        """The largest possible coverage as text, rounded down: `0.92` for 12 images."""
        return possible_coverage(self.thresholds.units)

    def sets(
        self, probabilities: NDArray[np.float64], codes: NDArray[np.int_], coverage: float
    ) -> NDArray[np.bool_]:
        """Return which classes are in the set of each image, of shape (n, k).

        Parameters
        ----------
        probabilities : ndarray of shape (n, k)
        codes : ndarray of shape (n,)
            Code of the label of each image, which is always in its set.
        coverage : float
            See `threshold`.
        """
        return label_sets(probabilities, codes, self.threshold(coverage))

    def measure(
        self,
        probabilities: NDArray[np.float64],
        codes: NDArray[np.int_],
        y: NDArray[np.int_],
        coverage: float = LEVEL,
    ) -> SetQuality | None:
        """Measure the sets of new images with the right classes y, of shape (n,).

        None if there is no threshold for this coverage.
        """
        if self.thresholds.at(coverage) is None:
            return None
        return SetQuality.of(self.sets(probabilities, codes, coverage), y, coverage)


def possible_coverage(units: int) -> str:
    """Return the largest possible coverage as text, rounded down: `0.92` for 12 images."""
    digits = max(2, len(str(units)))
    return f"{units * 10**digits // (units + 1) / 10**digits:g}"


def check_coverage(coverage: float) -> None:
    """Raise `ParameterError` if a coverage isn't a number between 0 and 1."""
    if not isinstance(coverage, float | int | np.number) or not 0 < coverage < 1:
        raise ParameterError(
            f"coverage is {coverage!r}; expected a number between 0 and 1, such as 0.95"
        )


def sets_of(sets: PredictionSets | None, coverage: float | None) -> PredictionSets | None:
    """Return the sets if a coverage is requested, and check that it is possible.

    Raises
    ------
    ParameterError
        See `PredictionSets.threshold`.
    ModelError
        If the model has no sets.
    """
    if coverage is None:
        return None
    check_coverage(coverage)
    if sets is None:
        raise ModelError(
            "this model has no prediction sets, because it was fitted without a cross-validation; "
            "fit it with `tlfeatures fit -o MODEL`, or leave the coverage out"
        )
    sets.threshold(coverage)
    return sets


def quality_facts(quality: SetQuality, classes: list[str]) -> dict[str, Any]:
    """Return coverage and size of sets as JSON-ready facts, see `PredictionSets.measured`."""
    columns = (quality.images, quality.class_coverage, quality.class_size)
    rows = zip(classes, *(column.tolist() for column in columns), strict=True)
    return {
        "level": quality.level,
        "coverage": quality.coverage,
        "mean_size": quality.mean_size,
        "single": quality.single,
        "by_class": {
            name: {"images": images, "coverage": coverage, "mean_size": size}
            for name, images, coverage, size in rows
            if images
        },
    }


def sets_text(measured: dict[str, Any]) -> str:
    """Describe measured coverage and size in words, see `quality_facts`."""
    return (
        f"at {100 * measured['level']:g} % coverage, {100 * measured['coverage']:.1f} % of them "
        f"hold the right label, and they have {measured['mean_size']:.2f} labels on average"
    )


def _is_ascending(values: NDArray[Any], kind: type[np.generic], low: float, high: float) -> bool:
    """Check whether an array of a file has one dimension, this type, and sorted finite values."""
    if values.dtype != kind or values.ndim != 1 or not len(values):
        return False
    inside = bool(np.isfinite(values).all()) and low <= values[0] and values[-1] <= high
    return inside and bool((np.diff(values) > 0).all())
