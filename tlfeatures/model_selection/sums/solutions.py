"""Coefficients of heads that have a closed form, from the sums over their training rows.

Each function returns coefficients of standardised columns, of shape (c, d), or (1, d) for two
classes, and intercepts. They are those of the head on the rows themselves, except for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, solve
from sklearn.base import BaseEstimator

from tlfeatures.heads.class_weights import weights_of
from tlfeatures.heads.classifiers.calibrated_centroid import CalibratedCentroid
from tlfeatures.heads.classifiers.calibrated_ridge import CalibratedRidge
from tlfeatures.heads.classifiers.linear import log_priors, one_row_for_two_classes
from tlfeatures.heads.classifiers.shrunk_lda import ShrunkLDA
from tlfeatures.model_selection.sums.moments import Floats, TrainingSums

Linear = tuple[Floats, Floats]

_RANK = 1e-10  # as in `tlfeatures.heads.coordinates`


def class_weights(weight: Any, classes: NDArray[np.str_], counts: NDArray[np.int64]) -> Floats:
    """Return the weight of each class of a training set.

    Parameters
    ----------
    weight : None, "balanced", or mapping of class to float
    classes : ndarray of shape (c,), str
        The classes that have training rows.
    counts : ndarray of shape (c,), int
        Their numbers of training rows.
    """
    if weight is None:
        return np.ones(len(classes))
    if isinstance(weight, str):
        balanced: Floats = counts.sum() / (len(counts) * counts)
        return balanced
    names = classes.tolist()
    return weights_of({name: weight[name] for name in names if name in weight}, names)


def centroid(head: CalibratedCentroid, rows: TrainingSums, classes: NDArray[np.str_]) -> Linear:
    """Return the decisions of `NearestMean`."""
    return one_row_for_two_classes(rows.means, -np.einsum("ij,ij->i", rows.means, rows.means) / 2)


def ridge(head: CalibratedRidge, rows: TrainingSums, classes: NDArray[np.str_]) -> Linear:
    """Return the decisions of `sklearn.linear_model.RidgeClassifier`."""
    assert rows.products is not None
    # The targets are 1 for a class and -1 for the others, and the columns have mean 0.
    cross = 2 * rows.counts[:, None] * rows.means
    targets = 2 * rows.counts / rows.counts.sum() - 1
    if len(cross) == 2:
        cross, targets = cross[1:], targets[1:]
    penalised = rows.products.copy()
    penalised.flat[:: len(penalised) + 1] += head.alpha
    coef = solve(penalised, cross.T, assume_a="pos", overwrite_a=True, check_finite=False).T
    return coef, targets


def lda(head: ShrunkLDA, rows: TrainingSums, classes: NDArray[np.str_]) -> Linear:
    """Return the decisions of `ShrunkLDA` on all principal coordinates."""
    assert rows.products is not None
    values, axes = eigh(rows.products, driver="evd", check_finite=False)
    kept = values > max(values[-1], 0) * _RANK
    kept[-1] = True  # constant data have one axis
    values, axes = np.maximum(values[kept], 0), axes[:, kept]
    means = rows.means @ axes
    n, width = rows.counts.sum(), len(values) + 1  # one more coordinate is 0 in all training rows
    within = np.diag(values) - means.T @ (rows.counts[:, None] * means)
    mean_variance = max(np.trace(within) / (n * width), 1e-200)
    covariance = (1 - head.shrinkage) / n * within
    covariance.flat[:: len(covariance) + 1] += (head.shrinkage + 1e-9) * mean_variance
    coef = solve(covariance, means.T, assume_a="pos", overwrite_a=True, check_finite=False).T
    priors = rows.counts * class_weights(head.class_weight, classes, rows.counts)
    intercept = log_priors(priors) - np.einsum("ij,ij->i", means, coef) / 2
    return one_row_for_two_classes(coef @ axes.T, intercept)


CLOSED: dict[type[BaseEstimator], Callable[..., Linear]] = {
    CalibratedCentroid: centroid,
    CalibratedRidge: ridge,
    ShrunkLDA: lda,
}
WITH_PRODUCTS = (CalibratedRidge, ShrunkLDA)
CALIBRATED = (CalibratedCentroid, CalibratedRidge)
