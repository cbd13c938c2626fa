"""Rows of a matrix that are read in blocks, so that no fold needs a copy of its training rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Single = NDArray[np.float32]
Floats = NDArray[np.float64]
Rows = NDArray[np.int_]

WIDEST = 6000  # columns: their products would take more memory than the rows
BLOCK = 2**18  # size of a block: 1 MB, which the cache of a core holds
LEAST_ROWS = 64  # in a block
_ROWS_OF_PRODUCTS = 1024  # in a block whose products of columns are added to those of others
_SAMPLED_ROWS = 16  # for each column: from so many rows, products are estimated


class Blocks(Protocol):
    """Rows that a solver reads several times, in blocks."""

    @property
    def width(self) -> int:
        """Number of columns."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def take(self, rows: Rows) -> Blocks:
        """Return some of the rows, by their positions among these rows."""

    def blocks(self, least: int = LEAST_ROWS) -> Iterator[tuple[slice, Single]]:
        """Yield the positions of some rows, and their values of shape (rows, width), float32.

        The values may change when the next block is read. Nearly all blocks have at least the
        requested number of rows.
        """


class MatrixRows:
    """Some rows of a matrix, read in blocks. The matrix may be a memory map.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    rows : ndarray of shape (m,), int, optional
        Indices of the rows; by default all of them.
    """

    def __init__(self, X: NDArray[np.floating[Any]], rows: Rows | None = None) -> None:
        self._X = X
        self._rows = np.arange(len(X)) if rows is None else rows

    @classmethod
    def of(cls, X: Any) -> MatrixRows:
        """Return the argument if it is read in blocks already, else all rows of an array."""
        return X if isinstance(X, MatrixRows) else cls(np.asarray(X))

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self._X.shape[1])

    @property
    def is_wide(self) -> bool:
        """Whether the products of the columns would be too large."""
        return self.width > WIDEST

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return len(self), self.width

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def take(self, rows: Rows) -> MatrixRows:
        """Return some of the rows, by their positions among these rows."""
        return MatrixRows(self._X, self._rows[rows])

    def values(self, rows: Rows) -> Single:
        """Return some of the rows as an array, by their positions among these rows."""
        return np.asarray(self._X[self._rows[rows]], np.float32)

    def all_values(self) -> NDArray[np.floating[Any]]:
        """Return all rows as an array."""
        return self._X[self._rows]

    def blocks(self, least: int = LEAST_ROWS) -> Iterator[tuple[slice, Single]]:
        """Yield the positions of some rows, and a copy of their values; see `Blocks.blocks`."""
        step = max(least, BLOCK // max(self.width, 1))
        # `numpy.take` would copy a whole matrix that is not stored in this way.
        in_place = (
            self._X.dtype == np.float32 and self._X.flags.c_contiguous and self._X.flags.aligned
        )
        buffer = np.empty((min(step, len(self)), self.width), np.float32)
        for start in range(0, len(self), step):
            part = slice(start, min(start + step, len(self)))
            block = buffer[: part.stop - start]
            if in_place:
                # Other modes than "raise" write into `out` without a copy between.
                np.take(self._X, self._rows[part], axis=0, out=block, mode="clip")
            else:
                block[:] = self._X[self._rows[part]]
            yield part, block

    @cached_property
    def standardised(self) -> StandardisedRows:
        """The rows with standardised columns; mean and scale are computed at the first use."""
        return StandardisedRows(self, *self._mean_and_scale())

    def _mean_and_scale(self) -> tuple[Floats, Floats]:
        """Return mean and scale of each column, as in `sklearn.preprocessing.StandardScaler`."""
        total, squares = np.zeros(self.width), np.zeros(self.width)
        for _, block in self.blocks():
            total += block.sum(axis=0, dtype=np.float64)
        mean = total / len(self)
        for _, block in self.blocks():
            block -= mean.astype(np.float32)
            squares += np.einsum("ij,ij->j", block, block, dtype=np.float64)
        scale = np.sqrt(squares / len(self))
        # Columns that are constant except for rounding get scale 1.
        eps = np.finfo(np.float32).eps
        scale[scale <= 10 * eps * np.maximum(np.abs(mean), 1e-30)] = 1
        return mean, scale


class StandardisedRows:
    """Rows whose columns are standardised block by block.

    Parameters
    ----------
    rows : MatrixRows
    mean, scale : ndarray of shape (d,)
    """

    def __init__(self, rows: MatrixRows, mean: Floats, scale: Floats) -> None:
        self._rows = rows
        self.mean, self.scale = mean, scale
        self._whole: StandardisedRows | None = None

    @property
    def width(self) -> int:
        """Number of columns."""
        return self._rows.width

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def take(self, rows: Rows) -> StandardisedRows:
        """Return some of the rows, standardised by the same numbers."""
        part = StandardisedRows(self._rows.take(rows), self.mean, self.scale)
        part._whole = self
        return part

    @property
    def is_wide(self) -> bool:
        """Whether the products of the columns would be too large."""
        return self._rows.is_wide

    @cached_property
    def rough_products(self) -> Floats:
        """See `rough_products_of`; computed at the first use."""
        return rough_products_of(self, self._whole)

    @cached_property
    def products(self) -> Floats:
        """Z'Z of these rows Z, of shape (d, d); computed at the first use."""
        return products_of(self)

    def on_columns(self, coef: Floats, intercept: Floats) -> tuple[Floats, Floats]:
        """Convert coefficients of the standardised columns to those of the columns as they are.

        Parameters
        ----------
        coef : ndarray of shape (outputs, d)
        intercept : ndarray of shape (outputs,)
        """
        raw = coef / self.scale
        return raw, intercept - raw @ self.mean

    def blocks(self, least: int = LEAST_ROWS) -> Iterator[tuple[slice, Single]]:
        """Yield the positions of some rows, and their standardised values; see `Blocks.blocks`."""
        mean, scale = self.mean.astype(np.float32), self.scale.astype(np.float32)
        for part, block in self._rows.blocks(least):
            block -= mean
            block /= scale
            yield part, block


def products_of(rows: Blocks, weights: Floats | None = None) -> Floats:
    """Return Z'Z of rows Z, of shape (d, d), with the rows weighted if there are weights."""
    products = np.zeros((rows.width, rows.width))
    for part, block in rows.blocks(_ROWS_OF_PRODUCTS):
        left = block if weights is None else block * weights[part, None].astype(np.float32)
        products += left.T @ block
    return products


def estimated_products(rows: Blocks) -> Floats:
    """Return Z'Z of rows Z, less their means, of shape (d, d), by a sample of many rows."""
    count = min(len(rows), max(_SAMPLED_ROWS * rows.width, _ROWS_OF_PRODUCTS))
    if count < len(rows):
        chosen = np.random.default_rng(0).choice(len(rows), count, replace=False, shuffle=False)
        sample = rows.take(np.sort(chosen))
    else:
        sample = rows
    means = column_means(sample)
    return (products_of(sample) - count * np.outer(means, means)) * (len(rows) / max(count, 1))


class _Whole(Protocol):
    """Rows of which others are a part."""

    @property
    def rough_products(self) -> Floats:
        """See `rough_products_of`."""

    def __len__(self) -> int:
        """Return the number of rows."""


def rough_products_of(rows: Blocks, whole: _Whole | None) -> Floats:
    """Return `estimated_products` of rows; of a part of other rows, its share of theirs."""
    if whole is None:
        return estimated_products(rows)
    return whole.rough_products * (len(rows) / max(len(whole), 1))


def multiplied(rows: Blocks, vectors: Floats, weights: Floats | None = None) -> Floats:
    """Return Z'Z V of rows Z and V of shape (d, q), by one pass that never computes Z'Z."""
    single, total = vectors.astype(np.float32), np.zeros(vectors.shape)
    for part, block in rows.blocks():
        right = block @ single
        if weights is not None:
            right *= weights[part, None].astype(np.float32)
        total += (right.T @ block).T
    return total


def sums_by_class(
    rows: Blocks, codes: Rows, classes: int, weights: Floats | None = None
) -> tuple[Floats, Floats]:
    """Return the sums of the rows of each class, of shape (k, d), and of their weights, (k,)."""
    sums, totals = np.zeros((classes, rows.width)), np.zeros(classes)
    for part, block in rows.blocks():
        share = np.ones(len(block)) if weights is None else weights[part]
        members = np.zeros((len(block), classes), np.float32)
        members[np.arange(len(block)), codes[part]] = share
        sums += members.T @ block
        totals += np.bincount(codes[part], share, minlength=classes)
    return sums, totals


def column_means(rows: Blocks) -> Floats:
    """Return the mean of each column, of shape (d,)."""
    total = np.zeros(rows.width)
    for _, block in rows.blocks():
        total += block.sum(axis=0, dtype=np.float64)
    return total / max(len(rows), 1)
