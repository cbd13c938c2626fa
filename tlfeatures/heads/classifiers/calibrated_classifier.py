"""Any scikit-learn classifier that has decisions, with calibrated probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from tlfeatures.heads.class_weights import by_codes
from tlfeatures.heads.classifiers.base import Floats
from tlfeatures.heads.classifiers.calibration import BaseCalibratedClassifier
from tlfeatures.heads.fit_arguments import Variant


class CalibratedClassifier(BaseCalibratedClassifier):
    """Any scikit-learn classifier that has decisions, with calibrated probabilities.

    The label is that of the estimator's own `predict`. Most estimators predict the class of the
    largest decision, which is then the most probable class, too. Some don't, for example
    NearestCentroid: its label may be another class than the most probable one.

    Parameters
    ----------
    estimator : scikit-learn classifier
        With `decision_function`, one column for each class if there are more than two. It is
        fitted on class codes; its `class_weight` names the classes themselves.
    random_state : int or None
        Seed of the inner folds.
    """

    def __init__(self, estimator: BaseEstimator, random_state: int | None = None) -> None:
        self.estimator = estimator
        self.random_state = random_state

    def _class_weight(self) -> Any:
        weight = getattr(self.estimator, "class_weight", None)
        return weight if weight == "balanced" or isinstance(weight, Mapping) else None

    def _row_weights(self, codes: NDArray[np.int_], variant: Variant = None) -> dict[str, Floats]:
        """Give no weights: the estimator has its own."""
        return {}

    def _plain(self) -> BaseEstimator:
        plain = by_codes(self.estimator, self.classes_.tolist())
        if "break_ties" in plain.get_params():  # by the decisions, not by the order of the classes
            plain.set_params(break_ties=plain.decision_function_shape == "ovr")
        return plain
