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
# A group with fewer tested images is not in the range: its accuracy is mostly chance. Of one image,
# it is 0 or 100 %.
FEWEST_IMAGES = 5
_MOST_NAMED = 3  # small groups in a sentence
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
        The names of `pooled_scores`. Groups that don't define a score are left out, and those that
        have fewer than five images; None if no group is left.
    """
    names, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = (codes[:, None] == np.arange(len(names))).astype(float)
    repeats = [
        pooled_scores(y, *pair, weights) for pair in zip(predicted, probabilities, strict=True)
    ]
    means = {name: np.mean([scores[name] for scores in repeats], axis=0) for name in SCORES}
    return {name: range_of(values, sizes) for name, values in means.items()}


def range_of(values: Floats, sizes: NDArray[np.int_]) -> GroupsRange | None:
    """Return the lowest and the highest score of the groups that have five or more images.

    Parameters
    ----------
    values : ndarray of shape (groups,), float64
        Score of each group; NaN if the group doesn't define it.
    sizes : ndarray of shape (groups,), int
        Number of tested images of each group.

    Returns
    -------
    GroupsRange or None
        None if no group defines the score and has enough images.
    """
    defined = ~np.isnan(values)
    kept = values[defined & (sizes >= FEWEST_IMAGES)]
    if not len(kept):
        return None
    return GroupsRange(
        lowest=float(kept.min()),
        highest=float(kept.max()),
        groups=len(kept),
        too_small=int(defined.sum()) - len(kept),
    )


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
        Groups with fewer than five images come after all others.
    lowest, highest : GroupScore or None
        The worst and the best of the groups with five or more images; None if there are none. Of
        equal ones, the larger.
    too_small : int
        Number of groups with fewer than five images.
    small_names : list of str
        Names of the first 20 of these groups.
    """

    count: int
    worst: list[GroupScore]
    lowest: GroupScore | None
    highest: GroupScore | None
    too_small: int
    small_names: list[str]

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> GroupScores:
        """Read what `dataclasses.asdict` returned."""
        ends = {
            name: None if facts[name] is None else GroupScore(**facts[name])
            for name in ("lowest", "highest")
        }
        worst = [GroupScore(**group) for group in facts["worst"]]
        return cls(**{**facts, **ends, "worst": worst})

    def order_in_words(self) -> str:
        """Describe the order of the groups in tables."""
        if not self.too_small:
            return "the worst first"
        return f"the worst first, groups with fewer than {FEWEST_IMAGES} images last"

    def left_out(self) -> str:
        """Name the groups that are too small for the range, to end a sentence; empty without any.

        For example "; 2 groups with fewer than 5 images are left out (site4, site5)".
        """
        if not self.too_small:
            return ""
        are = "is" if self.too_small == 1 else "are"
        names = self.small_names[:_MOST_NAMED]
        more = self.too_small - len(names)
        rest = f" and {more:,} more" if more else ""
        return (
            f"; {counted(self.too_small, 'group')} with fewer than {FEWEST_IMAGES} images {are} "
            f"left out ({', '.join(names)}{rest})"
        )


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
    small = sizes < FEWEST_IMAGES
    order = np.lexsort((names, -sizes, shares.round(12), small))
    best_first = np.lexsort((names, -sizes, -shares.round(12), small))

    def score_of(code: int) -> GroupScore:
        interval = bounds[code].tolist() if sizes[code] >= ENOUGH_IMAGES else None
        return GroupScore(str(names[code]), int(sizes[code]), float(shares[code]), interval)

    return GroupScores(
        count=len(names),
        worst=[score_of(code) for code in order[:most]],
        lowest=None if small.all() else score_of(order[0]),
        highest=None if small.all() else score_of(best_first[0]),
        too_small=int(small.sum()),
        small_names=names[small][:MOST_SHOWN].tolist(),
    )
