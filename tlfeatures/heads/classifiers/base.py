"""The base class of the classifiers: it checks inputs, and has class weights by name."""

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

TINY = 1e-30  # smallest divisor; it is not 0 in float32 either


class BaseProbabilityClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier with class weights by name. It predicts the most probable class."""

    classes_: NDArray[Any]
    _dtypes: Any = np.float64  # accepted types of the columns; the first is the default

    def _checked(self, X: ArrayLike, y: ArrayLike) -> tuple[Floats, NDArray[np.int_]]:
        """Check X and y, set `classes_`, and return X as floats and y as class codes."""
        checked: Floats
        checked, y = validate_data(self, X, y, dtype=self._dtypes)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has only the class {self.classes_[0]!r}; expected two or more")
        return checked, codes

    def _new(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        checked: Floats = validate_data(self, X, dtype=self._dtypes, reset=False)
        return checked

    def _class_weight(self) -> Any:
        return getattr(self, "class_weight", None)

    def _weights(self, codes: NDArray[np.int_]) -> Floats:
        """Return the weight of each class."""
        weight = self._class_weight()
        if isinstance(weight, Mapping):
            return weights_of(weight, self.classes_.tolist())
        weights: Floats = compute_class_weight(
            weight, classes=np.arange(len(self.classes_)), y=codes
        )
        return weights

    @abstractmethod
    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return probabilities of shape (n, k), with columns in the order of `classes_`."""

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable class of each row."""
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels
