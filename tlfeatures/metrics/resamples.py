"""The tested images of a study, and how often each is in each bootstrap resample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.store import Entry, Study
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.metrics.statistics import (
    SCORES,
    bootstrap_intervals,
    missing_scores,
    pooled_scores,
    resample_counts,
    resampled_scores,
)
from tlfeatures.model_selection.cross_validation import Evaluation, or_none
from tlfeatures.names import counted


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of the tested images.

    Attributes
    ----------
    classes : list of str
        k of them, sorted.
    rows : ndarray of shape (all images,), bool
        Which were tested: n of them.
    codes : ndarray of shape (n,), int
        Class codes.
    counts : ndarray of shape (n, B), float32
        How often an image is in each resample.
    units : int
        Number of images, or of groups, that are drawn.
    """

    classes: list[str]
    rows: NDArray[np.bool_]
    codes: NDArray[np.int_]
    counts: NDArray[np.float32]
    units: int

    @classmethod
    def of(
        cls,
        images: Study | Dataset,
        classes: list[str],
        tested: NDArray[np.bool_],
        seed: int | None,
    ) -> Resamples:
        """Draw them, from the images of a study that were tested."""
        groups = None if images.together is None else images.together[tested]
        n = int(tested.sum())
        return cls(
            classes,
            tested,
            np.searchsorted(classes, images.y[tested]),
            resample_counts(n, groups, random_state=seed),
            n if groups is None else len(np.unique(groups)),
        )

    @property
    def unit(self) -> str:
        """What is drawn: images or groups."""
        return "images" if self.units == len(self.codes) else "groups"

    def score(self, entries: Sequence[Entry | Evaluation]) -> dict[str, dict[str, Any]]:
        """Give the mean of each pooled score over repeats, its interval, and why one is None."""
        predicted, tables = self._predictions(entries)
        once = np.ones((len(self.codes), 1))
        pooled = [
            pooled_scores(self.codes, *pair, once) for pair in zip(predicted, tables, strict=True)
        ]
        intervals = bootstrap_intervals(
            self.codes, predicted, tables, self.counts, units=self.units
        )
        reasons = missing_scores(self.codes, tables, self.classes)
        return {
            name: {
                "score": or_none(np.mean([scores[name][0] for scores in pooled])),
                "interval": _plain(intervals[name]),
                "reason": reasons.get(name) or self._without_interval(name, intervals[name]),
            }
            for name in SCORES
        }

    def _without_interval(self, name: str, interval: tuple[float, float]) -> str | None:
        """Say why a score that is defined has no interval."""
        if not math.isnan(interval[0]):
            return None
        drawn = counted(self.units, self.unit.removesuffix("s"))
        if name == "roc_auc" and not self._any_has_all():
            return f"no resample of the {drawn} has images of every class"
        return f"every resample of the {drawn} gives the same score"

    def _any_has_all(self) -> bool:
        drawn = (self.counts[self.codes == code].any(axis=0) for code in range(len(self.classes)))
        return bool(np.all(list(drawn), axis=0).any())

    def resampled(self, entries: Sequence[Entry]) -> dict[str, NDArray[np.float64]]:
        """Give each pooled score in every resample, of shape (B,)."""
        return resampled_scores(self.codes, *self._predictions(entries), self.counts)

    def _predictions(
        self, entries: Sequence[Entry | Evaluation]
    ) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
        predicted = np.array([entry.predicted[self.rows] for entry in entries])
        return predicted, np.array([entry.probabilities[self.rows] for entry in entries])


def _plain(interval: tuple[float, float]) -> list[float] | None:
    return None if math.isnan(interval[0]) else list(interval)
