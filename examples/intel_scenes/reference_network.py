"""The reference's network as a scikit-learn classifier.

tlfeatures takes any scikit-learn classifier as a head, as `module:name`. It passes `variant` to a
`fit` that has this parameter, and follows the training of a classifier that has `fit_epochs`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from tlfeatures.heads.classifiers.scaled_mlp import train_once

HEAD = "reference_network:reference_head"  # its name for tlfeatures


def reference_head(random_state: int | None = 0) -> Pipeline:
    """Create the network as a head that sees the columns as they are stored."""
    return Pipeline([("classifier", ReferenceNetwork(random_state=random_state))])


class ReferenceNetwork(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """One hidden layer and a softmax, trained by Adam for few epochs on columns as they are.

    If the training rows include variants of images, an epoch trains on one variant of each image,
    the next epoch on the next variant, and none on the images themselves. A network is trained in
    this way on images that are augmented at random when they are read.

    Parameters
    ----------
    hidden : int
        Number of units in the hidden layer.
    epochs : int
        Number of passes over the images.
    random_state : int or None
    """

    classes_: NDArray[np.str_]

    def __init__(
        self, hidden: int = 1000, epochs: int = 5, random_state: int | None = None
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike, variant: NDArray[np.int_] | None = None
    ) -> ReferenceNetwork:
        """Fit on X of shape (n, d) and n labels; `variant` is described in `FitArguments`."""
        for _ in self.fit_epochs(X, y, variant):
            pass
        return self

    def fit_epochs(
        self, X: ArrayLike, y: ArrayLike, variant: NDArray[np.int_] | None = None
    ) -> Iterator[int]:
        """Fit as `fit` does, and yield the number of each epoch after it."""
        X, y = validate_data(self, X, y, dtype=[np.float32, np.float64])
        self.classes_, codes = np.unique(y, return_inverse=True)
        turns = _turns(len(codes), variant)
        self.mlp_ = MLPClassifier(
            (self.hidden,),
            alpha=0.0,
            batch_size=min(32, len(turns[0])),
            random_state=check_random_state(self.random_state),
        )
        for epoch in range(self.epochs):
            rows = turns[epoch % len(turns)]
            train_once(self.mlp_, X[rows], codes[rows])
            yield epoch + 1

    def predict_proba(self, X: ArrayLike) -> NDArray[np.floating]:
        """Give probabilities of shape (n, k), columns as in `classes_`."""
        check_is_fitted(self)
        probabilities: NDArray[np.floating] = self.mlp_.predict_proba(X)
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray[np.str_]:
        """Give the most probable class of each row."""
        labels: NDArray[np.str_] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels


def _turns(rows: int, variant: NDArray[np.int_] | None) -> list[NDArray[np.int_]]:
    """Give the rows of each variant; all rows if there are no variants."""
    if variant is None or not variant.any():
        return [np.arange(rows)]
    return [np.flatnonzero(variant == number) for number in range(1, variant.max() + 1)]
