"""Logistic regression for many rows."""

from __future__ import annotations

from numpy.typing import ArrayLike

from tlfeatures.heads.blocks.rows import MatrixRows
from tlfeatures.heads.blocks.solver import Objective, log_loss, minimised
from tlfeatures.heads.classifiers.base import ClassWeight
from tlfeatures.heads.classifiers.block_linear import BaseBlockLinear
from tlfeatures.heads.fit_arguments import Variant
from tlfeatures.heads.variant_weights import shares


class BlockLogistic(BaseBlockLinear):
    """Logistic regression that reads its rows in blocks.

    The objective is that of `sklearn.linear_model.LogisticRegression` with an L2 penalty on
    standardised columns. It standardises the columns itself.

    Parameters
    ----------
    C : float
        Inverse of the L2 penalty.
    class_weight
        Weights of the classes, by class name, or "balanced".
    tol : float
        Largest derivative of the mean loss at the end.
    max_iter : int
        Largest number of steps.
    """

    def __init__(
        self,
        C: float = 0.01,
        class_weight: ClassWeight = None,
        tol: float = 1e-5,
        max_iter: int = 300,
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter

    def fit(
        self, X: ArrayLike | MatrixRows, y: ArrayLike, variant: Variant = None
    ) -> BlockLogistic:
        """Fit on X of shape (n, d) and n labels. `FitArguments` describes `variant`."""
        rows, codes = self._checked_rows(X, y)
        weights = shares(variant)
        if self.class_weight is not None:
            of_class = self._weights(codes)[codes]
            weights = of_class if weights is None else weights * of_class
        source, classes = rows.standardised, len(self.classes_)
        objective = Objective(log_loss, self.C, 0.05, self.tol, self.max_iter)
        products = None if source.is_wide else source.rough_products
        found = minimised(source, codes, classes, objective, weights=weights, products=products)
        self.coef_, self.intercept_ = source.on_columns(*found)
        return self
