"""Support vector machines with probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.svm import SVC

from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.base import ClassWeight, Floats
from tlfeatures.heads.classifiers.calibration import BaseCalibratedClassifier
from tlfeatures.heads.fit_arguments import FitArguments, Units, Variant

LARGEST_KERNEL = 10_000  # rows: a matrix of 800 MB; with more rows, libsvm computes the kernel
# Maximum number of solver iterations for two classes. Standardised columns need about 10 iterations
# per row. With values such as 10,000, the solver would not end; it stops and scikit-learn warns.
_ITERATIONS_A_ROW, _LEAST_ITERATIONS = 100, 100_000
_LEAST_WEIGHT = 1e-6  # of a row, as a share of the largest weight


class CalibratedSVC(BaseCalibratedClassifier):
    """A support vector machine with probabilities.

    The kernel matrix is computed once, by BLAS, and is used for the fit, for calibration and for
    all points of a grid. The solver stops after 100 iterations per row, but not before 100,000,
    with scikit-learn's `ConvergenceWarning`. Without this limit, it would not end on columns that
    have very large values and are not standardised.

    Parameters
    ----------
    kernel : {"rbf", "linear"}
        Kernel function.
    C : float
        Inverse of the L2 penalty, as in `sklearn.svm.SVC`.
    gamma : float or "scale"
        Coefficient of the RBF kernel. "scale" is 1 divided by the mean squared length of the fitted
        rows. This is the same as scikit-learn's "scale" if the columns have mean 0.
    gamma_factor : float
        Factor of gamma. Its best values depend little on the number of columns.
    class_weight
        Weights of the classes, as in `sklearn.svm.SVC`, by class name.
    random_state : int or None
        Seed of the inner folds.
    """

    _penalised = True

    def __init__(
        self,
        kernel: str = "rbf",
        C: float = 3.0,
        gamma: float | str = "scale",
        gamma_factor: float = 1.0,
        class_weight: ClassWeight = None,
        random_state: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.C = C
        self.gamma = gamma
        self.gamma_factor = gamma_factor
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: Units = None,
        images: Units = None,
        variant: Variant = None,
    ) -> CalibratedSVC:
        """Fit on X of shape (n, d) and n labels, with at least two images per class.

        `FitArguments` describes `groups`, `images` and `variant`, of shape (n,).
        """
        arguments = FitArguments(groups, images, variant)
        X, codes = self._checked(X, y)
        self._prepare(X)
        if not self.precomputed_:
            self._fit_decisions(X, codes, arguments)
            return self
        self._fit_decisions(self._products(X, X), codes, arguments)
        self.rows_ = len(X)
        self.support_ = self.fitted_.support_
        self.support_vectors_ = X[self.support_]
        return self

    def _row_weights(self, codes: NDArray[np.int_], variant: Variant = None) -> dict[str, Floats]:
        weights = super()._row_weights(codes, variant)
        # libsvm ignores classes whose rows have the weight 0, and then returns too few decisions.
        return {
            name: np.maximum(values, _LEAST_WEIGHT * values.max())
            for name, values in weights.items()
        }

    def _prepare(self, X: Floats) -> None:
        if self.kernel not in ("rbf", "linear"):
            raise ParameterError(f"kernel must be rbf or linear, got {self.kernel!r}")
        if isinstance(self.gamma, str) and self.gamma != "scale":
            raise ParameterError(f"gamma must be a number or scale, got {self.gamma!r}")
        if (not isinstance(self.gamma, str) and self.gamma < 0) or self.gamma_factor <= 0:
            raise ParameterError(
                f"gamma must be 0 or more, gamma_factor above 0; got {self.gamma}, "
                f"{self.gamma_factor}"
            )
        length = np.einsum("ij,ij->", X, X) / len(X)
        gamma = 1 / max(length, 1e-300) if self.gamma == "scale" else float(self.gamma)
        self.gamma_ = gamma * self.gamma_factor
        self.precomputed_ = len(X) <= LARGEST_KERNEL
        self.max_iter_ = max(_LEAST_ITERATIONS, _ITERATIONS_A_ROW * len(X))

    def _plain(self) -> SVC:
        kernel = "precomputed" if self.precomputed_ else self.kernel
        # With a precomputed kernel, a small tolerance costs little; decisions are exact to 1e-4.
        # Ties of votes are broken by the decisions, because libsvm would choose the first class.
        return SVC(
            kernel=kernel,
            C=self.C,
            gamma=self.gamma_,
            tol=1e-5,
            break_ties=True,
            max_iter=self.max_iter_,
        )

    def _products(self, X: Floats, others: Floats) -> Floats:
        if self.kernel == "linear":
            return X @ others.T
        return _rbf(euclidean_distances(X, others, squared=True), self.gamma_)

    def _new(self, X: ArrayLike) -> Floats:
        """Return rows of the kernel if it was precomputed, with zeros except at support vectors."""
        X = super()._new(X)
        if not self.precomputed_:
            return X
        rows = np.zeros((len(X), self.rows_))
        rows[:, self.support_] = self._products(X, self.support_vectors_)
        return rows

    def predict_path(
        self,
        X: Floats,
        y: NDArray[Any],
        X_new: Floats,
        points: Sequence[Mapping[str, Any]],
        variant: Variant = None,
    ) -> Iterator[NDArray[Any]]:
        """Yield the labels of new rows for each of several parameter settings."""
        train, new = _Kernels(X, X), _Kernels(X_new, X)
        for point in points:
            svc = clone(self).set_params(**point)
            X, codes = svc._checked(X, y)
            svc._prepare(X)
            weights = svc._row_weights(codes, variant)
            if svc.precomputed_:
                plain = svc._plain().fit(train.of(svc), codes, **weights)
                yield svc.classes_[plain.predict(new.of(svc))]
            else:
                plain = svc._plain().fit(X, codes, **weights)
                yield svc.classes_[plain.predict(X_new)]


class _Kernels:
    """Computes kernel matrices of the same rows, and caches distances and the last kernel."""

    def __init__(self, X: Floats, others: Floats) -> None:
        self._rows = X, others
        self._last: tuple[Any, Floats] | None = None
        self._squares: Floats | None = None

    def of(self, svc: CalibratedSVC) -> Floats:
        key = (svc.kernel, svc.gamma_)
        if self._last is None or self._last[0] != key:
            self._last = key, self._compute(svc)
        return self._last[1]

    def _compute(self, svc: CalibratedSVC) -> Floats:
        if svc.kernel == "linear":
            return svc._products(*self._rows)
        if self._squares is None:
            self._squares = euclidean_distances(*self._rows, squared=True)
        return _rbf(self._squares.copy(), svc.gamma_)


def _rbf(squares: Floats, gamma: float) -> Floats:
    squares *= -gamma
    np.exp(squares, out=squares)
    return squares
