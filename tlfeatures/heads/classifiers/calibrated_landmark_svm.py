"""A support vector machine with an approximate RBF kernel, for many rows."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from tlfeatures.errors import ParameterError
from tlfeatures.heads.blocks.kernel import LandmarkKernel
from tlfeatures.heads.blocks.rows import Floats, MatrixRows
from tlfeatures.heads.blocks.solver import Objective, minimised, pair_hinge
from tlfeatures.heads.classifiers.base import TINY, ClassWeight
from tlfeatures.heads.classifiers.block_decisions import LandmarkDecisions
from tlfeatures.heads.classifiers.calibrated_blocks import (
    BaseCalibratedBlocks,
    Codes,
    Source,
    Weights,
)
from tlfeatures.heads.number_checks import check_number


class CalibratedLandmarkSVM(BaseCalibratedBlocks):
    """A support vector machine with an RBF kernel and probabilities, for many rows.

    The kernel is Nystroem's approximation by landmarks, which are random training rows. The loss of
    a row is the sum of the hinge losses of its class against each other class. `CalibratedSVC` has
    a machine for each pair of classes instead. With this loss, the coefficients of a pair are the
    differences of those of its two classes, so that their number grows with that of the classes
    only. Penalty and losses are those of all pairs together, divided by the number of classes. For
    two classes, it is the machine of `CalibratedSVC`, apart from the landmarks and the rounded
    corner of the loss. Work and memory grow in proportion to the number of rows, while those of an
    exact machine grow with its square.

    Parameters
    ----------
    C : float
        Inverse of the L2 penalty, as in `CalibratedSVC`.
    gamma, gamma_factor
        See `CalibratedSVC`.
    n_landmarks : int
        Number of landmarks. If there are fewer rows, all rows are landmarks.
    class_weight
        Weights of the classes, by class name.
    tol : float
        Largest derivative of the mean loss at the end.
    max_iter : int
        Largest number of steps.
    random_state : int or None
        Seed of the landmarks and of the inner folds.

    References
    ----------
    Weston, J. and Watkins, C. (1999). Support vector machines for multi-class pattern recognition.
    ESANN, 219-224.

    Williams, C. and Seeger, M. (2000). Using the Nystroem method to speed up kernel machines. NIPS.
    """

    _penalised = True

    def __init__(
        self,
        C: float = 3.0,
        gamma: float | str = "scale",
        gamma_factor: float = 1.0,
        n_landmarks: int = 1000,
        class_weight: ClassWeight = None,
        tol: float = 1e-3,
        max_iter: int = 300,
        random_state: int | None = None,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.gamma_factor = gamma_factor
        self.n_landmarks = n_landmarks
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def _prepared(self, rows: MatrixRows) -> LandmarkKernel:
        check_number("n_landmarks", self.n_landmarks, least=1, whole=True)
        random = np.random.default_rng(self.random_state)
        count = min(int(self.n_landmarks), len(rows))
        chosen = np.sort(random.choice(len(rows), count, replace=False))
        return LandmarkKernel(rows, rows.values(chosen), self._gamma_of(rows))

    def _gamma_of(self, rows: MatrixRows) -> float:
        if isinstance(self.gamma, str) and self.gamma != "scale":
            raise ParameterError(f"gamma must be a number or scale, got {self.gamma!r}")
        check_number("gamma_factor", self.gamma_factor, above=0)
        if not isinstance(self.gamma, str):
            check_number("gamma", self.gamma, least=0)
            return float(self.gamma) * self.gamma_factor
        squares = sum(
            float(np.einsum("ij,ij->", block, block, dtype=np.float64))
            for _, block in rows.blocks()
        )
        return self.gamma_factor * len(rows) / max(squares, TINY)

    def _solve(self, source: Source, codes: Codes, weights: Weights) -> tuple[Floats, Floats]:
        assert isinstance(source, LandmarkKernel)
        classes = len(self.classes_)
        # The lengths of all pairs' coefficients have k times the square of those of k classes, if
        # these add up to 0. For two classes, there is one output, that of the pair.
        C = self.C / (classes if classes > 2 else 1)
        objective = Objective(pair_hinge, C, 0.5, self.tol, self.max_iter)
        return minimised(
            source,
            codes,
            classes,
            objective,
            weights=weights,
            products=source.rough_products,
            basis=source.basis,
        )

    def _fitted(self, source: Source, coef: Floats, intercept: Floats) -> BaseEstimator:
        assert isinstance(source, LandmarkKernel)
        kernel = source.landmarks, source.gamma
        return LandmarkDecisions.of(*kernel, coef, intercept, len(self.classes_))
