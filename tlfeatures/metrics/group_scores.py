"""Scores of each group of images, and the range between groups that are too few for an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.intervals import wilson
from tlfeatures.metrics.score_records import GroupsRange
from tlfeatures.metrics.scores import SCORES, Floats, pooled_scores
from tlfeatures.names import counted

# The interval rests on the variance between groups. With three groups, it would be 40 to 50 points
# wide, and with five 15 to 27 points, whatever the groups are like (benchmarks/honesty.md).
FEWEST_GROUPS = 10
ENOUGH_IMAGES = 10  # a group with fewer tested images has no interval
MOST_SHOWN = 20  # groups in tables; there may be thousands of patients


def few_groups(groups: NDArray[np.str_] | NDArray[np.int64] | None) -> str | None:
    """Return the reason why there is no interval, if there are groups, and fewer than ten.

    Parameters
    ----------
    groups : ndarray of shape (n,), str or int, or None
        Group of each tested image, given by the user.
    """
    if groups is None:
        return None
    count = len(np.unique(groups))
    if count >= FEWEST_GROUPS:
        return None
    are = "is only" if count == 1 else "are only"
    return (
        f"there {are} {counted(count, 'group')}; with fewer than {FEWEST_GROUPS}, an interval "
        "would say too little about other groups"
    )


def range_of_groups(
    y: NDArray[np.int_],
    predicted: Sequence[NDArray[np.int_]],
    probabilities: Sequence[NDArray[np.floating[Any]]],
    groups: NDArray[np.str_],
) -> dict[str, GroupsRange | None]:
    """Compute the lowest and the highest score of the groups, as the mean over repeats.

    Parameters
    ----------
    y : ndarray of shape (n,), int
        Class codes of the tested images, 0 to k - 1.
    predicted : sequence of ndarray of shape (n,), int
        Predicted class codes of each repeat.
    probabilities : sequence of ndarray of shape (n, k)
    groups : ndarray of shape (n,), str

    Returns
    -------
    dict of name to GroupsRange or None
        The names of `pooled_scores`. Groups that don't define a score are left out; None if no
        group defines it.
    """
    names, codes = np.unique(groups, return_inverse=True)
    weights = (codes[:, None] == np.arange(len(names))).astype(float)
    repeats = [
        pooled_scores(y, *pair, weights) for pair in zip(predicted, probabilities, strict=True)
    ]
    means = {name: np.mean([scores[name] for scores in repeats], axis=0) for name in SCORES}
    return {name: range_of(values[~np.isnan(values)]) for name, values in means.items()}


def range_of(values: Floats) -> GroupsRange | None:
    """Return the lowest and the highest of the scores of groups, of shape (groups,); None of none.

    All values must be defined.
    """
    if not len(values):
        return None
    return GroupsRange(lowest=float(values.min()), highest=float(values.max()), groups=len(values))


@dataclass(frozen=True)
class GroupScore:
    """The accuracy of a head on the images of one group.

    Attributes
    ----------
    name : str
        Name of the group, as the user gave it.
    images : int
        Number of its tested images.
    accuracy : float
        Share of its images that are predicted right; the mean over repeats.
    interval : [float, float] or None
        Wilson's 95 % interval of the accuracy on other images of this group; None with fewer than
        ten images.
    """

    name: str
    images: int
    accuracy: float
    interval: list[float] | None


@dataclass(frozen=True)
class GroupScores:
    """The accuracies of a head on the groups of images.

    Attributes
    ----------
    count : int
        Number of groups that have tested images.
    worst : list of GroupScore
        The groups with the lowest accuracies, the worst first; of equal ones, the larger first.
    lowest, highest : float
        Accuracies of the worst and of the best group.
    """

    count: int
    worst: list[GroupScore]
    lowest: float
    highest: float

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> GroupScores:
        """Read what `dataclasses.asdict` returned."""
        worst = [GroupScore(**group) for group in facts["worst"]]
        return cls(facts["count"], worst, facts["lowest"], facts["highest"])


def score_groups(
    right: ArrayLike, groups: ArrayLike, *, most: int | None = MOST_SHOWN
) -> GroupScores:
    """Compute the accuracy on each group of images.

    Parameters
    ----------
    right : array-like of shape (n,)
        1 for an image with a right prediction and 0 for a wrong one; with several repeats, their
        mean.
    groups : array-like of shape (n,), str
        Name of the group of each image.
    most : int or None
        Number of groups in the result, the worst; None for all.

    Raises
    ------
    ParameterError
        If there are no images, or not one group for each image.
    """
    values, labels = np.asarray(right, float), np.asarray(groups, str)
    if values.ndim != 1 or not len(values) or labels.shape != values.shape:
        raise ParameterError(
            f"right and groups must have the shape (n,) with n 1 or more, got {values.shape} and "
            f"{labels.shape}"
        )
    names, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    shares = np.bincount(codes, weights=values) / sizes
    bounds = wilson(shares, sizes)
    order = np.lexsort((names, -sizes, shares.round(12)))
    worst = [
        GroupScore(
            str(names[code]),
            int(sizes[code]),
            float(shares[code]),
            bounds[code].tolist() if sizes[code] >= ENOUGH_IMAGES else None,
        )
        for code in order[:most]
    ]
    return GroupScores(len(names), worst, float(shares.min()), float(shares.max()))
