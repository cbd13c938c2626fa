"""The score of the best of several candidates, corrected for having been chosen.

A candidate is a head with its parameters on an embedding. The best of many candidates is partly
good and partly lucky: the images on which it was chosen suit it better than new images will.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions
from tlfeatures.metrics.resampling import resampled_means
from tlfeatures.metrics.score_records import PooledScore
from tlfeatures.metrics.scores import SCORES, less_is_better, score_name

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]


@dataclass(frozen=True)
class ChosenScore:
    """A score of the candidate that was chosen as the best, corrected for this choice.

    Attributes
    ----------
    scoring : str
        Name of the score.
    score : float or None
        The corrected score: the estimate for new images; None if there is none.
    interval : [float, float] or None
        95 % interval of the corrected score; None if there is none.
    own : float or None
        Score of the chosen candidate without correction.
    optimism : float or None
        By how much the choice flattered the score, 0 or more; `own` less `score`, or for log loss
        `score` less `own`.
    candidates : int
        Number of candidates. With one, nothing was chosen, and `score` is `own`.
    reason : str or None
        Explanation if the corrected score or its interval is None.
    """

    scoring: str
    score: float | None
    interval: list[float] | None
    own: float | None
    optimism: float | None
    candidates: int
    reason: str | None

    @property
    def title(self) -> str:
        """What the row of this score is called in tables."""
        return f"best of {self.candidates}, corrected"

    def optimism_text(self, write: Callable[[float], str | None]) -> str:
        """Write the optimism so that it is the difference of the two scores as they are written.

        The optimism itself may differ by one in the last digit: 84.9 and 84.7 differ by 0.2 also
        if they are 84.87 and 84.74.

        Parameters
        ----------
        write : function from float to str
            Writes a score as a decimal number.

        Returns
        -------
        str
            Without a sign; empty without a corrected score.
        """
        if self.score is None or self.own is None:
            return ""
        own, corrected = (Decimal(write(value) or "0") for value in (self.own, self.score))
        return str(abs(own - corrected))

    def as_pooled(self) -> PooledScore:
        """Return the corrected score and its interval like those of a head."""
        return PooledScore(
            score=self.score, interval=self.interval, reason=self.reason, groups_range=None
        )


def chosen_scores(
    candidates: Sequence[Sequence[HeadPredictions]],
    scores: Sequence[Mapping[str, PooledScore]],
    scoring: str,
    scorer: BootstrapScorer,
) -> dict[str, ChosenScore]:
    """Correct the score of the best candidate, and its accuracy, for having been chosen.

    Parameters
    ----------
    candidates : sequence of C sequences of HeadPredictions
        Out-of-fold predictions of each candidate, one for each repeat. The best comes first.
    scores : sequence of C mappings of name to PooledScore
        Scores of each candidate, with intervals.
    scoring : str
        Name of the score by which the best candidate was chosen.
    scorer : BootstrapScorer
        Scorer of the tested images, which has their resamples.

    Returns
    -------
    dict of name to ChosenScore
        For `scoring` and "accuracy".

    Notes
    -----
    The correction is the bootstrap estimate of optimism (Efron and Tibshirani 1993, section 17.6),
    where the step that is repeated in each resample is the choice of the best candidate; that the
    out-of-fold predictions can be resampled, without fitting anything again, is from Tsamardinos,
    Greasidou and Borboudakis (2018). Images of a group are resampled together, and an image with
    all its repeats. See `optimism_of_choice` for the formula. Their own estimate, the score of the
    images that are not in the resample, is lower. It corrects more than the choice flatters if
    some candidates are better than others.

    The interval is that of the candidate's own score, and reaches farther down by the optimism
    that there would be if all candidates were equally good. In this worst case, with normally
    distributed scores, the estimate finds a share of 1 / sqrt(2) of the optimism: the scores of a
    resample scatter around the scores of all images as much as these scatter around the truth, so
    that half of the variance by which the best is chosen there is due to the resample. So the
    interval reaches from no optimism at all to this worst case. benchmarks/honesty.md has
    simulations of estimate and interval.

    References
    ----------
    B. Efron and R. Tibshirani (1993), An Introduction to the Bootstrap, Chapman & Hall.
    I. Tsamardinos, E. Greasidou and G. Borboudakis (2018), Bootstrapping the out-of-sample
    predictions for efficient and accurate cross-validation, Machine Learning 107, 1895-1922.
    """
    names = dict.fromkeys((scoring, "accuracy"))
    one = len(candidates) == 1
    if one or scoring not in SCORES:
        reason = None if one else _of_folds(scoring)
        estimates = dict.fromkeys(names, 0.0 if one else math.nan)
    else:
        estimates = _optimism(candidates, scores, scoring, scorer)
        reason = f"no resample of the {scorer.unit} has the score of every candidate"
    best = scores[0]
    return {
        name: _corrected(name, best[name], estimates[name], len(candidates), reason)
        for name in names
    }


def _of_folds(scoring: str) -> str:
    return (
        f"the heads were ranked by {score_name(scoring)}, a mean over folds; only a choice by "
        f"{', '.join(SCORES)} can be corrected"
    )


def _optimism(
    candidates: Sequence[Sequence[HeadPredictions]],
    scores: Sequence[Mapping[str, PooledScore]],
    scoring: str,
    scorer: BootstrapScorer,
) -> dict[str, float]:
    """Return the optimism of `scoring` and of accuracy."""
    resampled = {"accuracy": _accuracies(candidates, scorer)}
    if scoring != "accuracy":
        resampled[scoring] = np.array(
            [scorer.resampled(each, names=[scoring])[scoring] for each in candidates]
        )
    chosen = best_in_resamples(_sign(scoring) * resampled[scoring])
    estimates = {}
    for name, values in resampled.items():
        own = np.array([score[name]["score"] for score in scores], np.float64)  # None to NaN
        estimates[name] = optimism_of_choice(_sign(name) * own, _sign(name) * values, chosen)
    return estimates


def _sign(scoring: str) -> int:
    return -1 if less_is_better(scoring) else 1


def _accuracies(candidates: Sequence[Sequence[HeadPredictions]], scorer: BootstrapScorer) -> Floats:
    """Return the accuracy of each candidate in every resample, of shape (C, B).

    It adds up integers, so that equal sums are exactly equal.
    """
    right = [
        np.sum([repeat.predicted[scorer.tested] == scorer.codes for repeat in repeats], axis=0)
        for repeats in candidates
    ]
    of_repeats = np.array([[len(repeats)] for repeats in candidates])
    accuracies: Floats = resampled_means(np.array(right, np.float64), scorer.counts) / of_repeats
    return accuracies


def _corrected(
    name: str, best: PooledScore, optimism: float, candidates: int, reason: str | None
) -> ChosenScore:
    own = best["score"]
    if own is None or math.isnan(optimism):
        why = best["reason"] if own is None else reason
        return ChosenScore(name, None, None, own, None, candidates, why)
    sign = _sign(name)
    score = own - sign * optimism
    low, high = best["interval"] or (math.nan, math.nan)
    reach = math.sqrt(2) * optimism
    low, high = (max(low - reach, 0.0), high) if sign > 0 else (low, high + reach)
    interval = None if best["interval"] is None else [low, high]
    return ChosenScore(name, score, interval, own, optimism, candidates, best["reason"])


def best_in_resamples(resampled: ArrayLike) -> Codes:
    """Return which candidate is the best in each resample.

    Parameters
    ----------
    resampled : array-like of shape (C, B)
        Score of each candidate in each resample, larger for a better one; NaN if not defined.

    Returns
    -------
    ndarray of shape (B,), int
        Of equally good candidates, the first. -1 in a resample in which no score is defined.
    """
    values = np.asarray(resampled, np.float64)
    defined = ~np.isnan(values)
    best = np.where(defined, values, -np.inf).argmax(axis=0)
    return np.where(defined.any(axis=0), best, -1)


def optimism_of_choice(own: ArrayLike, resampled: ArrayLike, chosen: ArrayLike) -> float:
    """Estimate by how much the score of the best candidate is too high because it was chosen.

    In each resample, the best candidate is chosen again. Its score there is compared with its
    score on all images, which play the part of new images. What the first candidate gains or
    loses there by the resample alone is subtracted, so that the estimate has less noise, is never
    below 0 if the candidates are chosen by this score, and is 0 if all candidates are the same.

    Parameters
    ----------
    own : array-like of shape (C,)
        Score of each candidate on all images, larger for a better one. The best comes first.
    resampled : array-like of shape (C, B)
        Score of each candidate in each resample.
    chosen : array-like of shape (B,), int
        Candidate that is the best in each resample; see `best_in_resamples`.

    Returns
    -------
    float
        Mean over the resamples in which the scores are defined; NaN if there are none. It is 0 or
        more.

    Raises
    ------
    ParameterError
        If shapes don't fit each other.
    """
    own, resampled, chosen = np.asarray(own), np.asarray(resampled), np.asarray(chosen)
    if resampled.ndim != 2 or (own.shape, chosen.shape) != (
        resampled.shape[:1],
        resampled.shape[1:],
    ):
        raise ParameterError(
            "own, resampled and chosen must have shapes (C,), (C, B) and (B,), got "
            f"{own.shape}, {resampled.shape} and {chosen.shape}"
        )
    used = np.flatnonzero(chosen >= 0)
    there = resampled[chosen[used], used] - resampled[0, used]
    everywhere = own[chosen[used]] - own[0]
    gained = (there - everywhere)[~np.isnan(there - everywhere)]
    return max(float(gained.mean()), 0.0) if len(gained) else math.nan
