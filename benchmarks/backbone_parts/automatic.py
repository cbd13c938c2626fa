"""What `auto` takes, against the fastest of all that it may take."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from common import Way, pixels_of, smallest_cosine, spread

from backbone_parts.network import OPTIONS, Network, rates, take_turns
from tlfeatures.errors import TlfeaturesError
from tlfeatures.features import measure_engines
from tlfeatures.features.calibrate import sample_images
from tlfeatures.features.engines import speeds
from tlfeatures.features.engines.choose import (
    ENGINES,
    LEAST_COSINE,
    Request,
    installed,
    may_round,
    possible_ways,
)
from tlfeatures.features.images.identify import scan
from tlfeatures.features.measure_engines import choose_measured
from tlfeatures.features.sources.open_source import open_source


@dataclass(frozen=True)
class Chosen:
    """What `auto` takes in a process that has measured nothing before.

    Attributes
    ----------
    way : (engine, precision)
    seconds : float
        Duration of choosing, with loading the engines.
    images : int
        Number of images that the choice was made for.
    message : str
        What the package logs about its choice; empty if it measured nothing.
    """

    way: Way
    seconds: float
    images: int
    message: str


def choose_anew(network: Network, folder: Path, engines: Sequence[str] | None = None) -> Chosen:
    """Choose in a process of its own, without speeds of earlier runs.

    Parameters
    ----------
    network : Network
    folder : Path
        The images that would be embedded.
    engines : sequence of str, optional
        The installed engines; all if not given.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_choose, network, folder, engines).result()


@dataclass
class _Choice:
    """A way to choose for `make_spec`, which takes the time."""

    folder: Path
    way: Way = ("", "")
    seconds: float = 0.0
    images: int = 0

    def __call__(self, request: Request) -> Way:
        images = list(sample_images(scan(open_source(self.folder))))
        self.images = len(images)
        started = time.perf_counter()
        self.way = choose_measured(request, images, len(images), OPTIONS)
        self.seconds = time.perf_counter() - started
        return self.way


class _Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _choose(network: Network, folder: Path, engines: Sequence[str] | None) -> Chosen:
    speeds.read = lambda *_: {}  # type: ignore[assignment]
    speeds.keep = lambda *_: None  # type: ignore[assignment]
    for name in list(ENGINES):
        if engines is not None and name not in engines:
            del ENGINES[name]
    messages, logger = _Messages(), logging.getLogger(measure_engines.__name__)
    logger.addHandler(messages)
    logger.setLevel(logging.INFO)
    choice = _Choice(folder)
    network.spec(choose=choice)
    return Chosen(choice.way, choice.seconds, choice.images, " ".join(messages.texts))


def allowed_ways(network: Network) -> list[Way]:
    """List what `auto` may take here; int8 is none of these."""
    requests: list[Request] = []

    def keep(request: Request) -> Way:
        requests.append(request)
        return "none", "float32"

    network.spec(choose=keep)
    ways = installed(possible_ways(requests[0]))
    return [way for way in ways if way[1] != "int8" and may_round(requests[0], way) is not False]


def automatic(
    networks: Iterable[Network], folder: Path, paths: list[Path], rounds: int
) -> list[dict[str, Any]]:
    """Measure, print and give the facts of every network.

    Parameters
    ----------
    networks : iterable of Network
    folder : Path
        The images that `auto` chooses for.
    paths : list of Path
        Images of a turn.
    rounds : int
    """
    return [_one(network, folder, paths, rounds) for network in networks]


def _one(network: Network, folder: Path, paths: list[Path], rounds: int) -> dict[str, Any]:
    chosen = choose_anew(network, folder)
    pixels = pixels_of(paths, network.height_width)
    loaded, rows = {}, {}
    for way in allowed_ways(network):
        try:
            loaded[way] = network.load(network.spec(way))
            rows[way] = network.rows(loaded[way], pixels)  # engines compile here
        except TlfeaturesError as error:
            print(f"{network.title} {' '.join(way)} is left out: {error}")
    base = next(value for way, value in rows.items() if way[1] == "float32")
    cosines = {way: smallest_cosine(value, base) for way, value in rows.items()}
    runs = {" ".join(way): partial(network.rows, each, pixels) for way, each in loaded.items()}
    seconds = take_turns(runs, rounds)
    speeds_of = {way: rates(seconds[" ".join(way)], len(paths)) for way in loaded}
    best = report(network, chosen, speeds_of, cosines, len(paths))
    return {
        "backbone": network.title,
        "size": network.size,
        "images_per_second": {" ".join(way): own for way, own in speeds_of.items()},
        "cosine": {" ".join(way): cosine for way, cosine in cosines.items()},
        "best": best,
        **asdict(chosen),
    }


def report(
    network: Network,
    chosen: Chosen,
    speeds_of: Mapping[Way, list[float]],
    cosines: Mapping[Way, float],
    count: int,
) -> Way:
    """Print the speeds and the choice; return the fastest way that is close to float32."""
    close = [way for way in speeds_of if cosines[way] >= LEAST_COSINE]
    medians = {way: statistics.median(own) for way, own in speeds_of.items()}
    best = max(close, key=lambda way: medians[way])
    share = medians[chosen.way] / medians[best]
    print(f"{network.title} at {network.size}, {count} images a turn; median (least to most)")
    for way, own in speeds_of.items():
        note = "" if way in close else f"  not close to float32: cosine {cosines[way]:.4f}"
        print(f"  {' '.join(way):20s} {spread(own, 1)}{note}")
    print(
        f"  auto takes {' '.join(chosen.way)}: {share:.3f} of the best, {' '.join(best)}; choosing "
        f"took {chosen.seconds:.1f} s, for {chosen.images} images, which take "
        f"{chosen.images / medians[chosen.way]:.1f} s"
    )
    print(f"  it logs: {chosen.message or 'nothing'}", flush=True)
    return best
