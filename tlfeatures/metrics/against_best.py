"""Tests of each head against the best head, over the tested images or over folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions
from tlfeatures.metrics.influence import influences
from tlfeatures.metrics.score_records import PooledScore
from tlfeatures.metrics.scores import SCORES, less_is_better, score_name
from tlfeatures.metrics.significance import (
    LEVEL,
    LargestStatistic,
    covariance_of_scores,
    errors_of_pairs,
    fold_errors,
    interval_of,
    largest_of_folds,
    largest_of_pairs,
    practical_equivalence,
)

VERY_FEW = 20  # with fewer tested images (or groups), there is no test over images
REGION = 0.01  # smaller differences of scores from 0 to 1 don't matter in practice

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
        Difference to the best head's score, and its p value, which takes into account that the
        best of all heads was chosen. Both are NaN for the best head itself, and if there is no
        test.
    reason : str or None
        Explanation if there is no test.
    interval : (float, float) or None
        95 % interval of the difference. It holds for all heads together, and contains 0 if and
        only if the head is not significantly different.
    within, worse : float
        Probability that the head is within `REGION` of the best head, and that it is worse by
        more. NaN if there is no test, or no such region for the score.
    """

    difference: float = math.nan
    p: float = math.nan
    reason: str | None = None
    interval: tuple[float, float] | None = None
    within: float = math.nan
    worse: float = math.nan

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


Tested = tuple[list[Outcome], float]  # outcomes of all heads, and the detectable difference


def by_images(scoring: str, units: int) -> bool:
    """Whether heads are compared over the tested images.

    Parameters
    ----------
    scoring : str
        Name of the score. Other scores than `SCORES` are not known for each image.
    units : int
        Number of tested images, or of their groups.
    """
    return scoring in SCORES and units >= VERY_FEW


# ---- over images


def compare_images(
    ranked: Sequence[Sequence[HeadPredictions]],
    scores: Sequence[PooledScore],
    scoring: str,
    scorer: BootstrapScorer,
    *,
    shared: float = 0.0,
) -> Tested:
    """Compare each head with the best head over the tested images.

    Parameters
    ----------
    ranked : sequence of sequences of HeadPredictions
        Predictions of each head, one for each repeat. The best head comes first.
    scores : sequence of PooledScore
        Pooled score of each head, or the reason why it has none.
    scoring : str
        Name of the score.
    scorer : BootstrapScorer
        Of the tested images.
    shared : float
        Part of the variance that all folds share, see `covariance_of_scores`; 0 for one split.

    Returns
    -------
    outcomes : list of Outcome
        One outcome for each head.
    detectable : float
        Smallest difference that is significant, as the median over the heads; NaN if unknown.
    """
    reason = _reason_against_images(scoring, scorer)
    if reason is not None:
        return _untested(scores, [reason for _ in ranked]), math.nan
    reasons = [
        None if own["score"] is not None else own["reason"] or "it has no score" for own in scores
    ]
    outcomes = _untested(scores, [reasons[0] or why for why in reasons])
    places = [place for place, why in enumerate(reasons) if why is None]
    if reasons[0] is not None or len(places) < 2:
        return outcomes, math.nan
    table = _influences([ranked[place] for place in places], scoring, scorer)
    covariance = covariance_of_scores(table, scorer.together, shared=shared)
    unit = 0.0 if less_is_better(scoring) else math.sqrt(1 + shared) / scorer.units
    errors = errors_of_pairs(covariance, least=unit)
    largest = largest_of_pairs(covariance, errors, scorer.units - 1)
    values = [_value(scores[place]) for place in places]
    for place, value, error in zip(places[1:], values[1:], errors[0, 1:].tolist(), strict=True):
        outcomes[place] = _outcome(value - values[0], error, largest, scoring, scorer.units - 1)
    return outcomes, _median(errors[0, 1:] * largest.critical)


def _value(score: PooledScore) -> float:
    return math.nan if score["score"] is None else score["score"]


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


def _influences(
    ranked: Sequence[Sequence[HeadPredictions]], scoring: str, scorer: BootstrapScorer
) -> Floats:
    """Return the influences, of shape (repeats, n, heads); fewer repeats are used again."""
    own = [
        [
            influences(
                scorer.codes,
                repeat.predicted[scorer.tested],
                repeat.probabilities[scorer.tested],
                scoring,
            )
            for repeat in repeats
        ]
        for repeats in ranked
    ]
    most = max(map(len, own))
    return np.array(
        [
            np.transpose([repeats[number % len(repeats)] for repeats in own])
            for number in range(most)
        ]
    )


# ---- over folds


def compare_folds(
    ranked: Sequence[Sequence[FoldScores]], best_score: PooledScore, scoring: str
) -> Tested:
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
        Smallest difference that is significant, as the median over the heads; NaN if unknown.
    """
    best, *others = ranked
    differences = [_differences(best, other) for other in others]
    missing = [len(own) < 2 or bool(np.isnan(own).any()) for own in differences]
    reasons = [
        _reason_against_folds(best, other, values, scoring) if without else None
        for other, values, without in zip(others, differences, missing, strict=True)
    ]
    outcomes = _untested([best_score] * len(ranked), [None, *reasons])
    tested = [place for place, without in enumerate(missing) if not without]
    if not tested:
        return outcomes, math.nan
    fraction = float(np.mean([scores.test_fraction for scores in best]))
    folds = min(len(differences[place]) for place in tested)
    errors = _errors([differences[place] for place in tested], fraction)
    largest = largest_of_folds(len(tested) + 1, folds)
    for place, error in zip(tested, errors.tolist(), strict=True):
        mean = float(differences[place].mean())
        outcomes[place + 1] = _outcome(mean, error, largest, scoring, folds - 1)
    return outcomes, _median(errors * largest.critical)


def _errors(differences: Sequence[Floats], fraction: float) -> Floats:
    """Return the standard errors of `fold_errors`, also for heads with fewer repeats."""
    alone = [fold_errors([values], fraction)[0] for values in differences]
    pooled = math.sqrt(float(np.mean(np.square(alone))))
    errors: Floats = np.maximum(alone, pooled)
    return errors


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
    values: Floats = np.concatenate(pairs) if pairs else np.empty(0)
    return np.where(np.abs(values) < 1e-12, 0, values)  # rounding errors


# ---- outcomes


def _untested(scores: Sequence[PooledScore], reasons: Sequence[str | None]) -> list[Outcome]:
    """Return outcomes without tests; the best head is untested only if it has no score."""
    missing = scores[0]["score"] is None
    no_score = (scores[0]["reason"] or "it has no score") if missing else None
    return [Outcome(reason=no_score), *(Outcome(reason=reason) for reason in reasons[1:])]


def _outcome(
    difference: float, error: float, largest: LargestStatistic, scoring: str, df: int
) -> Outcome:
    statistic = difference / error if error > 0 else math.copysign(math.inf, difference)
    outcome = Outcome(
        difference,
        1.0 if difference == 0 else largest.p(statistic),
        interval=interval_of(difference, error, largest.critical),
    )
    if scoring not in SCORES or less_is_better(scoring):
        return outcome
    within, worse = practical_equivalence(difference, error, df, region=REGION)
    return replace(outcome, within=within, worse=worse)


def _median(detectable: Floats) -> float:
    """Return the median of the values above 0; NaN if there are none."""
    defined = detectable[detectable > 0]
    return float(np.median(defined)) if len(defined) else math.nan
