"""The classifiers that scikit-learn has not, or not with probabilities; heads are made of them.

Each is an ordinary scikit-learn classifier. Some classifiers give decisions but no probabilities.
Their probabilities are calibrated on inner out-of-fold decisions: by Platt's sigmoid for two
classes, by one temperature for more classes. Calibration never changes a label, because the label
is always the classifier's own decision. Images of one group stay in one inner fold, if `fit` gets
the groups. A classifier is fitted on variants of images, too; its probabilities are calibrated on
the images alone. Variants are harder than images, and would make the probabilities too low.

References
----------
Platt, J. (1999). Probabilistic outputs for support vector machines and comparisons to regularized
likelihood methods. Advances in Large Margin Classifiers, 61-74.

Guo, C., Pleiss, G., Sun, Y. and Weinberger, K. (2017). On calibration of modern neural networks.
ICML, 1321-1330.
"""

from __future__ import annotations

import numbers
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.utils import check_random_state, shuffle
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted, validate_data

from tlfeatures.dataset.stratified_folds import cut, fewest
from tlfeatures.errors import ParameterError
from tlfeatures.heads.class_weights import by_codes, weights_of
from tlfeatures.heads.variant_weights import shares

Floats = NDArray[np.float64]
ClassWeight = Mapping[str, float] | str | None
Units = NDArray[Any] | None  # of rows that belong together
Variant = NDArray[np.int_] | None  # of rows, 0 for an image itself

LARGEST_KERNEL = 10_000  # rows, 800 MB a matrix; above, libsvm computes what it needs
# Iterations of the solver of support vector machines, for two classes. On standardised columns it
# needs some 10 a row. On columns of values like 10,000 it would not end; then scikit-learn warns.
_ITERATIONS_A_ROW, _LEAST_ITERATIONS = 100, 100_000
_TINY = 1e-30  # what numbers may be divided by, in float32 too
_CALIBRATION_FOLDS, _MANY, _FOLDS_OF_MANY = 5, 3000, 2  # two halves of many are many


class _Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Labels from probabilities, and class weights by name."""

    classes_: NDArray[Any]
    _dtypes: Any = np.float64  # in which columns are computed with

    def _checked(self, X: ArrayLike, y: ArrayLike) -> tuple[Floats, NDArray[np.int_]]:
        """X as floats, y as numbers of the classes, which are kept."""
        checked: Floats
        checked, y = validate_data(self, X, y, dtype=self._dtypes)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"there is one class only, {self.classes_[0]!r}; two are needed")
        return checked, codes

    def _new(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        checked: Floats = validate_data(self, X, dtype=self._dtypes, reset=False)
        return checked

    def _class_weight(self) -> Any:
        return getattr(self, "class_weight", None)

    def _weights(self, codes: NDArray[np.int_]) -> Floats:
        """One weight a class."""
        weight = self._class_weight()
        if isinstance(weight, Mapping):
            return weights_of(weight, self.classes_.tolist())
        found: Floats = compute_class_weight(weight, classes=np.arange(len(self.classes_)), y=codes)
        return found

    @abstractmethod
    def predict_proba(self, X: ArrayLike) -> Floats: ...

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Give the most probable class of each row."""
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels


# ---- decisions made probabilities


class _Calibrated(_Classifier):
    """A classifier with decisions, whose probabilities are calibrated."""

    random_state: int | None
    _penalised = False  # then an image and its variants weigh 1, for the penalty to mean the same

    @abstractmethod
    def _plain(self) -> BaseEstimator:
        """Make the classifier whose decisions are calibrated."""

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: Units = None,
        images: Units = None,
        variant: Variant = None,
    ) -> _Calibrated:
        """Fit on X of shape (n, d) and n labels, of at least two images a class.

        `groups` of shape (n,) says what belongs together, `images` which rows are of one image,
        `variant` of which rows are variants: 0 for an image itself.
        """
        X, codes = self._checked(X, y)
        return self._fit_decisions(X, codes, (groups, images), variant)

    def _fit_decisions(
        self, X: Floats, codes: NDArray[np.int_], units: tuple[Units, Units], variant: Variant
    ) -> _Calibrated:
        # Codes in place of class names: a classifier may expect either, and always gets codes.
        if not hasattr(self._plain(), "decision_function"):
            raise ParameterError(
                f"{self._plain()} has no decision_function, of which probabilities could be made"
            )
        folds = _calibration_folds(codes, *units, self.random_state)
        weights = self._row_weights(codes, variant)
        held_out = cross_val_predict(
            self._plain(), X, codes, cv=folds, method="decision_function", params=weights
        )
        if held_out.ndim > 1 and held_out.shape[1] != len(self.classes_):
            raise ParameterError(
                f"decision_function gives {held_out.shape[1]} columns for {len(self.classes_)} "
                "classes; expected one column a class"
            )
        self.fitted_ = self._plain().fit(X, codes, **weights)
        image = np.ones(len(X), bool) if variant is None else np.asarray(variant) == 0
        # Calibration needs the weights of classes, too, or it would undo them.
        of_class = np.ones(len(X)) if self._class_weight() is None else self._weights(codes)[codes]
        self.slope_, self.intercept_ = _calibration(
            held_out[image].astype(np.float64), codes[image], of_class[image]
        )
        return self

    def _row_weights(self, codes: NDArray[np.int_], variant: Variant = None) -> dict[str, Floats]:
        """Weights of rows, for the classifier whose decisions are calibrated."""
        share = shares(variant) if self._penalised else None
        if getattr(self, "class_weight", None) is None:
            return {} if share is None else {"sample_weight": share}
        of_class = self._weights(codes)[codes]
        return {"sample_weight": of_class if share is None else of_class * share}

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Give the class that the classifier decides for, which calibration doesn't change."""
        labels: NDArray[Any] = self.classes_[self.fitted_.predict(self._new(X))]
        return labels

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Give calibrated probabilities of shape (n, k), columns as in `classes_`.

        With more than two classes, the most probable class is that of the largest decision. With
        two classes, the sigmoid may cross 0.5 away from the decision 0. Close to it, the label can
        be the less probable class.
        """
        decisions = self.decision_function(X)
        if decisions.ndim > 1:
            probabilities: Floats = softmax(self.slope_ * decisions, axis=1)
            return probabilities
        second = expit(self.slope_ * decisions + self.intercept_)
        return np.column_stack([1 - second, second])

    def decision_function(self, X: ArrayLike) -> Floats:
        """Give the decisions before calibration, of shape (n,) for two classes, else (n, k)."""
        decisions: Floats = self.fitted_.decision_function(self._new(X))
        return decisions

    def predict_path(
        self,
        X: Floats,
        y: NDArray[Any],
        X_new: Floats,
        points: Sequence[Mapping[str, Any]],
        variant: Variant = None,
    ) -> Iterator[NDArray[Any]]:
        """Give the labels of new rows for each of several parameter settings.

        Labels need no calibration, which would cost several more fits for each setting.
        """
        for point in points:
            each = clone(self).set_params(**point)
            codes = each._checked(X, y)[1]
            plain = each._plain().fit(X, codes, **each._row_weights(codes, variant))
            yield each.classes_[plain.predict(X_new)]


def _calibration(
    decisions: Floats, codes: NDArray[np.int_], weights: Floats
) -> tuple[float, float]:
    """Fit slope and intercept that make probabilities of out-of-fold decisions."""
    if decisions.ndim == 1:
        return _sigmoid(decisions, codes == 1, weights)
    return _inverse_temperature(decisions, codes, weights), 0.0


def _sigmoid(decisions: Floats, second: NDArray[np.bool_], weights: Floats) -> tuple[float, float]:
    """Fit Platt's sigmoid: slope and intercept of a logistic regression on softened labels.

    A label of the second class counts as (n + 1) / (n + 2) of one, n being the images of that
    class, so that classes which the decisions separate get no infinite slope.
    """
    least, most = 1 / (weights[~second].sum() + 2), 1 - 1 / (weights[second].sum() + 2)
    share = np.where(second, most, least)
    nothing = 0.0, float(logit(np.average(share, weights=weights)))
    if np.ptp(decisions) == 0:
        return nothing
    scale = np.abs(decisions).max()
    fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8).fit(
        np.tile(decisions / scale, 2)[:, None],
        np.repeat([1, 0], len(decisions)),
        sample_weight=np.concatenate([weights * share, weights * (1 - share)]),
    )
    slope = float(fitted.coef_[0, 0] / scale)
    # Decisions that are wrong more often than right say nothing of the classes.
    return nothing if slope < 0 else (slope, float(fitted.intercept_[0]))


def _inverse_temperature(decisions: Floats, codes: NDArray[np.int_], weights: Floats) -> float:
    """Fit the number that decisions of shape (n, k) are multiplied by before the softmax.

    As for Platt's sigmoid, labels are softened: a label counts as (n + 1) / (n + 2) of one, n being
    all images, and the other classes share the rest.
    """
    rows, classes = decisions.shape
    label = 1 - 1 / (weights.sum() + 2)
    scale = max(np.abs(decisions).max(), _TINY)

    def loss(log_slope: float) -> float:
        logs = log_softmax(np.exp(log_slope) / scale * decisions, axis=1)
        own = logs[np.arange(rows), codes]
        others = (logs.sum(axis=1) - own) / (classes - 1)
        return -float(weights @ (label * own + (1 - label) * others))

    found = minimize_scalar(loss, bounds=(-7, 14), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x) / scale)


def _calibration_folds(
    codes: NDArray[np.int_], groups: Units, images: Units, seed: int | None
) -> Any:
    """At most five folds, two of many images, fewer where a class is small.

    Groups stay together, unless a class would be missing where the calibration is fitted: then
    single images are cut, which makes probabilities too sure of themselves and leaks nothing into
    the rows that the classifier is tried on.
    """
    least = fewest(codes, images)
    if least < 2:
        raise ParameterError(
            "calibrated probabilities need two images or more of each class; the smallest class "
            "has 1: add images, take fewer folds, or --head logreg"
        )
    count = len(codes) if images is None else len(np.unique(images))
    wanted = _CALIBRATION_FOLDS if count < _MANY else _FOLDS_OF_MANY
    for units in (groups, images):
        folds = None if units is None else _group_folds(codes, units, wanted, seed)
        if folds is not None:
            return folds
    return StratifiedKFold(min(wanted, least), shuffle=True, random_state=seed)


def _group_folds(
    codes: NDArray[np.int_], groups: NDArray[Any], wanted: int, seed: int | None
) -> list[tuple[NDArray[np.int_], NDArray[np.int_]]] | None:
    """Folds that tear no group apart and have every class on both sides; None without such."""
    least = fewest(codes, groups)
    if least < 2:
        return None
    folds = cut(codes, groups, min(wanted, least), seed)
    classes = len(np.unique(codes))
    whole = all(len(np.unique(codes[train])) == classes and len(test) for train, test in folds)
    return folds if whole else None


class CalibratedSVC(_Calibrated):
    """A support vector machine with probabilities.

    The kernel matrix is formed once, by BLAS; calibration and parameter paths share it. The solver
    stops after 100 iterations a row, 100,000 at least, with scikit-learn's `ConvergenceWarning`:
    columns of very large values, which are not standardised, would keep it busy without end.

    Parameters
    ----------
    kernel : {"rbf", "linear"}
    C : float
    gamma : float or "scale"
        "scale" is one over the mean squared length of the fitted rows: scikit-learn's, where the
        columns have mean 0.
    gamma_factor : float
        Multiplies gamma, so that it can be searched whatever the width of the embedding.
    class_weight
        As in `sklearn.svm.SVC`, by the names of the classes.
    random_state : int or None
        Of the inner folds.
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
        """Fit on X of shape (n, d) and n labels, of at least two images a class."""
        X, codes = self._checked(X, y)
        self._prepare(X)
        if not self.precomputed_:
            self._fit_decisions(X, codes, (groups, images), variant)
            return self
        self._fit_decisions(self._products(X, X), codes, (groups, images), variant)
        self.rows_ = len(X)
        self.support_ = self.fitted_.support_
        self.support_vectors_ = X[self.support_]
        return self

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
        # With the kernel at hand, the last digits cost little: decisions are right to 1e-4.
        # Ties of votes are broken by the decisions, as libsvm's own rule takes the first class.
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
        """Kernel rows, where the kernel was precomputed; only support vectors have a say."""
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
        """Give the labels of new rows for each of several parameter settings."""
        known, new = _Kernels(X, X), _Kernels(X_new, X)
        for point in points:
            each = clone(self).set_params(**point)
            X, codes = each._checked(X, y)
            each._prepare(X)
            weights = each._row_weights(codes, variant)
            if each.precomputed_:
                plain = each._plain().fit(known.of(each), codes, **weights)
                yield each.classes_[plain.predict(new.of(each))]
            else:
                plain = each._plain().fit(X, codes, **weights)
                yield each.classes_[plain.predict(X_new)]


class _Kernels:
    """Kernel matrices of the same rows: products or distances once, the last kernel kept."""

    def __init__(self, X: Floats, others: Floats) -> None:
        self._rows = X, others
        self._last: tuple[Any, Floats] | None = None
        self._squares: Floats | None = None

    def of(self, svc: CalibratedSVC) -> Floats:
        key = (svc.kernel, svc.gamma_)
        if self._last is None or self._last[0] != key:
            self._last = key, self._make(svc)
        return self._last[1]

    def _make(self, svc: CalibratedSVC) -> Floats:
        if svc.kernel == "linear":
            return svc._products(*self._rows)
        if self._squares is None:
            self._squares = euclidean_distances(*self._rows, squared=True)
        return _rbf(self._squares.copy(), svc.gamma_)


def _rbf(squares: Floats, gamma: float) -> Floats:
    squares *= -gamma
    np.exp(squares, out=squares)
    return squares


class CalibratedRidge(_Calibrated):
    """Ridge regression on the classes, with probabilities.

    Parameters
    ----------
    alpha, class_weight
        As in `sklearn.linear_model.RidgeClassifier`.
    random_state : int or None
        Of the inner folds.
    """

    _penalised = True

    def __init__(
        self,
        alpha: float = 1000.0,
        class_weight: ClassWeight = None,
        random_state: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.class_weight = class_weight
        self.random_state = random_state

    def _plain(self) -> RidgeClassifier:
        return RidgeClassifier(self.alpha, solver="cholesky")


class CalibratedClassifier(_Calibrated):
    """Any scikit-learn classifier that has decisions, with probabilities beside them.

    The label is what the estimator's own `predict` gives. Most estimators predict the class of the
    largest decision, which is then the most probable class, too. Some don't, as NearestCentroid:
    there, the label may be another class than the most probable one.

    Parameters
    ----------
    estimator : scikit-learn classifier
        With `decision_function`, one column a class where there are more than two. It is fitted on
        codes of the classes; its `class_weight` names the classes themselves.
    random_state : int or None
        Of the inner folds.
    """

    def __init__(self, estimator: BaseEstimator, random_state: int | None = None) -> None:
        self.estimator = estimator
        self.random_state = random_state

    def _class_weight(self) -> Any:
        weight = getattr(self.estimator, "class_weight", None)
        return weight if weight == "balanced" or isinstance(weight, Mapping) else None

    def _row_weights(self, codes: NDArray[np.int_], variant: Variant = None) -> dict[str, Floats]:
        """No weights: the estimator has its own."""
        return {}

    def _plain(self) -> BaseEstimator:
        plain = by_codes(self.estimator, self.classes_.tolist())
        if "break_ties" in plain.get_params():  # by the decisions, not by the order of the classes
            plain.set_params(break_ties=plain.decision_function_shape == "ovr")
        return plain


class NearestMean(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The class whose mean is nearest: what `sklearn.neighbors.NearestCentroid` predicts.

    Written as the linear classifier that it is, whose decisions turn with the coordinates.
    """

    def fit(self, X: Floats, y: NDArray[np.int_]) -> NearestMean:
        """Fit on X of shape (n, d)."""
        self.classes_ = np.unique(y)
        means = np.array([X[y == name].mean(axis=0) for name in self.classes_])
        self.coef_, self.intercept_ = _two_as_one(means, -np.einsum("ij,ij->i", means, means) / 2)
        return self

    def decision_function(self, X: Floats) -> Floats:
        """Give half the squared distance to the other mean less that to a class's own."""
        return _decisions(X, self.coef_, self.intercept_)

    def predict(self, X: Floats) -> NDArray[Any]:
        """Give the class of the nearest mean."""
        decisions = self.decision_function(X)
        best = (decisions > 0).astype(int) if decisions.ndim == 1 else decisions.argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels


class CalibratedCentroid(_Calibrated):
    """The class whose mean is nearest, with probabilities.

    Parameters
    ----------
    random_state : int or None
        Of the inner folds.
    """

    def __init__(self, random_state: int | None = None) -> None:
        self.random_state = random_state

    def _plain(self) -> NearestMean:
        return NearestMean()


# ---- probabilities of their own


class NamedBoosting(HistGradientBoostingClassifier):  # type: ignore[misc]
    """scikit-learn's histogram gradient boosting, whose `class_weight` names the classes.

    That of scikit-learn wants the places of the classes in their order.
    """

    class_weight: Any

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> NamedBoosting:
        """Fit on X of shape (n, d), n labels and n weights."""
        given = self.class_weight
        if not isinstance(given, Mapping):
            super().fit(X, y, sample_weight=sample_weight)
            return self
        classes, codes = np.unique(np.asarray(y), return_inverse=True)
        weights = weights_of(given, classes.tolist())[codes]
        if sample_weight is not None:
            weights = weights * np.asarray(sample_weight)
        self.class_weight = None  # the weights of rows have it
        try:
            super().fit(X, y, sample_weight=weights)
        finally:
            self.class_weight = given
        return self


class ShrunkLDA(_Classifier):
    """Linear discriminant analysis, its covariance shrunk towards a multiple of the identity.

    In closed form, the same as `LinearDiscriminantAnalysis(solver="lsqr", shrinkage=...)` on the
    same columns. The identity's share is spread over the columns that there are: what is s on the
    r principal coordinates of d columns is q s / (q s + 1 - s) on these, q = d / r.

    Parameters
    ----------
    shrinkage : float
        From 0, the covariance as it is, to 1, the identity times the mean variance.
    class_weight
        "balanced" takes the classes for equally frequent, a dict multiplies their frequencies.

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
        # The last term keeps a direction without any variance from dividing by zero.
        covariance.flat[:: len(covariance) + 1] += (self.shrinkage + 1e-9) * mean_variance
        coef = solve(covariance, means.T, assume_a="pos", check_finite=False).T
        priors = np.bincount(codes) * self._weights(codes)
        intercept = np.log(priors / priors.sum()) - np.einsum("ij,ij->i", means, coef) / 2
        self.coef_, self.intercept_ = _two_as_one(coef, intercept)
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Give log posterior odds of shape (n,) for two classes, else log posteriors (n, k)."""
        return _decisions(self._new(X), self.coef_, self.intercept_)

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Give probabilities of shape (n, k), columns as in `classes_`."""
        decisions = self.decision_function(X)
        if decisions.ndim == 1:
            decisions = np.column_stack([np.zeros(len(decisions)), decisions])
        probabilities: Floats = softmax(decisions, axis=1)
        return probabilities


class SmoothedNeighbors(_Classifier):
    """Nearest neighbours with votes that are never 0.

    To the votes of the neighbours comes one vote, shared by the classes, so that no class is
    called impossible (Laplace's rule of succession); the order of the classes stays.

    Parameters
    ----------
    n_neighbors : int
        At most as many as there are rows.
    class_weight
        Multiplies the votes of a class.
    """

    def __init__(self, n_neighbors: int = 10, class_weight: ClassWeight = None) -> None:
        self.n_neighbors = n_neighbors
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike) -> SmoothedNeighbors:
        """Fit on X of shape (n, d) and n labels."""
        X, codes = self._checked(X, y)
        self.weights_ = self._weights(codes)
        count = min(self.n_neighbors, len(X))
        self.neighbors_ = KNeighborsClassifier(count, algorithm="brute").fit(X, codes)
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Give probabilities of shape (n, k), columns as in `classes_`."""
        votes = self.neighbors_.predict_proba(self._new(X)) * self.neighbors_.n_neighbors
        votes = (votes + 1 / len(self.classes_)) * self.weights_
        probabilities: Floats = votes / votes.sum(axis=1, keepdims=True)
        return probabilities


class ScaledMLP(_Classifier):
    """A perceptron with one hidden layer on columns of a common scale, trained for a fixed time.

    All columns are divided by one number, so that PCA scores keep their relative widths.

    Rows may be variants of images. As rows like any others, all of them are passed in each epoch.
    Where they take turns, an epoch passes one variant of every image, the next epoch the next one,
    and the images themselves never: so a network is trained whose images are changed at random as
    they are read.

    Parameters
    ----------
    hidden : int
        Units of the hidden layer.
    alpha : float
        L2 penalty, as in `sklearn.neural_network.MLPClassifier`.
    epochs, steps : int
        Passes over the rows and batches of 32, the least of each: few rows are passed more often.
    learning_rate_init : float
        Of Adam.
    scale : float, optional
        The number that columns are divided by; None: their root mean square.
    variants : {"all", "turns"}
        What an epoch passes, see above.
    class_weight
        Weights of the rows of each class.
    random_state : int or None
    """

    _dtypes = (np.float64, np.float32)  # columns as they are stored take half the time

    def __init__(
        self,
        hidden: int = 64,
        alpha: float = 1.0,
        epochs: int = 20,
        steps: int = 1000,
        learning_rate_init: float = 0.001,
        scale: float | None = None,
        variants: str = "all",
        class_weight: ClassWeight = None,
        random_state: int | None = None,
    ) -> None:
        self.hidden = hidden
        self.alpha = alpha
        self.epochs = epochs
        self.steps = steps
        self.learning_rate_init = learning_rate_init
        self.scale = scale
        self.variants = variants
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, variant: Variant = None) -> ScaledMLP:
        """Fit on X of shape (n, d) and n labels.

        `variant` of shape (n,) says of which rows are variants: 0 for an image itself.
        """
        if self.variants == "turns":
            for _ in self.fit_epochs(X, y, variant):
                pass
            return self
        X, codes, weights, _ = self._prepared(X, y)
        # Not by `fit_epochs`: its checks at each step take four times as long for 40 rows.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is meant to stop there
            self.mlp_.fit(X, codes, sample_weight=weights)
        del self.mlp_._optimizer  # of no use any more, and three times the weights
        return self

    def fit_epochs(self, X: ArrayLike, y: ArrayLike, variant: Variant = None) -> Iterator[int]:
        """Fit as `fit` does, to the same weights, one pass over the rows a step.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)
        variant : array-like of shape (n,), optional
            See `fit`.

        Yields
        ------
        int
            The epoch just done, from 1. Until the next step the classifier predicts with the
            weights of that moment, and whoever stops there keeps them.

        Raises
        ------
        ParameterError, ValueError
            At the first step, where `fit` would raise them.
        """
        X, codes, weights, turns = self._prepared(X, y, variant)
        try:
            yield from _epochs(self.mlp_, X, codes, weights, turns)
        finally:
            self.mlp_.shuffle = True
            vars(self.mlp_).pop("_optimizer", None)

    def _prepared(
        self, X: ArrayLike, y: ArrayLike, variant: Variant = None
    ) -> tuple[Floats, NDArray[np.int_], Floats | None, list[NDArray[np.int_]]]:
        """Scaled X, codes and weights of the rows, which of them an epoch passes, in turn.

        `mlp_` is there then, as yet untrained.
        """
        X, codes = self._checked(X, y)
        weights = None if self.class_weight is None else self._weights(codes)[codes]
        turns = self._turns(len(X), variant)
        self.scale_ = self._scale(X)
        self.mlp_ = self._untrained(len(turns[0]))
        return X / self.scale_, codes, weights, turns

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Of a model that was saved before there were these parameters.
        super().__setstate__({"scale": None, "variants": "all", **state})

    def _scale(self, X: Floats) -> float:
        if self.scale is None:
            squares = np.einsum("ij,ij->", X, X, dtype=np.float64)
            return max(float(np.sqrt(squares / X.size)), _TINY)
        number = isinstance(self.scale, numbers.Real) and not isinstance(self.scale, bool)
        if not number or not 0 < self.scale < np.inf:
            raise ParameterError(f"scale must be a number above 0, or None, got {self.scale}")
        return float(self.scale)

    def _turns(self, rows: int, variant: Variant) -> list[NDArray[np.int_]]:
        if self.variants not in ("all", "turns"):
            raise ParameterError(f"variants must be all or turns, got {self.variants!r}")
        if self.variants == "all" or variant is None or not np.any(variant):
            return [np.arange(rows)]
        numbers = np.asarray(variant)
        return [np.flatnonzero(numbers == number) for number in range(1, numbers.max() + 1)]

    def _untrained(self, rows: int) -> MLPClassifier:
        batch_size = min(32, rows)
        return MLPClassifier(
            (self.hidden,),
            alpha=self.alpha,
            max_iter=max(self.epochs, -(-self.steps // -(-rows // batch_size))),
            batch_size=batch_size,
            n_iter_no_change=10**9,  # all of them: what stops early depends on noise
            learning_rate_init=self.learning_rate_init,
            random_state=self.random_state,
        )

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Give probabilities of shape (n, k), columns as in `classes_`."""
        probabilities: Floats = self.mlp_.predict_proba(self._new(X) / self.scale_)
        return probabilities


def _epochs(
    mlp: MLPClassifier,
    X: Floats,
    codes: NDArray[np.int_],
    weights: Floats | None,
    turns: Sequence[NDArray[np.int_]],
) -> Iterator[int]:
    """Train by `partial_fit` to the very weights that `fit` gives.

    `fit` shuffles the order of the epoch before; `partial_fit` the rows as they are given, and by
    a seed in the same way each time. So from the second epoch on the rows are shuffled here, by
    the numbers that `fit` would draw: they follow one for each initial weight.
    """
    random = check_random_state(deepcopy(mlp.random_state))
    _train_once(mlp, X, codes, weights, turns[0])
    random.random_sample(sum(each.size for each in mlp.coefs_ + mlp.intercepts_))
    order = shuffle(np.arange(len(turns[0])), random_state=random)  # in which this epoch went
    mlp.shuffle = False
    yield 1
    for epoch in range(2, mlp.max_iter + 1):
        order = shuffle(order, random_state=random)
        _train_once(mlp, X, codes, weights, turns[(epoch - 1) % len(turns)][order])
        mlp.n_iter_ = epoch  # it counts the epochs of one call
        yield epoch


def _train_once(
    mlp: MLPClassifier,
    X: Floats,
    codes: NDArray[np.int_],
    weights: Floats | None,
    rows: NDArray[np.int_],
) -> None:
    """Pass these rows in this order."""
    weights = None if weights is None else weights[rows]
    classes = None if hasattr(mlp, "coefs_") else np.unique(codes)
    with warnings.catch_warnings():
        # scikit-learn makes a warning of Ctrl-C; then the next epoch would just begin.
        warnings.filterwarnings("error", message="Training interrupted by user")
        try:
            mlp.partial_fit(X[rows], codes[rows], sample_weight=weights, classes=classes)
        except UserWarning as warning:
            if "interrupted" in str(warning):
                raise KeyboardInterrupt from None
            raise


def _two_as_one(coef: Floats, intercept: Floats) -> tuple[Floats, Floats]:
    """Two classes are one difference, as in scikit-learn's linear classifiers."""
    if len(coef) == 2:
        return coef[1:] - coef[:1], intercept[1:] - intercept[:1]
    return coef, intercept


def _decisions(X: Floats, coef: Floats, intercept: Floats) -> Floats:
    decisions = X @ coef.T + intercept
    return decisions[:, 0] if len(coef) == 1 else decisions
