"""Tests of heads against the best one, and why there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.store import Entry
from tlfeatures.metrics.resamples import Resamples
from tlfeatures.metrics.statistics import (
    SCORES,
    corrected_t_test,
    detectable_difference,
    holm,
    paired_bootstrap_test,
    score_name,
)

LEVEL = 0.05
VERY_FEW = 20  # images, or groups, below which there is no test over them


@dataclass(frozen=True)
class Outcome:
    """How a head compares with the best.

    Attributes
    ----------
    difference, p : float
        p is Holm-adjusted; NaN for the best, and where there is no test.
    reason : str or None
        Why there is no test.
    """

    difference: float = math.nan
    p: float = math.nan
    reason: str | None = None

    def standing(self, first: bool) -> str:
        """Name it, see `Rank`."""
        if self.reason is not None:
            return "untested"
        if first:
            return "best"
        return "not different" if self.p > LEVEL else "different"


def fold_tests(
    ranked: list[list[Entry]], scored: list[dict[str, Any]], scoring: str
) -> tuple[list[Outcome], float]:
    """Compare the fold scores of each head with those of the best.

    Parameters
    ----------
    ranked : list of list of Entry
        The repeats of each head, the best head first.
    scored : list of dict of name to {score, interval, reason}
        Of each head.
    scoring : str

    Returns
    -------
    outcomes : list of Outcome
        One for each head.
    detectable : float
        Median over the heads of the smallest difference that the test would find; NaN if unknown.
    """
    best = ranked[0]
    differences = [_differences(best, each, scoring) for each in ranked[1:]]
    fraction = float(np.mean([entry.facts["test_fraction"] for entry in best]))
    p = [corrected_t_test(each, fraction) for each in differences]
    reasons = [
        _without_test(best, other, each, scoring) if math.isnan(value) else None
        for other, each, value in zip(ranked[1:], differences, p, strict=True)
    ]
    # At the level that Holm's first step asks for, as the marks do.
    level = LEVEL / max(len(differences), 1)
    told = [detectable_difference(each, fraction, level=level) for each in differences]
    known = [value for value in told if not math.isnan(value)]
    means = [float(each.mean()) if len(each) else math.nan for each in differences]
    outcomes = _outcomes(scored[0][scoring], means, p, reasons)
    return outcomes, float(np.median(known)) if known else math.nan


def _without_test(
    best: list[Entry], other: list[Entry], differences: NDArray[np.float64], scoring: str
) -> str:
    """Say why the scores of folds can't be compared."""
    if not len(differences):
        return "it has no repeat in common with the best"
    for which, entries in (("its", other), ("the best head's", best)):
        for entry in entries:
            facts = entry.facts["scores"][scoring]
            if None in facts["folds"]:
                why = f": {facts['reason']}" if facts.get("reason") else ""
                return f"{which} {score_name(scoring)} is not defined in every fold{why}"
    return "the test needs two folds or more"


def image_tests(
    ranked: list[list[Entry]], scored: list[dict[str, Any]], scoring: str, resamples: Resamples
) -> list[Outcome]:
    """Compare heads with the best over the tested images of a single split.

    Parameters and result are as for `fold_tests`, with the resamples of the images.
    """
    missing = [math.nan] * (len(ranked) - 1)
    reason = _too_little(scoring, resamples)
    if reason is not None:
        return _outcomes(scored[0][scoring], missing, missing, [reason for _ in missing])
    best, *others = [resamples.resampled(entries)[scoring] for entries in ranked]
    p = [paired_bootstrap_test(best, each) for each in others]
    reasons = [
        (own[scoring]["reason"] or scored[0][scoring]["reason"] or "no resample has the score")
        if math.isnan(value)
        else None
        for own, value in zip(scored[1:], p, strict=True)
    ]
    means = [_mean(each - best) for each in others]
    return _outcomes(scored[0][scoring], means, p, reasons)


def _too_little(scoring: str, resamples: Resamples) -> str | None:
    """Say what keeps heads from being compared over the images of a single split."""
    if scoring not in SCORES:
        return f"{score_name(scoring)} of a single split has no test; rank by {', '.join(SCORES)}"
    if resamples.units < VERY_FEW:
        return f"the {resamples.units} tested {resamples.unit} are fewer than {VERY_FEW}"
    return None


def _mean(differences: NDArray[np.float64]) -> float:
    known = differences[~np.isnan(differences)]
    return float(known.mean()) if len(known) else math.nan


def _outcomes(
    best: Mapping[str, Any], differences: list[float], p: list[float], reasons: list[str | None]
) -> list[Outcome]:
    """One for each head; of `best`, the best head's score, it is asked whether there is one."""
    no_score = None if best["score"] is not None else best["reason"] or "it has no score"
    others = zip(differences, holm(p).tolist(), reasons, strict=True)
    return [Outcome(reason=no_score), *(Outcome(*each) for each in others)]


def _differences(best: list[Entry], other: list[Entry], scoring: str) -> NDArray[np.float64]:
    """Fold by fold, over the repeats that both have."""
    known = {entry.facts["repeat"]: _folds(entry, scoring) for entry in other}
    pairs = [
        known[entry.facts["repeat"]] - _folds(entry, scoring)
        for entry in best
        if entry.facts["repeat"] in known
    ]
    return np.concatenate(pairs) if pairs else np.empty(0)


def _folds(entry: Entry, scoring: str) -> NDArray[np.float64]:
    return np.array(
        [math.nan if value is None else value for value in entry.facts["scores"][scoring]["folds"]]
    )
