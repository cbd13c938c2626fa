"""The rows of datasets: in memory, or in the shards of a sharded file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset, rows_not_finite
from tlfeatures.errors import DatasetError
from tlfeatures.features.file.rows_in_shards import as_array, in_shards


def select_rows(X: NDArray[np.float32], selection: NDArray[Any]) -> NDArray[np.float32]:
    """Return some rows; those in shards are not read."""
    rows = in_shards(X)
    return X[selection] if rows is None else as_array(rows.select(selection))


def in_memory(data: Dataset) -> Dataset:
    """Return a dataset whose rows are in memory; read them if they are in shards.

    Raises
    ------
    DatasetError
        If a value is not finite.
    StoreError
        If a shard is missing, or was changed.
    """
    if in_shards(data.X) is None:
        return data
    X = data.X[:]
    check_finite(X, data.ids.tolist(), data.embedding)
    return replace(data, X=X)


def check_finite(X: NDArray[np.float32], ids: list[str], embedding: str) -> None:
    """Raise `DatasetError` if rows, of shape (n, d), have a value that is not finite."""
    bad = rows_not_finite(X)
    if len(bad):
        raise DatasetError(
            f"{embedding} has values that are not finite for {len(bad)} images, such as "
            f"{ids[bad[0]]!r}; run `tlfeatures verify FILE --mend`, and then `tlfeatures extract` "
            "to compute them again"
        )
