"""A scorer of predictions, with intervals. It scores all heads on the same resamples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.metrics.group_scores import few_groups, range_of_groups
from tlfeatures.metrics.intervals import intervals_of
from tlfeatures.metrics.resampling import mean_scores, resample_counts, sums_of_repeats
from tlfeatures.metrics.score_records import PooledScore
from tlfeatures.metrics.scores import SCORES, finite_or_none, missing_scores
from tlfeatures.metrics.weighted_sums import adder, chunks
from tlfeatures.names import counted


@dataclass(frozen=True)
class HeadPredictions:
    """Out-of-fold predictions of one head in one repeat, for all n images.

    Attributes
    ----------
    predicted : ndarray of shape (n,), int
        Predicted class codes. The value of an image that was not tested is ignored.
    probabilities : ndarray of shape (n, k), float64 or float32
        Probabilities of the classes; NaN where the head gives none.
    """

    predicted: NDArray[np.int_]
    probabilities: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class BootstrapScorer:
    """Scores the predictions of m tested images, with intervals from B resamples of these images.

    Attributes
    ----------
    classes : list of str
        The k classes, sorted.
    tested : ndarray of shape (n,), bool
        Whether each image was tested.
    codes : ndarray of shape (m,), int
        Class codes of the tested images.
    random_state : int or None
        Seed of the resamples.
    units : int
        Number of images, or of groups, that are drawn for a resample.
    together : ndarray of shape (m,), int, or None
        Group number of each tested image; see `Dataset.together`.
    groups : ndarray of shape (m,), str, or None
        Name of the user's group of each tested image.
    """

    classes: list[str]
    tested: NDArray[np.bool_]
    codes: NDArray[np.int_]
    random_state: int | None
    units: int
    together: NDArray[np.int64] | None = None
    groups: NDArray[np.str_] | None = None

    @classmethod
    def of(
        cls,
        y: NDArray[np.str_],
        together: NDArray[np.int64] | None,
        tested: NDArray[np.bool_],
        classes: list[str],
        random_state: int | None,
        *,
        groups: NDArray[np.str_] | None = None,
    ) -> BootstrapScorer:
        """Create a scorer.

        Parameters
        ----------
        y : ndarray of shape (n,), str
            Labels of all images.
        together : ndarray of shape (n,), int, or None
            Group number of each image; see `Dataset.together`. Images of a group are drawn
            together.
        tested : ndarray of shape (n,), bool
            Whether each image was tested.
        classes : list of str
            Names of the classes, sorted. A class may have no images.
        random_state : int or None
            Seed of the resamples.
        groups : ndarray of shape (n,), str, optional
            Names of the groups that the user gave. If they are too few, there are no intervals.
        """
        drawn = None if together is None else together[tested]
        return cls(
            classes,
            tested,
            np.searchsorted(classes, y[tested]),
            random_state,
            int(tested.sum()) if drawn is None else len(np.unique(drawn)),
            drawn,
            None if groups is None else groups[tested],
        )

    @cached_property
    def counts(self) -> NDArray[np.uint8]:
        """Number of times that each tested image is in each resample, of shape (m, B).

        It is drawn when it is first needed; see `resample_counts`.
        """
        return resample_counts(len(self.codes), self.together, random_state=self.random_state)

    @property
    def unit(self) -> str:
        """The units that are drawn for a resample: "images" or "groups"."""
        return "images" if self.units == len(self.codes) else "groups"

    def score(self, repeats: Sequence[HeadPredictions]) -> dict[str, PooledScore]:
        """Score the predictions of one head in all its repeats.

        Returns
        -------
        dict of name to PooledScore
            Each score is the mean of the pooled scores of the repeats.
        """
        predicted, tables = self._of_tested(repeats)
        sums = sums_of_repeats(self.codes, predicted, tables)
        pooled = mean_scores(sums, np.ones((len(self.codes), 1)))
        values = {name: finite_or_none(pooled[name][0]) for name in SCORES}
        reasons = missing_scores(self.codes, tables, self.classes)
        few = few_groups(self.groups)
        if few is not None and self.groups is not None:
            ranges = range_of_groups(self.codes, predicted, tables, self.groups)
            return {
                name: {
                    "score": values[name],
                    "interval": None,
                    "reason": reasons.get(name) or few,
                    "groups_range": None if values[name] is None else ranges[name],
                }
                for name in SCORES
            }
        resampled = mean_scores(sums, self.counts)
        intervals = intervals_of(resampled, self.codes, np.array(predicted), self.together)
        return {
            name: {
                "score": values[name],
                "interval": None if math.isnan(intervals[name][0]) else list(intervals[name]),
                "reason": reasons.get(name) or self._without_interval(name, intervals[name]),
                "groups_range": None,
            }
            for name in SCORES
        }

    def _without_interval(self, name: str, interval: tuple[float, float]) -> str | None:
        """Return the reason why a defined score has no interval; None if it has one."""
        if not math.isnan(interval[0]):
            return None
        drawn = counted(self.units, self.unit.removesuffix("s"))
        if name == "roc_auc" and not self._any_resample_has_all_classes():
            return f"no resample of the {drawn} has images of every class"
        return f"every resample of the {drawn} gives the same score"

    def _any_resample_has_all_classes(self) -> bool:
        m = len(self.codes)
        of_class = adder(self.codes, np.arange(m), (len(self.classes), m))
        return any(((of_class @ part.T) > 0).all(axis=0).any() for _, part in chunks(self.counts))

    def resampled(
        self, repeats: Sequence[HeadPredictions], *, names: Sequence[str] = SCORES
    ) -> dict[str, NDArray[np.float64]]:
        """Compute pooled scores in every resample, as the mean over repeats.

        Parameters
        ----------
        repeats : sequence of HeadPredictions
            Predictions of one head, one for each repeat.
        names : sequence of str
            The scores to compute, see `pooled_scores`.

        Returns
        -------
        dict of name to ndarray of shape (B,), float64
        """
        return mean_scores(
            sums_of_repeats(self.codes, *self._of_tested(repeats), names=names), self.counts
        )

    def _of_tested(
        self, repeats: Sequence[HeadPredictions]
    ) -> tuple[list[NDArray[np.int_]], list[NDArray[np.floating[Any]]]]:
        rows: Any = slice(None) if self.tested.all() else self.tested  # tables may be large
        return (
            [repeat.predicted[rows] for repeat in repeats],
            [repeat.probabilities[rows] for repeat in repeats],
        )
