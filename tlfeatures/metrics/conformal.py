"""Prediction sets: labels that hold the right one with a given probability (conformal prediction).

The conformity of an image says how well the head knows its right class: it is the out-of-fold
probability of this class, and 1 if it is the label of the image. The set of a new image has its
label, and every class with a probability of at least a threshold. The threshold is a quantile of
the conformities. The label is the class that the head decides for, or that of an operating point.

Images that belong together (a site, a patient, copies) are not independent. Each of K groups has
the same weight, which its images share. The new image has the weight 1 / (m + 1), with a conformity
below all others. Here m is the effective number of independent images. It is K if all images of a
group are right or wrong together, and n if the mistakes don't depend on the groups. Without groups,
this is the usual quantile, with n + 1 images. With m = K, the coverage for images of new groups is
guaranteed (Lee, Barber and Willett), but the sets are too large: in simulations with 20 and 40
sites, 99.7 and 97.5 % of them held the right class, instead of 95 %. With the effective number, 95
to 97 % did.

References
----------
V. Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74,
9-28: scores of all images, from the folds of a cross-validation.
R. F. Barber, E. J. Candès, A. Ramdas and R. J. Tibshirani (2021), Predictive inference with the
jackknife+, Annals of Statistics 49, 486-507. Here the head that is fitted on all images predicts,
which is their jackknife with folds; its coverage is tested by simulation in benchmarks/honesty.md.
M. Sadinle, J. Lei and L. Wasserman (2019), Least ambiguous set-valued classifiers with bounded
error levels, Journal of the American Statistical Association 114, 223-234: the probability of the
class as the score.
Y. Lee, R. F. Barber and R. Willett (2023), Distribution-free inference with hierarchical data,
arXiv 2306.06342: the weights of groups.
L. Kish (1965), Survey sampling, Wiley: the effective number of images, from the intraclass
correlation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.equality import EqualByValue
from tlfeatures.metrics.parts import divide

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]
Table = NDArray[np.floating[Any]]

LEVEL = 0.95  # the coverage that `fit` and `evaluate` report

_MOST = 2000  # thresholds of a table
_ROUNDING = 1e-9  # 1 - 0.95 is not exactly 1 / 20


@dataclass(frozen=True, eq=False)
class Thresholds(EqualByValue):
    """The threshold of each coverage.

    Attributes
    ----------
    probabilities : ndarray of shape (m,), float32
        Thresholds, in ascending order: a set has the classes that are at least as probable.
    misses : ndarray of shape (m,), float64
        Largest probability with which the sets of each threshold miss the right class, ascending.
    units : int
        Number of independent images, or of groups of images that belong together.
    """

    probabilities: NDArray[np.float32] = field(repr=False)
    misses: Floats = field(repr=False)
    units: int

    @classmethod
    def of(cls, conformities: Floats, groups: NDArray[Any] | None = None) -> Thresholds:
        """Create the table from the conformities of n images, at least one.

        Of more than 2,000 different conformities, 2,000 are kept. This makes sets larger, if it
        changes them, never smaller.

        Parameters
        ----------
        conformities : ndarray of shape (n,)
            See `conformity`.
        groups : ndarray of shape (n,), optional
            Group of each image. Without it, each image is a group.
        """
        units, weights, effective = _weights(conformities, groups)
        order = np.argsort(conformities, kind="stable")
        below = np.cumsum(weights[order]) - weights[order]
        # Rounded down, so that a class with exactly this probability is in the set.
        exact = conformities[order]
        rounded = exact.astype(np.float32)
        rounded = np.where(rounded > exact, np.nextafter(rounded, np.float32(-1)), rounded)
        values, first = np.unique(rounded, return_index=True)
        misses = (effective * below[first] + 1) / (effective + 1)
        kept = np.unique(np.linspace(0, len(values) - 1, _MOST).round().astype(int))
        return cls(values[kept], misses[kept], units)

    def at(self, coverage: float) -> float | None:
        """Return the threshold for a coverage; None if there are too few units for it."""
        return self.estimate_at(coverage) if units_needed(coverage) <= self.units else None

    def estimate_at(self, coverage: float) -> float | None:
        """Return the threshold also if there are too few groups, but enough effective images."""
        place = int(np.searchsorted(self.misses, 1 - coverage + _ROUNDING, "right")) - 1
        return None if place < 0 else float(self.probabilities[place])


def _weights(conformities: Floats, groups: NDArray[Any] | None) -> tuple[int, Floats, float]:
    """Return the number of groups, the weights of images, and their effective number."""
    images = len(conformities)
    if groups is None:
        return images, np.full(images, 1 / images), images
    _, code, count = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / (len(count) * count[code])
    alike = _intraclass(conformities < 1, code, count)
    # If the mistakes don't depend on groups, unequal weights alone make fewer effective images.
    effective = 1 / (alike / len(count) + (1 - alike) * (weights**2).sum())
    return len(count), weights, float(effective)


def _intraclass(wrong: NDArray[np.bool_], code: Codes, count: Codes) -> float:
    """Return the intraclass correlation of mistakes, from 0 to 1, by analysis of variance.

    It is 1 if there are no mistakes, or each group has one image, so that it isn't known.
    """
    images, groups = len(wrong), len(count)
    if groups in (1, images) or wrong.all() or not wrong.any():
        return 1.0
    share = np.bincount(code, wrong) / count
    between = (count * (share - wrong.mean()) ** 2).sum() / (groups - 1)
    within = ((wrong - share[code]) ** 2).sum() / (images - groups)
    typical = (images - (count**2).sum() / images) / (groups - 1)
    return float(np.clip((between - within) / (between + (typical - 1) * within), 0, 1))


def units_needed(coverage: float) -> int:
    """Return the least number of independent images or groups for a coverage: 19 for 0.95."""
    return int(np.ceil(coverage / (1 - coverage) * (1 - _ROUNDING)))


def conformity(y: Codes, predicted: Codes, probabilities: Table) -> Floats:
    """Return the conformity of each image, of shape (n,).

    Parameters
    ----------
    y, predicted : ndarray of shape (n,)
        Codes of the right classes, and of the labels.
    probabilities : ndarray of shape (n, k)
        Out-of-fold probabilities of the classes.
    """
    given = probabilities[np.arange(len(y)), y]
    values: Floats = np.where(y == predicted, 1.0, given).astype(np.float64)
    return values


def label_sets(probabilities: Table, codes: Codes, threshold: float) -> NDArray[np.bool_]:
    """Return which classes are in the set of each image, of shape (n, k).

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Probabilities of the classes; a set has no class with a NaN.
    codes : ndarray of shape (n,)
        Code of the label, which is always in the set.
    threshold : float
        See `Thresholds.at`.
    """
    sets: NDArray[np.bool_] = probabilities >= threshold
    sets[np.arange(len(codes)), codes] = True
    return sets


@dataclass(frozen=True, eq=False)
class SetQuality(EqualByValue):
    """Coverage and size of the prediction sets of n images.

    Attributes
    ----------
    level : float
        Coverage that was requested.
    coverage : float
        Share of images whose set has the right class.
    mean_size : float
        Mean number of labels of a set.
    single : float
        Share of images whose set has one label.
    images, class_coverage, class_size : ndarray of shape (k,)
        Number of images, coverage and mean size by right class; NaN for a class without images.
    """

    level: float
    coverage: float
    mean_size: float
    single: float
    images: Codes
    class_coverage: Floats
    class_size: Floats

    @classmethod
    def of(cls, sets: NDArray[np.bool_], y: Codes, level: float) -> SetQuality:
        """Measure sets, of shape (n, k), of images with the right classes y, of shape (n,)."""
        hit, size = sets[np.arange(len(y)), y], sets.sum(axis=1)
        images = np.bincount(y, minlength=sets.shape[1])
        shares = (_means(y, values, images) for values in (hit, size))
        means = float(hit.mean()), float(size.mean()), float((size == 1).mean())
        return cls(level, *means, images, *shares)


def cross_fitted(
    y: Codes,
    predicted: Codes,
    probabilities: Table,
    fold: Codes,
    groups: NDArray[Any] | None = None,
    level: float = LEVEL,
) -> SetQuality | None:
    """Measure the sets of images with the threshold of the other folds, so that it is honest.

    Parameters
    ----------
    y, predicted, probabilities
        See `conformity`.
    fold : ndarray of shape (n,)
        Fold of each image. If there is only one fold, groups are divided into five parts.
    groups : ndarray of shape (n,), optional
        Group of each image. A threshold never comes from images of the same group.
    level : float
        The coverage.

    Returns
    -------
    SetQuality, or None if the other folds of a fold have too few images for this coverage
    """
    alone = np.arange(len(y)) if groups is None else groups
    parts = fold if len(np.unique(fold)) > 1 else divide(alone)
    values = conformity(y, predicted, probabilities)
    sets = np.zeros(probabilities.shape, bool)
    for part in np.unique(parts):
        inside = parts == part
        others = ~np.isin(alone, alone[inside])
        if not others.any():
            return None
        threshold = Thresholds.of(values[others], alone[others]).estimate_at(level)
        if threshold is None:
            return None
        sets[inside] = label_sets(probabilities[inside], predicted[inside], threshold)
    return SetQuality.of(sets, y, level)


def _means(y: Codes, values: NDArray[Any], images: Codes) -> Floats:
    sums = np.bincount(y, values, minlength=len(images))
    means: Floats = np.divide(sums, images, np.full(len(sums), np.nan), where=images > 0)
    return means
