"""Ridge regression on the classes, from sums over blocks of rows."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve

from tlfeatures.heads.blocks.conjugate import solved
from tlfeatures.heads.blocks.rows import (
    Floats,
    StandardisedRows,
    multiplied,
    products_of,
    sums_by_class,
)
from tlfeatures.heads.classifiers.base import ClassWeight
from tlfeatures.heads.classifiers.calibrated_blocks import (
    BaseCalibratedColumns,
    Codes,
    Source,
    Weights,
)
from tlfeatures.heads.number_checks import check_number


class CalibratedBlockRidge(BaseCalibratedColumns):
    """Ridge regression on the classes, with calibrated probabilities, for many rows.

    It standardises the columns itself. The coefficients are those of `CalibratedRidge` on
    standardised columns except for rounding. For more than 6,000 columns, conjugate gradients solve
    for them, without the products of the columns.

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

    def _solve(self, source: Source, codes: Codes, weights: Weights) -> tuple[Floats, Floats]:
        check_number("alpha", self.alpha, least=0)
        classes = len(self.classes_)
        sums, totals = sums_by_class(source, codes, classes, weights)
        total, mean = totals.sum(), sums.sum(axis=0) / totals.sum()
        # Targets are 1 for the own class, otherwise -1.
        targets = 2 * totals / total - 1
        cross = 2 * sums - sums.sum(axis=0) - total * np.outer(targets, mean)
        if classes == 2:
            cross, targets = cross[1:], targets[1:]
        assert isinstance(source, StandardisedRows)
        solution = self._by_passes if source.is_wide else self._by_products
        coef = solution(source, cross, total, mean, weights)
        return coef, targets - coef @ mean

    def _by_products(
        self, source: Source, cross: Floats, total: float, mean: Floats, weights: Weights
    ) -> Floats:
        """Return coefficients of shape (outputs, d), from the products of the columns."""
        products = products_of(source, weights) - total * np.outer(mean, mean)
        products.flat[:: len(products) + 1] += self.alpha
        coef: Floats = solve(products, cross.T, assume_a="pos", check_finite=False).T
        return coef

    def _by_passes(
        self, source: Source, cross: Floats, total: float, mean: Floats, weights: Weights
    ) -> Floats:
        """Return coefficients of shape (outputs, d), by passes over the rows."""

        def penalised(vectors: Floats) -> Floats:
            own = multiplied(source, vectors, weights) + self.alpha * vectors
            result: Floats = own - total * np.outer(mean, mean @ vectors)
            return result

        return solved(penalised, cross.T).T
