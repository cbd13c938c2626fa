"""Connections to a Dask scheduler: one at an address, or one that is started on this machine.

A scheduler runs whatever anybody sends who reaches its port, see docs/cluster.md.
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

CONNECT_SECONDS = 10.0  # after which a scheduler that does not answer is an error

_LOGGERS = (
    *("distributed", "distributed.client", "distributed.nanny", "distributed.scheduler"),
    *("distributed.worker", "distributed.core", "distributed.batched", "distributed.comm"),
    *("distributed.http.proxy", "tornado.application", "asyncio"),
)


@dataclass(frozen=True)
class TLS:
    """Files that make connections encrypted, and known to both sides; as Dask names them.

    Attributes
    ----------
    ca_file : path
        Of the authority that signed the certificates of client, scheduler and workers.
    cert, key : path
        Of this client.
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
        Its address, as in "tcp://10.0.0.1:8786" or "tls://..."; "local" starts one on this machine,
        with a worker of one thread a core and without a GPU, for as long as this is entered; or a
        client or cluster of Dask's, which stays as it is.
    tls : TLS, optional
        Then the address is one of tls://.

    Raises
    ------
    ClusterError
        If Dask is not installed, or no scheduler answers there.
    ParameterError
        If this is no address, or none for certificates.
    """
    if importlib.util.find_spec("distributed") is None:
        raise ClusterError("Dask is not installed: pip install 'tlfeatures[cluster]'")
    if not isinstance(cluster, str):
        if tls is not None:
            raise ParameterError("certificates are for an address; this client has its own")
        with contextlib.ExitStack() as stack:
            client = cluster if hasattr(cluster, "submit") else stack.enter_context(_of(cluster))
            yield _announced(Cluster(client, client.scheduler.address))
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
        yield _announced(Cluster(stack.enter_context(_client(address, cluster, tls)), cluster))


@contextlib.contextmanager
def connect_if(cluster: str | Client | None, tls: TLS | None = None) -> Iterator[Cluster | None]:
    """Connect as `connect` does, or give None where no cluster is asked for."""
    if cluster is not None:
        with connect(cluster, tls) as connected:
            yield connected
        return
    if tls is not None:
        raise ParameterError("tls is of the connection to a cluster: give that, too")
    yield None


def _of(cluster: Any) -> Client:
    from distributed import Client

    try:
        return Client(cluster, set_as_default=False)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"cluster is {cluster!r}; expected local, a scheduler's address, as in "
            "tcp://10.0.0.1:8786, or a client or cluster of Dask's"
        ) from error


def _announced(cluster: Cluster) -> Cluster:
    threads = cluster.client.ncores()
    logger.info(
        "cluster %s: %s, %s; dashboard: %s",
        cluster.where,
        counted(len(threads), "worker"),
        counted(sum(threads.values()), "thread"),
        cluster.dashboard,
    )
    return cluster


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What Dask logs of connections that end is said by us, in one line."""
    import distributed  # noqa: F401, it sets its own levels

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)


def _local(stack: contextlib.ExitStack) -> Any:
    import joblib
    from distributed import LocalCluster

    return stack.enter_context(
        LocalCluster(
            n_workers=joblib.cpu_count(),
            threads_per_worker=1,
            env={"CUDA_VISIBLE_DEVICES": ""},  # else each of them would take all of the first one
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    )


def _client(address: Any, named: str, tls: TLS | None) -> Client:
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
    # What failed is closed by its __del__, which hangs where that comes while another one starts.
    gc.collect()
    raise ClusterError(
        f"no scheduler answers at {named} as it should ({reason}): is it started by "
        f"`dask scheduler`, {_doubt(named, tls)}?"
    )


def _doubt(named: str, tls: TLS | None) -> str:
    if not named.startswith("tls://"):
        return "and not one whose address is of tls://"
    if tls is None:
        return "and are there certificates for --tls-ca-file, --tls-cert and --tls-key"
    return f"and are {tls.ca_file}, {tls.cert} and {tls.key} certificates that fit its own"
