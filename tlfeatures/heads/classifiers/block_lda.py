"""Linear discriminant analysis from sums over blocks of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh, solve

from tlfeatures.errors import ParameterError
from tlfeatures.heads.blocks.conjugate import solved
from tlfeatures.heads.blocks.rows import (
    Floats,
    MatrixRows,
    StandardisedRows,
    multiplied,
    sums_by_class,
)
from tlfeatures.heads.classifiers.base import ClassWeight
from tlfeatures.heads.classifiers.block_linear import BaseBlockLinear
from tlfeatures.heads.classifiers.linear import log_priors, one_row_for_two_classes

# An axis with a smaller share of the largest eigenvalue is a rounding error: products of columns
# are sums of float32.
_RANK = 1e-6


class BlockLDA(BaseBlockLinear):
    """Linear discriminant analysis with a shrunk covariance, which reads its rows in blocks.

    It standardises the columns itself. The result is that of `ShrunkLDA` on all principal
    coordinates, except for rounding. For more than 6,000 columns, conjugate gradients solve for the
    coefficients, without the products of the columns. Their rank is then taken as the number of
    columns that vary, or of rows less one.

    Parameters
    ----------
    shrinkage, class_weight
        See `ShrunkLDA`.
    """

    def __init__(self, shrinkage: float = 0.5, class_weight: ClassWeight = None) -> None:
        self.shrinkage = shrinkage
        self.class_weight = class_weight

    def fit(self, X: ArrayLike | MatrixRows, y: ArrayLike) -> BlockLDA:
        """Fit on X of shape (n, d) and n labels."""
        if not 0 <= self.shrinkage <= 1:
            raise ParameterError(f"shrinkage must be from 0 to 1, got {self.shrinkage}")
        rows, codes = self._checked_rows(X, y)
        source = rows.standardised
        sums, counts = sums_by_class(source, codes, len(self.classes_))
        means = sums / counts[:, None]
        solution = self._by_passes if source.is_wide else self._by_products
        coef = solution(source, sums, means)
        priors = counts * self._weights(codes)
        intercept = log_priors(priors) - np.einsum("ij,ij->i", means, coef) / 2
        found = one_row_for_two_classes(coef, intercept)
        self.coef_, self.intercept_ = source.on_columns(*found)
        return self

    def _by_products(self, source: StandardisedRows, sums: Floats, means: Floats) -> Floats:
        """Return coefficients of shape (k, d), from the products of the columns."""
        values, axes = eigh(source.products, driver="evd", check_finite=False)
        kept = values > max(values[-1], 0) * _RANK
        kept[-1] = True  # constant data have one axis
        values, axes = np.maximum(values[kept], 0), axes[:, kept]
        inner = means @ axes
        within = (np.diag(values) - (sums @ axes).T @ inner) / len(source)
        # Principal coordinates have one more column, which is 0 in all training rows.
        mean_variance = max(float(np.trace(within)) / (len(values) + 1), 1e-200)
        covariance = (1 - self.shrinkage) * within
        covariance.flat[:: len(covariance) + 1] += (self.shrinkage + 1e-9) * mean_variance
        coef: Floats = solve(covariance, inner.T, assume_a="pos", check_finite=False).T @ axes.T
        return coef

    def _by_passes(self, source: StandardisedRows, sums: Floats, means: Floats) -> Floats:
        """Return coefficients of shape (k, d), by passes over the rows."""
        squares = np.zeros(source.width)
        for _, block in source.blocks():
            squares += np.einsum("ij,ij->j", block, block, dtype=np.float64)
        rank = max(min(int((squares > 0).sum()), len(source) - 1), 1)
        within = squares.sum() - float((sums * means).sum())
        mean_variance = max(within / (len(source) * (rank + 1)), 1e-200)
        ridge, factor = (self.shrinkage + 1e-9) * mean_variance, (1 - self.shrinkage) / len(source)

        def covariance(vectors: Floats) -> Floats:
            own = multiplied(source, vectors) - sums.T @ (means @ vectors)
            result: Floats = factor * own + ridge * vectors
            return result

        return solved(covariance, means.T).T
