"""Checks of numbers that are parameters of heads."""

from __future__ import annotations

import math
import numbers
from typing import Any

from tlfeatures.errors import ParameterError


def check_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    whole: bool = False,
) -> None:
    """Raise an error if a parameter is no number of a range.

    Parameters
    ----------
    name : str
        Name of the parameter.
    value : object
    above : float, optional
        The number must be larger.
    least : float, optional
        Smallest number.
    whole : bool, default False
        Whether it must be a whole number.

    Raises
    ------
    ParameterError
        If the value is not such a number. True, False, NaN and infinite numbers are none.
    """
    is_number = isinstance(value, numbers.Integral if whole else numbers.Real)
    is_finite = is_number and not isinstance(value, bool) and math.isfinite(value)
    if is_finite and (above is None or value > above) and (least is None or value >= least):
        return
    kind = "a whole number" if whole else "a number"
    limit = f" above {above:g}" if above is not None else ""
    limit += f" from {least:g} up" if least is not None else ""
    raise ParameterError(f"{name} must be {kind}{limit}, got {value!r}")
