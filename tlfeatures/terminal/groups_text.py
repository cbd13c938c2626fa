"""The scores by group as text, for `fit`, `benchmark` and `evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlfeatures.names import number
from tlfeatures.terminal.tables import interval, table

if TYPE_CHECKING:
    from tlfeatures.metrics.group_scores import GroupScores


def group_lines(groups: GroupScores | None, of: str = "") -> list[str]:
    """Give the table of the groups with the lowest accuracies; no lines without groups.

    Parameters
    ----------
    groups : GroupScores or None
    of : str
        The head whose accuracies they are, if there are several.
    """
    if groups is None:
        return []
    rows = [
        [group.name, f"{group.images:,}", number(group.accuracy), interval(group.interval)]
        for group in groups.worst
    ]
    title = f"accuracy by group{f' of {of}' if of else ''}, {groups.order_in_words()}"
    lines = ["", title, table(["group", "images", "accuracy", "95 % interval"], rows)]
    more = groups.count - len(rows)
    return [*lines, f"and {more:,} more {'group' if more == 1 else 'groups'}"] if more else lines
