"""The measured points of a learning curve, and their variation by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.metrics.group_scores import few_groups
from tlfeatures.metrics.intervals import share_interval
from tlfeatures.metrics.resampling import resample_counts, resampled_means
from tlfeatures.metrics.scores import Floats
from tlfeatures.model_selection.learning_curve.results import CurvePoint, Interval
from tlfeatures.model_selection.learning_curve.subsets import Codes, Subset, draws_of


@dataclass(frozen=True)
class Measured:
    """A measured curve of S sizes, with B resamples of the tested images.

    Attributes
    ----------
    points : tuple of S CurvePoint
        Points, smallest size first.
    resampled : ndarray of shape (S, B)
        Accuracy of each size in each resample. All sizes have the same resamples.
    spread : ndarray of shape (S,)
        Standard deviation of each point, caused by the choice of training images.
    weights : ndarray of shape (S,)
        Inverse variances of the points.
    chance : float
        Accuracy of a head that always predicts the largest class.
    few_groups : str or None
        Reason why there are no intervals and no forecast, if there are few groups.
    """

    points: tuple[CurvePoint, ...]
    resampled: Floats
    spread: Floats
    weights: Floats
    chance: float
    few_groups: str | None = None


def gather_points(
    data: Dataset,
    y: Codes,
    folds: list[Fold],
    shares: Sequence[float],
    subsets: list[Subset],
    predictions: list[Codes],
    seed: int | None,
) -> Measured:
    """Compute the points of the curve from the predictions of all fits.

    Parameters
    ----------
    data : Dataset
    y : ndarray of shape (n,), int
        Class codes of the labels.
    folds : list of (train rows, test rows)
    shares : sequence of float
        Sizes, from `training_shares`.
    subsets : list of Subset
        Training rows of the fits.
    predictions : list of ndarray
        Predicted class codes of the test rows, for each subset.
    seed : int or None
        Seed of the resamples.
    """
    predicted = [np.full((draws_of(share), len(y)), -1) for share in shares]
    for subset, labels in zip(subsets, predictions, strict=True):
        predicted[subset.size][subset.draw, folds[subset.fold][1]] = labels
    tested = np.sort(np.concatenate([test for _, test in folds]))
    predicted, y = [codes[:, tested] for codes in predicted], y[tested]
    groups = None if data.together is None else data.together[tested]
    units = len(y) if groups is None else len(np.unique(groups))
    counts = resample_counts(len(y), groups, random_state=seed)
    right = [codes == y for codes in predicted]
    few = few_groups(None if data.groups is None else data.groups[tested])
    points = tuple(
        _point(
            [subset for subset in subsets if subset.size == size],
            None if few else share_interval(right[size].mean(axis=0), groups),
            right[size],
            len(data.classes),
        )
        for size in range(len(shares))
    )
    # The pooled accuracy is linear in the hits, so draws can be averaged before the product.
    resampled = resampled_means(np.stack([hits.mean(axis=0) for hits in right]), counts)
    accuracy = (np.array([point.accuracy for point in points]) * units + 2) / (units + 4)
    # Two right and two wrong images are added, so that this variance is never 0.
    by_test = accuracy * (1 - accuracy) / units
    spread = _spread(right, np.array(shares), by_test)
    return Measured(
        points=points,
        resampled=resampled,
        spread=spread,
        weights=1 / (by_test + spread**2),
        chance=float(np.bincount(y).max() / len(y)),
        few_groups=few,
    )


def _point(
    subsets: list[Subset], interval: Interval | None, right: NDArray[np.bool_], classes: int
) -> CurvePoint:
    images = float(np.mean([len(subset.train) for subset in subsets]))
    return CurvePoint(images / classes, images, len(right), float(right.mean()), interval)


def _spread(right: list[NDArray[np.bool_]], shares: Floats, by_test: Floats) -> Floats:
    """Estimate the standard deviation of each point over the choice of training images.

    Subsets of a fold overlap, so their variance is too small and is corrected. The whole fold can't
    be drawn twice. Therefore a power law of the size is fitted to the variances of the sizes that
    were drawn several times.
    """
    draws = np.array([len(hits) for hits in right])
    several = draws > 1
    if several.sum() < 2:
        return np.sqrt(by_test)
    between = np.array([hits.mean(axis=1).var(ddof=1) for hits in right if len(hits) > 1])
    between /= 1 - shares[several]
    between += 0.02 * by_test[several]  # not 0, if a few draws agree by chance
    slope, start = np.polyfit(
        np.log(shares[several]), np.log(between), 1, w=np.sqrt(draws[several] - 1)
    )
    spread: Floats = np.sqrt(np.exp(start + slope * np.log(shares)) / draws)
    return spread
