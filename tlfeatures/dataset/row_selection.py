"""The rows that a slice, row numbers or a mask select."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError

RowSelection = slice | Sequence[int] | Sequence[bool] | NDArray[np.integer] | NDArray[np.bool_]


def selected_rows(rows: RowSelection, n: int) -> NDArray[np.int64]:
    """Return the numbers of the selected rows, in the given order.

    Parameters
    ----------
    rows : slice, mask of n bool, or row numbers
        Negative numbers count from the end.
    n : int
        Number of rows.

    Raises
    ------
    ParameterError
        If `rows` is something else, a mask has another length, or a row does not exist or is given
        twice: an image that is there twice could be trained on and tested.
    """
    if isinstance(rows, slice):
        return np.arange(n)[rows]
    given = np.asarray(rows)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iub"):
        raise ParameterError(
            f"rows of a Dataset are selected by {_described(rows)}; expected a slice, a mask of "
            f"{n:,} bools, or a list of row numbers, as in data[:10] or data[data.y == 'NAME']"
        )
    if given.dtype.kind == "b":
        if len(given) != n:
            raise ParameterError(
                f"a mask has {len(given):,} values and the Dataset has {n:,} rows; expected one "
                "value for each row"
            )
        return np.flatnonzero(given)
    numbers = given.astype(np.int64)
    outside = numbers[(numbers < -n) | (numbers >= n)]
    if len(outside):
        raise ParameterError(f"there is no row {outside[0]} in a Dataset of {n:,} rows")
    numbers %= max(n, 1)
    if len(np.unique(numbers)) < len(numbers):
        raise ParameterError("a row is selected twice; expected each image once")
    return numbers


def _described(rows: object) -> str:
    if isinstance(rows, int | np.integer):
        return f"the single number {rows}"
    text = repr(rows)
    return text if len(text) < 60 else f"a {type(rows).__name__}"
