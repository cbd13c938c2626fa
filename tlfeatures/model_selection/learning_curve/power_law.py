"""The inverse power law of accuracy, and its fit to many curves at the same time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlfeatures.metrics.scores import Floats

_EXPONENTS = np.geomspace(0.02, 2, 240)


@dataclass(frozen=True)
class Law:
    """The parameters of the law for B curves.

    Attributes
    ----------
    a, b, c : ndarray of shape (B,), float64
        Parameters of `a - b * size ** -c`. A size is a share of the largest size.
    """

    a: Floats
    b: Floats
    c: Floats

    def at(self, size: float) -> Floats:
        """Return the accuracies at a size, of shape (B,)."""
        return self.a - self.b * float(size) ** -self.c

    def first(self, largest: float) -> dict[str, float]:
        """Return the parameters of the first curve, for sizes in images per class."""
        a, b, c = (float(values[0]) for values in (self.a, self.b, self.c))
        return {"a": a, "b": b * float(largest) ** c, "c": c}


def fit_law(sizes: Floats, curves: Floats, weights: Floats) -> Law:
    """Fit the law to B curves by weighted least squares within its bounds.

    For a given c, the law is linear in a and b, and their best values have a closed form. Therefore
    only c is searched on a grid. This search can't end in a local minimum.

    Parameters
    ----------
    sizes : ndarray of shape (S,)
        Sizes as shares of the largest size.
    curves : ndarray of shape (S, B)
        Accuracies.
    weights : ndarray of shape (S,)
        Inverse variances of the sizes.
    """
    weights = weights / weights.sum()
    mean = weights @ curves
    best = [np.full(curves.shape[1], start) for start in (np.inf, 0.0, 0.0, 0.0)]
    for c in _EXPONENTS:
        x = sizes**-c
        a, b = _line(x, curves, weights, mean)
        loss = weights @ (curves - a + np.outer(x, b)) ** 2
        better = loss < best[0]
        for kept, new in zip(best, (loss, a, b, c), strict=True):
            kept[better] = new if np.isscalar(new) else new[better]
    return Law(*best[1:])


def _line(x: Floats, curves: Floats, weights: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Fit a - b x with a <= 1 and b >= 0. If a bound is exceeded, the optimum is at the bound."""
    away = x - weights @ x
    b = np.maximum(-(weights * away) @ curves / (weights @ away**2), 0)
    a = mean + b * (weights @ x)
    over = a > 1
    b[over] = (weights * x) @ (1 - curves[:, over]) / (weights @ x**2)
    a[over] = 1
    return a, b
