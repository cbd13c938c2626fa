"""Folds on a cluster: joblib's Dask backend, of which no error is lost and no call waits for ever.

The rows that all folds read are scattered once, to all workers; a fold takes along its indices and
heads. A worker that dies takes no fold along: another one does it. Where all that hold the rows
die, these are scattered again. The errors of everything else end the call.
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
from tlfeatures.model_selection.trainer import on_worker

logger = logging.getLogger(__name__)

_AT = "fold"
_ASKING = 0.2  # seconds between two questions whether the scheduler is there
_TURNS = 3  # scatterings of the rows without any fold done in between


class _RowsLostError(Exception):
    """No worker is left of those that had the rows."""


class ClusterFolds:
    """Workers of a cluster, which have the same rows.

    Parameters
    ----------
    cluster : Cluster
    rows : TrainingRows
        Scattered at the first fold.
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
        """Threads of the workers that there are just now."""
        with self._cluster.connected(_AT):
            return self._cluster.threads

    def each(self, calls: Sequence[Sequence[Any]]) -> Iterator[Any]:
        """Give what each (work, task, ...) makes of the rows, in order.

        Raises
        ------
        ClusterError
            If the scheduler is gone, or worker after worker ends while it is at the same fold.
        """
        # Pickled, as joblib scatters large arguments: they'd be lost with the one worker that has
        # them.
        packed = [cloudpickle.dumps(call) for call in calls]
        done = turns = 0
        while done < len(packed):
            try:
                for result in self._results(packed[done:]):
                    yield result
                    done, turns = done + 1, 0
            except _RowsLostError as error:
                self._close()
                turns += 1
                if turns == _TURNS:
                    raise ClusterError(
                        "time after time all workers that had the embeddings ended: if the system "
                        "ended them for want of memory, start fewer on a machine; else see the "
                        "workers' log"
                    ) from error
                logger.warning("all workers that had the embeddings are gone: they are sent again")

    def _results(self, packed: list[bytes]) -> Iterator[Any]:
        parallel = self._open()
        with self._cluster.connected(_AT):
            try:
                yield from parallel(delayed(on_worker)(each, self._rows) for each in packed)
            except CancelledError as error:
                if self._cluster.client.status == "running":
                    raise _RowsLostError from error
                raise

    def _open(self) -> Parallel:
        if self._parallel is None:
            self._cluster.wait_for_worker()
            with self._cluster.connected(_AT):
                backend = _Backend(self._cluster.client, self._rows)
                # All go out at once: what a worker that comes later can do is there for it.
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
    """As joblib's, but errors of Dask itself, and a lost scheduler, reach who waits."""

    def __init__(self, client: Any, rows: TrainingRows) -> None:
        super().__init__(client=client)
        try:
            # Under a name of its own: the same rows may just be let go of by another call.
            (scattered,) = client.scatter([rows], broadcast=True, hash=False)
        except Exception as error:
            if type(error) is Exception:  # of a worker that can't unpickle them, as Dask tells it
                raise ImportError(error) from error
            raise
        self._scatter, self.data_futures = [rows], {id(rows): scattered}
        self._sent: set[Future[Any]] = set()

    def effective_n_jobs(self, n_jobs: int) -> int:
        # Of a cluster with one thread joblib would make 1: do it here.
        return max(2, int(super().effective_n_jobs(n_jobs)))

    def start_call(self) -> None:
        super().start_call()
        self._sent = set()
        self.client.loop.add_callback(self._watch, self._sent)

    async def _watch(self, sent: set[Future[Any]]) -> None:
        """What is sent while the connection is lost would never come back."""
        while self._continue and sent is self._sent:  # else it is another call's turn
            if self.client.status != "running":
                for future in [each for each in list(sent) if not each.done()]:
                    future.set_exception(CancelledError())
            await asyncio.sleep(_ASKING)

    def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> Future[Any]:
        future: Future[Any] = super().submit(func, callback)
        sent = self._sent

        def tell(done: Future[Any]) -> None:
            sent.discard(done)
            if callback is not None and done.exception() is not None:
                callback(done)  # joblib calls it for results alone

        sent.add(future)
        future.add_done_callback(tell)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        if isinstance(out, Future):
            raise out.exception() or CancelledError()
        if isinstance(out, BaseException):  # a call that was cancelled
            raise out
        return super().retrieve_result_callback(out)
