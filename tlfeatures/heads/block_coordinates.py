"""Principal coordinates for many rows: leading coordinates in float32, computed in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from tlfeatures.heads.blocks.rows import MatrixRows, Single, StandardisedRows
from tlfeatures.heads.coordinates import PrincipalCoordinates, check_components, spectrum


class BlockCoordinates(PrincipalCoordinates):
    """Principal coordinates that read their rows in blocks, and return float32.

    They are those of `PrincipalCoordinates` except for rounding. Only the requested coordinates are
    computed. More columns than 6,000, or than rows, are left to `PrincipalCoordinates`.

    Parameters
    ----------
    n_components : int, optional
        See `PrincipalCoordinates`.
    """

    def fit_transform(self, X: NDArray[np.floating[Any]] | MatrixRows, y: object = None) -> Single:
        """Compute the axes of X of shape (n, d), and return its coordinates, of shape (n, r')."""
        check_components(self.n_components)
        rows = self._rows(X, reset=True)
        if rows.is_wide or rows.width > len(rows):
            return np.asarray(super().fit_transform(rows.all_values()), np.float32)
        source = rows.standardised
        axes, _ = spectrum(source.products.copy())
        self.rows_ = len(rows)
        self.mean_, self.scale_ = source.mean, source.scale
        self.components_ = np.ascontiguousarray(axes[:, : self.n_components].T, np.float32)
        scores = self._scores(rows)
        self._n_features_out = scores.shape[1]
        return scores

    def transform(self, X: NDArray[np.floating[Any]] | MatrixRows) -> Single:
        """Return the coordinates of X of shape (m, d), of shape (m, r')."""
        check_is_fitted(self)
        return self._scores(self._rows(X, reset=False))

    def _rows(self, X: NDArray[np.floating[Any]] | MatrixRows, reset: bool) -> MatrixRows:
        if not isinstance(X, MatrixRows):
            checked = validate_data(self, X, dtype=[np.float32, np.float64], reset=reset)
            return MatrixRows(checked)
        if reset:
            self.n_features_in_ = X.width
        return X

    def _scores(self, rows: MatrixRows) -> Single:
        count, beyond = len(self.components_), self.n_components is None
        scores = np.zeros((len(rows), count + beyond), np.float32)
        for part, block in StandardisedRows(rows, self.mean_, self.scale_).blocks():
            own = block @ self.components_.T
            scores[part, :count] = own
            if beyond:
                squared = np.einsum("ij,ij->i", block, block, dtype=np.float64)
                inside = np.einsum("ij,ij->i", own, own, dtype=np.float64)
                scores[part, -1] = np.sqrt(np.maximum(squared - inside, 0))
        return scores
