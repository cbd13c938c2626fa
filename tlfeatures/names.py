"""Names that users give: one or several, and what there is where one is unknown."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import Any

from tlfeatures.errors import ParameterError


def as_list(value: Any) -> list[Any]:
    """Take one name or path for a list of one."""
    return [value] if isinstance(value, str | os.PathLike) else list(value)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ParameterError:
    """Say which names exist, the nearest first."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=len(names), cutoff=0.5)
    ordered = near + [other for other in names if other not in near]
    return ParameterError(f"there is no {kind} {name!r}; there are: {', '.join(ordered)}")


def counted(count: int, noun: str) -> str:
    """Give `1 variant`, `5 variants`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def first_of(names: Iterable[str], most: int) -> str:
    """Give `a, b`, or `a, b, ...` of more names than `most`."""
    listed = list(names)
    return ", ".join(listed[:most]) + ", ..." * (len(listed) > most)


def some_of(names: Iterable[str], most: int) -> str:
    """Give `a, b`, or `a, b and 3 more` of more names than `most`."""
    listed = list(names)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
