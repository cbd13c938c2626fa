"""Calibrate the decisions of a classifier, so that it gives probabilities.

The probabilities are calibrated on inner out-of-fold decisions: by Platt's sigmoid for two classes,
by one temperature for more classes. Calibration never changes a label, because the label is always
the classifier's own decision. Images of one group stay in one inner fold, if `fit` gets the groups.
A classifier is fitted on variants of images, too; its probabilities are calibrated on the images
alone. Variants are harder than images, and would make the probabilities too low.

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

from tlfeatures.dataset.stratified_folds import Fold, cut, fewest
from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.base import TINY, BaseProbabilityClassifier, Floats
from tlfeatures.heads.fit_arguments import FitArguments, Units, Variant
from tlfeatures.heads.variant_weights import shares

_CALIBRATION_FOLDS = 5
_MANY, _FOLDS_OF_MANY = 3000, 2  # images from which two folds suffice, and these


class BaseCalibratedClassifier(BaseProbabilityClassifier):
    """A classifier with decisions, whose probabilities are calibrated."""

    random_state: int | None
    _penalised = False  # if True, an image and its variants weigh 1 together (see `shares`)

    @abstractmethod
    def _plain(self) -> BaseEstimator:
        """Create the classifier whose decisions are calibrated."""

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: Units = None,
        images: Units = None,
        variant: Variant = None,
    ) -> BaseCalibratedClassifier:
        """Fit on X of shape (n, d) and n labels, of at least two images a class.

        `groups`, `images` and `variant`, of shape (n,), are described in `FitArguments`.
        """
        X, codes = self._checked(X, y)
        return self._fit_decisions(X, codes, FitArguments(groups, images, variant))

    def _fit_decisions(
        self, X: Floats, codes: NDArray[np.int_], arguments: FitArguments
    ) -> BaseCalibratedClassifier:
        # Codes in place of class names: a classifier may expect either, and always gets codes.
        if not hasattr(self._plain(), "decision_function"):
            raise ParameterError(
                f"{self._plain()} has no decision_function, of which probabilities could be made"
            )
        variant = arguments.variant
        folds = _calibration_folds(codes, arguments, self.random_state)
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
            classifier = clone(self).set_params(**point)
            codes = classifier._checked(X, y)[1]
            weights = classifier._row_weights(codes, variant)
            plain = classifier._plain().fit(X, codes, **weights)
            yield classifier.classes_[plain.predict(X_new)]


def _calibration(
    decisions: Floats, codes: NDArray[np.int_], weights: Floats
) -> tuple[float, float]:
    """Fit the slope and intercept that turn out-of-fold decisions into probabilities."""
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
    # Decisions that are wrong more often than right carry no information on the classes.
    return constant if slope < 0 else (slope, float(fitted.intercept_[0]))


def _inverse_temperature(decisions: Floats, codes: NDArray[np.int_], weights: Floats) -> float:
    """Fit the number that decisions of shape (n, k) are multiplied by before the softmax.

    As for Platt's sigmoid, labels are softened: a label counts as (n + 1) / (n + 2) of one, n being
    all images, and the other classes share the rest.
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


def _calibration_folds(
    codes: NDArray[np.int_], arguments: FitArguments, seed: int | None
) -> list[Fold] | StratifiedKFold:
    """Give five folds; two if there are many images, fewer if a class is small.

    Groups stay together, unless a training part would then lack a class. In that case single images
    are divided: probabilities become overconfident, but nothing leaks into the rows that the
    classifier is tested on.
    """
    images = arguments.images
    least = fewest(codes, images)
    if least < 2:
        raise ParameterError(
            "calibrated probabilities need two images or more of each class; the smallest class "
            "has 1: add images, take fewer folds, or --head logreg"
        )
    count = len(codes) if images is None else len(np.unique(images))
    wanted = _CALIBRATION_FOLDS if count < _MANY else _FOLDS_OF_MANY
    for units in (arguments.groups, images):
        folds = None if units is None else _group_folds(codes, units, wanted, seed)
        if folds is not None:
            return folds
    return StratifiedKFold(min(wanted, least), shuffle=True, random_state=seed)


def _group_folds(
    codes: NDArray[np.int_], groups: NDArray[Any], wanted: int, seed: int | None
) -> list[Fold] | None:
    """Give folds that keep groups together and train on every class; None if there are none."""
    least = fewest(codes, groups)
    if least < 2:
        return None
    folds = cut(codes, groups, min(wanted, least), seed)
    classes = len(np.unique(codes))
    whole = all(len(np.unique(codes[train])) == classes and len(test) for train, test in folds)
    return folds if whole else None
