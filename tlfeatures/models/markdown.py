"""Pieces of Markdown, for model cards."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any


def escaped(value: Any) -> str:
    """Escape a text so that Markdown shows it unchanged, also in a table."""
    text = html.escape(" ".join(str(value).split()), quote=False)
    for mark in "\\`*_[]#|~":
        text = text.replace(mark, f"\\{mark}")
    return text


def table_lines(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return the lines of a table."""
    lines = [header, ["---"] * len(header), *([escaped(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
