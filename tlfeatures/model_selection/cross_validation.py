"""Cross-validation of heads on a dataset, with plain arrays as results.

A `Trainer` runs all folds in parallel; each uses one thread, and all read the same X. The heads of
a fold share its principal coordinates, which are computed once; then each head is an ordinary
classifier on their columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import ParameterError
from tlfeatures.heads.table import Grid
from tlfeatures.metrics.scores import SCORES, finite_or_none
from tlfeatures.model_selection.fold_scores import FoldResult
from tlfeatures.model_selection.fold_work import Task
from tlfeatures.model_selection.folds import inner_folds, make_folds
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.model_selection.tuning import Choice, choose
from tlfeatures.names import as_list, unknown_name

_TOP = 2  # most probable classes that scikit-learn's scorer top_k_accuracy counts


@dataclass(frozen=True, eq=False)
class Evaluation(EqualByValue):
    """The result of the cross-validation of one head.

    Attributes
    ----------
    split : str
        `cv`, or the split (val, test) that the head was scored on after it was fitted on train.
    classes : ndarray of shape (k,), str
    fold : ndarray of shape (n,), int
        The fold in which each image was tested; -1 if it was never tested.
    predicted : ndarray of shape (n,), int
        Out-of-fold predictions, as indices of `classes`; -1 if an image was never tested.
    probabilities : ndarray of shape (n, k), float64
        Out-of-fold; NaN if an image was never tested, or the head gives none.
    scores : dict of name to ndarray of shape (folds,), float64
        NaN if a score is not defined: log loss and ROC AUC of a head without probabilities,
        ROC AUC of a fold that lacks a class.
    fit_seconds : ndarray of shape (folds,), float64
        Time of the head's fit and its share of what heads have in common, without tuning.
    test_fraction : float
        Mean over folds of test images divided by training images.
    choices : tuple of Choice
        What tuning chose in each fold; empty without tuning.
    reasons : dict of name to str
        Why a score is not defined, and in which folds.
    """

    split: str
    classes: NDArray[np.str_]
    fold: NDArray[np.int_]
    predicted: NDArray[np.int_]
    probabilities: NDArray[np.float64]
    scores: dict[str, NDArray[np.float64]]
    fit_seconds: NDArray[np.float64]
    test_fraction: float
    choices: tuple[Choice, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return mean, standard deviation (ddof 1) and fold values of each score, JSON-ready.

        A value that is not defined is None, such as the deviation of a single fold. `reason` says
        why the mean is not defined, and is None if it is defined.
        """
        return {name: self._summary(name) for name in self.scores}

    def _summary(self, name: str) -> dict[str, Any]:
        values = self.scores[name]
        std = values.std(ddof=1) if len(values) > 1 else float("nan")
        return {
            "mean": finite_or_none(values.mean()),
            "std": finite_or_none(std),
            "folds": [finite_or_none(value) for value in values],
            "reason": self.reasons.get(name),
        }


def cross_validate(head: BaseEstimator, data: Dataset, **options: Any) -> Evaluation:
    """Score a head on images that it was not fitted on.

    The head is cloned for each fold, so that all that it learns, including scaling and PCA, comes
    from the training images of the fold.

    Parameters
    ----------
    head : scikit-learn classifier
        From `make_head`, or any other.
    data : Dataset
    grid : mapping of parameter to values, optional
        Values that tuning tries inside each training fold; `head_grid` has good ones.
    **options
        See `cross_validate_heads`.

    Returns
    -------
    Evaluation
    """
    grid = options.pop("grid", None)
    name = "the head"
    grids = None if grid is None else {name: grid}
    return cross_validate_heads({name: head}, data, grids=grids, **options)[name]


def cross_validate_heads(
    heads: Mapping[str, BaseEstimator],
    data: Dataset,
    *,
    cv: Any = None,
    split: str = "auto",
    grids: Mapping[str, Grid] | None = None,
    scoring: str | Sequence[str] = (),
    n_jobs: int | None = None,
    random_state: int | None = 0,
    trainer: Trainer | None = None,
    folds: tuple[str, list[Fold]] | None = None,
) -> dict[str, Evaluation]:
    """Score several heads on the same folds; what they share is computed once in each fold.

    Parameters
    ----------
    heads : mapping of name to scikit-learn classifier
    data : Dataset
    cv : int, scikit-learn splitter or iterable of (train rows, test rows), optional
        Number of folds (5), stratified and shuffled; groups and copies of an image stay together.
    split : {"auto", "cv", "val", "test"}
        "auto" cross-validates if `cv` is given or the data have no splits; else it fits on train
        and scores on val, or on test if there is no val. "cv" cross-validates over all images.
    grids : mapping of head to grid, optional
        Parameters and values that are tried for these heads by cross-validation inside each
        training fold (nested), never on its test images.
    scoring : sequence of str
        Further scores, by scikit-learn's names.
    n_jobs : int or None
        Number of folds fitted at once, each on one thread; the results don't depend on it.
    random_state : int or None
        Seed of the shuffling.
    trainer : Trainer, optional
        An open trainer, which replaces `n_jobs`.
    folds : tuple of split and folds, optional
        From `make_folds`; they replace `cv` and `split`.

    Returns
    -------
    dict of name to Evaluation

    Raises
    ------
    DatasetError
        If there is one class only, or a class has fewer images than folds.
    ParameterError
        If a split or score is unknown, or for `top_k_accuracy` with two classes.

    Notes
    -----
    ROC AUC with more than two classes is the unweighted mean of one class against the rest. Macro
    F1 and balanced accuracy are means over the classes that have test images in the fold.
    """
    scoring = as_list(scoring)
    check_scoring(scoring, data.classes)
    split_and_folds = folds or make_folds(data, cv=cv, split=split, random_state=random_state)
    if trainer is None:
        with Trainer(data, n_jobs=n_jobs) as own:
            return _evaluate(own, heads, *split_and_folds, grids, scoring, random_state)
    return _evaluate(trainer, heads, *split_and_folds, grids, scoring, random_state)


def _evaluate(
    trainer: Trainer,
    heads: Mapping[str, BaseEstimator],
    split: str,
    folds: list[Fold],
    grids: Mapping[str, Grid] | None,
    scoring: Sequence[str],
    seed: int | None,
) -> dict[str, Evaluation]:
    data = trainer.data
    choices: list[dict[str, Choice]] = [{} for _ in folds]
    if grids:
        inner = [inner_folds(data.y, data.together, train, seed) for train, _ in folds]
        choices = choose(trainer, heads, grids, inner, scoring)
    tasks = [
        Task(train, test, dict(heads), {name: choice.params for name, choice in chosen.items()})
        for (train, test), chosen in zip(folds, choices, strict=True)
    ]
    results = trainer.run(tasks, scoring)
    return {
        name: _gather(
            data,
            split,
            folds,
            [result[name] for result in results],
            tuple(chosen[name] for chosen in choices if name in chosen),
        )
        for name in heads
    }


def _gather(
    data: Dataset,
    split: str,
    folds: list[Fold],
    results: list[FoldResult],
    choices: tuple[Choice, ...],
) -> Evaluation:
    classes = np.array(data.classes)
    fold, predicted = (np.full(len(data.y), -1) for _ in range(2))
    probabilities = np.full((len(data.y), len(classes)), np.nan)
    for number, ((_, test), result) in enumerate(zip(folds, results, strict=True)):
        fold[test], predicted[test] = number, result.predicted
        probabilities[test] = result.probabilities
    return Evaluation(
        split=split,
        classes=classes,
        fold=fold,
        predicted=predicted,
        probabilities=probabilities,
        scores={
            name: np.array([result.scores[name] for result in results])
            for name in results[0].scores
        },
        fit_seconds=np.array([result.seconds for result in results]),
        test_fraction=float(np.mean([len(test) / len(train) for train, test in folds])),
        choices=choices,
        reasons=_reasons(results),
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


def check_scoring(scoring: Sequence[str], classes: Sequence[str]) -> None:
    """Raise an error if a score is unknown, or means nothing with so few classes.

    Parameters
    ----------
    scoring : sequence of str
    classes : sequence of str

    Raises
    ------
    ParameterError
    """
    names = list(dict.fromkeys((*SCORES, *get_scorer_names())))
    for name in scoring:
        if name not in names:
            raise unknown_name("scoring", name, names)
        if name == "top_k_accuracy" and len(classes) <= _TOP:
            raise ParameterError(
                f"top_k_accuracy asks whether the label is among the {_TOP} most probable classes, "
                f"and there are {len(classes)} classes: it is 1 for every head; take accuracy"
            )
