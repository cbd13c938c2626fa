"""The functions that run on workers: each reads rows of some shards, and returns sums or decisions.

Rows are read again in each round, so that a worker needs memory for one shard only. Sums are added
in the order of the shards, so that they don't depend on the workers.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import rows_not_finite
from tlfeatures.errors import DatasetError
from tlfeatures.features.file.rows_in_shards import ShardPart
from tlfeatures.features.spec import Spec
from tlfeatures.model_selection.sums.losses import add_losses
from tlfeatures.model_selection.sums.moments import Codes, Floats, Moments
from tlfeatures.threads import one_thread

Shared = list[dict[str, Any]]  # what all calls need, and what those of this round need


@dataclass(frozen=True)
class Call:
    """Some of the shards, which a worker reads in one call.

    Attributes
    ----------
    first : int
        Position of the first row, in the order of the shards.
    shards : list of ShardPart
    embedding : str
    spec : Spec
    """

    first: int
    shards: list[ShardPart]
    embedding: str
    spec: Spec

    @property
    def last(self) -> int:
        """Position after the last row."""
        return self.first + sum(len(shard.rows) for shard in self.shards)

    def blocks(self, pivot: Floats) -> Iterator[tuple[slice, Floats]]:
        """Read the shards, and yield the positions and the columns minus the pivot of their rows.

        Raises
        ------
        DatasetError
            If a value is not finite.
        StoreError, FormatError
            See `ShardPart.read`.
        """
        first = self.first
        for shard in self.shards:
            X = shard.read(self.embedding, self.spec)
            bad = rows_not_finite(X)
            if len(bad):
                raise DatasetError(
                    f"{self.embedding} has values that are not finite in {len(bad)} rows of "
                    f"{shard.path}; run `tlfeatures verify FILE --mend`, and then `tlfeatures "
                    "extract` to compute them again"
                )
            yield slice(first, first + len(X)), X - pivot
            first += len(X)


def _call(number: int, layout: dict[str, Any]) -> Call:
    call: Call = pickle.loads(layout["calls"][number])
    return call


def mean_of_shard(call: Call) -> Floats:
    """Return the mean of the rows of the first shard: shape (d,), float64."""
    with one_thread():
        mean: Floats = call.shards[0].read(call.embedding, call.spec).mean(axis=0, dtype=np.float64)
        return mean


def moments_of(number: int, shared: Shared) -> tuple[Floats, ...]:
    """Return the arrays of the `Moments` of some shards.

    The arguments of the round are `parts`, `classes` and `products`, see `Moments.zero`.
    """
    layout, own = shared
    call, pivot = _call(number, layout), layout["pivot"]
    with one_thread():
        moments = Moments.zero(own["parts"], own["classes"], len(pivot), products=own["products"])
        for at, X in call.blocks(pivot):
            moments.add_rows(X, layout["codes"][at], layout["part"][at])
    return moments.arrays()


def losses_of(number: int, shared: Shared) -> tuple[Floats, Floats]:
    """Return losses and gradients of some shards, see `add_losses`.

    The arguments of the round are `coef` and `weights`.
    """
    layout, own = shared
    call = _call(number, layout)
    losses, gradients = np.zeros(len(own["coef"])), np.zeros(own["coef"].shape)
    with one_thread():
        for at, X in call.blocks(layout["pivot"]):
            codes, part = layout["codes"][at], layout["part"][at]
            loss, gradient = add_losses(X, codes, part, own["coef"], own["weights"])
            losses += loss
            gradients += gradient
    return losses, gradients


def decisions_of(number: int, shared: Shared) -> Floats:
    """Return the decisions of rows of some shards.

    The arguments of the round are `coef` of shape (J, c, d + 1), the coefficients of J jobs, and
    `job` and `position` of shape (E,), the decisions that are wanted, sorted by the position.

    Returns
    -------
    ndarray of shape (e, c), float64
        The wanted decisions of these shards.
    """
    layout, own = shared
    call = _call(number, layout)
    with one_thread():
        tables = [
            _decisions(X, at, own["coef"], own["job"], own["position"])
            for at, X in call.blocks(layout["pivot"])
        ]
    return np.concatenate(tables)


def _decisions(
    X: Floats, at: slice, coef: Floats, job: Codes, position: NDArray[np.int64]
) -> Floats:
    wanted = slice(*np.searchsorted(position, [at.start, at.stop]).tolist())
    jobs, rows = job[wanted], position[wanted] - at.start
    decisions = np.empty((len(jobs), coef.shape[1]))
    for number in np.unique(jobs).tolist():
        mine = jobs == number
        decisions[mine] = X[rows[mine]] @ coef[number, :, :-1].T + coef[number, :, -1]
    return decisions
