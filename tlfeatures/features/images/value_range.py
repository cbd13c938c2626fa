"""The range of values of images with more than 8 bits: which values are black and white."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlfeatures.errors import ParameterError

ValueRange = tuple[float, float]  # black, white

_LARGEST = float(np.finfo(np.float32).max)


def parse_value_range(value: Any) -> ValueRange | None:
    """Read a range of values from an option.

    Parameters
    ----------
    value : str, sequence of two numbers or None
        `"0,4095"` or `(0, 4095)`: the values that become black and white.

    Returns
    -------
    (float, float) or None
        None for None.

    Raises
    ------
    ParameterError
        If the value isn't two finite numbers, the smaller one first.
    """
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    try:
        low, high = (float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        low, high = 0.0, 0.0
    if not -_LARGEST <= low < high <= _LARGEST:
        raise ParameterError(
            f"value_range must be the values of black and white, LO,HI with LO below HI (0,4095), "
            f"got {value}"
        )
    return low, high


def format_value_range(value_range: ValueRange) -> str:
    """Write a range as `parse_value_range` reads it."""
    return ",".join(f"{value:.10g}" for value in value_range)
