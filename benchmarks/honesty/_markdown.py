"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def row(cells: Sequence[object]) -> str:
    """Write a line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def table(header: Sequence[str], rows: Sequence[Sequence[object]], left: int | None = None) -> str:
    """Write a table.

    Parameters
    ----------
    header : sequence of str
        Titles of the columns.
    rows : sequence of sequences
        Cells of each line; they are written as `str` writes them.
    left : int, optional
        Number of columns that are aligned to the left; the others are aligned to the right. By
        default, all are aligned to the left.
    """
    count = len(header) if left is None else left
    marks = ["---"] * count + ["---:"] * (len(header) - count)
    return "\n".join(map(row, (header, marks, *rows)))
