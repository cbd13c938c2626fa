"""Operating points: a threshold on the probability of one class, chosen for a target.

The class is called positive, and all other classes together negative. An image is labelled positive
if its probability of the positive class is at least the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.group_scores import few_groups, range_of
from tlfeatures.metrics.intervals import share_interval
from tlfeatures.metrics.score_records import PooledScore
from tlfeatures.metrics.scores import Floats
from tlfeatures.metrics.targets import Bools, Groups, Target, count_units

_ROUNDING = 1e-9  # sums of shares and costs are not exact


@dataclass(frozen=True)
class PointScores:
    """Scores at an operating point.

    Attributes
    ----------
    recall : PooledScore
        Share of the positive images that are labelled positive.
    precision : PooledScore
        Share of the images labelled positive that are positive.
    specificity : PooledScore
        Share of the negative images that are not labelled positive.
    """

    recall: PooledScore
    precision: PooledScore
    specificity: PooledScore


def choose_threshold(
    target: Target,
    positive: Bools,
    probabilities: Floats,
    groups: Groups | None = None,
) -> float:
    """Choose the threshold that reaches a target on images that were not used for the choice.

    Parameters
    ----------
    target : Target
    positive : ndarray of shape (n,), bool
        Whether each image is of the positive class.
    probabilities : ndarray of shape (n,)
        Out-of-fold probability of the positive class.
    groups : ndarray of shape (n,), optional
        Group of each image. By default, all images are independent.

    Returns
    -------
    float
        Threshold, from 0 to 1. It lies in the middle between two probabilities, so that rounding
        changes no label.

    Raises
    ------
    ParameterError
        If there are too few images, a probability is missing, or no threshold reaches the target.

    Notes
    -----
    For recall, the largest threshold with ``(m + 1) / (n + 1) <= 1 - recall`` is found, where m of
    n positive images are missed, and then lowered as far as that adds no false alarm. A new
    positive image is then missed with a probability of at most 1 - recall, on average over all
    samples of n images: its probability is equally likely to take each of the n + 1 places among
    the others. This is the quantile of split conformal prediction. The recall of a single sample
    varies around this average. Specificity is treated in the same way. With groups, the shares are
    those of images, and the correction counts groups, as in hierarchical conformal prediction: a
    group of many images is no more than one group.

    For precision, the threshold with the largest recall is chosen among those whose precision
    reaches the target with one more false alarm. This is a correction, and no guarantee.

    For costs, the total cost of the images is minimised. Among equally cheap thresholds, the one
    next to ``1 / (1 + cost)`` is chosen, the best one for perfectly calibrated probabilities (Elkan
    2001).

    References
    ----------
    V. Vovk, A. Gammerman and G. Shafer (2005), Algorithmic Learning in a Random World.
    Y. Lee, R. F. Barber and R. Willett (2023), Distribution-free inference with hierarchical data,
    arXiv:2306.06342.
    C. Elkan (2001), The foundations of cost-sensitive learning, IJCAI, 973-978.
    """
    if not np.isfinite(probabilities).all():
        raise ParameterError(
            "this head gives no probability for some images, and an operating point needs them; "
            "choose another head"
        )
    cuts = _Cuts.of(positive, probabilities, groups)
    reached = cuts.reached(target)
    if not reached.any():
        raise ParameterError(_unreachable(target, cuts))
    return float(cuts.thresholds[cuts.best(target, reached)])


def cross_fitted(
    target: Target,
    positive: Bools,
    probabilities: Floats,
    fold: NDArray[np.int_],
    groups: Groups | None = None,
) -> Bools:
    """Decide for each image with a threshold that was chosen on the images of the other folds.

    Scores of these decisions are honest: scores of the images on which a threshold is chosen are
    too high.

    Parameters
    ----------
    target, positive, probabilities, groups
        See `choose_threshold`.
    fold : ndarray of shape (n,), int
        Fold of each image; two or more folds. A group must be in one fold.

    Returns
    -------
    ndarray of shape (n,), bool
        Whether each image is labelled positive. If the other folds alone have too few images for
        the target, the threshold that comes nearest to it is used.
    """
    decided = np.zeros(len(positive), bool)
    for number in np.unique(fold):
        here = fold == number
        others = None if groups is None else groups[~here]
        cuts = _Cuts.of(positive[~here], probabilities[~here], others)
        reached = cuts.reached(target)
        best = cuts.best(target, reached) if reached.any() else cuts.nearest(target)
        decided[here] = probabilities[here] >= cuts.thresholds[best]
    return decided


def point_scores(positive: Bools, decided: Bools, groups: Groups | None = None) -> PointScores:
    """Score decisions, with 95 % intervals.

    Parameters
    ----------
    positive, decided : ndarray of shape (n,), bool
        Whether each image is of the positive class, and whether it is labelled so.
    groups : ndarray of shape (n,), optional
        Group of each image.
    """
    return PointScores(
        recall=share(decided, positive, groups, "no image is of the class"),
        precision=share(positive, decided, groups, "no image is labelled with the class"),
        specificity=share(~decided, ~positive, groups, "all images are of the class"),
    )


def share(right: Bools, of: Bools, groups: Groups | None, empty: str) -> PooledScore:
    """Return the share of some images that are right, with the interval of `share_interval`.

    If there are few groups, the record has the range between groups instead.

    Parameters
    ----------
    right, of : ndarray of shape (n,), bool
        Images that are right, and the images of which the share is computed.
    groups : ndarray of shape (n,) or None
        Group of each image.
    empty : str
        Reason for the record if there are no images.
    """
    if not of.any():
        return PooledScore(score=None, interval=None, reason=empty, groups_range=None)
    score = float(right[of].mean())
    reason = few_groups(groups)
    if groups is None or reason is None:
        interval = share_interval(right[of], None if groups is None else groups[of])
        return PooledScore(score=score, interval=[*interval], reason=None, groups_range=None)
    _, codes, sizes = np.unique(groups[of], return_inverse=True, return_counts=True)
    between = range_of(np.bincount(codes, right[of]) / sizes, sizes)
    return PooledScore(score=score, interval=None, reason=reason, groups_range=between)


def _unreachable(target: Target, cuts: _Cuts) -> str:
    """Say which value could be reached."""
    if target.name == "cost":
        return (
            f"with {target.text} it is cheapest to label no image with the class: a missed image "
            "costs too little, compared with a false alarm"
        )
    best = cuts.nearest(target)
    return (
        f"no threshold reaches {target.text}; the highest {target.name} that can be reached with "
        f"these images is {cuts.careful(target)[best]:.3f}, at recall {1 - cuts.missed[best]:.3f}; "
        "choose a lower target or another head"
    )


@dataclass(frozen=True)
class _Cuts:
    """All thresholds between the c different probabilities, and what each of them gives.

    The first threshold is 0, at which every image is labelled positive. At the others, at least one
    image is labelled positive.

    Attributes
    ----------
    thresholds : ndarray of shape (c,)
    hits, alarms : ndarray of shape (c,), int
        Number of positive and of negative images that are labelled positive.
    positives, negatives : int
    positive_units, negative_units, units : int
        Number of groups with positive images, with negative images, and of all groups.
    """

    thresholds: Floats
    hits: NDArray[np.int_]
    alarms: NDArray[np.int_]
    positives: int
    negatives: int
    positive_units: int
    negative_units: int
    units: int

    @classmethod
    def of(cls, positive: Bools, probabilities: Floats, groups: Groups | None) -> _Cuts:
        values, place = np.unique(probabilities, return_inverse=True)
        middle = (values[1:] + values[:-1]) / 2
        middle = np.where(middle > values[:-1], middle, values[1:])  # of neighbouring numbers
        return cls(
            thresholds=np.concatenate([[0.0], middle]),
            hits=_at_least(place[positive], len(values)),
            alarms=_at_least(place[~positive], len(values)),
            positives=int(positive.sum()),
            negatives=int((~positive).sum()),
            positive_units=count_units(positive, groups),
            negative_units=count_units(~positive, groups),
            units=count_units(np.ones(len(positive), bool), groups),
        )

    @property
    def missed(self) -> Floats:
        """Share of the positive images that are not labelled positive."""
        return np.asarray(1 - self.hits / max(self.positives, 1), np.float64)

    @property
    def false_alarms(self) -> Floats:
        """Share of the negative images that are labelled positive."""
        return np.asarray(self.alarms / max(self.negatives, 1), np.float64)

    def careful(self, target: Target) -> Floats:
        """Return the score of a target with one more wrong image, or group of images."""
        if target.name == "recall":
            return 1 - _one_more(self.missed, self.positive_units)
        if target.name == "specificity":
            return 1 - _one_more(self.false_alarms, self.negative_units)
        one = (self.positives + self.negatives) / self.units  # images of a group
        return np.asarray(self.hits / (self.hits + self.alarms + one), np.float64)

    def cost(self, target: Target) -> Floats:
        """Return the total cost of all images, in costs of a false alarm."""
        return np.asarray(target.value * (self.positives - self.hits) + self.alarms, np.float64)

    def reached(self, target: Target) -> Bools:
        """Whether each threshold reaches a target."""
        if target.name == "cost":
            none = target.value * self.positives  # the cost if no image is labelled positive
            return self.cost(target) <= none + _ROUNDING
        reached: Bools = self.careful(target) >= target.value - _ROUNDING
        return reached

    def best(self, target: Target, reached: Bools) -> int:
        """Return the best of the thresholds that reach a target.

        No other threshold has as few false alarms and more hits, or as many hits and fewer alarms.
        """
        if target.name == "cost":
            return self.nearest(target)
        if target.name == "recall":
            fewest = self.alarms[np.flatnonzero(reached)[-1]]
            return int(np.flatnonzero(self.alarms == fewest)[0])
        most = self.hits[np.flatnonzero(reached)[0]]
        return int(np.flatnonzero(self.hits == most)[-1])

    def nearest(self, target: Target) -> int:
        """Return the threshold that comes nearest to a target."""
        if target.name == "cost":
            costs = self.cost(target)
            cheapest = np.flatnonzero(costs <= costs.min() + _ROUNDING)
            away = np.abs(self.thresholds[cheapest] - 1 / (1 + target.value))
            return int(cheapest[np.argmin(away)])
        careful = self.careful(target)
        return int(np.flatnonzero(careful >= careful.max() - _ROUNDING)[0])


def _one_more(wrong: Floats, units: int) -> Floats:
    """Return shares of wrong images with one more wrong unit of one more unit."""
    return (units * wrong + 1) / (units + 1)


def _at_least(places: NDArray[np.int_], count: int) -> NDArray[np.int_]:
    """Count the places that are at least 0, 1, ..., count - 1."""
    per_place = np.bincount(places, minlength=count)
    at_least: NDArray[np.int_] = per_place[::-1].cumsum()[::-1]
    return at_least
