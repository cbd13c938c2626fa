"""Principal coordinates as the first step of a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from tlfeatures.heads.coordinates import PrincipalCoordinates


def set_tuned(head: BaseEstimator, params: Mapping[str, Any]) -> None:
    """Set the parameters that tuning chose; their names begin after the coordinates."""
    after_coordinates(head).set_params(**params)


def after_coordinates(head: BaseEstimator) -> BaseEstimator:
    """Give the part of a head after its coordinates; the whole head if it has none."""
    if not uses_coordinates(head):
        return head
    return head[-1] if len(head) == 2 else Pipeline(head.steps[1:])


def uses_coordinates(head: BaseEstimator) -> bool:
    """Tell whether a head begins with principal coordinates, which the heads of a fold share."""
    return isinstance(head, Pipeline) and isinstance(head[0], PrincipalCoordinates)


def compact(head: BaseEstimator) -> BaseEstimator:
    """Rotate a fitted linear head back to the columns, so that the axes needn't be kept.

    On 25,088 columns and 1,000 images the axes are 100 MB, the coefficients 100 kB.

    Parameters
    ----------
    head : fitted classifier

    Returns
    -------
    classifier
        Standardising and the linear classifier, with the same probabilities except for rounding;
        the head itself if it isn't linear.
    """
    if not uses_coordinates(head):
        return head
    coordinates, classifier = head[0], head[-1]
    linear = getattr(classifier, "fitted_", classifier)
    # The `coef_` of an SVC is a property; an SVC keeps its support vectors.
    if len(head) != 2 or "coef_" not in vars(linear):
        return head
    axes = coordinates.components_.astype(np.float64)
    linear.coef_ = linear.coef_[..., : len(axes)] @ axes
    for part in (classifier, linear):
        part.n_features_in_ = axes.shape[1]
    return Pipeline([("scale", coordinates.as_scaler()), ("classifier", classifier)])
