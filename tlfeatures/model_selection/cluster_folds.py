"""Running folds on workers of a cluster.

The rows that all folds read are sent once, to all workers. For each fold, only its indices and
heads are sent. If a worker ends, another worker runs its fold. If all workers that have the rows
end, the rows are sent again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cloudpickle

from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.features.cluster.client import Cluster
from tlfeatures.model_selection.resent_calls import SharedData, results_in_order
from tlfeatures.model_selection.workers import do_packed_fold

_WORK = "fold"  # name of the work in the messages of the cluster


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
        self._forget()

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
        packed = [(number, cloudpickle.dumps(call)) for number, call in enumerate(calls)]
        data = SharedData(
            self._send,
            self._forget,
            "while they had the embeddings; if they had too little memory, start fewer workers on "
            "a machine, otherwise read the workers' log",
            "all workers that had the embeddings have ended; the embeddings are sent again",
        )
        return results_in_order(self._cluster, do_packed_fold, packed, data, work=_WORK)

    def _send(self) -> Any:
        if self._shared is None:
            self._shared = self._cluster.scatter(vars(self._rows), work=_WORK)
        return self._shared

    def _forget(self) -> None:
        self._shared = None
