"""A linear support vector machine for many rows."""

from __future__ import annotations

from tlfeatures.heads.blocks.rows import Floats, StandardisedRows
from tlfeatures.heads.blocks.solver import Objective, minimised, squared_hinge
from tlfeatures.heads.classifiers.base import ClassWeight
from tlfeatures.heads.classifiers.calibrated_blocks import (
    BaseCalibratedColumns,
    Codes,
    Source,
    Weights,
)

# The squared hinge loss of one class against the others is much larger than the hinge loss of a
# pair of classes. With this factor of C, the best values of C are those of `CalibratedSVC`.
_FACTOR = 0.03


class CalibratedBlockSVM(BaseCalibratedColumns):
    """A linear support vector machine with probabilities, for many rows.

    The loss is the squared hinge loss of one class against the others, as in
    `sklearn.svm.LinearSVC`, but the intercept is not penalised. It standardises the columns itself.

    Parameters
    ----------
    C : float
        Inverse of the L2 penalty, on the scale of `CalibratedSVC`: its best values are similar.
    class_weight
        Weights of the classes, by class name.
    tol : float
        Largest derivative of the mean loss at the end.
    max_iter : int
        Largest number of steps.
    random_state : int or None
        Seed of the inner folds.
    """

    _penalised = True

    def __init__(
        self,
        C: float = 0.003,
        class_weight: ClassWeight = None,
        tol: float = 1e-3,
        max_iter: int = 300,
        random_state: int | None = None,
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def _solve(self, source: Source, codes: Codes, weights: Weights) -> tuple[Floats, Floats]:
        assert isinstance(source, StandardisedRows)
        objective = Objective(squared_hinge, self.C * _FACTOR, 1.0, self.tol, self.max_iter)
        products = None if source.is_wide else source.rough_products
        classes = len(self.classes_)
        return minimised(source, codes, classes, objective, weights=weights, products=products)
