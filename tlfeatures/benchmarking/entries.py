"""The entries of a benchmark: one head on one embedding in one repeat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.digests import versions
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.equality import EqualByValue
from tlfeatures.metrics.scores import finite_or_none
from tlfeatures.model_selection.cross_validation import Evaluation


@dataclass(frozen=True, eq=False)
class Entry(EqualByValue):
    """One head on one embedding in one repeat.

    Attributes
    ----------
    facts : dict
        JSON-ready: head, file, embedding, variants, matrix (hash of values), repeat, tuned, params,
        chosen (parameters by fold), chosen_scores (their scores on the inner folds), scores (name
        to mean, std, folds, pooled and its interval), fit_seconds, test_fraction, versions, key.
    fold, predicted : ndarray of shape (n,), int
        As in `Evaluation`.
    probabilities : ndarray of shape (n, k)
    """

    facts: dict[str, Any]
    fold: NDArray[np.int_] = field(repr=False)
    predicted: NDArray[np.int_] = field(repr=False)
    probabilities: NDArray[np.float64] = field(repr=False)


def entry_facts(data: Dataset, matrix: str, **own: Any) -> dict[str, Any]:
    """Return the facts of an entry before it is fitted; `own`: head, repeat, tuned, params, key."""
    return {
        "file": data.file,
        "embedding": data.embedding,
        "variants": data.n_variants,
        "matrix": matrix,
        "versions": versions(),
        **own,
    }


def entry_of(evaluation: Evaluation, facts: dict[str, Any]) -> Entry:
    """Return the entry of an evaluation; `facts` come from `entry_facts`."""
    measured = {
        "chosen": [dict(choice.params) for choice in evaluation.choices],
        "chosen_scores": [choice.score for choice in evaluation.choices],
        "scores": evaluation.summary(),
        "fit_seconds": finite_or_none(evaluation.fit_seconds.mean()),
        "test_fraction": evaluation.test_fraction,
    }
    return Entry(
        {**facts, **measured}, evaluation.fold, evaluation.predicted, evaluation.probabilities
    )


def series_of(entry: Entry) -> tuple[Any, ...]:
    """Return a key that entries share if they differ in the repeat only."""
    facts = entry.facts
    return facts["matrix"], facts["head"], facts["tuned"], repr(sorted(facts["params"].items()))
