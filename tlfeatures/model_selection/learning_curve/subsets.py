"""Sizes of training sets, and random subsets of each size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.scores import Floats

_LEAST = 5  # smallest size, in images or groups per class
OCTAVES = 3  # the law is fitted to sizes from 1 / 2**OCTAVES of the training fold up to all of it
ROUNDING = 1.05  # sizes are approximate: a size may exceed a limit by up to this factor
Codes = NDArray[np.int_]


@dataclass(frozen=True)
class Subset:
    """Training rows of one fit, with the numbers of their size, draw and fold."""

    size: int
    draw: int
    fold: int
    train: Codes


def training_shares(data: Dataset, folds: list[Fold], sizes: Sequence[int] | None) -> list[float]:
    """Return the sizes as shares of a training fold, smallest first. The last share is 1.

    Parameters
    ----------
    data : Dataset
    folds : list of (train rows, test rows)
    sizes : sequence of int, optional
        Sizes in images per class.

    Raises
    ------
    ParameterError
        If a size is below 2, or larger than the training folds.
    """
    whole = float(np.mean([len(train) for train, _ in folds])) / len(data.classes)
    if sizes is not None:
        return _given_shares(sizes, whole)
    units = len(data.y) if data.together is None else len(np.unique(data.together))
    least = _LEAST * len(data.y) / units
    halvings = [*np.arange(0, OCTAVES, 0.5), *range(OCTAVES, 40)]
    shares = [2.0 ** -float(halving) for halving in reversed(halvings)]
    return [share for share in shares if share * whole * ROUNDING >= least or share == 1]


def _given_shares(sizes: Sequence[int], whole: float) -> list[float]:
    if not len(sizes) or min(sizes) < 2 or max(sizes) > round(whole):
        raise ParameterError(
            f"sizes are {', '.join(map(str, sizes)) or '(none)'}; expected numbers from 2 to "
            f"{whole:.0f}, the number of images per class in a training fold"
        )
    return [size / whole for size in sorted(set(sizes)) if size < round(whole)] + [1.0]


def draws_of(share: float) -> int:
    """Return the number of subsets of a size. Small subsets vary more, and are faster to fit."""
    if share >= 1:
        return 1
    return 2 if share > 0.5 else 3 if share > 0.25 else 5


def draw_subsets(
    y: Codes,
    together: NDArray[Any] | None,
    folds: list[Fold],
    shares: Sequence[float],
    seed: int | None,
) -> list[Subset]:
    """Draw all subsets before the fits, so that results don't depend on `n_jobs`.

    Parameters
    ----------
    y : ndarray of shape (n,), int
        Class codes.
    together : ndarray of shape (n,), or None
        Group number of each image; see `Dataset.together`.
    folds : list of (train rows, test rows)
    shares : sequence of float
        Sizes, from `training_shares`.
    seed : int or None

    Returns
    -------
    list of Subset
        The largest subsets come first, because their fits take the longest.
    """
    random = np.random.default_rng(seed)
    units = np.arange(len(y)) if together is None else together
    subsets = []
    for fold, (train, _) in enumerate(folds):
        for draw in range(max(map(draws_of, shares))):
            enters = _entering(y[train], units[train], random)
            subsets += [
                Subset(size, draw, fold, train[enters <= share])
                for size, share in enumerate(shares)
                if draw < draws_of(share)
            ]
    return sorted(subsets, key=lambda subset: -len(subset.train))


def _entering(y: Codes, units: NDArray[Any], random: np.random.Generator) -> Floats:
    """Return for each row the smallest share of the training fold whose subset contains the row.

    Units (images or groups) are put in a random order. In this order, a unit of a class is in a
    subset if the share of the class reaches the middle of the unit. A unit of several classes is
    in a subset if this is true for one of the classes.
    """
    _, codes = np.unique(units, return_inverse=True)
    place = random.permutation(codes.max() + 1)[codes]
    enters = np.ones(codes.max() + 1)
    for name in np.unique(y):
        due, size = np.unique(place[y == name], return_counts=True)
        middle = (np.cumsum(size) - size / 2) / size.sum()
        middle[:2] = 0  # calibrated heads need two units of each class
        np.minimum.at(enters, due, middle)
    rows: Floats = enters[place]
    return rows
