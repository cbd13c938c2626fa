"""The base of linear classifiers that read their rows in blocks."""

from __future__ import annotations

from numpy.typing import ArrayLike

from tlfeatures.heads.blocks.rows import Floats, MatrixRows
from tlfeatures.heads.classifiers.block_decisions import decisions_of
from tlfeatures.heads.classifiers.block_rows import BaseBlockClassifier
from tlfeatures.heads.classifiers.linear import log_odds_to_probabilities


class BaseBlockLinear(BaseBlockClassifier):
    """A classifier whose decisions are log odds, linear in the columns.

    `fit` sets `coef_` of shape (outputs, d) and `intercept_` of shape (outputs,), with one output
    for two classes, otherwise one for each class.
    """

    coef_: Floats
    intercept_: Floats

    def decision_function(self, X: ArrayLike | MatrixRows) -> Floats:
        """Return log odds of shape (n,) for two classes, otherwise log posteriors of (n, k)."""
        return decisions_of(self._new(X), self.coef_, self.intercept_)

    def predict_proba(self, X: ArrayLike | MatrixRows) -> Floats:
        """Return probabilities of shape (n, k), with columns in the order of `classes_`."""
        return log_odds_to_probabilities(self.decision_function(X))
