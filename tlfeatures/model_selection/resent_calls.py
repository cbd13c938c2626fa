"""Calls on workers of a cluster, whose shared data are sent again if all workers end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tlfeatures.errors import ClusterError
from tlfeatures.features.cluster.client import CallsLostError, Cluster

logger = logging.getLogger(__name__)

_ATTEMPTS = 3  # the data are sent at most so many times without a finished call in between

Argument = TypeVar("Argument", bound=Hashable)
Result = TypeVar("Result")


@dataclass(frozen=True)
class SharedData:
    """Data that the calls need on the workers.

    Attributes
    ----------
    send : callable
        Sends what is not on the workers, and returns what `Cluster.map_unordered` takes.
    forget : callable
        Called if all workers that had the data have ended, so that `send` sends all of them.
    given_up : str
        What happened when nothing is sent any more, and what helps: the end of an error that begins
        with "all workers ended 3 times".
    sent_again : str
        Warning before the data are sent again.
    """

    send: Callable[[], Any]
    forget: Callable[[], None]
    given_up: str
    sent_again: str


def results_in_order(
    cluster: Cluster,
    function: Callable[[Argument, Any], Result],
    arguments: Sequence[Argument],
    data: SharedData,
    *,
    work: str,
) -> Iterator[Result]:
    """Yield the results of calls in the order of their arguments, which differ from each other.

    Raises
    ------
    ClusterError
        If the scheduler is lost, or several workers end during the same call.
    """
    places = {argument: place for place, argument in enumerate(arguments)}
    results: dict[int, Result] = {}
    place = 0
    for argument, result in _unordered(cluster, function, arguments, data, work):
        results[places[argument]] = result
        while place in results:
            yield results.pop(place)
            place += 1


def _unordered(
    cluster: Cluster,
    function: Callable[[Argument, Any], Result],
    arguments: Sequence[Argument],
    data: SharedData,
    work: str,
) -> Iterator[tuple[Argument, Result]]:
    left = dict.fromkeys(arguments)  # in their order
    attempts = 0
    while left:
        try:
            for argument, result in cluster.map_unordered(
                function, list(left), shared=data.send(), work=work
            ):
                del left[argument]
                attempts = 0
                yield argument, result
        except CallsLostError as error:
            data.forget()
            attempts += 1
            if attempts == _ATTEMPTS:
                raise ClusterError(
                    f"all workers ended {_ATTEMPTS} times {data.given_up}"
                ) from error
            logger.warning("%s", data.sent_again)
