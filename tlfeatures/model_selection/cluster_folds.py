"""Folds on workers of a cluster, by joblib's Dask backend.

The rows that all folds read are scattered once, to all workers; a fold sends its indices and heads
only. If a worker dies, another one does its fold. If all workers that hold the rows die, the rows
are scattered again. Any other error ends the call: none is lost, and no call waits for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import cloudpickle
from joblib import Parallel, delayed
from joblib._dask import DaskDistributedBackend

from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ClusterError
from tlfeatures.features.cluster.client import Cluster
from tlfeatures.model_selection.workers import do_packed_fold

logger = logging.getLogger(__name__)

_WORK = "fold"  # in messages of the cluster
_POLL_SECONDS = 0.2  # between two checks of whether the scheduler is connected
_ATTEMPTS = 3  # how often the rows are scattered without a finished fold in between


class _RowsLostError(Exception):
    """All workers that held the rows are gone."""


class ClusterFolds:
    """Workers of a cluster, all of which hold the same rows.

    Parameters
    ----------
    cluster : Cluster
    rows : TrainingRows
        Scattered to the workers before the first fold.
    """

    def __init__(self, cluster: Cluster, rows: TrainingRows) -> None:
        self._cluster = cluster
        self._rows = rows
        self._parallel: Parallel | None = None

    def __enter__(self) -> ClusterFolds:
        return self

    def __exit__(self, *details: Any) -> None:
        self._close(*details)

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
        # Pickled here, because joblib scatters large arguments to one worker, and they would be
        # lost with this worker.
        packed = [cloudpickle.dumps(call) for call in calls]
        done = attempts = 0
        while done < len(packed):
            try:
                for result in self._results(packed[done:]):
                    yield result
                    done, attempts = done + 1, 0
            except _RowsLostError as error:
                self._close()
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise ClusterError(
                        "time after time all workers that had the embeddings ended: if the system "
                        "ended them for want of memory, start fewer on a machine; else see the "
                        "workers' log"
                    ) from error
                logger.warning("all workers that had the embeddings are gone: they are sent again")

    def _results(self, packed: list[bytes]) -> Iterator[Any]:
        parallel = self._open()
        with self._cluster.connected(_WORK):
            try:
                yield from parallel(delayed(do_packed_fold)(call, self._rows) for call in packed)
            except CancelledError as error:
                if self._cluster.client.status == "running":
                    raise _RowsLostError from error
                raise

    def _open(self) -> Parallel:
        if self._parallel is None:
            self._cluster.wait_for_worker()
            with self._cluster.connected(_WORK):
                backend = _Backend(self._cluster.client, self._rows)
                # All folds are sent at once, so that workers that join later get some of them.
                parallel = Parallel(
                    n_jobs=-1, backend=backend, return_as="generator", pre_dispatch="all"
                )
                self._parallel = parallel.__enter__()
        return self._parallel

    def _close(self, *details: Any) -> None:
        parallel, self._parallel = self._parallel, None
        if parallel is not None:
            parallel.__exit__(*(details or (None, None, None)))


class _Backend(DaskDistributedBackend):  # type: ignore[misc]  # joblib has no types
    """joblib's backend, but errors of Dask and a lost scheduler reach the caller."""

    def __init__(self, client: Any, rows: TrainingRows) -> None:
        super().__init__(client=client)
        try:
            # Without a hash as its name: another call may just be releasing the same rows.
            (scattered,) = client.scatter([rows], broadcast=True, hash=False)
        except Exception as error:
            if type(error) is Exception:  # Dask raises it if a worker can't unpickle the rows
                raise ImportError(error) from error
            raise
        self._scatter, self.data_futures = [rows], {id(rows): scattered}
        self._sent: set[Future[Any]] = set()

    def effective_n_jobs(self, n_jobs: int) -> int:
        # With one thread joblib would run the folds in this process.
        return max(2, int(super().effective_n_jobs(n_jobs)))

    def start_call(self) -> None:
        super().start_call()
        self._sent = set()
        self.client.loop.add_callback(self._watch, self._sent)

    async def _watch(self, sent: set[Future[Any]]) -> None:
        """End calls when the connection is lost, as their results would never arrive."""
        while self._continue and sent is self._sent:  # until another call begins
            if self.client.status != "running":
                for future in [future for future in list(sent) if not future.done()]:
                    future.set_exception(CancelledError())
            await asyncio.sleep(_POLL_SECONDS)

    def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> Future[Any]:
        future: Future[Any] = super().submit(func, callback)
        sent = self._sent

        def report(done: Future[Any]) -> None:
            sent.discard(done)
            if callback is not None and done.exception() is not None:
                callback(done)  # joblib calls it for results only

        sent.add(future)
        future.add_done_callback(report)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        if isinstance(out, Future):
            raise out.exception() or CancelledError()
        if isinstance(out, BaseException):  # a call that was cancelled
            raise out
        return super().retrieve_result_callback(out)
