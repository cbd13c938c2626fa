"""Linear decisions with the shapes of scikit-learn's linear classifiers."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from tlfeatures.heads.classifiers.base import Floats

_LEAST = 1e-300  # prior of a class whose weight is 0: decisions stay finite


def log_priors(counts: Floats) -> Floats:
    """Return the logarithms of the shares of weighted counts of the classes, of shape (k,)."""
    logs: Floats = np.log(np.maximum(counts / counts.sum(), _LEAST))
    return logs


def one_row_for_two_classes(coef: Floats, intercept: Floats) -> tuple[Floats, Floats]:
    """Replace the coefficients of two classes by their difference, as scikit-learn does."""
    if len(coef) == 2:
        return coef[1:] - coef[:1], intercept[1:] - intercept[:1]
    return coef, intercept


def linear_decisions(X: Floats, coef: Floats, intercept: Floats) -> Floats:
    """Return decisions of shape (n,) for two classes, otherwise (n, k)."""
    decisions = X @ coef.T + intercept
    return decisions[:, 0] if len(coef) == 1 else decisions


def log_odds_to_probabilities(decisions: Floats) -> Floats:
    """Convert log odds of shape (n,), or log posteriors of (n, k), to probabilities of (n, k)."""
    if decisions.ndim == 1:
        decisions = np.column_stack([np.zeros(len(decisions)), decisions])
    probabilities: Floats = softmax(decisions, axis=1)
    return probabilities
