"""Calibration: probabilities from the decisions of a classifier.

Calibration uses out-of-fold decisions of inner folds: Platt's sigmoid for two classes, and one
temperature for more classes. Calibration never changes a label, because the label is always the
classifier's own decision. If `fit` gets groups, the inner folds do not separate them. A classifier
is also fitted on variants of images, but its probabilities are calibrated on images only. Variants
are harder to classify than images, so they would make the probabilities too low.

For two classes, a decision beyond those of the inner folds counts like the nearest of them, because
no image of the inner folds shows how sure such a decision is. With few images, many new images have
such decisions, because their embeddings are standardised by the training images. Without the limit,
the log loss on landscapes was 1.35 (linear SVM) and 1.43 (ridge) with 20 images, 0.76 and 0.77 with
60, and 0.47 and 0.45 with 240. With it, it is 0.71 and 0.70, 0.57 and 0.56, and 0.46 and 0.44
(`benchmarks/honesty.md`). For more classes, the spread of an image's decisions is their largest
difference. The decisions of an image with a larger spread than any in the inner folds are scaled
down to the largest of these, which keeps their order.

References
----------
Platt, J. (1999). Probabilistic outputs for support vector machines and comparisons to regularized
likelihood methods. Advances in Large Margin Classifiers, 61-74.

Guo, C., Pleiss, G., Sun, Y. and Weinberger, K. (2017). On calibration of modern neural networks.
ICML, 1321-1330.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.utils.validation import check_is_fitted

from tlfeatures.dataset.stratified_folds import Fold, cut, fewest
from tlfeatures.errors import ParameterError
from tlfeatures.heads.calibration_methods import own_method
from tlfeatures.heads.classifiers.base import TINY, BaseProbabilityClassifier, Floats
from tlfeatures.heads.fit_arguments import FitArguments, Units, Variant
from tlfeatures.heads.variant_weights import shares

CALIBRATION_FOLDS = 5
MANY, FOLDS_OF_MANY = 3000, 2  # with so many images, two folds are enough


class BaseCalibration(BaseProbabilityClassifier):
    """Base class of classifiers that compute calibrated probabilities from decisions.

    `fit` sets `fitted_`, whose decisions and labels are those of class codes.
    """

    random_state: int | None
    _penalised = False  # if True, an image and its variants have the weight 1 (see `shares`)

    def calibrate(self, held_out: Floats, codes: NDArray[np.int_], variant: Variant = None) -> None:
        """Fit the calibration of a classifier that is fitted otherwise.

        Parameters
        ----------
        held_out : ndarray of shape (n,) for two classes, otherwise (n, k)
            Decisions of rows that were held out of their fits.
        codes : ndarray of shape (n,), int
            Class codes of these rows.
        variant : ndarray of shape (n,), int, optional
            See `FitArguments`. Variants don't count.
        """
        image = np.ones(len(codes), bool) if variant is None else np.asarray(variant) == 0
        # Without class weights, calibration would reverse their effect.
        of_class = (
            np.ones(len(codes)) if self._class_weight() is None else self._weights(codes)[codes]
        )
        decisions = held_out[image].astype(np.float64)
        self.slope_, self.intercept_ = _calibration(decisions, codes[image], of_class[image])
        if decisions.ndim > 1:
            self.widest_ = float(np.ptp(decisions, axis=1).max())
        else:
            self.lowest_, self.highest_ = float(decisions.min()), float(decisions.max())
        self.calibrated_on_ = int(image.sum())

    def _row_weights(self, codes: NDArray[np.int_], variant: Variant = None) -> dict[str, Floats]:
        """Return fit parameters with sample weights for the inner classifier; empty if none."""
        share = shares(variant) if self._penalised else None
        if getattr(self, "class_weight", None) is None:
            return {} if share is None else {"sample_weight": share}
        of_class = self._weights(codes)[codes]
        return {"sample_weight": of_class if share is None else of_class * share}

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the classifier's own label of each row. Calibration does not change it."""
        labels: NDArray[Any] = self.classes_[self.fitted_.predict(self._new(X))]
        return labels

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return calibrated probabilities of shape (n, k), columns in the order of `classes_`.

        With more than two classes, the class of the largest decision is the most probable class.
        With two classes, the probability may be 0.5 at another decision than 0. For decisions near
        0, the label can therefore be the less probable class.
        """
        decisions = self.decision_function(X)
        if decisions.ndim > 1:
            spread = np.ptp(decisions, axis=1, keepdims=True)
            share = np.minimum(self.widest_ / np.maximum(spread, TINY), 1)
            probabilities: Floats = softmax(self.slope_ * share * decisions, axis=1)
            return probabilities
        limited = np.clip(decisions, self.lowest_, self.highest_)
        second = expit(self.slope_ * limited + self.intercept_)
        return np.column_stack([1 - second, second])

    @property
    def calibration_(self) -> tuple[str, int]:
        """The method of calibration (`calibration_methods`), and the number of its images."""
        check_is_fitted(self)
        return own_method(len(self.classes_)), self.calibrated_on_

    def decision_function(self, X: ArrayLike) -> Floats:
        """Return decisions before calibration, of shape (n,) for two classes, otherwise (n, k)."""
        decisions: Floats = self.fitted_.decision_function(self._new(X))
        return decisions


class BaseCalibratedClassifier(BaseCalibration):
    """Base class of calibrated classifiers whose decisions come from another classifier."""

    @abstractmethod
    def _plain(self) -> BaseEstimator:
        """Create the classifier whose decisions are calibrated."""

    def plain(self) -> BaseEstimator:
        """Create the classifier of class codes whose decisions are calibrated, before its fit."""
        return self._plain()

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: Units = None,
        images: Units = None,
        variant: Variant = None,
    ) -> BaseCalibratedClassifier:
        """Fit on X of shape (n, d) and n labels, with at least two images per class.

        `FitArguments` describes `groups`, `images` and `variant`, of shape (n,).
        """
        X, codes = self._checked(X, y)
        return self._fit_decisions(X, codes, FitArguments(groups, images, variant))

    def _fit_decisions(
        self, X: Floats, codes: NDArray[np.int_], arguments: FitArguments
    ) -> BaseCalibratedClassifier:
        # The inner classifier is always fitted on class codes instead of class names.
        if not hasattr(self._plain(), "decision_function"):
            raise ParameterError(
                f"{self._plain()} has no decision_function, which probabilities are computed from"
            )
        variant = arguments.variant
        folds = calibration_folds(codes, arguments, self.random_state)
        weights = self._row_weights(codes, variant)
        held_out = cross_val_predict(
            self._plain(), X, codes, cv=folds, method="decision_function", params=weights
        )
        if held_out.ndim > 1 and held_out.shape[1] != len(self.classes_):
            raise ParameterError(
                f"decision_function gives {held_out.shape[1]} columns for {len(self.classes_)} "
                "classes; expected one column per class"
            )
        self.fitted_ = self._plain().fit(X, codes, **weights)
        self.calibrate(held_out, codes, variant)
        return self

    def predict_path(
        self,
        X: Floats,
        y: NDArray[Any],
        X_new: Floats,
        points: Sequence[Mapping[str, Any]],
        variant: Variant = None,
    ) -> Iterator[NDArray[Any]]:
        """Yield the labels of new rows for each of several parameter settings.

        Labels need no calibration, which would need several more fits for each setting.
        """
        for point in points:
            classifier = clone(self).set_params(**point)
            codes = classifier._checked(X, y)[1]
            weights = classifier._row_weights(codes, variant)
            plain = classifier._plain().fit(X, codes, **weights)
            yield classifier.classes_[plain.predict(X_new)]


def _calibration(
    decisions: Floats, codes: NDArray[np.int_], weights: Floats
) -> tuple[float, float]:
    """Fit the slope and intercept that convert decisions to probabilities."""
    if decisions.ndim == 1:
        return _sigmoid(decisions, codes == 1, weights)
    return _inverse_temperature(decisions, codes, weights), 0.0


def _sigmoid(decisions: Floats, second: NDArray[np.bool_], weights: Floats) -> tuple[float, float]:
    """Fit Platt's sigmoid: slope and intercept of a logistic regression on softened labels.

    A label of the second class has the value (n + 1) / (n + 2) instead of 1, where n is the number
    of images of the class. Otherwise the slope would be infinite for perfectly separated classes.
    """
    least, most = 1 / (weights[~second].sum() + 2), 1 - 1 / (weights[second].sum() + 2)
    share = np.where(second, most, least)
    constant = 0.0, float(logit(np.average(share, weights=weights)))
    if np.ptp(decisions) == 0:
        return constant
    scale = np.abs(decisions).max()
    fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8).fit(
        np.tile(decisions / scale, 2)[:, None],
        np.repeat([1, 0], len(decisions)),
        sample_weight=np.concatenate([weights * share, weights * (1 - share)]),
    )
    slope = float(fitted.coef_[0, 0] / scale)
    # Decisions that are more often wrong than right give no information about the classes.
    return constant if slope < 0 else (slope, float(fitted.intercept_[0]))


def _inverse_temperature(decisions: Floats, codes: NDArray[np.int_], weights: Floats) -> float:
    """Fit the number that decisions of shape (n, k) are multiplied by before the softmax.

    Labels are softened as for Platt's sigmoid: a label has the value (n + 1) / (n + 2), where n is
    the number of all images, and the other classes share the rest.
    """
    rows, classes = decisions.shape
    label = 1 - 1 / (weights.sum() + 2)
    scale = max(np.abs(decisions).max(), TINY)

    def loss(log_slope: float) -> float:
        logs = log_softmax(np.exp(log_slope) / scale * decisions, axis=1)
        own = logs[np.arange(rows), codes]
        others = (logs.sum(axis=1) - own) / (classes - 1)
        return -float(weights @ (label * own + (1 - label) * others))

    best = minimize_scalar(loss, bounds=(-7, 14), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(best.x) / scale)


def calibration_folds(
    codes: NDArray[np.int_], arguments: FitArguments, seed: int | None
) -> list[Fold] | StratifiedKFold:
    """Return five folds, two folds if there are many images, or fewer folds if a class is small.

    Groups are not separated, unless the training rows of a fold would lack a class. In that case,
    groups are ignored. The probabilities are then overconfident, but the test rows of the outer
    fold are still not used.
    """
    images = arguments.images
    least = fewest(codes, images)
    if least < 2:
        raise ParameterError(
            "calibrated probabilities need two or more images of each class; the smallest class "
            "has 1: add images, use fewer folds, or --head logreg"
        )
    count = len(codes) if images is None else len(np.unique(images))
    wanted = CALIBRATION_FOLDS if count < MANY else FOLDS_OF_MANY
    for units in (arguments.groups, images):
        folds = None if units is None else _group_folds(codes, units, wanted, seed)
        if folds is not None:
            return folds
    return StratifiedKFold(min(wanted, least), shuffle=True, random_state=seed)


def _group_folds(
    codes: NDArray[np.int_], groups: NDArray[Any], wanted: int, seed: int | None
) -> list[Fold] | None:
    """Return folds that do not separate groups and train on all classes; None if not possible."""
    least = fewest(codes, groups)
    if least < 2:
        return None
    folds = cut(codes, groups, min(wanted, least), seed)
    classes = len(np.unique(codes))
    whole = all(len(np.unique(codes[train])) == classes and len(test) for train, test in folds)
    return folds if whole else None
