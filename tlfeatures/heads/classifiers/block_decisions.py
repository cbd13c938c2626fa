"""Fitted decisions of class codes that are computed in blocks of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from tlfeatures.heads.blocks.kernel import LandmarkKernel
from tlfeatures.heads.blocks.rows import Blocks, Floats, MatrixRows, Single
from tlfeatures.heads.classifiers.linear import linear_decisions


def decisions_of(rows: Blocks, coef: Floats, intercept: Floats) -> Floats:
    """Return linear decisions of rows, of shape (n,) for one output, otherwise (n, outputs)."""
    decisions = np.empty((len(rows), len(coef)))
    for part, block in rows.blocks():
        decisions[part] = linear_decisions(block.astype(np.float64), coef, intercept).reshape(
            len(block), -1
        )
    return decisions[:, 0] if len(coef) == 1 else decisions


def labels_of(decisions: Floats) -> NDArray[np.int_]:
    """Return the class code of each row, from decisions of shape (n,) or (n, k)."""
    if decisions.ndim == 1:
        return (decisions > 0).astype(int)
    labels: NDArray[np.int_] = decisions.argmax(axis=1)
    return labels


class LinearDecisions(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted linear classifier of class codes.

    Attributes
    ----------
    classes_ : ndarray of shape (k,), int
    coef_ : ndarray of shape (outputs, d), float64
    intercept_ : ndarray of shape (outputs,), float64
    """

    @classmethod
    def of(cls, coef: Floats, intercept: Floats, classes: int) -> LinearDecisions:
        """Create it from its coefficients."""
        fitted = cls()
        fitted.classes_ = np.arange(classes)
        fitted.coef_, fitted.intercept_ = coef, intercept
        return fitted

    def decision_function(self, rows: MatrixRows) -> Floats:
        """Return decisions of shape (n,) for two classes, otherwise (n, k)."""
        return decisions_of(rows, self.coef_, self.intercept_)

    def predict(self, rows: MatrixRows) -> NDArray[Any]:
        """Return the class code of each row."""
        return labels_of(self.decision_function(rows))


class LandmarkDecisions(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted kernel classifier of class codes: linear in the kernel of rows and landmarks.

    Attributes
    ----------
    classes_ : ndarray of shape (k,), int
    landmarks_ : ndarray of shape (m, d), float32
    gamma_ : float
        Coefficient of the RBF kernel.
    dual_coef_ : ndarray of shape (outputs, m), float64
        Factor of each landmark's kernel.
    intercept_ : ndarray of shape (outputs,), float64
    """

    @classmethod
    def of(
        cls, landmarks: Single, gamma: float, coef: Floats, intercept: Floats, classes: int
    ) -> LandmarkDecisions:
        """Create it from its landmarks and their factors."""
        fitted = cls()
        fitted.classes_ = np.arange(classes)
        fitted.landmarks_, fitted.gamma_ = landmarks, gamma
        fitted.dual_coef_, fitted.intercept_ = coef, intercept
        return fitted

    def decision_function(self, rows: MatrixRows) -> Floats:
        """Return decisions of shape (n,) for two classes, otherwise (n, k)."""
        kernel = LandmarkKernel(rows, self.landmarks_, self.gamma_)
        return decisions_of(kernel, self.dual_coef_, self.intercept_)

    def predict(self, rows: MatrixRows) -> NDArray[Any]:
        """Return the class code of each row."""
        return labels_of(self.decision_function(rows))
