"""Which engine is the fastest here: measured on a few of the images that are to be embedded.

This is how `extract` decides what "auto" stands for. The rules:

- Nothing is measured if a single engine and precision is possible, if a GPU computes, or if the
  work is small. Measuring may cost at most 15 % of the time that the work is expected to take.
- The engine that would be taken without measuring is timed first. Others follow in the order of
  `possible_ways`, as long as their expected cost fits.
- bfloat16 is taken only if every row of the sample has a cosine of at least 0.999 to its row in
  float32, in every embedding. int8 is never taken.
- Taken is what finishes the work first. The time to start an engine counts, too.
- What was measured is kept for later runs. One thing is measured again for each new set of images:
  the cosines in bfloat16 of a network for which they aren't known.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from tlfeatures.errors import ImageError
from tlfeatures.features.embed import ComputeOptions, Embedder, Values
from tlfeatures.features.engines import speeds
from tlfeatures.features.engines.choose import (
    ENGINES,
    HARDWARE,
    Hardware,
    Request,
    choose_engine,
    installed,
    is_close,
    may_round,
    possible_ways,
    uses_gpu,
)
from tlfeatures.features.engines.engine import BATCH_SIZE
from tlfeatures.features.engines.speeds import Speed, Way
from tlfeatures.features.images.read_ahead import ImageToRead, Pixels, read_ahead
from tlfeatures.features.row_cosines import row_cosines

logger = logging.getLogger(__name__)

MOST_COST = 0.15  # of the time that the work takes
_TURNS = 2  # besides a first pass, in which engines compile
_TURN_SECONDS = 0.4  # least duration of a turn
_LONG_TURN = 2.0  # seconds, after which no second turn follows
_PER_CORE = 8  # images of a pass: OpenVINO computes 8 in a request, and several requests at once
_SLOW = 2.0  # so many times as long as the fastest: no second turn


def choose_measured(
    request: Request,
    images: Iterable[ImageToRead[Any]],
    count: int,
    options: ComputeOptions,
    *,
    again: bool = False,
    hardware: Hardware = HARDWARE,
    clock: Callable[[], float] = time.perf_counter,
) -> Way:
    """Choose the engine and the precision that the user left open.

    Parameters
    ----------
    request : Request
    images : iterable of ImageToRead
        Images of the work, in random order. It is read only as far as needed.
    count : int
        Number of images and variants to embed.
    options : ComputeOptions
    again : bool
        Whether to measure also what was measured in earlier runs.
    hardware : Hardware, optional
        This machine's if not given.
    clock : callable () -> float, optional
        Gives the time in seconds.

    Returns
    -------
    (str, str)
        Engine and precision.

    Raises
    ------
    ParameterError, EngineError
        See `choose_engine`.
    WeightsError
        If the weights can't be obtained.
    """
    first = choose_engine(request, count, hardware)
    ways = _ways_to_measure(request, hardware)
    if len(ways) < 2 or first not in ways or uses_gpu(request, hardware):
        return first
    workload = speeds.workload_of(request.spec, request.names)
    size = min(BATCH_SIZE, _PER_CORE * workload.cores)
    if MOST_COST * count < 2 * size:  # two passes over the sample would cost more
        return first
    earlier = {} if again else speeds.read(workload, ENGINES)
    kept = {way: speed for way, speed in earlier.items() if way in ways}
    measuring = _Measuring(request, kept, count, options, clock)
    measured = measuring.run(first, ways, images, size)
    if not measured:
        return first
    speeds.keep(workload, measured, ENGINES)
    known = {**kept, **measured}
    allowed = [
        way
        for way, speed in known.items()
        if is_close(speed) and (way in measured or may_round(request, way))
    ]
    chosen = min(allowed, key=lambda way: known[way].seconds(count))
    if len(known) > 1:
        logger.info("%s; measured in %.1f s", _describe(chosen, known), measuring.cost)
    return chosen


def _ways_to_measure(request: Request, hardware: Hardware) -> list[Way]:
    """List the installed engines and precisions that may be taken, the promising ones first."""
    fast = {"float32", request.precision}  # and what this CPU multiplies in hardware
    fast |= {"bfloat16"} if hardware.cpu_bfloat16() else set()
    return [
        way
        for way in installed(possible_ways(request, hardware))
        if way[1] in fast - {"int8"} and may_round(request, way) is not False
    ]


@dataclass
class _Candidate:
    """A loaded engine, and what was measured of it so far."""

    embedder: Embedder
    load_seconds: float
    first_seconds: float  # of the first pass
    rows: Values
    turns: list[float] = field(default_factory=list)  # seconds of a pass

    @property
    def seconds(self) -> float:
        """Duration of a pass."""
        return min(self.turns, default=self.first_seconds)


class _Measuring:
    """Loads the engines whose cost fits, and times them by turns on the same images.

    Parameters
    ----------
    request, count, options, clock
        See `choose_measured`.
    kept : dict of (engine, precision) to Speed
        What is known from earlier runs.
    """

    def __init__(
        self,
        request: Request,
        kept: dict[Way, Speed],
        count: int,
        options: ComputeOptions,
        clock: Callable[[], float],
    ) -> None:
        self._request, self._kept, self._count = request, kept, count
        self._options, self._clock = options, clock
        self._candidates: dict[Way, _Candidate] = {}
        self._pixels: Pixels = np.empty((0, 0, 0, 3), np.uint8)
        self.cost = 0.0  # seconds, without loading the first engine, which the work needs

    def run(
        self, first: Way, ways: list[Way], images: Iterable[ImageToRead[Any]], size: int
    ) -> dict[Way, Speed]:
        """Return what was measured; nothing if nothing fits, or no image can be read.

        Parameters
        ----------
        first : (engine, precision)
            What is taken without measuring.
        ways : list of (engine, precision)
            All that may be taken.
        images : iterable of ImageToRead
        size : int
            Number of images of a pass.
        """
        others = self._others(first, ways)
        if not any(self._fits(way, size) for way in others if self._is_unknown(way)):
            return {}
        self._pixels = self._read(first, images, size)
        if not len(self._pixels):
            return {}
        self._load(first)
        self.cost -= self._candidates[first].load_seconds
        for way in others:
            if self._fits(way, len(self._pixels)) and self._can_compare(way):
                self._try(way)
        self._take_turns()
        # The machine may be busier than it was: the first engine tells how much.
        fresh = len(self._pixels) / self._candidates[first].seconds
        factor = self._kept[first].images_per_second / fresh if first in self._kept else 1.0
        return {way: self._speed(way, factor) for way in self._candidates}

    def _others(self, first: Way, ways: list[Way]) -> list[Way]:
        """List what to measure besides the first; float32 is before what is compared with it."""
        unknown = [way for way in ways if self._is_unknown(way)]
        others = [way for way in unknown if way != first]
        if first[1] != "float32" and any(map(self._has_cosine, unknown)):
            float32 = [way for way in ways if way[1] == "float32"][:1]
            others = [*float32, *(way for way in others if way not in float32)]
        return others

    def _is_unknown(self, way: Way) -> bool:
        speed = self._kept.get(way)
        return speed is None or (may_round(self._request, way) is None and is_close(speed))

    def _has_cosine(self, way: Way) -> bool:
        return way[1] != "float32" and self._request.precision in (None, "auto")

    def _can_compare(self, way: Way) -> bool:
        return not self._has_cosine(way) or self._reference is not None

    @property
    def _reference(self) -> Values | None:
        """Rows in float32."""
        rows = (each.rows for way, each in self._candidates.items() if way[1] == "float32")
        return next(rows, None)

    def _fits(self, way: Way, size: int) -> bool:
        """Whether measuring one more engine costs little beside the work.

        True as long as no speed is known.
        """
        rates = [speed.images_per_second for speed in self._kept.values()]
        rates += [size / candidate.seconds for candidate in self._candidates.values()]
        if not rates:
            return True
        seconds = size / max(rates)  # of a pass
        turns = _TURNS * max(seconds, _TURN_SECONDS)
        started = any(engine == way[0] for engine, _ in self._candidates)
        load = self._kept[way].load_seconds if way in self._kept else ENGINES[way[0]].start_seconds
        expected = (0 if started else load) + seconds + turns * (1 + len(self._candidates))
        return self.cost + expected <= MOST_COST * self._count / max(rates)

    def _read(self, way: Way, images: Iterable[ImageToRead[Any]], size: int) -> Pixels:
        """Read the first images that can be read, (b, h, w, 3)."""
        few = islice(images, 2 * size)  # all that it gets is decoded ahead
        decoded = (result for _, result in read_ahead(few, self._embedder(way).decoding))
        readable = (result.pixels for result in decoded if not isinstance(result, ImageError))
        pixels = list(islice(readable, size))
        return np.stack(pixels) if pixels else self._pixels

    def _embedder(self, way: Way) -> Embedder:
        engine, precision = way
        spec = replace(self._request.spec, engine=engine, precision=precision)
        return Embedder(spec, self._request.names, self._options)

    def _try(self, way: Way) -> None:
        """Load an engine; one that fails is left out."""
        try:
            self._load(way)
        except Exception as error:  # each library raises errors of its own
            logger.info("engine %s in %s is left out, as it fails: %s", *way, error)

    def _load(self, way: Way) -> None:
        embedder, started = self._embedder(way), self._clock()
        try:
            embedder.backbone  # noqa: B018  # loads it
            loaded = self._clock()
            rows = self._pass(embedder)
        finally:
            self.cost += self._clock() - started
        first = self._clock() - loaded
        self._candidates[way] = _Candidate(embedder, loaded - started, first, rows)

    def _pass(self, embedder: Embedder) -> Values:
        count = len(self._pixels)
        return embedder.embed_pixels(self._pixels[:, None], embedder.batch_size(count))

    def _take_turns(self) -> None:
        for _ in range(_TURNS if len(self._candidates) > 1 else 1):
            fastest = min(candidate.seconds for candidate in self._candidates.values())
            for candidate in self._candidates.values():
                again = candidate.seconds <= min(_SLOW * fastest, _LONG_TURN)
                if again or not candidate.turns:
                    self._take_turn(candidate)

    def _take_turn(self, candidate: _Candidate) -> None:
        passes = max(1, math.ceil(_TURN_SECONDS / max(candidate.seconds, 1e-3)))
        started = self._clock()
        for _ in range(passes):
            self._pass(candidate.embedder)
        seconds = self._clock() - started
        self.cost += seconds
        candidate.turns.append(seconds / passes)

    def _speed(self, way: Way, factor: float) -> Speed:
        candidate, reference = self._candidates[way], self._reference
        load = max(  # what starts an engine is in the time of the first that is loaded by it
            other.load_seconds + max(0.0, other.first_seconds - other.seconds)
            for (engine, _), other in self._candidates.items()
            if engine == way[0]
        )
        compared = self._has_cosine(way) and reference is not None
        cosine = least_cosine(candidate.rows, reference or {}) if compared else None
        return Speed(factor * len(self._pixels) / candidate.seconds, load, cosine)


def least_cosine(rows: Values, reference: Values) -> float:
    """Return the least cosine of a row to the same row of the reference, over all embeddings."""
    return min(float(row_cosines(rows[name], reference[name]).min()) for name in rows)


def _describe(chosen: Way, known: dict[Way, Speed]) -> str:
    """Say what was chosen and why: `ncnn float32 embeds 15.5 images/s here; others: ...`."""
    others = [
        f"{' '.join(way)} {speed.images_per_second:.3g}"
        + ("" if is_close(speed) else f" (but a cosine to float32 of {speed.cosine:.3f})")
        for way, speed in known.items()
        if way != chosen
    ]
    rate = f"{' '.join(chosen)} is taken: {known[chosen].images_per_second:.3g} images/s here"
    return "; ".join([rate, *([", ".join(others)] if others else [])])
