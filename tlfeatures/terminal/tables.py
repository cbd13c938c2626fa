"""Tables of text, and the cells that they share."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH = 100  # of lines of prose


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Align columns: the first ones to the left, the others to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def interval(bounds: Sequence[float] | None) -> str:
    """Write an interval with three digits, or none."""
    return "none" if bounds is None else f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"


def spread(record: Mapping[str, Any]) -> str:
    """Write the interval of a score, or the range between a few groups, or none."""
    from tlfeatures.metrics.score_records import range_line

    found = record.get("groups_range")
    return interval(record["interval"]) if found is None else range_line(found)


def filled(text: str) -> str:
    """Break prose into lines; names of heads have hyphens, which are no places to break a line."""
    return textwrap.fill(text, _WIDTH, break_on_hyphens=False)


def score_words(name: str) -> str:
    """Write the name of a score in words."""
    from tlfeatures.metrics.scores import score_name  # here, so that `--help` is fast

    return score_name(name)
