"""Evaluations: a head's predictions for images that it was not fitted on, and their scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.data_frames import data_frame
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import ParameterError
from tlfeatures.html_tables import Cell, facts_html, result_html
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions
from tlfeatures.metrics.confusion import Confusion, confusion
from tlfeatures.metrics.group_scores import MOST_SHOWN, GroupScores, score_groups
from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.metrics.score_records import Score, score_line, score_record
from tlfeatures.model_selection.evaluation_html import (
    confusion_table,
    group_table,
    score_in_percent,
    score_table,
)
from tlfeatures.model_selection.head_folds import HeadFolds
from tlfeatures.model_selection.tuning import Choice
from tlfeatures.names import counted, folds_in_words

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation(EqualByValue):
    """HeadPredictions of a head for n images, and their scores. The head was not fitted on them.

    Attributes
    ----------
    head : str
        Name of the head.
    embedding : str
        Name of the embedding: `LAYER.POOLING`, or several joined as `A+B`.
    split : str
        `cv`, the split (val, test) that the head was scored on after it was fitted on train, or
        `new` for new images.
    classes : ndarray of shape (k,), str
        Names of the classes, sorted.
    ids, y : ndarray of shape (n,), str
        Ids of the images, and their labels.
    fold : ndarray of shape (n,), int
        The fold in which each image was tested; -1 if it was never tested.
    predicted : ndarray of shape (n,), int
        HeadPredictions, as indices of `classes`; -1 if an image was never tested.
    probabilities : ndarray of shape (n, k), float64
        Probabilities of the classes; NaN if an image was never tested, or the head gives none.
    scores : dict of name to Score
        A `Score` has the `score` of all tested images together and its 95 % `interval`. It also
        has the scores of the `folds`, with their `mean` and `std`, and the `reason` if one of
        these values is None.
    groups : ndarray of shape (n,), str, or None
        Group of each image, given by the user.
    """

    head: str
    embedding: str
    split: str
    classes: NDArray[np.str_]
    ids: NDArray[np.str_]
    y: NDArray[np.str_]
    fold: NDArray[np.int_]
    predicted: NDArray[np.int_]
    probabilities: NDArray[np.float64] = field(repr=False)
    scores: dict[str, Score]
    groups: NDArray[np.str_] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """Describe it in one line; the arrays would fill the screen."""
        return (
            f"<{type(self).__name__}: {self.head} on {self.embedding}, "
            f"{counted(self.tested, 'image')} tested: {score_line('accuracy', self.scores)}>"
        )

    def _repr_html_(self) -> str:
        """Show the scores and the confusion matrix in a notebook."""
        return result_html(
            type(self).__name__,
            facts_html(self._facts()),
            score_table(self.scores),
            group_table(self.by_group()),
            confusion_table(self.confusion),
            about=f"{self.head} on {self.embedding}, {score_in_percent('accuracy', self.scores)}",
        )

    def _facts(self) -> dict[str, Cell]:
        groups = None if self.groups is None else len(np.unique(self.groups))
        how = {"cv": folds_in_words(int(self.fold.max()) + 1, groups), "new": "new images"}
        return {
            "tested": f"{self.tested:,} of {counted(len(self.ids), 'image')}",
            "validation": how.get(self.split, f"fitted on train, tested on {self.split}"),
        }

    @property
    def tested(self) -> int:
        """Number of tested images."""
        return int((self.fold >= 0).sum())

    @property
    def predictions(self) -> OutOfFold:
        """Labels and predictions of the tested images, for figures and tables."""
        return OutOfFold.of(self, self)

    @property
    def confusion(self) -> Confusion:
        """Confusion matrix of the tested images."""
        return confusion(self.predictions)

    def by_group(self, *, most: int | None = MOST_SHOWN) -> GroupScores | None:
        """Return the accuracies on the groups of tested images, the worst first.

        Parameters
        ----------
        most : int or None
            Number of groups in the result, the worst; None for all.

        Returns
        -------
        GroupScores or None
            None if the user gave no groups.
        """
        if self.groups is None:
            return None
        tested = self.predictions
        return score_groups(~tested.wrong, self.groups[self.fold >= 0], most=most)

    def to_frame(self) -> DataFrame:
        """Return a data frame with one row for each tested image. It needs pandas.

        Returns
        -------
        DataFrame
            Columns `id`, `label`, `predicted` (the head's own decision), `fold`, and the
            probability `p_CLASS` of each class, NaN if the head gives none.

        Raises
        ------
        ParameterError
            If pandas is not installed.
        """
        return data_frame(self.predictions.columns())

    def to_dict(self) -> dict[str, Any]:
        """Give JSON-ready plain data, without the predictions of single images.

        Of more than 100 classes, the confusion matrix is None. `confused` has the 100 pairs of
        classes that are confused most often.
        """
        groups, confusion = self.by_group(), self.confusion
        return {
            "head": self.head,
            "embedding": self.embedding,
            "split": self.split,
            "images": len(self.ids),
            "tested": self.tested,
            "classes": self.classes.tolist(),
            "scores": self.scores,
            "group_scores": None if groups is None else asdict(groups),
            "confusion": None if confusion.is_large else confusion.counts.tolist(),
            "confused": [asdict(pair) for pair in confusion.confused()],
        }


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CrossValidation(Evaluation):
    """The evaluation of one head on a dataset, by cross-validation or on a given split.

    Attributes
    ----------
    head, embedding, split, classes, ids, y, fold, predicted, probabilities, scores, groups
        See `Evaluation`.
    fit_seconds : ndarray of shape (folds,), float64
        Time of the head's fit plus its share of the time for shared columns, in seconds. Tuning
        is not included.
    test_fraction : float
        Number of test images divided by number of training images, mean over folds.
    choices : tuple of Choice
        Parameters that tuning chose in each fold; empty without tuning.
    """

    fit_seconds: NDArray[np.float64]
    test_fraction: float
    choices: tuple[Choice, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give JSON-ready plain data, without the predictions of single images."""
        return {
            **super().to_dict(),
            "chosen": [dict(choice.params) for choice in self.choices],
            "fit_seconds": float(self.fit_seconds.mean()),
        }


def scorer_of(data: Dataset, folds: list[Fold], random_state: int | None) -> BootstrapScorer:
    """Create the scorer of a cross-validation. It scores all heads on the same resamples.

    Parameters
    ----------
    data : Dataset
    folds : list of (train rows, test rows)
        The resamples contain only images that a fold tests.
    random_state : int or None
        Seed of the resamples.

    Raises
    ------
    ParameterError
        If an image is tested in several folds: it would have several predictions.
    """
    rows, times = np.unique(np.concatenate([test for _, test in folds]), return_counts=True)
    if (times > 1).any():
        raise ParameterError(
            f"this cv tests {(times > 1).sum():,} of {len(rows):,} images more than once; give a "
            "cv that tests each image once (`benchmark` repeats a cross-validation by `repeats`)"
        )
    tested = np.isin(np.arange(len(data.y)), rows)
    return BootstrapScorer.of(
        data.y, data.together, tested, data.classes, random_state, groups=data.groups
    )


def cross_validation_of(
    name: str, run: HeadFolds, data: Dataset, split: str, scorer: BootstrapScorer
) -> CrossValidation:
    """Create the evaluation of a head from its predictions on the folds.

    Parameters
    ----------
    name : str
        Name of the head.
    run : HeadFolds
        HeadPredictions of the head on all folds.
    data : Dataset
    split : str
        The name of the split that `make_folds` returned.
    scorer : BootstrapScorer
        Scorer of the tested images.
    """
    return CrossValidation(
        head=name,
        embedding=data.embedding,
        split=split,
        classes=np.array(data.classes),
        ids=data.ids,
        y=data.y,
        fold=run.fold,
        predicted=run.predicted,
        probabilities=run.probabilities,
        scores=scores_of_folds(run, run.probabilities, scorer),
        fit_seconds=run.fit_seconds,
        test_fraction=run.test_fraction,
        choices=run.choices,
        groups=data.groups,
    )


def scores_of_folds(
    run: HeadFolds, probabilities: NDArray[np.floating[Any]], scorer: BootstrapScorer
) -> dict[str, Score]:
    """Return the scores of a head: pooled over all tested images, and of each fold.

    Parameters
    ----------
    run : HeadFolds
        Predictions of the head on all folds.
    probabilities : ndarray of shape (n, k)
        Those of the run, perhaps in another precision. The pooled scores are computed from them.
    scorer : BootstrapScorer
        Scorer of the tested images.

    Returns
    -------
    dict of name to Score
    """
    pooled = scorer.score([HeadPredictions(run.predicted, probabilities)])
    return {
        name: score_record(values, pooled.get(name), run.reasons.get(name))
        for name, values in run.scores.items()
    }
