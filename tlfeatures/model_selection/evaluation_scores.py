"""Scores of an evaluation over all tested images, with their intervals."""

from __future__ import annotations

from typing import Any

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, Predictions
from tlfeatures.metrics.scores import finite_or_none
from tlfeatures.model_selection.cross_validation import Evaluation

NO_INTERVAL = "scores of --scoring are means over folds, without an interval"


def scores_with_intervals(
    evaluation: Evaluation,
    data: Dataset,
    random_state: int | None = 0,
    *,
    classes: list[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Compute each score of an evaluation over all tested images, with its 95 % interval.

    Parameters
    ----------
    evaluation : Evaluation
    data : Dataset
        The evaluated images.
    random_state : int or None
        Seed of the bootstrap.
    classes : list of str, optional
        Classes of the head, sorted, if the data may lack images of some of them.

    Returns
    -------
    dict of name to {score, interval, reason}
        Pooled score and its interval, and in words why one of the two is None. Scores of
        `scoring` are means over folds, without an interval.
    """
    tested = evaluation.fold >= 0
    scorer = BootstrapScorer.of(
        data.y, data.together, tested, classes or data.classes, random_state
    )
    scores = scorer.score([Predictions(evaluation.predicted, evaluation.probabilities)])
    for name, values in evaluation.scores.items():
        if name not in scores:
            mean, reason = finite_or_none(values.mean()), evaluation.reasons.get(name, NO_INTERVAL)
            scores[name] = {"score": mean, "interval": None, "reason": reason}
    return scores
