"""Sentences of the verdict about groups of images, such as sites or patients."""

from __future__ import annotations

from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.metrics.group_scores import FEWEST_GROUPS, GroupScore


def has_few(comparison: Comparison) -> bool:
    """Whether there are too few groups for an interval; `group_lines` says so."""
    groups = comparison.group_scores
    return groups is not None and groups.count < FEWEST_GROUPS


def group_lines(comparison: Comparison) -> list[str]:
    """Name the group on which the best head is worst, and say what few groups can't show.

    Parameters
    ----------
    comparison : Comparison
        The ranking, without a verdict.
    """
    groups = comparison.group_scores
    if groups is None:
        return []
    worst = groups.worst[0]
    if groups.count == 1:
        return [
            f"All tested images are of one group ({worst.name}). There is no interval, because one "
            "group says nothing about other groups."
        ]
    lines = []
    if has_few(comparison):
        lines.append(
            f"With only {groups.count} groups there is no interval. Between the groups, the "
            f"accuracy ranges from {100 * groups.lowest:.1f} to {100 * groups.highest:.1f} %; "
            "another group may lie outside of this range."
        )
    if groups.lowest < groups.highest:
        lines.append(f"Worst of the {groups.count:,} groups: {_described(worst)}.")
    return lines


def _described(group: GroupScore) -> str:
    images = "its only image" if group.images == 1 else f"{group.images:,} images"
    return f"{group.name} with {100 * group.accuracy:.1f} % of {images} right"
