"""Values that a declaration may have; each function returns the value, or raises `ValueError`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from tlfeatures.features.backbones.network import Shape

MOST_FIRST = 64  # values of a check vector
MOST_VALUES = 2**29  # of a tensor

_LONGEST_NAME, _LONGEST_TEXT = 64, 200  # characters; the spec is an attribute of at most 64 kB
_LARGEST, _LEAST_STD = 1e38, 1e-6  # with less, pixels divided by it may not be finite in float32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def name_of(value: Any, kind: str) -> str:
    """Check a name that becomes a part of an embedding's name or of a message."""
    if not isinstance(value, str) or not _NAME.fullmatch(value) or len(value) > _LONGEST_NAME:
        raise ValueError(
            f"{kind} must be up to {_LONGEST_NAME} letters, digits, _ and -, got {shortened(value)}"
        )
    return value


def text_of(value: Any, kind: str) -> str:
    """Check a text on one line, which may be empty."""
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not value.isprintable():
        raise ValueError(
            f"{kind} must be a text of one line, up to {_LONGEST_TEXT} characters, got "
            f"{shortened(value)}"
        )
    return value


def choice_of(value: Any, kind: str, choices: tuple[str, ...]) -> str:
    """Check a value of a few possible ones."""
    if value not in choices:
        raise ValueError(f"{kind} must be {' or '.join(choices)}, got {shortened(value)}")
    return str(value)


def number_of(value: Any, kind: str) -> float:
    """Check a number that is finite in float32."""
    if type(value) not in (int, float) or not -_LARGEST <= value <= _LARGEST:
        raise ValueError(f"{kind} must be a finite number, got {shortened(value)}")
    return float(value)


def colours_of(value: Any, kind: str, *, positive: bool = False) -> tuple[float, float, float]:
    """Check one number for each of three colours."""
    values = list(value) if isinstance(value, list | tuple) else []
    if len(values) != 3:
        raise ValueError(f"{kind} must be 3 numbers on the scale 0 to 255, got {shortened(value)}")
    numbers = [number_of(item, kind) for item in values]
    if positive and min(numbers) < _LEAST_STD:
        raise ValueError(f"{kind} must be {_LEAST_STD:g} or more, got {shortened(value)}")
    return numbers[0], numbers[1], numbers[2]


def similarity_of(value: Any) -> float:
    """Check a least similarity of near-duplicates."""
    number = number_of(value, "near_duplicate")
    if not 0 < number <= 1:
        raise ValueError(f"near_duplicate must be above 0 and at most 1, got {number:g}")
    return number


def prefix_of(value: Any, tokens: int) -> int:
    """Check a number of prefix tokens; `tokens` is the number of all tokens."""
    if type(value) is not int or not 0 <= value < tokens:
        raise ValueError(
            f"prefix must be a whole number from 0 to {tokens - 1}, got {shortened(value)}"
        )
    return value


def shape_of(value: Any, lengths: tuple[int, ...], kind: str) -> Shape:
    """Check a shape of positive whole numbers."""
    values = tuple(value) if isinstance(value, list | tuple) else ()
    whole = all(type(item) is int and item > 0 for item in values)
    if len(values) not in lengths or not whole or math.prod(values) > MOST_VALUES:
        raise ValueError(f"{kind} has the shape {shortened(value)}")
    return values


def first_of(value: Any) -> tuple[float, ...]:
    """Check the first values of a check vector."""
    values = value if isinstance(value, list | tuple) else ()
    if not 0 < len(values) <= MOST_FIRST:
        raise ValueError(f"check: first must be 1 to {MOST_FIRST} numbers, got {shortened(value)}")
    return tuple(number_of(item, "check: first") for item in values)


def known_keys(data: Any, kind: str, known: Mapping[str, Any] | set[str]) -> dict[str, Any]:
    """Check that it is a JSON object with no other keys than the known ones."""
    if not isinstance(data, dict):
        raise ValueError(f"{kind} must be a JSON object, got {shortened(data)}")
    unknown = sorted(map(str, set(data) - set(known)))
    if unknown:
        raise ValueError(
            f"{kind} has the unknown key {shortened(unknown[0])}; known are: "
            f"{', '.join(sorted(known))}"
        )
    return data


def shortened(value: Any) -> str:
    """Show a value in a message, up to 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
