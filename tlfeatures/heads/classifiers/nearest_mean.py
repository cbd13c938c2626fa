"""The nearest class mean, as a linear classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from tlfeatures.heads.classifiers.base import Floats
from tlfeatures.heads.classifiers.linear import linear_decisions, one_row_for_two_classes


class NearestMean(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts the class whose mean is nearest, as `sklearn.neighbors.NearestCentroid` does.

    Unlike NearestCentroid, this class has coefficients, so that `compact` can convert it.
    """

    def fit(self, X: Floats, y: NDArray[np.int_]) -> NearestMean:
        """Fit on X of shape (n, d)."""
        self.classes_ = np.unique(y)
        means = np.array([X[y == name].mean(axis=0) for name in self.classes_])
        self.coef_, self.intercept_ = one_row_for_two_classes(
            means, -np.einsum("ij,ij->i", means, means) / 2
        )
        return self

    def decision_function(self, X: Floats) -> Floats:
        """Return decisions of shape (n,) for two classes, otherwise (n, k).

        A decision is linear in X. It is larger for a class whose mean is nearer.
        """
        return linear_decisions(X, self.coef_, self.intercept_)

    def predict(self, X: Floats) -> NDArray[Any]:
        """Return the class of the nearest mean."""
        decisions = self.decision_function(X)
        best = (decisions > 0).astype(int) if decisions.ndim == 1 else decisions.argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels
