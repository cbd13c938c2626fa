"""Linear classifiers on many rows: L-BFGS whose steps are scaled by the products of the columns.

The objective is that of scikit-learn: half the squared length of the coefficients, plus C times the
sum of the rows' losses. The intercept is not penalised. L-BFGS starts in coordinates in which the
objective is nearly round: the Hessian is close to I + c C Z'Z, whose eigenvectors are computed once
(D. Liu and J. Nocedal, On the limited memory BFGS method, Mathematical Programming 45, 1989). Some
30 passes over the rows are then enough. A pass reads the rows in blocks of float32; sums over
blocks are float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import OptimizeResult, minimize
from sklearn.exceptions import ConvergenceWarning

from tlfeatures.heads.blocks.rows import Blocks, Floats, Single, column_means
from tlfeatures.heads.number_checks import check_number

Codes = NDArray[np.int_]
# Decisions and targets of shape (rows, outputs), to the loss of each row and the derivatives.
Loss = Callable[[Single, Single], tuple[Single, Single]]

# A line search fails near the minimum, where the objective is a sum of float32 and can't show what
# is left to gain. This share of the objective is far above their rounding.
_ROUNDING = 1e-4
_REDUCTION = 0.01  # the derivatives at the end are at most this share of those at the start
_STEPS_REACHED = 1  # status of L-BFGS-B
_CORNER = np.float32(0.5)  # width of the rounded corner of the hinge loss


def log_loss(decisions: Single, targets: Single) -> tuple[Single, Single]:
    """Logistic loss: of one output for two classes, otherwise of the softmax."""
    if decisions.shape[1] == 1:
        signs = 2 * targets - 1
        losses = np.logaddexp(0, -signs * decisions)[:, 0]
        return losses, -signs / (1 + np.exp(np.minimum(signs * decisions, 80)))
    shifted = decisions - decisions.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    totals = powers.sum(axis=1, keepdims=True)
    losses = np.log(totals[:, 0]) - np.einsum("ij,ij->i", shifted, targets)
    return losses, powers / totals - targets


def squared_hinge(decisions: Single, targets: Single) -> tuple[Single, Single]:
    """Squared hinge loss, one class against the others; the sum over the outputs."""
    signs = 2 * targets - 1
    missing = np.maximum(1 - signs * decisions, 0)
    return np.einsum("ij,ij->i", missing, missing), -2 * signs * missing


def pair_hinge(decisions: Single, targets: Single) -> tuple[Single, Single]:
    """Hinge loss of a row's class against each other class; the sum over the other classes.

    Its corner is a parabola of width `_CORNER`, because L-BFGS needs a derivative. A decision of
    two classes is the difference between the second and the first.
    """
    if decisions.shape[1] == 1:
        signs = 2 * targets - 1
        losses, slopes = _rounded_hinge(signs * decisions)
        return losses[:, 0], -signs * slopes
    own = np.einsum("ij,ij->i", decisions, targets)[:, None]
    losses, slopes = _rounded_hinge(own - decisions)
    others = 1 - targets
    losses *= others
    slopes *= others
    return losses.sum(axis=1), slopes - slopes.sum(axis=1, keepdims=True) * targets


def _rounded_hinge(margins: Single) -> tuple[Single, Single]:
    """Return the hinge loss of margins, and minus its derivative."""
    missing = np.maximum(1 + _CORNER / 2 - margins, 0)
    slopes = np.minimum(missing / _CORNER, 1)
    return slopes * (missing - slopes * (_CORNER / 2)), slopes


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes
    ----------
    loss : callable
        `log_loss`, `squared_hinge` or `pair_hinge`.
    C : float
        Factor of the sum of losses.
    curvature : float
        Usual second derivative of the loss, for the first step.
    tolerance : float
        Largest derivative of the mean loss at the end, in the scaled coordinates. The limit is
        lower for C above 1, and if the derivatives at the start are not far above it.
    max_iter : int
        Largest number of steps.
    """

    loss: Loss
    C: float
    curvature: float
    tolerance: float
    max_iter: int

    def __post_init__(self) -> None:
        check_number("C", self.C, above=0)
        check_number("tol", self.tolerance, above=0)
        check_number("max_iter", self.max_iter, least=1, whole=True)


def _targets(codes: Codes, classes: int) -> Single:
    """Return 1 for a row's own class and else 0, of shape (n, k); of shape (n, 1) for k = 2."""
    if classes == 2:
        return codes.astype(np.float32)[:, None]
    targets = np.zeros((len(codes), classes), np.float32)
    targets[np.arange(len(codes)), codes] = 1
    return targets


def minimised(
    rows: Blocks,
    codes: Codes,
    classes: int,
    objective: Objective,
    *,
    weights: Floats | None = None,
    products: Floats | None = None,
    basis: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Fit a linear classifier.

    Parameters
    ----------
    rows : Blocks
        n rows of d columns.
    codes : ndarray of shape (n,), int
        Class codes from 0 to k - 1.
    classes : int
        k. There is one output for two classes, otherwise one for each class.
    objective : Objective
    weights : ndarray of shape (n,), optional
        Weights of the rows' losses.
    products : ndarray of shape (d, d), optional
        Products of the columns of these rows, from which their means are subtracted, or an estimate
        of them. They decide only how many steps are needed.
    basis : ndarray of shape (d, r), optional
        The coefficients are `basis` times some numbers, whose squared length is penalised instead.

    Returns
    -------
    coef : ndarray of shape (outputs, d), float64
    intercept : ndarray of shape (outputs,), float64

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If the steps end before the derivatives are small.
    """
    means = column_means(rows)
    scaling = _Scaling.of(objective, len(rows), rows.width, products, basis)
    passes = _Passes(rows, codes, classes, objective, weights, means, scaling)
    start = np.zeros((scaling.size + 1) * passes.outputs)
    # The larger C is, the shorter are the scaled coordinates, and the smaller the derivatives.
    steepest = float(np.abs(passes(start)[1]).max())
    limit = min(objective.tolerance / np.sqrt(max(1.0, objective.C)), _REDUCTION * steepest)
    options = {"maxiter": objective.max_iter, "gtol": limit, "ftol": 0.0}
    found = minimize(passes, start, jac=True, method="L-BFGS-B", options=options)
    _warn_if_unfinished(found, objective.C * max(len(rows), 1))
    coef, intercept = passes.coefficients(found.x)
    return coef.T, intercept


def _warn_if_unfinished(found: OptimizeResult, divisor: float) -> None:
    # The second derivatives of the objective are about 1, before it is divided.
    gain = divisor * float((found.jac**2).sum()) / 2
    too_early = found.status == _STEPS_REACHED
    if too_early or (not found.success and gain > _ROUNDING * abs(found.fun)):
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s): raise max_iter or tol, or "
            "the penalty",
            ConvergenceWarning,
            stacklevel=3,
        )


@dataclass(frozen=True)
class _Scaling:
    """Coordinates in which the objective is nearly round."""

    matrix: Floats | None  # (d, r): coefficients are `matrix` times the coordinates; None: equal
    lengths: Floats  # (r,): the penalised coefficients are `lengths` times the coordinates
    intercept: float  # the intercept is this times its coordinate

    @property
    def size(self) -> int:
        return len(self.lengths)

    @classmethod
    def of(
        cls,
        objective: Objective,
        count: int,
        width: int,
        products: Floats | None,
        basis: Floats | None,
    ) -> _Scaling:
        factor = objective.C * objective.curvature
        intercept = 1 / np.sqrt(factor * max(count, 1))
        if products is None:
            return cls(basis, np.ones(width if basis is None else basis.shape[1]), intercept)
        inner = products if basis is None else basis.T @ products @ basis
        values, vectors = eigh(inner, driver="evd", check_finite=False)
        lengths = 1 / np.sqrt(1 + factor * np.maximum(values, 0))
        rotated = vectors if basis is None else basis @ vectors
        return cls(rotated * lengths, lengths, intercept)

    def coefficients(self, coordinates: Floats) -> Floats:
        return coordinates if self.matrix is None else self.matrix @ coordinates

    def derivatives(self, of_coefficients: Floats) -> Floats:
        return of_coefficients if self.matrix is None else self.matrix.T @ of_coefficients


class _Passes:
    """The objective and its derivatives, by one pass over the rows."""

    def __init__(
        self,
        rows: Blocks,
        codes: Codes,
        classes: int,
        objective: Objective,
        weights: Floats | None,
        means: Floats,
        scaling: _Scaling,
    ) -> None:
        self._rows, self._codes, self._classes = rows, codes, classes
        self._objective = objective
        self.outputs = 1 if classes == 2 else classes
        self._weights = None if weights is None else weights.astype(np.float32)
        self._means, self._scaling = means, scaling

    def coefficients(self, x: Floats) -> tuple[Floats, Floats]:
        """Return coefficients of shape (d, outputs), and intercepts."""
        table = x.reshape(-1, self.outputs)
        coef = self._scaling.coefficients(table[:-1])
        # Columns count from their means, so that the intercept is independent of the coefficients.
        return coef, table[-1] * self._scaling.intercept - self._means @ coef

    def __call__(self, x: Floats) -> tuple[float, Floats]:
        """Return the objective and its derivatives, both divided by C and the number of rows."""
        coef, intercept = self.coefficients(x)
        total, slopes, sums = self._sums(coef, intercept)
        scaling, factor = self._scaling, self._objective.C
        table = x.reshape(-1, self.outputs)
        penalised = scaling.lengths[:, None] * table[:-1]
        inner = scaling.derivatives(slopes - np.outer(self._means, sums))
        derivatives = np.vstack(
            [
                scaling.lengths[:, None] * penalised + factor * inner,
                factor * scaling.intercept * sums,
            ]
        )
        value = 0.5 * float((penalised**2).sum()) + factor * total
        scale = factor * max(len(self._rows), 1)
        return value / scale, derivatives.ravel() / scale

    def _sums(self, coef: Floats, intercept: Floats) -> tuple[float, Floats, Floats]:
        """Return the sum of losses, and its derivatives by coefficients and intercepts."""
        total, slopes, sums = 0.0, np.zeros(coef.shape), np.zeros(len(intercept))
        single, constant = coef.astype(np.float32), intercept.astype(np.float32)
        for part, block in self._rows.blocks():
            decisions = block @ single
            decisions += constant
            targets = _targets(self._codes[part], self._classes)
            losses, derivatives = self._objective.loss(decisions, targets)
            if self._weights is not None:
                losses = losses * self._weights[part]
                derivatives = derivatives * self._weights[part, None]
            total += float(losses.sum(dtype=np.float64))
            slopes += (derivatives.T @ block).T
            sums += derivatives.sum(axis=0, dtype=np.float64)
        return total, slopes, sums
