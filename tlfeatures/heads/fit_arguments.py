"""Optional fit arguments: groups, image index, variant number."""

from __future__ import annotations

from dataclasses import dataclass, fields
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

Units = NDArray[Any] | None  # rows with the same value belong together
Variant = NDArray[np.int_] | None  # 0 for an image itself, otherwise the number of its variant


@dataclass(frozen=True, eq=False)
class FitArguments:
    """Optional information about training rows for a classifier's `fit` or `predict_path`.

    An attribute is passed to a method if the method has a parameter with its name.

    Attributes
    ----------
    groups : ndarray of shape (n,), or None
        Group of each row. Inner folds never separate the rows of a group.
    images : ndarray of shape (n,), or None
        Index of the image that each row was computed from; None if no row is a variant.
    variant : ndarray of shape (n,), int, or None
        0 for an image itself, otherwise the number of its variant.
    """

    groups: Units = None
    images: Units = None
    variant: Variant = None

    def accepted_by(
        self, classifier: BaseEstimator, method: str = "fit"
    ) -> dict[str, NDArray[Any]]:
        """Return the arguments that have a value and are accepted by the classifier's method."""
        accepted = signature(getattr(classifier, method)).parameters
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value for name, value in values.items() if value is not None and name in accepted
        }
