"""The entries of a benchmark: one head on one embedding in one repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.study import Study
from tlfeatures.equality import EqualByValue
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.metrics.confusion import MANY_CLASSES
from tlfeatures.metrics.group_scores import MOST_SHOWN, GroupScores, score_groups
from tlfeatures.metrics.scores import finite_or_none
from tlfeatures.model_selection.evaluation import scores_of_folds
from tlfeatures.model_selection.head_folds import HeadFolds


@dataclass(frozen=True, eq=False)
class Entry(EqualByValue):
    """One head on one embedding in one repeat.

    Attributes
    ----------
    facts : dict
        JSON-ready: head, classifier (its classes), settings (hash of classes and all parameters),
        file, embedding, variants, columns (of the embedding), matrix (hash of values), repeat,
        tuned, params, chosen (parameters by fold), chosen_scores (their scores on the inner
        folds), scores (name to `Score`), fit_seconds, test_fraction, versions, key.
    fold, predicted : ndarray of shape (n,), int
        As in `HeadFolds`: the head's own decisions.
    probabilities : ndarray of shape (n, k), float64 or float32
        Out-of-fold probabilities of the k classes, NaN where there are none; see
        `kept_probabilities`.
    """

    facts: dict[str, Any]
    fold: NDArray[np.int_] = field(repr=False)
    predicted: NDArray[np.int_] = field(repr=False)
    probabilities: NDArray[np.floating[Any]] = field(repr=False)

    def without_predictions(self) -> Entry:
        """Return the entry with its facts, and with empty arrays."""
        return Entry(self.facts, self.fold[:0].copy(), self.predicted[:0].copy(), np.empty((0, 0)))


def entry_of(run: HeadFolds, facts: dict[str, Any], scorer: BootstrapScorer) -> Entry:
    """Create an entry from the predictions of a head.

    Parameters
    ----------
    run : HeadFolds
        Predictions of the head on all folds of a repeat.
    facts : dict
        Facts that do not depend on the fit, such as head, file, repeat and key.
    scorer : BootstrapScorer
        Scorer of the tested images.
    """
    probabilities = kept_probabilities(run.probabilities)
    measured = {
        "chosen": [dict(choice.params) for choice in run.choices],
        "chosen_scores": [choice.score for choice in run.choices],
        "scores": scores_of_folds(run, probabilities, scorer),
        "fit_seconds": finite_or_none(run.fit_seconds.mean()),
        "test_fraction": run.test_fraction,
    }
    return Entry({**facts, **measured}, run.fold, run.predicted, probabilities)


def has_many_classes(study: Study) -> bool:
    """Whether a study has more than 100 classes, so that its entries keep float32."""
    return len(study.classes) > MANY_CLASSES


def kept_probabilities(table: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return probabilities as entries keep them, in memory and in their file.

    Those of more than 100 classes have the precision of float32, which needs half of the space. All
    classes have the same precision, because ROC AUC compares images of a class with the others.
    Pooled scores are computed from these probabilities, so that they can be computed again from a
    file.

    Parameters
    ----------
    table : ndarray of shape (n, k)

    Returns
    -------
    ndarray of shape (n, k), float64 or float32
    """
    return table.astype(np.float32) if table.shape[1] > MANY_CLASSES else table


def series_of(entry: Entry) -> tuple[Any, ...]:
    """Return a key that is the same for entries that differ only in the repeat."""
    facts = entry.facts
    return tuple(facts[name] for name in ("matrix", "embedding", "head", "tuned", "settings"))


def groups_of(
    entries: Sequence[Entry], study: Study, *, most: int | None = MOST_SHOWN
) -> GroupScores | None:
    """Return the accuracies of a head on the user's groups; None without groups.

    Parameters
    ----------
    entries : sequence of Entry
        All repeats of the head.
    study : Study
    most : int or None
        Number of groups in the result, the worst; None for all.
    """
    if study.groups is None:
        return None
    tested = entries[0].fold >= 0
    y = np.searchsorted(study.classes, study.y[tested])
    right = np.mean([entry.predicted[tested] == y for entry in entries], axis=0)
    return score_groups(right, study.groups[tested], most=most)
