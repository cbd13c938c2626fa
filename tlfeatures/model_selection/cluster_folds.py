"""Running folds on workers of a cluster.

The rows that all folds read are sent once, to all workers. For each fold, only its indices and
heads are sent. If a worker ends, another worker runs its fold. If all workers that have the rows
end, the rows are sent again.
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

_WORK = "fold"  # name of the work in the messages of the cluster
_ATTEMPTS = 3  # the rows are sent at most so many times without a finished fold in between


class ClusterFolds:
    """Runs folds on the workers of a cluster, all of which have the same rows.

    Parameters
    ----------
    cluster : Cluster
    rows : TrainingRows
        Rows of the dataset. They are sent to the workers before the first fold.
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
        """Number of threads of all connected workers."""
        with self._cluster.connected(_WORK):
            return self._cluster.threads

    def map(self, calls: Sequence[Sequence[Any]]) -> Iterator[Any]:
        """Return the results of calls (work, task, ...) in order; see `do_fold`.

        Raises
        ------
        ClusterError
            If the connection to the scheduler is lost, or several workers end during the same
            fold.
        """
        # Only cloudpickle can pickle a head whose class is defined in a notebook.
        packed = [cloudpickle.dumps(call) for call in calls]
        results: dict[int, Any] = {}
        place = 0
        for number, result in self._results(packed):
            results[number] = result
            while place in results:
                yield results.pop(place)
                place += 1

    def _results(self, packed: Sequence[bytes]) -> Iterator[tuple[int, Any]]:
        """Yield the number of each call and its result, in the order in which the calls end."""
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
                        f"all workers ended {_ATTEMPTS} times while they had the embeddings; if "
                        "they had too little memory, start fewer workers on a machine, otherwise "
                        "read the workers' log"
                    ) from error
                logger.warning(
                    "all workers that had the embeddings have ended; the embeddings are sent again"
                )
