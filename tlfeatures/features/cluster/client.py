"""Processes on other machines, or several on this one: Dask distributed, an extra of this package.

The one file that imports `distributed`, inside function bodies. What is sent to workers is a
function of this package, by its name, with plain data (`--cluster` of `fit` and `benchmark`: inside
joblib's wrapper). A scheduler runs whatever anybody sends who reaches its port: docs/cluster.md.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from tlfeatures.errors import ClusterError, TlfeaturesError

if TYPE_CHECKING:
    from distributed import Client as Client

logger = logging.getLogger(__name__)

GPU = "GPU"  # the resource of workers that have one: `dask worker ... --resources GPU=1`

PATIENCE_SECONDS = 3.0  # without any worker, after which it is said
CALLS_A_THREAD = 3  # sent to the cluster: no thread waits for its next call, few wait in line

_ASKING = 0.2  # seconds between two questions whether to stop
_RETRIES = 2  # of a call that fails: a disk or a store may have been busy

Given = TypeVar("Given")
Made = TypeVar("Made")


class Cluster:
    """A scheduler that is connected to.

    Parameters
    ----------
    client : distributed.Client
    where : str
        Its address, as the user knows it.
    """

    def __init__(self, client: Client, where: str) -> None:
        self.client = client
        self.where = where

    @property
    def dashboard(self) -> str:
        """Address of the page on which Dask shows its work."""
        return str(self.client.dashboard_link)

    @property
    def threads(self) -> int:
        """Threads of all workers that there are just now."""
        return self.threads_for({})

    def threads_for(self, resources: dict[str, float]) -> int:
        """Threads of the workers that have what a call needs."""
        if not resources:
            return sum(self.client.ncores().values())
        return sum(
            int(worker["nthreads"])
            for worker in self._workers()
            if all(worker.get("resources", {}).get(name) for name in resources)
        )

    def _workers(self) -> Collection[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.client.scheduler_info(n_workers=-1)["workers"]
        return found.values()

    def resources(self, device: str) -> dict[str, float]:
        """Say what a forward pass needs: a GPU, where workers say that they have one."""
        there = any(worker.get("resources", {}).get(GPU) for worker in self._workers())
        return {GPU: 1} if there and device != "cpu" else {}

    def wait_for_worker(self) -> None:
        """Wait until there is one, and say so if that takes long."""
        workers = _WorkerCheck(self.where)
        while True:
            with self.connected("images"):
                threads = self.threads
            if threads:
                return
            workers.look(threads)
            time.sleep(_ASKING)

    def each(
        self,
        function: Callable[[Given], Made],
        given: Iterable[Given],
        *,
        resources: dict[str, float] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[Given, Made]]:
        """Call a function of this package for each of these, on the workers; as they come back.

        No more of them are sent than keep the workers busy, so that neither scheduler nor client
        holds many, however many there are. What a lost worker was at is sent to another one.

        Parameters
        ----------
        function : callable
        given : iterable
        resources : dict, optional
            That a worker must have for it.
        stop : callable, optional
            True: what was sent is taken back, and no more comes.

        Yields
        ------
        (given, what the function made of it)

        Raises
        ------
        ClusterError
            If the scheduler is gone, or worker after worker ends while it is at the same.
        Exception
            Whatever the function raises.
        """
        waiting = iter(given)
        sent: dict[Any, Given] = {}
        workers = _WorkerCheck(self.where, resources)
        try:
            while not stop():
                with self.connected("images"):
                    threads = self.threads_for(resources or {})
                    workers.look(threads)
                    more = CALLS_A_THREAD * max(threads, 1) - len(sent)
                    for each in islice(waiting, max(more, 0)):
                        sent[self._sent(function, each, resources)] = each
                    done = self._done(list(sent))
                if not sent:
                    return
                for future in done:
                    with self.connected("images"):
                        made = future.result()
                    yield sent.pop(future), made
        finally:
            with contextlib.suppress(Exception):  # a scheduler that is gone has let go of them
                self.client.cancel(list(sent))

    def first(
        self,
        function: Callable[[Given], Made],
        given: Given,
        resources: dict[str, float] | None = None,
    ) -> Made:
        """Call a function of this package on any worker; see `each`."""
        ((_, made),) = self.each(function, [given], resources=resources)
        return made

    def _sent(
        self, function: Callable[[Given], Made], given: Given, resources: dict[str, float] | None
    ) -> Any:
        """Send a call packed, as bytes that the scheduler passes on.

        It unpacks what it is sent, and keeps the last thousand messages to each worker: the
        objects of an order of 512 images take 0.27 MB, and its bytes a fifth of that.
        """
        call = pickle.dumps((function, given))
        name = f"{function.__name__}-{uuid.uuid4().hex}"
        return self.client.submit(
            _called, call, key=name, pure=False, resources=resources, retries=_RETRIES
        )

    def _done(self, futures: list[Any]) -> list[Any]:
        """Wait for some of them, but no longer than until it is to be asked again."""
        from distributed import wait

        if not futures:
            return []
        try:
            with self.client.as_current():
                return list(wait(futures, timeout=_ASKING, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            return []

    @contextlib.contextmanager
    def connected(self, at: str) -> Iterator[None]:
        """Say in one line what ends the work of all: a lost scheduler, workers that die of it.

        Parameters
        ----------
        at : str
            What a worker is at: "images", "fold".
        """
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        try:
            if self.client.status != "running":
                raise CommClosedError
            yield
        except (CancelledError, OSError) as error:
            lost = self.client.status != "running"
            if not lost and not isinstance(error, CancelledError | CommClosedError):
                raise
            raise ClusterError(
                f"the scheduler at {self.where} is gone, or can't be reached any more: start it "
                "and its workers again"
            ) from error
        except KilledWorker as error:
            raise ClusterError(
                f"worker after worker ended while it was at the same {at}: if the system ended "
                "them for want of memory, start fewer on a machine; else see the workers' log"
            ) from error
        except (ImportError, AttributeError) as error:
            raise ClusterError(_ANOTHER.format(error)) from error


_ANOTHER = (
    "a worker has another tlfeatures than this one, or none ({}): install the same version on all "
    "machines"
)


def _called(call: bytes) -> Any:
    """Call a function with what it is given, on a worker; what goes wrong names the machine."""
    try:
        function, given = pickle.loads(call)
        return function(given)
    except TlfeaturesError:
        raise
    except Exception as error:
        if isinstance(error, ImportError | AttributeError) and "tlfeatures" in str(error):
            raise ClusterError(_ANOTHER.format(error)) from error
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ClusterError(f"a worker on {socket.gethostname()} failed ({said})") from error


class ThisProcess:
    """A stand-in for a cluster: this process makes one call after the other."""

    threads = 1

    def threads_for(self, resources: dict[str, float]) -> int:
        """Give what `Cluster.threads_for` gives."""
        return 1

    def resources(self, device: str) -> dict[str, float]:
        """Say that nothing is asked of a worker."""
        return {}

    def each(
        self,
        function: Callable[[Given], Made],
        given: Iterable[Given],
        *,
        resources: dict[str, float] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[Given, Made]]:
        """Do what `Cluster.each` does."""
        for each in given:
            if stop():
                return
            yield each, function(each)

    def first(
        self,
        function: Callable[[Given], Made],
        given: Given,
        resources: dict[str, float] | None = None,
    ) -> Made:
        """Do what `Cluster.first` does."""
        return function(given)


class _WorkerCheck:
    """Warns once if no worker is connected."""

    def __init__(self, where: str, resources: dict[str, float] | None = None) -> None:
        self._where = where
        self._wanted = "".join(f" --resources {name}=1" for name in resources or {})
        self._since: float | None = None
        self._said = False

    def look(self, threads: int) -> None:
        if threads:
            self._since, self._said = None, False
            return
        self._since = self._since or time.monotonic()
        if not self._said and time.monotonic() - self._since > PATIENCE_SECONDS:
            self._said = True
            logger.warning(
                "no worker that can do it is connected to %s: waiting. Start one with: "
                "dask worker %s --nthreads 1%s",
                self._where,
                "ADDRESS" if self._where == "local" else self._where,
                self._wanted,
            )


def threads_of_worker() -> int | None:
    """Give how many threads the worker has in which this is called; None where it is none."""
    try:
        from distributed import get_worker

        return int(get_worker().state.nthreads)
    except (ImportError, ValueError):
        return None
