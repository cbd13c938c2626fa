"""Nearest neighbours with probabilities that are never 0."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.neighbors import KNeighborsClassifier

from tlfeatures.heads.classifiers.base import BaseProbabilityClassifier, ClassWeight, Floats


class SmoothedNeighbors(BaseProbabilityClassifier):
    """Nearest neighbours with votes that are never 0.

    One more vote is shared by all classes, so that no class has probability 0 (Laplace's rule of
    succession). The order of the classes stays.

    Parameters
    ----------
    n_neighbors : int
        Number of neighbours; all rows if there are fewer.
    class_weight
        Factors of the votes of the classes.
    """

    def __init__(self, n_neighbors: int = 10, class_weight: ClassWeight = None) -> None:
        self.n_neighbors = n_neighbors
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike) -> SmoothedNeighbors:
        """Fit on X of shape (n, d) and n labels."""
        X, codes = self._checked(X, y)
        self.weights_ = self._weights(codes)
        self.rows_, self.codes_ = X, codes
        self._searcher = self._new_search()  # refuses a number of neighbours below 1
        return self

    def _new_search(self) -> KNeighborsClassifier:
        count = min(self.n_neighbors, len(self.rows_))
        return KNeighborsClassifier(count, algorithm="brute").fit(self.rows_, self.codes_)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the search: a model file holds the rows once, and nothing that is derived."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_searcher", None)
        return state

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Give probabilities of shape (n, k), columns as in `classes_`."""
        columns = self._new(X)
        if getattr(self, "_searcher", None) is None:  # after loading
            self._searcher = self._new_search()
        search = self._searcher
        votes = search.predict_proba(columns) * search.n_neighbors
        votes = (votes + 1 / len(self.classes_)) * self.weights_
        probabilities: Floats = votes / votes.sum(axis=1, keepdims=True)
        return probabilities
