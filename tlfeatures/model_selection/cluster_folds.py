"""Folds on workers of a cluster.

The rows that all folds read are sent once, to all workers; a fold sends its indices and heads only.
If a worker dies, another one does its fold. If all workers that hold the rows die, the rows are
sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import cloudpickle

from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ClusterError
from tlfeatures.features.cluster.client import CallsLostError, Cluster
from tlfeatures.model_selection.workers import do_packed_fold

logger = logging.getLogger(__name__)

_WORK = "fold"  # in messages of the cluster
_ATTEMPTS = 3  # how often the rows are sent without a finished fold in between


class ClusterFolds:
    """Workers of a cluster, all of which hold the same rows.

    Parameters
    ----------
    cluster : Cluster
    rows : TrainingRows
        Sent to the workers before the first fold.
    """

    def __init__(self, cluster: Cluster, rows: TrainingRows) -> None:
        self._cluster = cluster
        self._rows = rows
        self._shared: Any = None  # the rows on the workers

    def __enter__(self) -> ClusterFolds:
        return self

    def __exit__(self, *details: Any) -> None:
        self._shared = None

    @property
    def threads(self) -> int:
        """Number of threads of the workers that are connected now."""
        with self._cluster.connected(_WORK):
            return self._cluster.threads

    def map(self, calls: Sequence[Sequence[Any]]) -> Iterator[Any]:
        """Return the results of calls (work, task, ...) in order; see `do_fold`.

        Raises
        ------
        ClusterError
            If the scheduler is gone, or worker after worker ends during the same fold.
        """
        # A head may be of a class that only cloudpickle can pickle, such as one of a notebook.
        packed = [cloudpickle.dumps(call) for call in calls]
        results: dict[int, Any] = {}
        place = 0
        for number, result in self._results(packed):
            results[number] = result
            while place in results:
                yield results.pop(place)
                place += 1

    def _results(self, packed: Sequence[bytes]) -> Iterator[tuple[int, Any]]:
        """Give the number of a call and its result, in the order in which the calls end."""
        left = dict(enumerate(packed))
        attempts = 0
        while left:
            try:
                if self._shared is None:
                    self._shared = self._cluster.scatter(vars(self._rows), work=_WORK)
                for (number, _), result in self._cluster.map_unordered(
                    do_packed_fold, list(left.items()), shared=self._shared, work=_WORK
                ):
                    del left[number]
                    attempts = 0
                    yield number, result
            except CallsLostError as error:
                self._shared = None
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise ClusterError(
                        "time after time all workers that had the embeddings ended: if the system "
                        "ended them for want of memory, start fewer on a machine; else see the "
                        "workers' log"
                    ) from error
                logger.warning("all workers that had the embeddings are gone: they are sent again")
