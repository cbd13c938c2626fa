"""Linear discriminant analysis from sums over blocks of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve
from scipy.special import softmax

from tlfeatures.errors import ParameterError
from tlfeatures.heads.blocks.rows import Floats, MatrixRows, sums_by_class
from tlfeatures.heads.classifiers.base import ClassWeight
from tlfeatures.heads.classifiers.block_decisions import decisions_of
from tlfeatures.heads.classifiers.block_rows import BaseBlockClassifier
from tlfeatures.heads.classifiers.linear import one_row_for_two_classes


class BlockLDA(BaseBlockClassifier):
    """Linear discriminant analysis with a shrunk covariance, which reads its rows in blocks.

    It standardises the columns itself. The result is that of `ShrunkLDA` on standardised columns.

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
        covariance = (source.products - sums.T @ means) / len(rows)
        # A constant column has no variance, and no share in the mean variance.
        varying = max(int((np.diag(source.products) > 0).sum()), 1)
        mean_variance = max(float(np.trace(covariance)) / varying, 1e-200)
        covariance *= 1 - self.shrinkage
        covariance.flat[:: len(covariance) + 1] += (self.shrinkage + 1e-9) * mean_variance
        coef = solve(covariance, means.T, assume_a="pos", check_finite=False).T
        priors = counts * self._weights(codes)
        intercept = np.log(priors / priors.sum()) - np.einsum("ij,ij->i", means, coef) / 2
        found = one_row_for_two_classes(coef, intercept)
        self.coef_, self.intercept_ = source.on_columns(*found)
        return self

    def decision_function(self, X: ArrayLike | MatrixRows) -> Floats:
        """Return log odds of shape (n,) for two classes, otherwise log posteriors of (n, k)."""
        return decisions_of(self._new(X), self.coef_, self.intercept_)

    def predict_proba(self, X: ArrayLike | MatrixRows) -> Floats:
        """Return probabilities of shape (n, k), with columns in the order of `classes_`."""
        decisions = self.decision_function(X)
        if decisions.ndim == 1:
            decisions = np.column_stack([np.zeros(len(decisions)), decisions])
        probabilities: Floats = softmax(decisions, axis=1)
        return probabilities
