"""The sentence of the verdict about groups of images, such as sites or patients."""

from __future__ import annotations

from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.metrics.group_scores import FEWEST_GROUPS, FEWEST_IMAGES, GroupScore, GroupScores


def has_few(comparison: Comparison) -> bool:
    """Whether there are too few groups for an interval; `group_lines` says so."""
    groups = comparison.group_scores
    return groups is not None and groups.count < FEWEST_GROUPS


def group_lines(comparison: Comparison) -> list[str]:
    """Name the groups on which the best head is worst and best, and what few groups can't show.

    Parameters
    ----------
    comparison : Comparison
        The ranking, without a verdict.

    Returns
    -------
    list of str
        At most one sentence; none without groups.
    """
    groups = comparison.group_scores
    if groups is None:
        return []
    if groups.count == 1:
        return [
            f"All tested images are of one group ({groups.worst[0].name}), so there is no "
            "interval: one group says nothing about other groups."
        ]
    if has_few(comparison):
        return [
            f"With only {groups.count} groups, fewer than {FEWEST_GROUPS}, there is no interval"
            f"{_range(groups)}."
        ]
    worst, best = groups.lowest, groups.highest
    if worst is None or best is None or worst.accuracy == best.accuracy:
        return []
    return [
        f"Worst of the {groups.count:,} groups: {_described(worst)}; best: {_described(best)}"
        f"{groups.left_out()}."
    ]


def _range(groups: GroupScores) -> str:
    worst, best = groups.lowest, groups.highest
    if worst is None or best is None:
        return f" and no range between them, because each has fewer than {FEWEST_IMAGES} images"
    if groups.too_small == groups.count - 1:
        return (
            f" and no range between them, because only one has {FEWEST_IMAGES} or more images: "
            f"{_described(worst)}"
        )
    return (
        f": the accuracy ranges from {_short(worst)} to {_short(best)}, and another group may lie "
        f"outside of this range{groups.left_out()}"
    )


def _described(group: GroupScore) -> str:
    return f"{group.name} with {100 * group.accuracy:.1f} % of {group.images:,} images right"


def _short(group: GroupScore) -> str:
    return f"{100 * group.accuracy:.1f} % ({group.name}, {group.images:,} images)"
