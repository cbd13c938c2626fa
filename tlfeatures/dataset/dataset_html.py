"""The table of classes by which a dataset is shown in a notebook."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tlfeatures.html_tables import MOST_ROWS, Cell, table_html


def class_table(
    y: NDArray[np.str_], split: NDArray[np.str_] | None, counts: Mapping[str, int]
) -> str:
    """Return the classes with their images in each split, largest first.

    Parameters
    ----------
    y : ndarray of shape (n,), str
    split : ndarray of shape (n,), str, or None
        See `Dataset`.
    counts : mapping of class to int
        Number of images of each class.
    """
    splits = {}
    if split is not None:
        every = {name: split == name for name in ("train", "val", "test")}
        splits = {name: mask for name, mask in every.items() if mask.any()}
    largest = sorted(counts.items(), key=lambda item: -item[1])
    rows: list[list[Cell]] = [
        [label, count, *(int((mask & (y == label)).sum()) for mask in splits.values())]
        for label, count in largest[:MOST_ROWS]
    ]
    return table_html(["class", "images", *splits], rows, total=len(largest))
