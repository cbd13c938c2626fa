"""The nearest class mean, with probabilities."""

from __future__ import annotations

from tlfeatures.heads.classifiers.calibration import BaseCalibratedClassifier
from tlfeatures.heads.classifiers.nearest_mean import NearestMean


class CalibratedCentroid(BaseCalibratedClassifier):
    """The class whose mean is nearest, with probabilities.

    Parameters
    ----------
    random_state : int or None
        Seed of the inner folds.
    """

    def __init__(self, random_state: int | None = None) -> None:
        self.random_state = random_state

    def _plain(self) -> NearestMean:
        return NearestMean()
