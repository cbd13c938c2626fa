"""Dataclasses that hold arrays, compared by their values.

The `==` of a plain dataclass compares arrays by `==` as well, which gives no single answer, so that
it raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np


class EqualByValue:
    """Base of a dataclass with `eq=False`; two are equal if all of their fields are.

    Arrays are equal if shapes and values are; NaN equals NaN. As an array can change, there is no
    hash.
    """

    def __eq__(self, other: object) -> bool:
        """Whether the other one is of the same class, and all values are equal."""
        if type(self) is not type(other):
            return NotImplemented
        names = [each.name for each in fields(self)]  # type: ignore[arg-type]
        return all(_equal(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return type(one) is type(other) and _equal_arrays(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one is other or bool(one == other)


def _equal_arrays(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    numbers = one.dtype.kind in "fc" and other.dtype.kind in "fc"
    return np.array_equal(one, other, equal_nan=numbers)
