"""The nearest class mean as a classifier with probabilities."""

from __future__ import annotations

from tlfeatures.heads.classifiers.calibration import BaseCalibratedClassifier
from tlfeatures.heads.classifiers.nearest_mean import NearestMean


class CalibratedCentroid(BaseCalibratedClassifier):
    """Predicts the class whose mean is nearest, with calibrated probabilities.

    Parameters
    ----------
    random_state : int or None
        Seed of the inner folds.
    """

    def __init__(self, random_state: int | None = None) -> None:
        self.random_state = random_state

    def _plain(self) -> NearestMean:
        return NearestMean()
