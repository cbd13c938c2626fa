"""A perceptron with one hidden layer, trained for a fixed number of epochs."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.utils import check_random_state, shuffle

from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.base import (
    TINY,
    BaseProbabilityClassifier,
    ClassWeight,
    Floats,
)
from tlfeatures.heads.fit_arguments import Variant


class ScaledMLP(BaseProbabilityClassifier):
    """A perceptron with one hidden layer on columns of a common scale, trained for a fixed time.

    All columns are divided by one number, so that PCA scores keep their relative widths.

    Rows may be variants of images. With `variants="all"`, each epoch trains on all rows. With
    `variants="turns"`, an epoch trains on one variant of every image, the next epoch on the next
    variant, and never on the images themselves. This is how a network is trained on images that
    are augmented at random when they are read.

    Parameters
    ----------
    hidden : int
        Number of units in the hidden layer.
    alpha : float
        L2 penalty, as in `sklearn.neural_network.MLPClassifier`.
    epochs, steps : int
        Least number of passes over the rows, and of batches of 32 rows.
    learning_rate_init : float
        Learning rate of Adam.
    scale : float, optional
        The number that columns are divided by; if None, their root mean square.
    variants : {"all", "turns"}
        The rows that an epoch trains on, see above.
    class_weight
        Weights of the rows of each class.
    random_state : int or None
    """

    mlp_: MLPClassifier
    _dtypes = (np.float64, np.float32)  # float32, as embeddings are stored, takes half the time

    def __init__(
        self,
        hidden: int = 64,
        alpha: float = 1.0,
        epochs: int = 20,
        steps: int = 1000,
        learning_rate_init: float = 0.001,
        scale: float | None = None,
        variants: str = "all",
        class_weight: ClassWeight = None,
        random_state: int | None = None,
    ) -> None:
        self.hidden = hidden
        self.alpha = alpha
        self.epochs = epochs
        self.steps = steps
        self.learning_rate_init = learning_rate_init
        self.scale = scale
        self.variants = variants
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, variant: Variant = None) -> ScaledMLP:
        """Fit on X of shape (n, d) and n labels.

        `variant` of shape (n,) is described in `FitArguments`.
        """
        if self.variants == "turns":
            for _ in self.fit_epochs(X, y, variant):
                pass
            return self
        X, codes, weights, _ = self._prepared(X, y)
        # `fit_epochs` would check the rows in each epoch: four times as long for 40 rows.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is intended
            self.mlp_.fit(X, codes, sample_weight=weights)
        self.mlp_ = _without_optimizer(self.mlp_)
        return self

    def fit_epochs(self, X: ArrayLike, y: ArrayLike, variant: Variant = None) -> Iterator[int]:
        """Fit like `fit`, to the same weights, and yield after each epoch.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)
        variant : array-like of shape (n,), optional
            See `fit`.

        Yields
        ------
        int
            Number of the completed epoch, from 1. Until the next step, the classifier predicts
            with the weights of this epoch; it keeps them if the iteration stops.

        Raises
        ------
        ParameterError, ValueError
            At the first step, if `fit` would raise them.
        """
        X, codes, weights, turns = self._prepared(X, y, variant)
        try:
            yield from _epochs(self.mlp_, X, codes, weights, turns)
        finally:
            self.mlp_.shuffle = True
            self.mlp_ = _without_optimizer(self.mlp_)

    def _prepared(
        self, X: ArrayLike, y: ArrayLike, variant: Variant = None
    ) -> tuple[Floats, NDArray[np.int_], Floats | None, list[NDArray[np.int_]]]:
        """Give scaled X, class codes, row weights, and the rows of each turn; create `mlp_`."""
        X, codes = self._checked(X, y)
        weights = None if self.class_weight is None else self._weights(codes)[codes]
        turns = self._turns(len(X), variant)
        self.scale_ = self._scale(X)
        self.mlp_ = self._untrained(len(turns[0]))
        return X / self.scale_, codes, weights, turns

    def _scale(self, X: Floats) -> float:
        if self.scale is None:
            squares = np.einsum("ij,ij->", X, X, dtype=np.float64)
            return max(float(np.sqrt(squares / X.size)), TINY)
        number = isinstance(self.scale, numbers.Real) and not isinstance(self.scale, bool)
        if not number or not 0 < self.scale < np.inf:
            raise ParameterError(f"scale must be a number above 0, or None, got {self.scale}")
        return float(self.scale)

    def _turns(self, rows: int, variant: Variant) -> list[NDArray[np.int_]]:
        if self.variants not in ("all", "turns"):
            raise ParameterError(f"variants must be all or turns, got {self.variants!r}")
        if self.variants == "all" or variant is None or not np.any(variant):
            return [np.arange(rows)]
        numbers = np.asarray(variant)
        return [np.flatnonzero(numbers == number) for number in range(1, numbers.max() + 1)]

    def _untrained(self, rows: int) -> MLPClassifier:
        batch_size = min(32, rows)
        return MLPClassifier(
            (self.hidden,),
            alpha=self.alpha,
            max_iter=max(self.epochs, -(-self.steps // -(-rows // batch_size))),
            batch_size=batch_size,
            n_iter_no_change=10**9,  # never stop early, which would depend on noise
            learning_rate_init=self.learning_rate_init,
            random_state=self.random_state,
        )

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Give probabilities of shape (n, k), columns as in `classes_`."""
        probabilities: Floats = self.mlp_.predict_proba(self._new(X) / self.scale_)
        return probabilities


def _without_optimizer(mlp: MLPClassifier) -> MLPClassifier:
    """Copy a network with its public attributes: the optimizer is three times the weights."""
    copy = MLPClassifier(**mlp.get_params())
    for name, value in vars(mlp).items():
        if name.endswith("_") and not name.startswith("_"):
            setattr(copy, name, value)
    return copy


def _epochs(
    mlp: MLPClassifier,
    X: Floats,
    codes: NDArray[np.int_],
    weights: Floats | None,
    turns: Sequence[NDArray[np.int_]],
) -> Iterator[int]:
    """Train by `partial_fit` to the very weights that `fit` gives.

    `fit` shuffles the order of the previous epoch. `partial_fit` shuffles the given rows, with a
    seed in the same way each time. So from the second epoch on, the rows are shuffled here, by the
    random numbers that `fit` would draw: they follow one number for each initial weight.
    """
    random = check_random_state(deepcopy(mlp.random_state))
    _train_once(mlp, X, codes, weights, turns[0])
    random.random_sample(sum(array.size for array in mlp.coefs_ + mlp.intercepts_))
    order = shuffle(np.arange(len(turns[0])), random_state=random)  # the order of this epoch
    mlp.shuffle = False
    yield 1
    for epoch in range(2, mlp.max_iter + 1):
        order = shuffle(order, random_state=random)
        _train_once(mlp, X, codes, weights, turns[(epoch - 1) % len(turns)][order])
        mlp.n_iter_ = epoch  # `partial_fit` sets it to 1
        yield epoch


def _train_once(
    mlp: MLPClassifier,
    X: Floats,
    codes: NDArray[np.int_],
    weights: Floats | None,
    rows: NDArray[np.int_],
) -> None:
    """Train on these rows in this order."""
    weights = None if weights is None else weights[rows]
    classes = None if hasattr(mlp, "coefs_") else np.unique(codes)
    with warnings.catch_warnings():
        # scikit-learn turns Ctrl-C into a warning; the next epoch would follow.
        warnings.filterwarnings("error", message="Training interrupted by user")
        try:
            mlp.partial_fit(X[rows], codes[rows], sample_weight=weights, classes=classes)
        except UserWarning as warning:
            if "interrupted" in str(warning):
                raise KeyboardInterrupt from None
            raise
