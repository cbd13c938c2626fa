"""Sizes of training sets, and the random subsets of each size."""

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

_LEAST = 5  # images a class, or groups, of the smallest size
OCTAVES = 3  # the law is fitted to sizes from the whole down to 1 / 2**OCTAVES of it
ROUNDING = 1.05  # a size that is larger by up to this factor still counts as half
Codes = NDArray[np.int_]


@dataclass(frozen=True)
class Subset:
    """Training rows of one fit, with the numbers of its size, draw and fold."""

    size: int
    draw: int
    fold: int
    train: Codes


def training_shares(data: Dataset, folds: list[Fold], sizes: Sequence[int] | None) -> list[float]:
    """Return the sizes as shares of a training fold, rising; the last one is 1."""
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
            f"{whole:.0f}, the images a class that a training fold has"
        )
    return [size / whole for size in sorted(set(sizes)) if size < round(whole)] + [1.0]


def draws_of(share: float) -> int:
    """Return how many subsets of a size are drawn; small ones vary more and cost less."""
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
    """Draw all subsets, so that results don't depend on jobs; the longest fits come first."""
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
    """Return for each row the smallest share of the training fold whose subset has this row.

    Units are shuffled and enter in this order. A unit enters when the share of its class reaches
    its middle; if it has several classes, when the first of them does.
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
