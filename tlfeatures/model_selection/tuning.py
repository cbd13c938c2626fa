"""Tuning: choosing the parameters of heads by cross-validation inside a training fold."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import ParameterGrid

from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.errors import ParameterError
from tlfeatures.heads.coordinate_step import grid_after_coordinates
from tlfeatures.heads.table import Grid
from tlfeatures.metrics.scores import less_is_better
from tlfeatures.model_selection.fold_work import Point, Task
from tlfeatures.model_selection.trainer import Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """The parameters that tuning chose for a head in one training fold.

    Attributes
    ----------
    params : mapping
        The best point of the grid. If several points are equally good, the first of them, which is
        the simplest model.
    points : list of mapping
        All points of the grid.
    scores : ndarray of shape (points,), float64
        Score of each point: the mean over the inner folds in which the score is defined. Smaller is
        better for log loss, and larger is better for every other score.
    """

    params: Point
    points: list[Point]
    scores: NDArray[np.float64]

    @property
    def score(self) -> float:
        """Score of the chosen point on the inner folds."""
        return float(self.scores[self.points.index(self.params)])


def choose(
    trainer: Trainer,
    heads: Mapping[str, BaseEstimator],
    grids: Mapping[str, Grid],
    inner: Sequence[Sequence[Fold]],
    scoring: Sequence[str] = (),
) -> list[dict[str, Choice]]:
    """Choose the parameters of each head for each training fold.

    Parameters
    ----------
    trainer : Trainer
        An open trainer of the dataset.
    heads : mapping of name to classifier
    grids : mapping of name to grid
        Heads without a grid, or with an empty grid, are not tuned.
    inner : sequence of lists of (train rows, test rows)
        Inner folds of each training fold; see `inner_folds`.
    scoring : sequence of str
        The first score is used to choose; the default is accuracy.

    Returns
    -------
    list of dict of name to Choice
        One dict for each list of inner folds.

    Raises
    ------
    ParameterError
        If the score is not defined in any of the inner folds.
    """
    score = scoring[0] if scoring else "accuracy"
    grids = {
        name: grid_after_coordinates(heads[name], grid) for name, grid in grids.items() if grid
    }
    points = {name: _points(grids[name]) for name in heads if name in grids}
    tuned = {name: heads[name] for name in points}
    if not tuned:
        return [{} for _ in inner]
    tasks = [Task(train, held, tuned, points=points) for folds in inner for train, held in folds]
    outcomes = iter(trainer.score_points(tasks, score))
    choices = []
    for folds in inner:
        results = [next(outcomes) for _ in folds]
        means = {name: _mean(name, [own[name] for own in results], score) for name in points}
        choices.append({name: _best(points[name], means[name], score) for name in points})
    _report_edges(choices, grids)
    return choices


def _points(grid: Grid) -> list[Point]:
    """Return all points of a grid in its order; the first parameter changes slowest."""
    indices = ParameterGrid({name: range(len(values)) for name, values in grid.items()})
    ordered = sorted(indices, key=lambda index: [index[name] for name in grid])
    return [{name: grid[name][index[name]] for name in grid} for index in ordered]


def _mean(name: str, scores: list[list[float]], score: str) -> NDArray[np.float64]:
    """Return the mean score of each point over the folds that define the score.

    A point that has no score in one of these folds gets the worst possible score.
    """
    table = np.array(scores)
    defined = np.isfinite(table).any(axis=1)
    if not defined.any():
        raise ParameterError(
            f"{name} can't be tuned by {score}: no inner fold defines this score, because the head "
            "gives no probabilities or each fold lacks a class; use --scoring accuracy"
        )
    means: NDArray[np.float64] = table[defined].mean(axis=0)
    worst = np.inf if less_is_better(score) else -np.inf
    return np.where(np.isnan(means), worst, means)


def _best(points: list[Point], scores: NDArray[np.float64], score: str) -> Choice:
    best = scores.argmin() if less_is_better(score) else scores.argmax()
    return Choice(points[int(best)], points, scores)


def _report_edges(choices: Sequence[Mapping[str, Choice]], grids: Mapping[str, Grid]) -> None:
    """Log parameters for which most folds chose an end of the grid.

    A value outside the grid may be better.
    """
    ends: Counter[tuple[str, str, Any]] = Counter()
    for chosen in choices:
        for name, choice in chosen.items():
            for key, values in grids[name].items():
                if len(values) > 2 and choice.params[key] in (values[0], values[-1]):
                    ends[name, key, choice.params[key]] += 1
    for (name, key, value), count in ends.items():
        if 2 * count > len(choices):
            logger.info(
                "%s: %s=%s, an end of the grid, was chosen in %d of %d folds; a value outside the "
                "grid may be better",
                name,
                key,
                value,
                count,
                len(choices),
            )
