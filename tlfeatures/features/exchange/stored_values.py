"""The values of features as they are stored: their type, and digests of rows."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError
from tlfeatures.features.exchange.table import Block


def to_stored(
    values: NDArray[Any], dtype: str, ids: list[str], name: str, named: object
) -> NDArray[Any]:
    """Convert values of shape (b, d) to the type in which they are stored.

    Raises
    ------
    DatasetError
        If a value is missing or not finite, or too large for this type.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        stored = values.astype(dtype)
    if np.isfinite(stored).all():
        return stored
    row = int(np.flatnonzero(~np.isfinite(stored).all(axis=1))[0])
    value = values[row][~np.isfinite(stored[row])][0]
    why = "is not finite; remove the row, or replace the value"
    if np.isfinite(value):
        why = f"is too large for {dtype}"
    raise DatasetError(f"{named}: {name} of {ids[row]!r} has the value {value}, which {why}")


def digests_of(block: Block) -> list[bytes]:
    """Return the sha256 of the values of each row, so that equal rows have equal digests.

    It is the same for float16 and float32, and for 0 and -0.
    """
    parts = [values.astype("<f4") + np.float32(0) for _, values in sorted(block.items())]
    rows = np.ascontiguousarray(np.hstack(parts))
    return [hashlib.sha256(row.data).digest() for row in rows]
