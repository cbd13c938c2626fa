"""Sentences of the verdict about the other heads: which of them differ from the best head."""

from __future__ import annotations

from tlfeatures.benchmarking.comparison import Comparison, Rank
from tlfeatures.metrics.against_best import by_images
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.metrics.scores import LABEL_SCORES, score_name
from tlfeatures.metrics.significance import LEVEL
from tlfeatures.names import all_of, chance

PROBABLY = 0.8  # probability from which a head is named as within 1 point of the best
_MOST_NAMED = 6
FEW = 100  # tested images, or groups: with fewer, the test finds only large differences


def other_heads(comparison: Comparison, scorer: BootstrapScorer) -> list[str]:
    """Say which heads are significantly different from the best head.

    Parameters
    ----------
    comparison : Comparison
        The ranking, without a verdict.
    scorer : BootstrapScorer
        Of the tested images.
    """
    ranking = comparison.ranking
    if len(ranking) < 2:
        return []
    tied = [rank for rank in ranking[1:] if rank.best]
    return [_first(comparison, tied, scorer), *_untested(comparison)]


def _detectable(comparison: Comparison, scorer: BootstrapScorer) -> str:
    """Say how large a difference must be to be found, to end a sentence; empty if not known."""
    value = comparison.detectable
    if value is None:
        return ""
    more = ""
    if not by_images(comparison.scoring, scorer.units) and comparison.ranking[0].repeats < 5:
        more = " (`benchmark` with more --repeats finds smaller ones)"
    return (
        f": with {len(scorer.codes):,} tested images, a difference in "
        f"{score_name(comparison.scoring)} of {_difference(value, comparison.scoring)} goes "
        f"unnoticed half of the time{more}"
    )


def _difference(value: float, scoring: str) -> str:
    if scoring in LABEL_SCORES:
        return f"{100 * value:.1f} percentage points"
    return f"{value:.3f}"


def _first(comparison: Comparison, tied: list[Rank], scorer: BootstrapScorer) -> str:
    ranking = comparison.ranking
    first = comparison.name_of(ranking[0])
    tested = [rank for rank in ranking[1:] if rank.standing != "untested"]
    if not tested:
        why = _reason_of_all(comparison)
        return (
            f"{first} has the best score, but the other heads can't be tested against it"
            f"{'' if why is None else f': {why}'}."
        )
    if not tied:
        which = "all others" if len(tested) == len(ranking) - 1 else "all others that can be tested"
        return (
            f"{first} is surely better than {which}: chance alone hardly gives such differences (p "
            f"at most {LEVEL})."
        )
    names = all_of((_tied(rank, comparison) for rank in tied), _MOST_NAMED)
    return f"It is not sure that {first} is better than {names}{_detectable(comparison, scorer)}."


def _tied(rank: Rank, comparison: Comparison) -> str:
    """Write the name of a head, and how probable it is that it is as good as the best."""
    name = comparison.name_of(rank)
    if rank.within is None or rank.within < PROBABLY:
        return name
    return f"{name} (within 1 percentage point with {chance(rank.within)} probability)"


def _reason_of_all(comparison: Comparison) -> str | None:
    """Return the reason why no head can be tested against the best, if all have the same."""
    reasons = {rank.reason for rank in comparison.ranking[1:]}
    return reasons.pop() if len(reasons) == 1 else None


def _untested(comparison: Comparison) -> list[str]:
    """Name the heads that can't be tested against the best, by reason."""
    if _reason_of_all(comparison) is not None:
        return []  # `_first` gives it
    by_reason: dict[str, list[Rank]] = {}
    for rank in comparison.ranking[1:]:
        if rank.reason is not None:
            by_reason.setdefault(rank.reason, []).append(rank)
    return [
        f"Not tested against the best head: {_names(ranks, comparison)}. Reason: {reason}."
        for reason, ranks in by_reason.items()
    ]


def _names(ranks: list[Rank], comparison: Comparison) -> str:
    return all_of(map(comparison.name_of, ranks), _MOST_NAMED)


def warnings(comparison: Comparison, scorer: BootstrapScorer) -> list[str]:
    """Say what the ranking can't show with these images.

    Parameters
    ----------
    comparison : Comparison
        The ranking, without a verdict.
    scorer : BootstrapScorer
        Of the tested images.
    """
    lines = []
    dummies = [rank for rank in comparison.ranking[1:] if rank.best and rank.is_dummy]
    if dummies and comparison.interval_of(comparison.ranking[0], "accuracy") is None:
        lines.append(  # with an interval, the headline says it
            f"Even {_names(dummies, comparison)}, which always predicts the most frequent class, "
            "is not significantly different from the best head."
        )
    said = comparison.detectable is not None  # by `other_heads`, with a number, if it matters
    if scorer.units < FEW and len(comparison.ranking) > 1 and not said:
        lines.append(
            f"{scorer.units} {scorer.unit} are few: only large differences between heads "
            "can be found."
        )
    return lines
