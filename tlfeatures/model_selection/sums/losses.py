"""The loss of logistic regression and its gradient, as sums over rows, for several training sets.

The worker's half adds them up over its rows, for the training sets of all folds at once. The
client's half minimises each training set's loss by L-BFGS as scikit-learn does: the same objective,
start, steps and tolerance, so that the coefficients are those of one machine except for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from tlfeatures.model_selection.sums.lockstep import in_lockstep
from tlfeatures.model_selection.sums.moments import Codes, Floats, TrainingSums
from tlfeatures.model_selection.sums.solutions import Linear, class_weights

_ABSENT = -1e300  # intercept of a class without training rows, whose probability becomes 0

# Sums of losses of shape (q,), and of gradients of shape (q, k, d + 1), of q training sets; the
# last column is the intercept's. The arguments are coefficients of shape (q, k, d + 1), and the
# weight of the rows of each part and class in each training set, of shape (q, P, k).
Evaluate = Callable[[Floats, Floats], tuple[Floats, Floats]]


def add_losses(
    X: Floats, codes: Codes, part: Codes, coef: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    """Return the losses of rows and their gradients.

    Parameters
    ----------
    X : ndarray of shape (m, d), float64
        Columns minus the pivot.
    codes, part : ndarray of shape (m,), int
        Class code and part of each row.
    coef, weights
        See `Evaluate`.

    Returns
    -------
    losses : ndarray of shape (q,), float64
    gradients : ndarray of shape (q, k, d + 1), float64
    """
    sets, classes, columns = coef.shape
    flat = coef.reshape(-1, columns)
    logits = (X @ flat[:, :-1].T + flat[:, -1]).reshape(len(X), sets, classes)
    total = logsumexp(logits, axis=2)
    rows = np.arange(len(X))
    weight = weights[:, part, codes].T
    losses = (weight * (total - logits[rows, :, codes])).sum(axis=0)
    slope = np.exp(logits - total[:, :, None])
    slope[rows, :, codes] -= 1
    slope *= weight[:, :, None]
    slope = slope.reshape(len(X), -1)
    gradients = np.empty((sets * classes, columns))
    gradients[:, :-1] = slope.T @ X
    gradients[:, -1] = slope.sum(axis=0)
    return losses, gradients.reshape(coef.shape)


@dataclass(frozen=True, eq=False)
class LogisticProblem:
    """Logistic regression on a training set.

    Attributes
    ----------
    head : LogisticRegression
        The head before its fit.
    rows : TrainingSums
        The training set.
    classes : ndarray of shape (c,), str
        The classes that have training rows.
    total : int
        k, the number of all classes.
    """

    head: LogisticRegression
    rows: TrainingSums
    classes: NDArray[np.str_]
    total: int

    @property
    def class_weights(self) -> Floats:
        """Weights of all k classes in the loss."""
        weights = np.zeros(self.total)
        weights[self.rows.present] = class_weights(
            self.head.class_weight, self.classes, self.rows.counts
        )
        return weights

    @property
    def _fitted(self) -> NDArray[np.int_]:
        """The classes with coefficients: of two classes, only the second one."""
        present = self.rows.present
        return present[1:] if len(present) == 2 else present

    def on_columns(self, coef: Floats) -> Floats:
        """Turn coefficients of standardised columns into those of columns minus the pivot."""
        own = np.zeros((self.total, coef.shape[1]))
        own[:, -1] = _ABSENT
        own[self.rows.present, -1] = 0
        own[self._fitted, :-1] = coef[:, :-1] / self.rows.scale
        own[self._fitted, -1] = coef[:, -1] - own[self._fitted, :-1] @ self.rows.shift
        return own

    def minimise(self, evaluate: Callable[[Floats], tuple[float, Floats]]) -> tuple[Linear, int]:
        """Minimise the loss.

        Parameters
        ----------
        evaluate : callable
            Returns the sums of the losses and of the gradients, of shape (k, d + 1), for
            coefficients as `on_columns` returns them.

        Returns
        -------
        coef : ndarray of shape (c, d) or (1, d), float64
            Coefficients of standardised columns.
        intercept : ndarray of shape (c,) or (1,), float64
        iterations : int
        """
        shape = len(self._fitted), len(self.rows.shift) + 1
        total = float(self.class_weights[self.rows.present] @ self.rows.counts)
        penalty = 1 / (self.head.C * total)

        def objective(flat: Floats) -> tuple[float, Floats]:
            coef = flat.reshape(shape)
            loss, raw = evaluate(self.on_columns(coef))
            raw = raw[self._fitted]
            gradient = np.empty(shape)
            gradient[:, :-1] = (
                raw[:, :-1] - np.outer(raw[:, -1], self.rows.shift)
            ) / self.rows.scale
            gradient[:, -1] = raw[:, -1]
            gradient /= total
            gradient[:, :-1] += penalty * coef[:, :-1]
            return loss / total + penalty / 2 * (coef[:, :-1] ** 2).sum(), gradient.ravel()

        # The options are those of scikit-learn's solver lbfgs.
        found = minimize(
            objective,
            np.zeros(shape[0] * shape[1]),
            method="L-BFGS-B",
            jac=True,
            options={
                "maxiter": self.head.max_iter,
                "maxls": 50,
                "gtol": self.head.tol,
                "ftol": 64 * np.finfo(float).eps,
            },
        )
        coef = found.x.reshape(shape)
        return (coef[:, :-1], coef[:, -1]), int(found.nit)


def minimise_all(
    problems: Sequence[LogisticProblem], trains: NDArray[np.bool_], evaluate: Evaluate
) -> list[tuple[Linear, int]]:
    """Minimise the losses of several training sets, with one evaluation for all of them at a time.

    Parameters
    ----------
    problems : sequence of LogisticProblem, length F
    trains : ndarray of shape (F, P), bool
        The parts of each training set.
    evaluate : callable
        See `Evaluate`.

    Returns
    -------
    list of ((coef, intercept), iterations)
        See `LogisticProblem.minimise`.
    """
    weights = np.stack(
        [own[:, None] * item.class_weights for item, own in zip(problems, trains, strict=True)]
    )

    def evaluate_some(points: dict[int, Floats]) -> dict[int, tuple[float, Floats]]:
        places = sorted(points)
        losses, gradients = evaluate(np.stack([points[at] for at in places]), weights[places])
        return {
            at: (float(loss), gradient)
            for at, loss, gradient in zip(places, losses, gradients, strict=True)
        }

    return in_lockstep([problem.minimise for problem in problems], evaluate_some)
