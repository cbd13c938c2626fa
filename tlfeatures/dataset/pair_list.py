"""Collecting pairs of similar rows, at most about a million."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.pair_search import NearPairs

MOST_PAIRS = 1_000_000


def similarities(
    distance: NDArray[np.float32], scale: NDArray[np.float32], other_scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return similarities, as `tlfeatures.dataset.duplicates` defines them.

    `distance` is overwritten.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        distance /= np.minimum(scale, other_scale)
    # 0 / 0 occurs if a tenth of the images are copies of each other
    similarity: NDArray[np.float32] = 1 - np.nan_to_num(distance, copy=False, nan=0, posinf=np.inf)
    return similarity


@dataclass
class PairList:
    """Collects pairs of rows.

    If there are more than `MOST_PAIRS`, it drops the pairs below the smallest similarity. If these
    are still too many, it keeps those of a maximum spanning forest, which connect the same rows
    with the smallest and every higher similarity.

    Attributes
    ----------
    scales : ndarray of shape (n,), float32
    least : float
        Smallest similarity of near-duplicates. Pairs with a lower one may be added, too.
    complete : bool
        Whether no pair was dropped that was added.
    thinned : bool
        Whether only a forest was kept.
    """

    scales: NDArray[np.float32]
    least: float
    complete: bool = True
    thinned: bool = False

    def __post_init__(self) -> None:
        self._parts: list[NearPairs] = []
        self._count = 0

    def add(self, pairs: NearPairs) -> None:
        """Add pairs that were not added before."""
        self._parts.append(pairs)
        self._count += len(pairs.i)
        if self._count <= MOST_PAIRS:
            return
        self.complete = False
        kept = self._similar(self.least)
        if len(kept.i) > MOST_PAIRS or self.thinned:
            self.thinned = True
            kept = self._forest(kept)
        self._parts, self._count = [kept], len(kept.i)

    def all(self) -> NearPairs:
        """Return all pairs that are kept."""
        if self.thinned:
            return self._forest(self._similar(self.least))
        return self._all()

    def _all(self) -> NearPairs:
        if not self._parts:
            return no_pairs()
        return NearPairs(*map(np.concatenate, zip(*self._parts, strict=True)))

    def _similar(self, least: float) -> NearPairs:
        pairs = self._all()
        return take(pairs, _similarity_of(pairs, self.scales) >= least)

    def _forest(self, pairs: NearPairs) -> NearPairs:
        """Return the pairs of a maximum spanning forest.

        The forest of an earlier forest and of new pairs is the forest of all pairs, as no two pairs
        have the same rank.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import minimum_spanning_tree

        order = _most_similar_first(pairs, _similarity_of(pairs, self.scales))
        i, j, n = pairs.i[order], pairs.j[order], len(self.scales)
        ranks = np.arange(1, len(order) + 1, dtype=np.float64)  # a weight of 0 would be no edge
        tree = minimum_spanning_tree(coo_array((ranks, (i, j)), shape=(n, n)).tocsr())
        return take(pairs, order[tree.data.astype(np.int64) - 1])


def similar_pairs(
    pairs: NearPairs, scales: NDArray[np.float32], least: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs with at least this similarity, the most similar first.

    Parameters
    ----------
    pairs : NearPairs
    scales : ndarray of shape (n,), float32
    least : float

    Returns
    -------
    pairs : ndarray of shape (p, 2), int
    similarity : ndarray of shape (p,)
    """
    similarity = _similarity_of(pairs, scales)
    order = _most_similar_first(pairs, similarity)
    order = order[similarity[order] >= least]
    return np.stack([pairs.i[order], pairs.j[order]], axis=1), similarity[order].astype(np.float64)


def take(pairs: NearPairs, selection: NDArray[Any]) -> NearPairs:
    """Return some of the pairs, selected by their positions or by a mask."""
    return NearPairs(pairs.i[selection], pairs.j[selection], pairs.distance[selection])


def no_pairs() -> NearPairs:
    """Return an empty list of pairs."""
    return NearPairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def _similarity_of(pairs: NearPairs, scales: NDArray[np.float32]) -> NDArray[np.float32]:
    return similarities(pairs.distance.copy(), scales[pairs.i], scales[pairs.j])


def _most_similar_first(pairs: NearPairs, similarity: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.lexsort((pairs.j, pairs.i, -similarity))
