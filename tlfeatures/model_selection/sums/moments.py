"""Sums over rows, from which heads are computed: counts, sums and products of columns.

All sums are float64. Columns are taken relative to a pivot near their means, so that a small
variance is not lost beside a large mean.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tlfeatures.equality import EqualByValue

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Moments(EqualByValue):
    """Sums over the rows of each part.

    Attributes
    ----------
    sums : ndarray of shape (P, k, d), float64
        Sums of the columns minus the pivot, of the rows of each part and class.
    squares : ndarray of shape (P, d), float64
        Sums of their squares, of the rows of each part.
    low, high : ndarray of shape (P, d), float64
        Smallest and largest value of each column, minus the pivot. They tell exactly whether a
        column is constant.
    products : ndarray of shape (P, d, d), float64, or (P, 0, 0)
        Sums of the products of columns, unless no head needs them.
    """

    sums: Floats
    squares: Floats
    low: Floats
    high: Floats
    products: Floats

    @classmethod
    def zero(cls, parts: int, classes: int, columns: int, *, products: bool) -> Moments:
        """Create the moments of no rows."""
        side = columns if products else 0
        return cls(
            np.zeros((parts, classes, columns)),
            np.zeros((parts, columns)),
            np.full((parts, columns), np.inf),
            np.full((parts, columns), -np.inf),
            np.zeros((parts, side, side)),
        )

    def add_rows(self, X: Floats, codes: Codes, part: Codes) -> None:
        """Add rows.

        Parameters
        ----------
        X : ndarray of shape (m, d), float64
            Columns minus the pivot.
        codes, part : ndarray of shape (m,), int
            Class code and part of each row.
        """
        parts, classes, _ = self.sums.shape
        place = part.astype(np.int64) * classes + codes
        # A sparse matrix adds the rows of each part and class in their order.
        chosen = csr_array(
            (np.ones(len(X)), place, np.arange(len(X) + 1)), (len(X), parts * classes)
        )
        self.sums[...] += (chosen.T @ X).reshape(self.sums.shape)
        for number in np.unique(part).tolist():
            rows = X[part == number]
            self.squares[number] += np.einsum("ij,ij->j", rows, rows)
            self.low[number] = np.minimum(self.low[number], rows.min(axis=0))
            self.high[number] = np.maximum(self.high[number], rows.max(axis=0))
            if len(self.products[number]):
                self.products[number] += rows.T @ rows

    def add(self, other: Moments) -> None:
        """Add the moments of other rows."""
        self.sums[...] += other.sums
        self.squares[...] += other.squares
        self.products[...] += other.products
        np.minimum(self.low, other.low, out=self.low)
        np.maximum(self.high, other.high, out=self.high)

    def arrays(self) -> tuple[Floats, ...]:
        """Return the arrays, which are plain data, in the order of the attributes."""
        return tuple(getattr(self, item.name) for item in fields(self))


@dataclass(frozen=True, eq=False)
class TrainingSums(EqualByValue):
    """Sums over the rows of a training set, after their columns are standardised.

    Attributes
    ----------
    present : ndarray of shape (c,), int
        Codes of the classes that have training rows.
    counts : ndarray of shape (c,), int
        Number of rows of each of these classes.
    shift : ndarray of shape (d,), float64
        Means of the columns minus the pivot.
    scale : ndarray of shape (d,), float64
        Standard deviations of the columns; 1 for a constant column.
    constant : ndarray of shape (d,), bool
        The constant columns, which are 0 after they are standardised.
    means : ndarray of shape (c, d), float64
        Class means of the standardised columns.
    products : ndarray of shape (d, d), float64, or None
        Sums of the products of standardised columns; None if no head needs them.
    """

    present: NDArray[np.int_]
    counts: NDArray[np.int64]
    shift: Floats
    scale: Floats
    constant: NDArray[np.bool_]
    means: Floats
    products: Floats | None

    @classmethod
    def of(
        cls,
        moments: Moments,
        trains: NDArray[np.bool_],
        counts: NDArray[np.int64],
        pivot: Floats,
        *,
        products: bool,
        outer: TrainingSums | None = None,
    ) -> TrainingSums:
        """Add the moments of some parts, and standardise the columns.

        The parts are added, and not subtracted from those of all rows, so that nothing cancels.

        Parameters
        ----------
        moments : Moments
        trains : ndarray of shape (P,), bool
            The parts of the training set.
        counts : ndarray of shape (P, k), int
            Number of rows of each part and class.
        pivot : ndarray of shape (d,), float64
        products : bool
            Whether the products are needed.
        outer : TrainingSums, optional
            The training set of which this is an inner fold: its scales are used, as calibration
            does not standardise the rows of inner folds again.
        """
        of_class = counts[trains].sum(axis=0)
        present = np.flatnonzero(of_class)
        n = int(of_class.sum())
        sums = moments.sums[trains].sum(axis=0)[present]
        shift = sums.sum(axis=0) / n
        scale, constant = (
            _scales(moments, trains, shift, pivot, n)
            if outer is None
            else (outer.scale, outer.constant)
        )
        means = (sums / of_class[present, None] - shift) / scale
        means[:, constant] = 0
        table = None
        if products:
            table = moments.products[trains].sum(axis=0)
            table -= n * np.outer(shift, shift)
            table /= scale
            table /= scale[:, None]
            table[constant], table[:, constant] = 0, 0
        return cls(present, of_class[present], shift, scale, constant, means, table)


def _scales(
    moments: Moments, trains: NDArray[np.bool_], shift: Floats, pivot: Floats, n: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the scales of the columns, and which columns are constant."""
    scale = np.sqrt(np.maximum(moments.squares[trains].sum(axis=0) / n - shift**2, 0))
    # Columns that are constant except for rounding get scale 1, as in `PrincipalCoordinates`.
    rounding = 10 * np.finfo(float).eps * np.maximum(np.abs(shift + pivot) * np.sqrt(n), 1e-290)
    constant = moments.low[trains].min(axis=0) == moments.high[trains].max(axis=0)
    constant |= scale <= rounding
    scale[constant] = 1
    return scale, constant
