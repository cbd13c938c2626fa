"""Call functions on the workers of a Dask scheduler; Dask is an extra of this package.

Only this module and `connect` import `distributed`, in functions. A worker is sent a function of
this package, by its name, and its arguments. A scheduler runs whatever it is sent by anybody who
reaches its port: see docs/cluster.md.
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
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from tlfeatures.errors import ClusterError, TlfeaturesError

if TYPE_CHECKING:
    from distributed import Client as Client

logger = logging.getLogger(__name__)

GPU = "GPU"  # the resource of workers that have one: `dask worker ... --resources GPU=1`

PATIENCE_SECONDS = 3.0  # time without a worker after which there is a warning
CALLS_A_THREAD = 3  # calls in the cluster: no thread waits for its next call, and few are queued

_POLL_SECONDS = 0.2  # time between two calls of `stop`
_RETRIES = 2  # of a call that fails: a disk or an object store may have been busy

_OTHER_VERSION = (
    "a worker has another tlfeatures than this one, or none ({}): install the same version on all "
    "machines"
)

Resources = dict[str, float]
Argument = TypeVar("Argument")
Result = TypeVar("Result")


def _never() -> bool:
    return False


class CallsLostError(ClusterError):
    """The scheduler can be reached, but it no longer has the calls or the data that they share."""


class Cluster:
    """A connected Dask scheduler.

    Parameters
    ----------
    client : distributed.Client
    address : str
        The address that the user gave, or "local".
    """

    def __init__(self, client: Client, address: str) -> None:
        self.client = client
        self.address = address

    @property
    def threads(self) -> int:
        """Current number of threads of all workers."""
        return sum(self.client.ncores().values())

    def threads_for(self, resources: Resources | None) -> int:
        """Return the current number of threads of the workers with these resources."""
        if not resources:
            return self.threads
        return sum(
            int(worker["nthreads"])
            for worker in self._workers()
            if all(worker.get("resources", {}).get(name) for name in resources)
        )

    def _workers(self) -> Collection[dict[str, Any]]:
        workers: dict[str, dict[str, Any]] = self.client.scheduler_info(n_workers=-1)["workers"]
        return workers.values()

    def resources(self, device: str) -> Resources:
        """Return what a forward pass needs: a GPU, if any worker states that it has one."""
        has_gpu = any(worker.get("resources", {}).get(GPU) for worker in self._workers())
        return {GPU: 1} if has_gpu and device != "cpu" else {}

    def scatter(self, data: object, *, work: str) -> Any:
        """Send data to all workers, after waiting for the first one.

        Workers that connect later get the data from another worker.

        Parameters
        ----------
        data : object
            Plain data, such as a dict of arrays: no class of this package. A worker that connects
            later and lacks such a class would wait for ever.
        work : str
            As in `connected`.

        Returns
        -------
        distributed.Future
            For `map_unordered`. The workers keep the data as long as this object exists.

        Raises
        ------
        CallsLostError
            If a worker ends meanwhile.
        ClusterError
            If the scheduler is lost, or a worker can't unpickle the data.
        """
        self._wait_for_worker(work)
        with self.connected(work):
            try:
                # Without a hash as its name: another call may just be releasing the same data.
                (shared,) = self.client.scatter([data], broadcast=True, hash=False)
                return shared
            except OSError as error:
                time.sleep(_POLL_SECONDS)  # until the client knows if it has lost the scheduler
                if self.client.status == "running":
                    raise CallsLostError("a worker ended while data was sent to it") from error
                raise
            except Exception as error:
                if type(error) is Exception:  # Dask raises it if a worker can't unpickle the data
                    raise ImportError(error) from error
                raise

    def _wait_for_worker(self, work: str) -> None:
        warning = _WorkerWarning(self.address)
        while True:
            with self.connected(work):
                threads = self.threads
            if threads:
                return
            warning.update(threads)
            time.sleep(_POLL_SECONDS)

    def map_unordered(
        self,
        function: Callable[..., Result],
        arguments: Iterable[Argument],
        *,
        resources: Resources | None = None,
        stop: Callable[[], bool] = _never,
        shared: Any = None,
        work: str = "images",
    ) -> Iterator[tuple[Argument, Result]]:
        """Call a function of this package for every argument, on the workers.

        No more calls are sent than keep the workers busy, so that neither scheduler nor client
        holds many. The calls of a lost worker are sent to another one.

        Parameters
        ----------
        function : callable (argument) -> result
        arguments : iterable
        resources : dict of name to number, optional
            Resources that a worker must have.
        stop : callable () -> bool, optional
            True cancels the calls that were sent, and ends the iteration.
        shared : distributed.Future, optional
            What `scatter` returned; the function gets its data as a second argument.
        work : str
            As in `connected`.

        Yields
        ------
        (argument, result)
            In the order in which the calls end.

        Raises
        ------
        CallsLostError
            If all workers that had the shared data end.
        ClusterError
            If the scheduler is lost, or several workers end during the same call.
        Exception
            Whatever the function raises.
        """
        waiting = iter(arguments)
        sent: dict[Any, Argument] = {}
        warning = _WorkerWarning(self.address, resources)
        try:
            while not stop():
                with self.connected(work):
                    threads = self.threads_for(resources)
                    warning.update(threads)
                    count = CALLS_A_THREAD * max(threads, 1) - len(sent)
                    for argument in islice(waiting, max(count, 0)):
                        sent[self._submit(function, argument, resources, shared)] = argument
                    done = self._wait(list(sent))
                if not sent:
                    return
                for future in done:
                    with self.connected(work):
                        result = future.result()
                    yield sent.pop(future), result
        finally:
            with contextlib.suppress(Exception):  # a lost scheduler has no calls to cancel
                self.client.cancel(list(sent))

    def _submit(
        self,
        function: Callable[..., Result],
        argument: Argument,
        resources: Resources | None,
        shared: Any,
    ) -> Any:
        """Send a call as pickled bytes, which the scheduler passes on.

        It unpacks other messages, and keeps the last thousand to each worker: the objects of an
        order of 512 images take 0.27 MB, and its bytes a fifth of that.
        """
        call = pickle.dumps((function, argument))
        arguments = [call] if shared is None else [call, shared]
        key = f"{function.__name__}-{uuid.uuid4().hex}"
        return self.client.submit(
            _run, *arguments, key=key, pure=False, resources=resources, retries=_RETRIES
        )

    def _wait(self, futures: list[Any]) -> list[Any]:
        """Wait until a call ends, but no longer than `_POLL_SECONDS`; return the ended ones."""
        from distributed import CancelledError, wait

        if not futures:
            return []
        # If some are cancelled, `wait` raises an error and names only these.
        with self.client.as_current(), contextlib.suppress(TimeoutError, CancelledError):
            wait(futures, timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED")
        # Results first, so that none is lost; cancelled calls last, as an error says why.
        order = {"finished": 0, "error": 1, "cancelled": 2}
        done = [future for future in futures if future.status in order]
        return sorted(done, key=lambda future: order[future.status])

    @contextlib.contextmanager
    def connected(self, work: str) -> Iterator[None]:
        """Turn errors of Dask into a `ClusterError` of one line.

        Parameters
        ----------
        work : str
            What a worker computes, for the message: "images", "fold".
        """
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        try:
            if self.client.status != "running":
                raise CommClosedError
            yield
        except (CancelledError, OSError) as error:
            lost = self.client.status != "running"
            cancelled = isinstance(error, CancelledError)
            if not lost and not cancelled and not isinstance(error, CommClosedError):
                raise
            kind = CallsLostError if cancelled and not lost else ClusterError
            raise kind(
                f"the scheduler at {self.address} is gone, or can't be reached any more: start it "
                "and its workers again"
            ) from error
        except KilledWorker as error:
            raise ClusterError(
                f"worker after worker ended while it was at the same {work}: if the system ended "
                "them for want of memory, start fewer on a machine; else see the workers' log"
            ) from error
        except (ImportError, AttributeError) as error:
            raise ClusterError(_OTHER_VERSION.format(error)) from error


def _run(call: bytes, *shared: Any) -> Any:
    """Run a pickled call on a worker; an unexpected error becomes one that names the machine."""
    try:
        function, argument = pickle.loads(call)
        return function(argument, *shared)
    except TlfeaturesError:
        raise
    except Exception as error:
        if isinstance(error, ImportError | AttributeError) and "tlfeatures" in str(error):
            raise ClusterError(_OTHER_VERSION.format(error)) from error
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ClusterError(f"a worker on {socket.gethostname()} failed ({reason})") from error


class ThisProcess:
    """Replaces a cluster for a sharded file: this process runs the calls one after the other."""

    def threads_for(self, resources: Resources | None) -> int:
        """See `Cluster.threads_for`."""
        return 1

    def resources(self, device: str) -> Resources:
        """See `Cluster.resources`; no resource is needed."""
        return {}

    def map_unordered(
        self,
        function: Callable[[Argument], Result],
        arguments: Iterable[Argument],
        *,
        resources: Resources | None = None,
        stop: Callable[[], bool] = _never,
    ) -> Iterator[tuple[Argument, Result]]:
        """See `Cluster.map_unordered`."""
        for argument in arguments:
            if stop():
                return
            yield argument, function(argument)


Workers: TypeAlias = Cluster | ThisProcess


def call_once(
    workers: Workers,
    function: Callable[[Argument], Result],
    argument: Argument,
    resources: Resources | None = None,
) -> Result:
    """Call a function of this package on any worker; see `Cluster.map_unordered`."""
    ((_, result),) = workers.map_unordered(function, [argument], resources=resources)
    return result


class _WorkerWarning:
    """Warns once if no worker is connected for some time."""

    def __init__(self, address: str, resources: Resources | None = None) -> None:
        self._address = address
        self._options = "".join(f" --resources {name}=1" for name in resources or {})
        self._since: float | None = None
        self._warned = False

    def update(self, threads: int) -> None:
        if threads:
            self._since, self._warned = None, False
            return
        self._since = self._since or time.monotonic()
        if not self._warned and time.monotonic() - self._since > PATIENCE_SECONDS:
            self._warned = True
            logger.warning(
                "no worker that can do it is connected to %s: waiting. Start one with: "
                "dask worker %s --nthreads 1%s",
                self._address,
                "ADDRESS" if self._address == "local" else self._address,
                self._options,
            )


def threads_of_worker() -> int | None:
    """Return the number of threads of the worker that runs this call; None outside of a worker."""
    try:
        from distributed import get_worker

        return int(get_worker().state.nthreads)
    except (ImportError, ValueError):
        return None
