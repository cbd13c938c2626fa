"""Nearest neighbours with probabilities that are never 0."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.neighbors import KNeighborsClassifier

from tlfeatures.heads.classifiers.base import BaseProbabilityClassifier, ClassWeight, Floats


class SmoothedNeighbors(BaseProbabilityClassifier):
    """Nearest neighbours with smoothed probabilities.

    All classes share one additional vote, so that no class has probability 0 (Laplace's rule of
    succession). The order of the classes by probability does not change.

    Parameters
    ----------
    n_neighbors : int
        Number of neighbours. If there are fewer rows, all rows are neighbours.
    class_weight
        Factors of the votes of each class.
    """

    def __init__(self, n_neighbors: int = 10, class_weight: ClassWeight = None) -> None:
        self.n_neighbors = n_neighbors
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike) -> SmoothedNeighbors:
        """Fit on X of shape (n, d) and n labels."""
        X, codes = self._checked(X, y)
        self.weights_ = self._weights(codes)
        self.rows_, self.codes_ = X, codes
        self._searcher = self._new_search()  # raises an error if n_neighbors is below 1
        return self

    def _new_search(self) -> KNeighborsClassifier:
        count = min(self.n_neighbors, len(self.rows_))
        return KNeighborsClassifier(count, algorithm="brute").fit(self.rows_, self.codes_)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the search object, which would contain the rows again."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_searcher", None)
        return state

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return probabilities of shape (n, k), with columns in the order of `classes_`."""
        columns = self._new(X)
        if getattr(self, "_searcher", None) is None:  # after loading
            self._searcher = self._new_search()
        search = self._searcher
        votes = search.predict_proba(columns) * search.n_neighbors
        votes = (votes + 1 / len(self.classes_)) * self.weights_
        probabilities: Floats = votes / votes.sum(axis=1, keepdims=True)
        return probabilities
