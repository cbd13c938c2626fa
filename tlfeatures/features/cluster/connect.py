"""Connect to a Dask scheduler: one at an address, or one that is started on this machine.

A scheduler runs whatever it is sent by anybody who reaches its port: see docs/cluster.md.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlfeatures.errors import ClusterError, ParameterError
from tlfeatures.features.cluster.client import Cluster
from tlfeatures.names import counted

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0  # time without an answer of the scheduler after which it is an error

_LOGGERS = (
    *("distributed", "distributed.client", "distributed.nanny", "distributed.scheduler"),
    *("distributed.worker", "distributed.core", "distributed.batched", "distributed.comm"),
    *("distributed.http.proxy", "tornado.application", "asyncio"),
)


@dataclass(frozen=True)
class TLS:
    """Certificates for encrypted connections, by which client and scheduler identify each other.

    Attributes
    ----------
    ca_file : path
        Certificate of the authority that signed those of client, scheduler and workers.
    cert, key : path
        Certificate and private key of this client.
    """

    ca_file: str
    cert: str
    key: str


@contextlib.contextmanager
def connect(cluster: str | Client, tls: TLS | None = None) -> Iterator[Cluster]:
    """Connect to a scheduler.

    Parameters
    ----------
    cluster : str or distributed.Client
        Address of the scheduler, such as "tcp://10.0.0.1:8786" or "tls://10.0.0.1:8786". "local"
        starts one on this machine for the `with` block, with one worker of one thread for each
        core, which don't use a GPU. A client or a cluster of Dask stays open.
    tls : TLS, optional
        Certificates for an address that starts with tls://.

    Yields
    ------
    Cluster

    Raises
    ------
    ClusterError
        If Dask is not installed, or no scheduler answers.
    ParameterError
        If `cluster` is no address, or certificates are given for an address without encryption.
    """
    if importlib.util.find_spec("distributed") is None:
        raise ClusterError("Dask is not installed: pip install 'tlfeatures[cluster]'")
    if not isinstance(cluster, str):
        if tls is not None:
            raise ParameterError("certificates are for an address; this client has its own")
        with contextlib.ExitStack() as stack:
            client = (
                cluster if hasattr(cluster, "submit") else stack.enter_context(_client_of(cluster))
            )
            yield _logged(Cluster(client, client.scheduler.address))
        return
    if cluster != "local" and not re.fullmatch(r"[a-z]+://.+", cluster):
        raise ParameterError(
            f"cluster is {cluster!r}; expected local, or a scheduler's address, as in "
            "tcp://10.0.0.1:8786"
        )
    if tls is not None and not cluster.startswith("tls://"):
        raise ParameterError(
            f"cluster is {cluster!r}; certificates are for an address of tls://, as in "
            "tls://10.0.0.1:8786"
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        address: Any = _local(stack) if cluster == "local" else cluster
        yield _logged(Cluster(stack.enter_context(_client(address, cluster, tls)), cluster))


@contextlib.contextmanager
def connect_if(cluster: str | Client | None, tls: TLS | None = None) -> Iterator[Cluster | None]:
    """Connect as `connect` does; without a cluster, yield None."""
    if cluster is None and tls is not None:
        raise ParameterError("tls is of the connection to a cluster: give that, too")
    with contextlib.nullcontext() if cluster is None else connect(cluster, tls) as connected:
        yield connected


def _client_of(cluster: Any) -> Client:
    from distributed import Client

    try:
        return Client(cluster, set_as_default=False)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"cluster is {cluster!r}; expected local, a scheduler's address, as in "
            "tcp://10.0.0.1:8786, or a client or cluster of Dask's"
        ) from error


def _logged(cluster: Cluster) -> Cluster:
    threads = cluster.client.ncores()
    logger.info(
        "cluster %s: %s, %s; dashboard: %s",
        cluster.address,
        counted(len(threads), "worker"),
        counted(sum(threads.values()), "thread"),
        cluster.client.dashboard_link,
    )
    return cluster


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's log of lost connections: this package reports them in one line."""
    import distributed  # noqa: F401, it sets the levels when it is imported

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [dask_logger.level for dask_logger in loggers]
    for dask_logger in loggers:
        dask_logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for dask_logger, level in zip(loggers, levels, strict=True):
            dask_logger.setLevel(level)


def _local(stack: contextlib.ExitStack) -> Any:
    import joblib
    from distributed import LocalCluster

    return stack.enter_context(
        LocalCluster(
            n_workers=joblib.cpu_count(),
            threads_per_worker=1,
            env={"CUDA_VISIBLE_DEVICES": ""},  # else every worker reserves the whole first GPU
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    )


def _client(address: Any, name: str, tls: TLS | None) -> Client:
    from distributed import Client, Security

    security = None
    if tls is not None:
        security = Security(
            tls_ca_file=str(tls.ca_file),
            tls_client_cert=str(tls.cert),
            tls_client_key=str(tls.key),
            require_encryption=True,
        )
    try:
        return Client(address, timeout=CONNECT_SECONDS, security=security, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # also TimeoutError
        reason = " ".join(str(error).split())
    # The failed client is closed by its __del__, which would hang while another client starts.
    gc.collect()
    raise ClusterError(
        f"no scheduler answers at {name} as it should ({reason}): is it started by "
        f"`dask scheduler`, {_question(name, tls)}?"
    )


def _question(name: str, tls: TLS | None) -> str:
    if not name.startswith("tls://"):
        return "and not one whose address is of tls://"
    if tls is None:
        return "and are there certificates for --tls-ca-file, --tls-cert and --tls-key"
    return f"and are {tls.ca_file}, {tls.cert} and {tls.key} certificates that fit its own"
