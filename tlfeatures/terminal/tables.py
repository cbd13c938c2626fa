"""Tables of text, and the cells that they share."""

from __future__ import annotations

from collections.abc import Sequence


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


def number(value: float | None) -> str:
    """Write a score with three digits, or none."""
    return "none" if value is None else f"{value:.3f}"


def interval(bounds: Sequence[float] | None) -> str:
    """Write an interval with three digits, or none."""
    return "none" if bounds is None else f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"


def score_words(name: str) -> str:
    """Write the name of a score with blanks."""
    return name.replace("_", " ")
