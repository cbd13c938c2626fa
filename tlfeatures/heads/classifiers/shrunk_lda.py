"""Linear discriminant analysis with a shrunk covariance, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve

from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.base import BaseProbabilityClassifier, ClassWeight, Floats
from tlfeatures.heads.classifiers.linear import (
    linear_decisions,
    log_odds_to_probabilities,
    log_priors,
    one_row_for_two_classes,
)


class ShrunkLDA(BaseProbabilityClassifier):
    """Linear discriminant analysis whose covariance is shrunk towards a multiple of the identity.

    The result is the same as that of scikit-learn's `LinearDiscriminantAnalysis` with the solver
    lsqr on the same columns, but it is computed in closed form. The effect of shrinkage depends on
    the number of columns: s on the r principal coordinates of d columns has the same effect as
    q s / (q s + 1 - s) on the d columns, with q = d / r.

    Parameters
    ----------
    shrinkage : float
        Shrinkage from 0 (the covariance of the rows) to 1 (the identity times the mean variance).
    class_weight
        With "balanced", all classes have the same prior. A dict multiplies the frequencies of the
        classes.

    References
    ----------
    Friedman, J. (1989). Regularized discriminant analysis. Journal of the American Statistical
    Association 84, 165-175.
    """

    def __init__(self, shrinkage: float = 0.5, class_weight: ClassWeight = None) -> None:
        self.shrinkage = shrinkage
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike) -> ShrunkLDA:
        """Fit on X of shape (n, d) and n labels."""
        if not 0 <= self.shrinkage <= 1:
            raise ParameterError(f"shrinkage must be from 0 to 1, got {self.shrinkage}")
        X, codes = self._checked(X, y)
        means = np.array([X[codes == code].mean(axis=0) for code in range(len(self.classes_))])
        within = X - means[codes]
        covariance = (1 - self.shrinkage) / len(X) * (within.T @ within)
        mean_variance = max(np.einsum("ij,ij->", within, within) / within.size, 1e-200)
        # 1e-9 prevents a division by zero for a direction without any variance.
        covariance.flat[:: len(covariance) + 1] += (self.shrinkage + 1e-9) * mean_variance
        coef = solve(covariance, means.T, assume_a="pos", check_finite=False).T
        priors = np.bincount(codes) * self._weights(codes)
        intercept = log_priors(priors) - np.einsum("ij,ij->i", means, coef) / 2
        self.coef_, self.intercept_ = one_row_for_two_classes(coef, intercept)
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Return log odds of shape (n,) for two classes, otherwise log posteriors of (n, k)."""
        return linear_decisions(self._new(X), self.coef_, self.intercept_)

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return probabilities of shape (n, k), with columns in the order of `classes_`."""
        return log_odds_to_probabilities(self.decision_function(X))
