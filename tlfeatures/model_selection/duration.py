"""An estimate of how long heads take, so that nobody waits for hours without a warning.

Each head is fitted and scored on two small samples of a training fold. How much longer the larger
sample takes says how the time grows with the number of rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator

from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError
from tlfeatures.heads.table import Grid
from tlfeatures.model_selection.fold_work import Task, fit_and_score
from tlfeatures.model_selection.folds import INNER_CV

LONG_SECONDS = 600.0  # an estimate above this is worth a warning
LEAST_ROWS = 10_000  # fewer training rows are fitted without an estimate
LEAST_TUNED_ROWS = 2_000  # the same with tuning, which fits each head many times

_SAMPLE = 500  # rows of the smaller sample
_ROWS_OF_CLASS = 4  # the smaller sample has at least so many rows for each class
_STEEPEST = 2.2  # time grows at most with this power of the number of rows


@dataclass(frozen=True)
class Duration:
    """Estimated time of heads on all folds.

    Attributes
    ----------
    seconds : float
        Time of all heads and folds, in seconds.
    of_head : dict of name to float
        Seconds of each head, the slowest first.
    """

    seconds: float
    of_head: dict[str, float]


def estimate_duration(
    rows: TrainingRows,
    folds: Sequence[Fold],
    heads: Mapping[str, BaseEstimator],
    *,
    grids: Mapping[str, Grid] | None = None,
    processes: int = 1,
    random_state: int | None = 0,
) -> Duration | None:
    """Estimate how long heads take on all folds.

    Parameters
    ----------
    rows : TrainingRows
    folds : sequence of (train rows, test rows)
        Indices of images.
    heads : mapping of name to classifier
    grids : mapping of name to grid, optional
        Parameter values that tuning tries.
    processes : int
        Number of folds that are fitted at the same time.
    random_state : int or None
        Seed of the samples.

    Returns
    -------
    Duration or None
        None if there are too few rows to take long, or a head can't be fitted on a sample.
    """
    train, test = rows.of_images(folds[0][0]), folds[0][1]
    least = LEAST_TUNED_ROWS if any((grids or {}).values()) else LEAST_ROWS
    smaller = max(_SAMPLE, _ROWS_OF_CLASS * len(np.unique(rows.y)))
    if not heads or len(train) < max(least, 4 * smaller):
        return None
    shuffled = np.random.default_rng(random_state).permutation(train)
    tested = np.random.default_rng(random_state).permutation(test)
    share = len(test) / len(train)
    times = []
    for count in (smaller, 2 * smaller):
        sample = Task(shuffled[:count], tested[: max(1, round(share * count))], dict(heads))
        measured = _seconds_of(sample, rows)
        if measured is None:
            return None
        times.append(measured)
    growth = len(train) / (2 * smaller)
    waves = math.ceil(len(folds) / max(processes, 1))
    of_head = {
        name: waves * _fits(name, grids) * _extrapolated(times[0][name], times[1][name], growth)
        for name in times[0]
    }
    ordered = dict(sorted(of_head.items(), key=lambda item: item[1], reverse=True))
    return Duration(sum(ordered.values()), {name: s for name, s in ordered.items() if name})


def _seconds_of(task: Task, rows: TrainingRows) -> dict[str, float] | None:
    """Return the seconds of each head's fit on a sample, and under "" those of all else."""
    started = time.perf_counter()
    try:  # warnings about so few rows have no meaning, and are not logged
        results = fit_and_score(task, rows, np.unique(rows.y), [])
    except ParameterError:
        return None
    seconds = {name: result.seconds for name, result in results.items()}
    return seconds | {"": max(0.0, time.perf_counter() - started - sum(seconds.values()))}


def _extrapolated(smaller: float, larger: float, growth: float) -> float:
    """Return the seconds of `growth` times as many rows as took `larger` seconds."""
    doubling = math.log2(max(larger, 1e-6) / max(smaller, 1e-6))
    return float(larger * growth ** min(max(doubling, 1.0), _STEEPEST))


def _fits(name: str, grids: Mapping[str, Grid] | None) -> int:
    """Return how often a head is fitted in a fold, with the inner folds of tuning."""
    grid = (grids or {}).get(name)
    points = math.prod(len(values) for values in grid.values()) if grid else 0
    return 1 + INNER_CV * points
