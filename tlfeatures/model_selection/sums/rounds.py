"""Rounds over all rows: each worker is sent calls for some shards, and their results are added."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tlfeatures.features.cluster.client import Cluster
from tlfeatures.features.file.rows_in_shards import RowsInShards
from tlfeatures.model_selection.resent_calls import SharedData, results_in_order
from tlfeatures.model_selection.sums.losses import Evaluate
from tlfeatures.model_selection.sums.moments import Codes, Floats, Moments
from tlfeatures.model_selection.sums.worker import (
    Call,
    Shared,
    decisions_of,
    losses_of,
    mean_of_shard,
    moments_of,
)

Result = TypeVar("Result")

_WORK = "part of the rows"  # name of the work in the messages of the cluster
_MOST_CALLS = 128  # of a round, so that their results don't grow with the rows
_LEAST_ROWS = 2048  # of a call


class Rounds:
    """Rounds over the rows of a dataset, on the workers of a cluster.

    The number of calls depends on the rows only, and their results are added in the order of the
    shards. So the sums don't depend on the workers.

    Parameters
    ----------
    cluster : Cluster
    X : RowsInShards
        Rows of the dataset.
    codes : ndarray of shape (n,), int
        Class code of each row.
    part : ndarray of shape (n,), int
        Part of each row.
    result_bytes : int
        Size of the largest result of a call. A call has so many rows that its result is not much
        larger than the rows.
    """

    def __init__(
        self, cluster: Cluster, X: RowsInShards, codes: Codes, part: Codes, result_bytes: int
    ) -> None:
        self._cluster = cluster
        calls = _calls(X, result_bytes)
        self._order = X.order()
        self._rank = np.empty(len(X), np.int64)
        self._rank[self._order] = np.arange(len(X))
        ((_, pivot),) = cluster.map_unordered(mean_of_shard, calls[:1], work=_WORK)
        self.pivot: Floats = pivot
        self._layout: dict[str, Any] = {  # plain data, which any worker can hold
            "calls": [pickle.dumps(call) for call in calls],
            "pivot": pivot,
            "codes": codes[self._order].astype(np.int32),
            "part": part[self._order].astype(np.int32),
        }
        self._layout_there: Any = None

    def moments(self, parts: int, classes: int, *, products: bool) -> Moments:
        """Return the moments of all rows."""
        total = Moments.zero(parts, classes, len(self.pivot), products=products)
        own = {"parts": parts, "classes": classes, "products": products}
        for arrays in self._run(moments_of, own):
            total.add(Moments(*arrays))
        return total

    def losses(self) -> Evaluate:
        """Return a function that adds the losses of all rows; each call is a round."""

        def evaluate(coef: Floats, weights: Floats) -> tuple[Floats, Floats]:
            losses, gradients = np.zeros(len(coef)), np.zeros(coef.shape)
            for loss, gradient in self._run(losses_of, {"coef": coef, "weights": weights}):
                losses += loss
                gradients += gradient
            return losses, gradients

        return evaluate

    def decisions(self, coef: Floats, rows: list[NDArray[np.int_]]) -> list[Floats]:
        """Return linear decisions of some of the rows.

        Parameters
        ----------
        coef : ndarray of shape (J, c, d + 1), float64
            Coefficients of columns minus the pivot, and intercepts, of each job.
        rows : list of ndarray of shape (m,), int, length J
            The rows of each job.

        Returns
        -------
        list of ndarray of shape (m, c), float64
        """
        job = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
        position = self._rank[np.concatenate(rows)]
        order = np.argsort(position, kind="stable")
        own = {"coef": coef, "job": job[order].astype(np.int32), "position": position[order]}
        decisions = np.empty((len(job), coef.shape[1]))
        decisions[order] = np.concatenate(list(self._run(decisions_of, own)))
        return np.split(decisions, np.cumsum([len(own) for own in rows])[:-1])

    def _run(
        self, function: Callable[[int, Shared], Result], own: Mapping[str, Any]
    ) -> Iterator[Result]:
        """Yield the results of all calls, in the order of the shards.

        Raises
        ------
        ClusterError
            If the scheduler is lost, or several workers end during the same call.
        DatasetError, FormatError, StoreError
            See `Call.blocks`.
        """
        data = SharedData(
            lambda: self._send(own),
            self._forget,
            "before a part of the rows was read; read the workers' log",
            "all workers have ended; what they need is sent again",
        )
        numbers = range(len(self._layout["calls"]))
        return results_in_order(self._cluster, function, numbers, data, work=_WORK)

    def _send(self, own: Mapping[str, Any]) -> list[Any]:
        if self._layout_there is None:
            self._layout_there = self._cluster.scatter(self._layout, work=_WORK)
        return [self._layout_there, self._cluster.scatter(dict(own), work=_WORK)]

    def _forget(self) -> None:
        self._layout_there = None


def _calls(X: RowsInShards, result_bytes: int) -> list[Call]:
    """Divide the shards into calls, which depend on the rows only."""
    shards = X.shards()
    row_bytes = X.shape[1] * X.dtype.itemsize
    least = max(_LEAST_ROWS, len(X) // _MOST_CALLS, result_bytes // row_bytes)
    calls: list[Call] = []
    first, start, rows = 0, 0, 0
    for number, shard in enumerate(shards, 1):
        rows += len(shard.rows)
        if rows - first >= least or number == len(shards):
            calls.append(Call(first, shards[start:number], X.embedding, X.spec))
            first, start = rows, number
    return calls
