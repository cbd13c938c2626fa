"""A perceptron with one hidden layer, trained for a fixed number of epochs."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax
from sklearn.neural_network import MLPClassifier
from sklearn.utils import check_random_state

from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.base import (
    TINY,
    BaseProbabilityClassifier,
    ClassWeight,
    Floats,
)

_BATCH = 32  # number of rows of a batch


class ScaledMLP(BaseProbabilityClassifier):
    """A perceptron with one hidden layer, trained for a fixed number of epochs.

    All columns are divided by the same number, their root mean square, so that PCA scores keep
    their relative variances. An epoch is one call of scikit-learn's `MLPClassifier.partial_fit`,
    with the rows in random order. If there are few rows, an epoch has several passes over them,
    because each call takes at least a millisecond, as long as the training on a few batches.

    Parameters
    ----------
    hidden : int
        Number of units in the hidden layer.
    alpha : float
        L2 penalty, as in `sklearn.neural_network.MLPClassifier`.
    epochs : int
        Smallest number of epochs.
    steps : int
        Smallest number of batches of 32 rows in all epochs. For up to 1,600 rows, the default
        values give about 1,000 batches in 20 to 39 epochs.
    learning_rate_init : float
        Learning rate of Adam.
    class_weight
        Weights of the classes, by class name, or "balanced".
    random_state : int or None
        Seed of the initial weights and of the order of rows.

    Attributes
    ----------
    scale_ : float
        The number that columns are divided by.
    coefs_ : list of two ndarray, of shape (d, hidden) and (hidden, outputs)
        Weights of both layers. There is one output for two classes, otherwise one for each class.
    intercepts_ : list of two ndarray, of shape (hidden,) and (outputs,)
        Intercepts of both layers.
    """

    _dtypes = (np.float64, np.float32)  # embeddings are float32, which takes half the time

    def __init__(
        self,
        hidden: int = 64,
        alpha: float = 1.0,
        epochs: int = 20,
        steps: int = 1000,
        learning_rate_init: float = 0.001,
        class_weight: ClassWeight = None,
        random_state: int | None = None,
    ) -> None:
        self.hidden = hidden
        self.alpha = alpha
        self.epochs = epochs
        self.steps = steps
        self.learning_rate_init = learning_rate_init
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> ScaledMLP:
        """Fit on X of shape (n, d) and n labels."""
        for _ in self.fit_epochs(X, y):
            pass
        return self

    def fit_epochs(self, X: ArrayLike, y: ArrayLike) -> Iterator[int]:
        """Fit as `fit` does, and yield after each epoch.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)

        Yields
        ------
        int
            Number of the completed epoch, starting with 1. Until the next step, the classifier
            predicts with the weights of this epoch. It keeps them if the iteration stops.

        Raises
        ------
        ParameterError, ValueError
            At the first step, if a parameter or the rows are invalid.
        """
        columns, codes = self._checked(X, y)
        epochs, passes = self._epochs_and_passes(len(columns))
        weights = None if self.class_weight is None else self._weights(codes)[codes]
        squares = np.einsum("ij,ij->", columns, columns, dtype=np.float64)
        self.scale_ = max(float(np.sqrt(squares / columns.size)), TINY)
        rows = np.tile(np.arange(len(columns)), passes)
        columns, codes = columns[rows], codes[rows]
        columns /= self.scale_
        weights = None if weights is None else weights[rows]
        mlp = MLPClassifier(
            (self.hidden,),
            alpha=self.alpha,
            batch_size=min(_BATCH, len(rows) // passes),
            learning_rate_init=self.learning_rate_init,
            random_state=check_random_state(self.random_state),  # a new order in each epoch
        )
        for epoch in range(1, epochs + 1):
            train_once(mlp, columns, codes, weights)
            self.coefs_, self.intercepts_ = mlp.coefs_, mlp.intercepts_
            yield epoch

    def _epochs_and_passes(self, rows: int) -> tuple[int, int]:
        """Return the number of epochs, and the number of passes over the rows in an epoch."""
        for name in ("epochs", "steps"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < 1:
                raise ParameterError(f"{name} must be a whole number from 1 up, got {value!r}")
        batches = self.steps * min(_BATCH, rows)  # rows in so many batches
        passes = max(self.epochs, -(-batches // rows))
        in_epoch = passes // self.epochs
        return -(-passes // in_epoch), in_epoch

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return probabilities of shape (n, k), with columns in the order of `classes_`."""
        hidden = self._new(X) / self.scale_ @ self.coefs_[0] + self.intercepts_[0]
        outputs = np.maximum(hidden, 0) @ self.coefs_[1] + self.intercepts_[1]
        if len(self.classes_) > 2:
            probabilities: Floats = softmax(outputs, axis=1)
            return probabilities
        second = expit(outputs)
        return np.hstack([1 - second, second])


def train_once(
    mlp: MLPClassifier, X: NDArray[Any], codes: NDArray[np.int_], weights: Floats | None = None
) -> None:
    """Train a network on all rows once, with `partial_fit`.

    Parameters
    ----------
    mlp : MLPClassifier
    X : ndarray of shape (n, d)
    codes : ndarray of shape (n,), int
        Class codes. In the first epoch, every class must have rows.
    weights : ndarray of shape (n,), optional

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C. scikit-learn converts Ctrl-C to a warning, so the training would continue.
    """
    classes = None if hasattr(mlp, "coefs_") else np.unique(codes)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Training interrupted by user")
        try:
            mlp.partial_fit(X, codes, sample_weight=weights, classes=classes)
        except UserWarning as warning:
            if "interrupted" in str(warning):
                raise KeyboardInterrupt from None
            raise
