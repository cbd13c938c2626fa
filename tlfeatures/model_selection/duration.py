"""An estimate of how long heads take, so that nobody waits for hours without a warning.

The heads are fitted and scored on two small samples of a training fold. How much longer the larger
sample takes says how the time grows with the number of rows. With many classes, the samples have
some of the classes only, because the time grows in proportion to their number.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.calibration import BaseCalibration
from tlfeatures.heads.forms import is_for_many_rows
from tlfeatures.heads.identity import class_path
from tlfeatures.heads.table import Grid
from tlfeatures.model_selection.fold_work import Task, fit_and_score
from tlfeatures.model_selection.folds import INNER_CV

logger = logging.getLogger(__name__)

LONG_SECONDS = 600.0  # an estimate above this is worth a warning
LEAST_ROWS = 10_000  # fewer training rows are fitted without an estimate
LEAST_TUNED_ROWS = 2_000  # the same with tuning, which fits each head many times

_SAMPLE = 500  # rows of the smaller sample
_ROWS_OF_CLASS = 4  # a sample has so many rows of each class, if there are as many
_CLASSES = 50  # most classes of a sample
_SLOW_SECONDS = 20.0  # if the smaller sample takes longer, there is no larger one
_STEEPEST = 2.2  # time grows at most with this power of the number of rows

Rows = NDArray[np.int_]


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
        None if there are too few rows to take long, or no head can be fitted on a sample. A head
        that can't be fitted on a sample is left out.
    """
    grids = grids or {}
    train, test = rows.of_images(folds[0][0]), folds[0][1]
    classes = np.unique(rows.y)
    smaller = max(
        _SAMPLE, _ROWS_OF_CLASS * min(len(classes), _CLASSES), *map(_least, heads.values())
    )
    least = LEAST_TUNED_ROWS if any(grids.values()) else LEAST_ROWS
    if not heads or len(train) < max(least, 4 * smaller):
        return None
    logger.info("the time of %s is estimated on two samples", ", ".join(heads))
    samples = _Samples(rows, train, test, random_state)
    first = samples.seconds(heads, smaller)
    if not first:
        return None
    is_slow = sum(first.values()) > _SLOW_SECONDS
    second = {} if is_slow else samples.seconds({name: heads[name] for name in first}, 2 * smaller)
    tasks = len(folds) * len(heads)
    share = len(folds) * math.ceil(tasks / max(processes, 1)) / tasks
    share *= max(1.0, len(classes) / _CLASSES)
    growth = len(train) / (2 * smaller)
    of_head = {
        name: share
        * _fits(heads[name], grids.get(name))
        * _of_all_rows(heads[name], seconds, second.get(name, 2 * seconds), growth)
        for name, seconds in first.items()
    }
    ordered = dict(sorted(of_head.items(), key=lambda item: item[1], reverse=True))
    return Duration(sum(ordered.values()), ordered)


@dataclass(frozen=True)
class _Samples:
    """Samples of the training and test rows of a fold."""

    rows: TrainingRows
    train: Rows
    test: Rows
    random_state: int | None

    def seconds(self, heads: Mapping[str, BaseEstimator], count: int) -> dict[str, float]:
        """Return the seconds of each head on so many training rows, and as large a share of tests.

        The heads are timed together, as they share columns. If one of them can't be fitted, each
        is timed alone, and those that can't be fitted are left out.
        """
        tested = self._draw(self.test, max(1, round(count * len(self.test) / len(self.train))))
        task = Task(self._draw(self.train, count), tested, dict(heads))
        started = time.perf_counter()
        try:  # warnings about so few rows have no meaning, and are not logged
            results = fit_and_score(task, self.rows, np.unique(self.rows.y), [])
        except ParameterError:
            alone = ({name: head} for name, head in heads.items()) if len(heads) > 1 else ()
            return {
                name: value for one in alone for name, value in self.seconds(one, count).items()
            }
        fits = {name: result.seconds for name, result in results.items()}
        scoring = max(0.0, time.perf_counter() - started - sum(fits.values())) / len(fits)
        return {name: seconds + scoring for name, seconds in fits.items()}

    def _draw(self, rows: Rows, count: int) -> Rows:
        """Draw rows of at most `_CLASSES` classes; a rare class has some rows, too."""
        random = np.random.default_rng(self.random_state)
        classes = random.permutation(np.unique(self.rows.y))[:_CLASSES]
        shuffled = random.permutation(rows)
        shuffled = shuffled[np.isin(self.rows.y[shuffled], classes)]
        y = self.rows.y[shuffled]
        needed = np.concatenate([np.flatnonzero(y == name)[:_ROWS_OF_CLASS] for name in classes])
        others = np.setdiff1d(np.arange(len(y)), needed)[: max(0, count - len(needed))]
        drawn: Rows = shuffled[np.concatenate([needed, others])]
        return drawn


def _classifier(head: BaseEstimator) -> BaseEstimator:
    return head[-1] if isinstance(head, Pipeline) else head


def _least(head: BaseEstimator) -> int:
    """Return the number of rows of the smaller sample that a head needs: more than landmarks."""
    landmarks = getattr(_classifier(head), "n_landmarks", 0)
    return 3 * landmarks // 2 if isinstance(landmarks, int) else 0


def _of_all_rows(head: BaseEstimator, smaller: float, larger: float, growth: float) -> float:
    """Return the seconds of a fold from those of two samples, of which one has twice the rows.

    Parameters
    ----------
    head : classifier
        A form for many rows takes a constant time, and some time for each row.
    smaller, larger : float
        Seconds of the two samples.
    growth : float
        Number of training rows of the fold, divided by that of the larger sample.
    """
    if is_for_many_rows(class_path(_classifier(head))):
        return larger + 2 * max(0.0, larger - smaller) * (growth - 1)
    doubling = math.log2(max(larger, 1e-6) / max(smaller, 1e-6))
    return float(larger * growth ** min(max(doubling, 1.0), _STEEPEST))


def _fits(head: BaseEstimator, grid: Grid | None) -> float:
    """Return how many fits a fold takes, with those of tuning.

    A point of the grid is fitted on the training rows of each inner fold, without a calibration,
    which takes about as long as the fit.
    """
    points = math.prod(len(values) for values in grid.values()) if grid else 0
    calibrated = isinstance(_classifier(head), BaseCalibration)
    return 1 + points * (INNER_CV - 1) * (0.5 if calibrated else 1)
