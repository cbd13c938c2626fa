"""The base of classifiers that read their rows in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from tlfeatures.heads.blocks.rows import MatrixRows
from tlfeatures.heads.classifiers.base import BaseProbabilityClassifier


class BaseBlockClassifier(BaseProbabilityClassifier):
    """A classifier that takes an array, or `MatrixRows`, which are never copied as a whole."""

    reads_blocks = True  # a fold gives it `MatrixRows`
    _dtypes = (np.float32, np.float64)

    def _checked_rows(
        self, X: ArrayLike | MatrixRows, y: ArrayLike
    ) -> tuple[MatrixRows, NDArray[np.int_]]:
        """Check X and y, set `classes_`, and return the rows and class codes."""
        if not isinstance(X, MatrixRows):
            checked, codes = self._checked(X, y)
            return MatrixRows(checked), codes
        self.n_features_in_ = X.width
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has only the class {self.classes_[0]!r}; expected two or more")
        return X, codes

    def _new(self, X: Any) -> Any:
        """Check new rows, and return them as `MatrixRows`."""
        check_is_fitted(self)
        if not isinstance(X, MatrixRows):
            return MatrixRows(super()._new(X))
        if X.width != self.n_features_in_:
            raise ValueError(f"X has {X.width} columns; expected {self.n_features_in_}")
        return X
