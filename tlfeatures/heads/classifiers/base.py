"""The base class of the classifiers: checked inputs, class weights by name, the likeliest label."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted, validate_data

from tlfeatures.heads.class_weights import weights_of

Floats = NDArray[np.float64]
ClassWeight = Mapping[str, float] | str | None

TINY = 1e-30  # the least number that is divided by, in float32 too


class BaseProbabilityClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose label is the most probable class, with class weights by name."""

    classes_: NDArray[Any]
    _dtypes: Any = np.float64  # accepted types of the columns; the first is the default

    def _checked(self, X: ArrayLike, y: ArrayLike) -> tuple[Floats, NDArray[np.int_]]:
        """Check X and y, set `classes_`, and give X as floats and y as class codes."""
        checked: Floats
        checked, y = validate_data(self, X, y, dtype=self._dtypes)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"there is one class only, {self.classes_[0]!r}; two are needed")
        return checked, codes

    def _new(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        checked: Floats = validate_data(self, X, dtype=self._dtypes, reset=False)
        return checked

    def _class_weight(self) -> Any:
        return getattr(self, "class_weight", None)

    def _weights(self, codes: NDArray[np.int_]) -> Floats:
        """Give the weight of each class."""
        weight = self._class_weight()
        if isinstance(weight, Mapping):
            return weights_of(weight, self.classes_.tolist())
        weights: Floats = compute_class_weight(
            weight, classes=np.arange(len(self.classes_)), y=codes
        )
        return weights

    @abstractmethod
    def predict_proba(self, X: ArrayLike) -> Floats:
        """Give probabilities of shape (n, k), columns as in `classes_`."""

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Give the most probable class of each row."""
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels
