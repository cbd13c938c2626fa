"""Stratified folds that do not separate groups, as arrays of row numbers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from tlfeatures.errors import DatasetError

Rows = NDArray[np.int_]
Fold = tuple[Rows, Rows]


def cut(
    y: NDArray[Any], together: NDArray[Any] | None, n_splits: int, random_state: int | None
) -> list[Fold]:
    """Divide rows into stratified, shuffled folds that do not separate groups.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels.
    together : ndarray of shape (n,), or None
        Group of each row. With few rows per group (fewer than two on average), the first rows of
        all groups are divided by scikit-learn's `StratifiedKFold`, and the other rows follow.
        Otherwise the greedy `StratifiedGroupKFold` is used.
    n_splits : int
        Number of folds.
    random_state : int or None
        Seed of the shuffling.

    Returns
    -------
    list of (train rows, test rows)

    Raises
    ------
    DatasetError
        If no class has as many groups as there are folds.
    """
    alone = StratifiedKFold(n_splits, shuffle=True, random_state=random_state)
    if together is None:
        return list(alone.split(y, y))
    _, first, code = np.unique(together, return_index=True, return_inverse=True)
    if 2 * len(first) < len(y):
        greedy = StratifiedGroupKFold(n_splits, shuffle=True, random_state=random_state)
        return list(greedy.split(y, y, together))
    fold_of_group = np.empty(len(first), int)
    with warnings.catch_warnings():
        # The warning is about a class with few groups. `make_folds` raises an error if necessary.
        warnings.filterwarnings("ignore", message="The least populated class")
        try:
            for number, (_, test) in enumerate(alone.split(first, y[first])):
                fold_of_group[test] = number
        except ValueError as error:
            raise DatasetError(
                f"{len(first)} groups can't be divided into {n_splits} folds; use fewer folds with "
                "--cv"
            ) from error
    return folds_of(fold_of_group[code])


def folds_of(number: Rows) -> list[Fold]:
    """Return folds that train on all rows that they do not test.

    Parameters
    ----------
    number : ndarray of shape (n,), int
        Number of the fold that tests each row; -1 for a row that is never tested.

    Returns
    -------
    list of (train rows, test rows)
    """
    numbers = np.unique(number[number >= 0])
    return [(np.flatnonzero(number != i), np.flatnonzero(number == i)) for i in numbers]


def fewest(y: NDArray[Any], groups: NDArray[Any] | None) -> int:
    """Return the number of images (or groups) of the class with the fewest images (or groups)."""
    return min(
        int((y == name).sum()) if groups is None else len(np.unique(groups[y == name]))
        for name in np.unique(y)
    )
