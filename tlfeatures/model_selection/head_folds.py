"""Fitting heads on all folds of a dataset, and scoring them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.equality import EqualByValue
from tlfeatures.heads.table import Grid
from tlfeatures.model_selection.fold_scores import FoldResult
from tlfeatures.model_selection.fold_work import Task
from tlfeatures.model_selection.folds import inner_folds
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.model_selection.tuning import Choice, choose


@dataclass(frozen=True, eq=False)
class HeadFolds(EqualByValue):
    """Predictions and scores of one head in all folds of n images.

    Attributes
    ----------
    fold : ndarray of shape (n,), int
        The fold in which each image was tested; -1 if it was never tested.
    predicted : ndarray of shape (n,), int
        Predicted class codes; -1 if an image was never tested.
    probabilities : ndarray of shape (n, k), float64
        Probabilities of the classes; NaN if an image was never tested, or the head gives none.
    scores : dict of name to ndarray of shape (folds,), float64
        Scores of each fold; NaN in a fold that doesn't define the score.
    reasons : dict of name to str
        For each score that some folds do not define: the reason, and the numbers of these folds.
    fit_seconds : ndarray of shape (folds,), float64
        Time of the head's fit plus its share of the time for shared columns, in seconds. Tuning
        is not included.
    test_fraction : float
        Number of test images divided by number of training images, mean over folds.
    choices : tuple of Choice
        Parameters that tuning chose in each fold; empty without tuning.
    """

    fold: NDArray[np.int_]
    predicted: NDArray[np.int_]
    probabilities: NDArray[np.float64]
    scores: dict[str, NDArray[np.float64]]
    reasons: dict[str, str]
    fit_seconds: NDArray[np.float64]
    test_fraction: float
    choices: tuple[Choice, ...] = field(default=())


def run_folds(
    trainer: Trainer,
    heads: Mapping[str, BaseEstimator],
    folds: list[Fold],
    *,
    grids: Mapping[str, Grid] | None = None,
    scoring: Sequence[str] = (),
    random_state: int | None = 0,
) -> dict[str, HeadFolds]:
    """Fit and score heads on all folds. Columns that heads share are computed once for each fold.

    Parameters
    ----------
    trainer : Trainer
        An open trainer of the dataset.
    heads : mapping of name to scikit-learn classifier
        Heads before they are fitted.
    folds : list of (train rows, test rows)
    grids, scoring, random_state
        See `tlfeatures.cross_validate_heads`.

    Returns
    -------
    dict of name to HeadFolds

    Raises
    ------
    DatasetError
        If tuning can't divide a training fold.
    ParameterError
        If a head can't be fitted or scored.
    """
    data = trainer.data
    choices: list[dict[str, Choice]] = [{} for _ in folds]
    if grids:
        inner = [inner_folds(data.y, data.together, train, random_state) for train, _ in folds]
        choices = choose(trainer, heads, grids, inner, scoring)
    tasks = [
        Task(train, test, dict(heads), {name: choice.params for name, choice in chosen.items()})
        for (train, test), chosen in zip(folds, choices, strict=True)
    ]
    results = trainer.run(tasks, scoring)
    return {
        name: _gather(
            data,
            folds,
            [result[name] for result in results],
            tuple(chosen[name] for chosen in choices if name in chosen),
        )
        for name in heads
    }


def _gather(
    data: Dataset, folds: list[Fold], results: list[FoldResult], choices: tuple[Choice, ...]
) -> HeadFolds:
    fold, predicted = (np.full(len(data.y), -1) for _ in range(2))
    probabilities = np.full((len(data.y), len(data.classes)), np.nan)
    for number, ((_, test), result) in enumerate(zip(folds, results, strict=True)):
        fold[test], predicted[test] = number, result.predicted
        probabilities[test] = result.probabilities
    return HeadFolds(
        fold=fold,
        predicted=predicted,
        probabilities=probabilities,
        scores={
            name: np.array([result.scores[name] for result in results])
            for name in results[0].scores
        },
        reasons=_reasons(results),
        fit_seconds=np.array([result.seconds for result in results]),
        test_fraction=float(np.mean([len(test) / len(train) for train, test in folds])),
        choices=choices,
    )


def _reasons(results: Sequence[FoldResult]) -> dict[str, str]:
    """Join the reasons why folds don't define a score, with the numbers of these folds."""
    folds_of: dict[str, dict[str, list[str]]] = {}
    for number, result in enumerate(results, 1):
        for name, reason in result.reasons.items():
            folds_of.setdefault(name, {}).setdefault(reason, []).append(str(number))
    return {
        name: "; ".join(
            reason if len(folds) == len(results) else f"{reason} in fold {', '.join(folds)}"
            for reason, folds in by_reason.items()
        )
        for name, by_reason in folds_of.items()
    }
