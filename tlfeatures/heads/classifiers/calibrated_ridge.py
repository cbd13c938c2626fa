"""Ridge regression on the classes, as a classifier with probabilities."""

from __future__ import annotations

from sklearn.linear_model import RidgeClassifier

from tlfeatures.heads.classifiers.base import ClassWeight
from tlfeatures.heads.classifiers.calibration import BaseCalibratedClassifier


class CalibratedRidge(BaseCalibratedClassifier):
    """Ridge regression on the classes, with calibrated probabilities.

    Parameters
    ----------
    alpha, class_weight
        See `sklearn.linear_model.RidgeClassifier`.
    random_state : int or None
        Seed of the inner folds.
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
