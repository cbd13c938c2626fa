"""Principal coordinates: the columns are standardised and rotated, so that n rows need n columns.

Consider an embedding of 25,088 columns and 800 training images: the rows span at most 800
dimensions. A rotation onto the principal axes keeps all inner products and distances. A classifier
that depends only on these (L2-penalised linear models, kernel machines, neighbours, discriminants)
gives the same result on 800 columns as on 25,088. The leading coordinates are the scores of a PCA.
Their name is from
J. C. Gower (1966), Some distance properties of latent root and vector methods used in multivariate
analysis, Biometrika 53, 325-338.

The axes are computed from the smaller of the two product matrices A A' and A'A of the standardised
training rows, in float64. X is read in blocks and never copied as a whole.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from tlfeatures.errors import ParameterError

Floats = NDArray[np.float64]
Rows = NDArray[np.int_]

BLOCK = 4_000_000  # size of the blocks that are standardised: 32 MB
_RANK = 1e-10  # an axis with a smaller share of the largest eigenvalue is a rounding error


@dataclass(frozen=True)
class FoldCoordinates:
    """Principal coordinates of a fold's training and test rows.

    Attributes
    ----------
    train : ndarray of shape (n, r), float64
        Coordinates of the training rows; r is the rank of the standardised training rows. The
        columns are orthogonal and sorted by decreasing variance.
    test : ndarray of shape (m, r), float64
        Coordinates of the test rows.
    beyond : ndarray of shape (m,), float64
        Distance of each test row from the space that the training rows span.
    """

    train: Floats
    test: Floats
    beyond: Floats

    def columns(self, n_components: int | None = None) -> tuple[Floats, Floats]:
        """Return the same training and test columns as `PrincipalCoordinates(n_components)`."""
        check_components(n_components)
        if n_components is not None:
            return self.train[:, :n_components], self.test[:, :n_components]
        return _with_distance(self.train, np.zeros(len(self.train))), _with_distance(
            self.test, self.beyond
        )


def fold_coordinates(X: NDArray[np.floating], train: Rows, test: Rows) -> FoldCoordinates:
    """Compute the axes from the training rows, and the coordinates of training and test rows.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Embedding; it is read in blocks.
    train, test : ndarray of int
        Rows of X.

    Returns
    -------
    FoldCoordinates
        The same coordinates as those of `PrincipalCoordinates` fitted on the training rows. With
        fewer rows than columns, this function is faster, because it does not compute the axes.
    """
    mean, scale = _mean_and_scale(X, train)
    n, d = len(train), X.shape[1]
    squared = np.zeros(len(test))
    if d <= n:
        axes, _ = _axes_by_columns(X, train, mean, scale)
        train_scores = _project(X, train, mean, scale, axes)
        test_scores = _project(X, test, mean, scale, axes)
        for rows, block in _row_blocks(X, test, mean, scale):
            squared[rows] = np.einsum("ij,ij->i", block, block)
    else:
        gram, cross = np.zeros((n, n)), np.zeros((len(test), n))
        for columns, block in _column_blocks(X, train, mean, scale):
            gram += block @ block.T
            other = _standardised(X, test, columns, mean, scale)
            cross += other @ block.T
            squared += np.einsum("ij,ij->i", other, other)
        left, values = spectrum(gram)
        train_scores, test_scores = left * values, cross @ (left / values)
    inside = np.einsum("ij,ij->i", test_scores, test_scores)
    beyond = np.sqrt(np.maximum(squared - inside, 0))
    return FoldCoordinates(train_scores, test_scores, beyond)


class PrincipalCoordinates(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Standardise the columns, and rotate them onto their principal axes.

    Parameters
    ----------
    n_components : int, optional
        Number of leading coordinates (scores of a PCA). By default, there are all coordinates and
        one more column: the distance of a row from the space that the fitted rows span (0 for the
        fitted rows). This column keeps the distances between new and fitted rows.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (d,), float64
        Mean and scale of each column, as in `sklearn.preprocessing.StandardScaler`. A constant
        column has scale 1.
    components_ : ndarray of shape (r, d)
        Axes by decreasing variance. The sign of an axis is chosen so that its largest score (or its
        largest entry, if there are fewer columns than rows) is positive.
    """

    def __init__(self, n_components: int | None = None) -> None:
        self.n_components = n_components

    def fit(self, X: NDArray[np.floating], y: object = None) -> PrincipalCoordinates:
        """Compute the axes of X of shape (n, d)."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: NDArray[np.floating], y: object = None) -> NDArray[np.floating[Any]]:
        """Compute the axes of X of shape (n, d), and return its coordinates, of shape (n, r')."""
        check_components(self.n_components)
        X = validate_data(self, X, dtype=[np.float32, np.float64], ensure_min_samples=2)
        every = np.arange(len(X))
        self.rows_ = len(X)
        self.mean_, self.scale_ = _mean_and_scale(X, every)
        if X.shape[1] <= len(X):
            axes, _ = _axes_by_columns(X, every, self.mean_, self.scale_)
            scores = _project(X, every, self.mean_, self.scale_, axes[:, : self.n_components])
        else:
            scores, axes = self._axes_by_rows(X, every)
        self.components_ = axes[:, : self.n_components].T.astype(X.dtype)
        if self.n_components is None:
            scores = _with_distance(scores, np.zeros(len(X)))
        self._n_features_out = scores.shape[1]
        return scores

    def _axes_by_rows(self, X: NDArray[np.floating], every: Rows) -> tuple[Floats, Floats]:
        gram = np.zeros((len(X), len(X)))
        for _, block in _column_blocks(X, every, self.mean_, self.scale_):
            gram += block @ block.T
        left, values = spectrum(gram)
        left, values = left[:, : self.n_components], values[: self.n_components]
        axes = np.empty((X.shape[1], len(values)))
        for columns, block in _column_blocks(X, every, self.mean_, self.scale_):
            axes[columns] = block.T @ (left / values)
        return left * values, axes

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.floating[Any]]:
        """Return the coordinates of X of shape (m, d), of shape (m, r')."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        new = np.zeros((len(X), len(self.components_) + (self.n_components is None)))
        for rows, block in _row_blocks(X, np.arange(len(X)), self.mean_, self.scale_):
            scores = block @ self.components_.T
            new[rows, : scores.shape[1]] = scores
            if self.n_components is None:
                squared = np.einsum("ij,ij->i", block, block)
                inside = np.einsum("ij,ij->i", scores, scores)
                new[rows, -1] = np.sqrt(np.maximum(squared - inside, 0))
        return new

    def as_scaler(self) -> StandardScaler:
        """Return a scaler with the same mean and scale, without the rotation."""
        check_is_fitted(self)
        scaler = StandardScaler()
        scaler.mean_, scaler.scale_, scaler.var_ = self.mean_, self.scale_, self.scale_**2
        scaler.n_features_in_, scaler.n_samples_seen_ = len(self.mean_), self.rows_
        return scaler


def check_components(n_components: Any) -> None:
    """Raise `ParameterError` unless it is a number of coordinates, or None."""
    if n_components is not None and (
        not isinstance(n_components, numbers.Integral) or n_components < 1
    ):
        raise ParameterError(
            f"n_components must be a whole number from 1 up, or None; got {n_components!r}"
        )


# ---- axes


def spectrum(products: Floats) -> tuple[Floats, Floats]:
    """Return eigenvectors and roots of eigenvalues, largest first, without the null space."""
    values, vectors = eigh(products, driver="evd", overwrite_a=True, check_finite=False)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > max(values[0], 0) * _RANK
    kept[0] = True  # constant data have one axis, whose variance is almost 0
    values, vectors = np.maximum(values[kept], 1e-300), vectors[:, kept]
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return vectors * signs, np.sqrt(values)


def _axes_by_columns(
    X: NDArray[np.floating], rows: Rows, mean: Floats, scale: Floats
) -> tuple[Floats, Floats]:
    products = np.zeros((X.shape[1], X.shape[1]))
    for _, block in _row_blocks(X, rows, mean, scale):
        products += block.T @ block
    return spectrum(products)


def _project(
    X: NDArray[np.floating], rows: Rows, mean: Floats, scale: Floats, axes: Floats
) -> Floats:
    coordinates = np.empty((len(rows), axes.shape[1]))
    for part, block in _row_blocks(X, rows, mean, scale):
        coordinates[part] = block @ axes
    return coordinates


def _with_distance(coordinates: Floats, beyond: Floats) -> Floats:
    return np.column_stack([coordinates, beyond])


# ---- standardising, block by block


def _mean_and_scale(X: NDArray[np.floating], rows: Rows) -> tuple[Floats, Floats]:
    mean, scale = np.empty(X.shape[1]), np.empty(X.shape[1])
    for columns in _slices(X.shape[1], len(rows)):
        block = X[rows, columns].astype(np.float64)
        mean[columns] = block.mean(axis=0)
        scale[columns] = block.std(axis=0)
    # Columns that are constant except for rounding get scale 1. scikit-learn has the same rule.
    eps = np.finfo(np.float64).eps
    constant = scale <= 10 * eps * np.maximum(np.abs(mean) * np.sqrt(len(rows)), 1e-290)
    scale[constant] = 1
    return mean, scale


def _standardised(
    X: NDArray[np.floating], rows: Rows, columns: slice, mean: Floats, scale: Floats
) -> Floats:
    block = X[rows, columns].astype(np.float64)
    block -= mean[columns]
    block /= scale[columns]
    return block


def _column_blocks(
    X: NDArray[np.floating], rows: Rows, mean: Floats, scale: Floats
) -> Iterator[tuple[slice, Floats]]:
    for columns in _slices(X.shape[1], len(rows)):
        yield columns, _standardised(X, rows, columns, mean, scale)


def _row_blocks(
    X: NDArray[np.floating], rows: Rows, mean: Floats, scale: Floats
) -> Iterator[tuple[slice, Floats]]:
    for part in _slices(len(rows), X.shape[1]):
        yield part, _standardised(X, rows[part], slice(None), mean, scale)


def _slices(length: int, other: int) -> Iterator[slice]:
    step = max(1, BLOCK // max(other, 1))
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
