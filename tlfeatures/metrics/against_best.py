"""Tests of each head against the best head, over folds or over the images of a single split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions
from tlfeatures.metrics.score_records import PooledScore
from tlfeatures.metrics.scores import SCORES, score_name
from tlfeatures.metrics.significance import (
    corrected_interval,
    corrected_t_test,
    detectable_difference,
    holm,
    paired_bootstrap_interval,
    paired_bootstrap_test,
)

LEVEL = 0.05  # significance level
VERY_FEW = 20  # with fewer tested images (or groups), there is no test over images

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FoldScores:
    """One score of one head in the folds of one repeat.

    Attributes
    ----------
    repeat : int
        Number of the repeat. All heads have the same folds in a repeat.
    values : ndarray of shape (folds,), float64
        Score of each fold; NaN where the score is not defined.
    test_fraction : float
        Number of test images divided by number of training images, mean over folds.
    reason : str or None
        Explanation if the score is not defined in some folds.
    """

    repeat: int
    values: Floats
    test_fraction: float
    reason: str | None = None


@dataclass(frozen=True)
class Outcome:
    """Result of the test of a head against the best head.

    Attributes
    ----------
    difference, p : float
        Mean difference to the best head's score, and its Holm-adjusted p value. Both are NaN for
        the best head itself, and if there is no test.
    reason : str or None
        Explanation if there is no test.
    interval : (float, float) or None
        95 % interval of the difference, not adjusted for the number of heads.
    """

    difference: float = math.nan
    p: float = math.nan
    reason: str | None = None
    interval: tuple[float, float] | None = None

    def standing(self, first: bool) -> str:
        """Return "best", "not different", "different" or "untested".

        Parameters
        ----------
        first : bool
            Whether the head is the first of the ranking.
        """
        if self.reason is not None:
            return "untested"
        if first:
            return "best"
        return "not different" if self.p > LEVEL else "different"


def compare_folds(
    ranked: Sequence[Sequence[FoldScores]], best_score: PooledScore, scoring: str
) -> tuple[list[Outcome], float]:
    """Compare the fold scores of each head with the fold scores of the best head.

    Parameters
    ----------
    ranked : sequence of sequences of FoldScores
        Fold scores of each head, one for each repeat. The best head comes first.
    best_score : PooledScore
        Pooled score of the best head, or the reason why it has none.
    scoring : str
        Name of the score.

    Returns
    -------
    outcomes : list of Outcome
        One outcome for each head.
    detectable : float
        Smallest difference that the test would find, as the median over the heads; NaN if unknown.
    """
    best, *others = ranked
    differences = [_differences(best, other) for other in others]
    fraction = float(np.mean([scores.test_fraction for scores in best]))
    p = [corrected_t_test(values, fraction) for values in differences]
    reasons = [
        _reason_against_folds(best, other, values, scoring) if math.isnan(value) else None
        for other, values, value in zip(others, differences, p, strict=True)
    ]
    # The first step of Holm's adjustment uses the same level.
    level = LEVEL / max(len(differences), 1)
    smallest = [detectable_difference(values, fraction, level=level) for values in differences]
    defined = [value for value in smallest if not math.isnan(value)]
    means = [float(values.mean()) if len(values) else math.nan for values in differences]
    intervals = [corrected_interval(values, fraction) for values in differences]
    outcomes = _outcomes(best_score, means, p, reasons, intervals)
    return outcomes, float(np.median(defined)) if defined else math.nan


def _reason_against_folds(
    best: Sequence[FoldScores], other: Sequence[FoldScores], differences: Floats, scoring: str
) -> str:
    """Return the reason why the scores of folds can't be compared."""
    if not len(differences):
        return "it has no repeat in common with the best head"
    for whose, repeats in (("its", other), ("the best head's", best)):
        for scores in repeats:
            if np.isnan(scores.values).any():
                why = f": {scores.reason}" if scores.reason else ""
                return f"{whose} {score_name(scoring)} is not defined in every fold{why}"
    return "the test needs two folds or more"


def _differences(best: Sequence[FoldScores], other: Sequence[FoldScores]) -> Floats:
    """Return the differences of the folds in the repeats that both heads have."""
    by_repeat = {scores.repeat: scores.values for scores in other}
    pairs = [
        by_repeat[scores.repeat] - scores.values for scores in best if scores.repeat in by_repeat
    ]
    return np.concatenate(pairs) if pairs else np.empty(0)


def compare_images(
    ranked: Sequence[Sequence[HeadPredictions]],
    scores: Sequence[PooledScore],
    scoring: str,
    scorer: BootstrapScorer,
) -> list[Outcome]:
    """Compare each head with the best head over the tested images of a single split.

    Parameters
    ----------
    ranked : sequence of sequences of HeadPredictions
        Predictions of each head, one for each repeat. The best head comes first.
    scores : sequence of PooledScore
        Pooled score of each head, or the reason why it has none.
    scoring : str
        Name of the score.
    scorer : BootstrapScorer
        Scorer of the tested images, which has their resamples.

    Returns
    -------
    list of Outcome
        One outcome for each head.
    """
    missing = [math.nan] * (len(ranked) - 1)
    reason = _reason_against_images(scoring, scorer)
    if reason is not None:
        nothing: list[tuple[float, float] | None] = [None for _ in missing]
        return _outcomes(scores[0], missing, missing, [reason for _ in missing], nothing)
    best, *others = [scorer.resampled(repeats)[scoring] for repeats in ranked]
    p = [paired_bootstrap_test(best, values) for values in others]
    reasons = [
        (own["reason"] or scores[0]["reason"] or "no resample has the score")
        if math.isnan(value)
        else None
        for own, value in zip(scores[1:], p, strict=True)
    ]
    means = [_mean(values - best) for values in others]
    intervals = [paired_bootstrap_interval(values, best) for values in others]
    return _outcomes(scores[0], means, p, reasons, intervals)


def _reason_against_images(scoring: str, scorer: BootstrapScorer) -> str | None:
    """Return the reason why heads can't be compared over the images of a single split."""
    if scoring not in SCORES:
        return (
            f"there is no test of {score_name(scoring)} on a single split; rank the heads by one "
            f"of {', '.join(SCORES)}"
        )
    if scorer.units < VERY_FEW:
        return f"the test needs {VERY_FEW} tested {scorer.unit} or more, found only {scorer.units}"
    return None


def _mean(differences: Floats) -> float:
    defined = differences[~np.isnan(differences)]
    return float(defined.mean()) if len(defined) else math.nan


def _outcomes(
    best_score: PooledScore,
    differences: list[float],
    p: list[float],
    reasons: list[str | None],
    intervals: list[tuple[float, float] | None],
) -> list[Outcome]:
    """Return the outcomes of all heads; the best head is untested if it has no score."""
    missing = best_score["score"] is None
    no_score = (best_score["reason"] or "it has no score") if missing else None
    others = zip(differences, holm(p).tolist(), reasons, intervals, strict=True)
    return [Outcome(reason=no_score), *(Outcome(*values) for values in others)]
