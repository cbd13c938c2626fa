"""Options of how a command runs and what it writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tlfeatures.cli.number_types import AnyWholeNumber, WholeNumber
from tlfeatures.errors import ParameterError
from tlfeatures.terminal.exits import Command

Function = TypeVar("Function", bound=Callable[..., Any])


def command(name: str | None = None) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command, named as the function if no name is given."""
    return click.command(name, cls=Command)


def combine(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Make one decorator of several options, which the help lists in this order."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON, for programs."
)
report_option = click.option(
    "--report",
    type=click.Path(),
    metavar="REPORT.html",
    help="Also write the results as an HTML page; see `tlfeatures report --help`.",
)


def check_page(page: str | None) -> None:
    """Refuse a page that can't be written before anything is computed."""
    if page is not None:
        from tlfeatures.reports import output

        output.check_page(page)


def seed_option(purpose: str) -> Callable[[Function], Function]:
    """Create the option --random-state. `purpose` says what the numbers are for."""
    return click.option(
        "--random-state",
        type=WholeNumber(0, 2**31 - 1),
        metavar="N",
        default=0,
        show_default=True,
        help=f"Seed of the random numbers for {purpose}. The same seed gives the same results.",
    )


def n_jobs_option(default: int) -> Callable[[Function], Function]:
    """Give the option --n-jobs."""
    return click.option(
        "--n-jobs",
        type=AnyWholeNumber(),
        metavar="N",
        default=default,
        show_default=True,
        help="Number of folds (parts of the images) that are computed at the same time. -1 uses "
        "all processor cores. The results do not depend on N.",
    )


def cluster_options(function: Function) -> Function:
    """Options of a Dask cluster; `pop_cluster` turns them into arguments of the library."""
    files = {
        "--tls-ca-file": "For a tls:// cluster: certificate of the authority that signed the "
        "certificates of the cluster.",
        "--tls-cert": "For a tls:// cluster: certificate of this client.",
        "--tls-key": "For a tls:// cluster: private key of --tls-cert.",
    }
    for name in reversed(files):
        function = click.option(name, type=click.Path(), metavar="PEM", help=files[name])(function)
    return click.option(
        "--cluster",
        metavar="tcp://HOST:PORT|local",
        help="Compute on a Dask cluster. Give the address of its scheduler, for example "
        "tcp://10.0.0.1:8786. local starts one worker process per core on this machine. Needs: "
        "pip install 'tlfeatures[cluster]'.",
    )(function)


def pop_cluster(options: dict[str, Any]) -> dict[str, Any]:
    """Remove `cluster_options` from the options; return the arguments `cluster` and `tls`."""
    cluster = options.pop("cluster")
    files = [options.pop(name) for name in ("tls_ca_file", "tls_cert", "tls_key")]
    if not any(files):
        return {"cluster": cluster, "tls": None}
    if cluster is None or not all(files):
        raise ParameterError(
            "give --tls-ca-file, --tls-cert and --tls-key together, and with --cluster "
            "tls://HOST:PORT"
        )
    from tlfeatures.features.cluster.connect import TLS

    return {"cluster": cluster, "tls": TLS(*files)}
