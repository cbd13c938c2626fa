"""Names and numbers in options and messages."""

from __future__ import annotations

import difflib
import numbers
import os
from collections.abc import Iterable
from typing import Any

from tlfeatures.errors import ParameterError


def as_list(value: Any) -> list[Any]:
    """Return a list; a single name or path becomes a list of one, and None an empty one."""
    if value is None:
        return []
    return [value] if isinstance(value, str | os.PathLike) else list(value)


def as_seed(value: Any) -> int | None:
    """Return a seed as an int, or None; raise `ParameterError` if it is no seed."""
    if value is None:
        return None
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not 0 <= int(value) < 2**31:
        raise ParameterError(
            f"random_state is {value!r}; expected a whole number from 0 to {2**31 - 1:,}, or None"
        )
    return int(value)


_MOST = 30  # names in a message; a network may have hundreds of layers


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ParameterError:
    """Create the error for an unknown name; it lists known ones, the most similar first."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=len(names), cutoff=0.5)
    ordered = near + [other for other in names if other not in near]
    return ParameterError(f"there is no {kind} {name!r}; there are: {some_of(ordered, _MOST)}")


def counted(count: int, noun: str) -> str:
    """Return `1 variant` or `5 variants`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def some_of(names: Iterable[str], most: int) -> str:
    """Return `a, b`, or for more names than `most`, `a, b and 3 more`."""
    listed = list(names)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def number(value: float | None) -> str:
    """Return a score with three digits, or `none`."""
    return "none" if value is None else f"{value:.3f}"


def one_line(text: str) -> str:
    """Escape characters that can't be printed: names of files may hold newlines."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
