"""The nearest class mean, from sums over blocks of rows."""

from __future__ import annotations

import numpy as np

from tlfeatures.heads.blocks.rows import Floats, sums_by_class
from tlfeatures.heads.classifiers.calibrated_blocks import (
    BaseCalibratedColumns,
    Codes,
    Source,
    Weights,
)
from tlfeatures.heads.classifiers.linear import one_row_for_two_classes


class CalibratedBlockCentroid(BaseCalibratedColumns):
    """Predicts the class whose mean is nearest, with calibrated probabilities, for many rows.

    It standardises the columns itself. The decisions are those of `CalibratedCentroid` on
    standardised columns except for rounding.

    Parameters
    ----------
    random_state : int or None
        Seed of the inner folds.
    """

    def __init__(self, random_state: int | None = None) -> None:
        self.random_state = random_state

    def _solve(self, source: Source, codes: Codes, weights: Weights) -> tuple[Floats, Floats]:
        sums, totals = sums_by_class(source, codes, len(self.classes_))
        means = sums / totals[:, None]
        return one_row_for_two_classes(means, -np.einsum("ij,ij->i", means, means) / 2)
