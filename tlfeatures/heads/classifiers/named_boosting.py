"""Histogram gradient boosting with class weights by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.ensemble import HistGradientBoostingClassifier

from tlfeatures.heads.class_weights import weights_of


class NamedBoosting(HistGradientBoostingClassifier):  # type: ignore[misc]
    """Histogram gradient boosting whose `class_weight` has class names as keys.

    The keys of scikit-learn's own `class_weight` would be class codes.
    """

    class_weight: Any

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> NamedBoosting:
        """Fit on X of shape (n, d), n labels and n weights."""
        by_name = self.class_weight
        if not isinstance(by_name, Mapping):
            super().fit(X, y, sample_weight=sample_weight)
            return self
        classes, codes = np.unique(np.asarray(y), return_inverse=True)
        weights = weights_of(by_name, classes.tolist())[codes]
        if sample_weight is not None:
            weights = weights * np.asarray(sample_weight)
        self.class_weight = None  # `weights` include the class weights
        try:
            super().fit(X, y, sample_weight=weights)
        finally:
            self.class_weight = by_name
        return self
