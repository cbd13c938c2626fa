"""A wrapper that adds probabilities to any scikit-learn classifier with decisions."""

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
    """Adds calibrated probabilities to a scikit-learn classifier that has decisions.

    The label comes from the estimator's own `predict`. Most estimators predict the class of the
    largest decision, which is then also the most probable class. Some estimators, for example
    NearestCentroid, may predict another class than the most probable one.

    Parameters
    ----------
    estimator : scikit-learn classifier
        A classifier with `decision_function`, which returns one column for each class if there are
        more than two classes. The estimator is fitted on class codes, but its `class_weight` has
        class names.
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
        """Return no weights, because the estimator has its own weights."""
        return {}

    def _plain(self) -> BaseEstimator:
        plain = by_codes(self.estimator, self.classes_.tolist())
        # Ties are broken by the decisions instead of the order of the classes.
        if "break_ties" in plain.get_params():
            plain.set_params(break_ties=plain.decision_function_shape == "ovr")
        return plain
