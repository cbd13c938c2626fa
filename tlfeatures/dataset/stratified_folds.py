"""Stratified folds of labels, as arrays; no group is divided between two folds."""

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
    """Cut rows into stratified, shuffled folds that tear no group apart.

    Parameters
    ----------
    y : ndarray of shape (n,)
    together : ndarray of shape (n,), or None
        Groups. Where most rows stand alone, each group goes where a stratified fold puts its
        first row; else scikit-learn's greedy `StratifiedGroupKFold` balances the classes.
    n_splits : int
    random_state : int or None

    Returns
    -------
    list of (train rows, test rows)

    Raises
    ------
    DatasetError
        If no class has as many groups as there are to be folds.
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
        # A class of few groups: where that is an error, make_folds says so.
        warnings.filterwarnings("ignore", message="The least populated class")
        try:
            for number, (_, test) in enumerate(alone.split(first, y[first])):
                fold_of_group[test] = number
        except ValueError as error:
            raise DatasetError(
                f"{n_splits} folds can't be cut from {len(first)} groups: fewer by --cv"
            ) from error
    return folds_of(fold_of_group[code])


def folds_of(number: Rows) -> list[Fold]:
    """Give the folds in which each row was tested, by its number; all others are trained on.

    Parameters
    ----------
    number : ndarray of shape (n,), int
        -1 for a row that was never tested.

    Returns
    -------
    list of (train rows, test rows)
    """
    numbers = np.unique(number[number >= 0])
    return [(np.flatnonzero(number != i), np.flatnonzero(number == i)) for i in numbers]


def fewest(y: NDArray[Any], groups: NDArray[Any] | None) -> int:
    """Count the images, or groups, of the class that has fewest."""
    return min(
        int((y == name).sum()) if groups is None else len(np.unique(groups[y == name]))
        for name in np.unique(y)
    )
