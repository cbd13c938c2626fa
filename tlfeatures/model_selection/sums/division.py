"""Rows divided into parts, so that the training rows of every fold are some of the parts.

The sums of a fold's training rows are then sums of parts, and one round over all rows gives those
of all folds. With five folds, the parts are the rows that each fold tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.stratified_folds import Fold, cut, fewest
from tlfeatures.heads.classifiers.calibration import CALIBRATION_FOLDS, FOLDS_OF_MANY, MANY

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Division:
    """Rows divided into parts.

    Attributes
    ----------
    part : ndarray of shape (n,), int
        Part of each row.
    trains : ndarray of shape (F, P), bool
        Whether each fold trains on each part.
    counts : ndarray of shape (P, k), int
        Number of rows of each class in each part.
    """

    part: NDArray[np.int64]
    trains: Mask
    counts: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        folds: Sequence[Fold],
        codes: NDArray[np.int_],
        together: NDArray[np.int64] | None,
        random_state: int | None,
    ) -> Division:
        """Divide rows by the folds that train on them.

        If a fold would train on a single part, each part is divided again, so that there are inner
        folds for calibration. Rows of a group are always in the same part of a fold.

        Parameters
        ----------
        folds : sequence of (train rows, test rows)
        codes : ndarray of shape (n,), int
            Class codes of all rows.
        together : ndarray of shape (n,), int, or None
            Group of each row, see `Dataset.together`.
        random_state : int or None
            Seed of the second division.
        """
        member = np.zeros((len(codes), len(folds)), bool)
        for number, (train, _) in enumerate(folds):
            member[train, number] = True
        packed, part = np.unique(np.packbits(member, axis=1), axis=0, return_inverse=True)
        trains = np.unpackbits(packed, axis=1, count=len(folds)).astype(bool).T
        part = part.ravel()
        if trains.sum(axis=1).min() < 2:
            inner = _second_division(codes, together, random_state)
            times = int(inner.max()) + 1
            part, trains = part * times + inner, np.repeat(trains, times, axis=1)
        table = np.zeros((trains.shape[1], int(codes.max()) + 1), np.int64)
        np.add.at(table, (part, codes), 1)
        return cls(part, trains, table)

    @property
    def everything(self) -> Mask:
        """All parts, as a fold that trains on all rows: shape (1, P)."""
        return np.ones((1, self.trains.shape[1]), bool)

    def inner(self, trains: Mask) -> list[tuple[Mask, Mask]]:
        """Return inner folds of a training set, whose held-out decisions calibrate its head.

        Parameters
        ----------
        trains : ndarray of shape (P,), bool
            Parts of the training set.

        Returns
        -------
        list of (training parts, held-out parts)
            Masks of shape (P,). From 3,000 rows on there are two folds, otherwise up to five.
        """
        parts = np.flatnonzero(trains)
        many = self.counts[parts].sum() >= MANY
        number = np.arange(len(parts)) % (FOLDS_OF_MANY if many else CALIBRATION_FOLDS)
        folds = []
        for fold in np.unique(number):
            held = np.zeros(len(trains), bool)
            held[parts[number == fold]] = True
            folds.append((trains & ~held, held))
        return folds

    def has_inner_folds(self) -> bool:
        """Whether all inner folds of all folds, and of all rows, train on all of their classes."""
        return all(
            ((self.counts[inner].sum(axis=0) > 0) == (self.counts[trains].sum(axis=0) > 0)).all()
            for trains in [*self.trains, *self.everything]
            for inner, _ in self.inner(trains)
        )


def _second_division(
    codes: NDArray[np.int_], together: NDArray[np.int64] | None, random_state: int | None
) -> NDArray[np.int64]:
    """Number each row by an inner fold; 0 for all if a class has a single row or group."""
    wanted = FOLDS_OF_MANY if len(codes) >= MANY else CALIBRATION_FOLDS
    count = min(wanted, fewest(codes, together))
    inner = np.zeros(len(codes), np.int64)
    if count > 1:
        for number, (_, test) in enumerate(cut(codes, together, count, random_state)):
            inner[test] = number
    return inner
