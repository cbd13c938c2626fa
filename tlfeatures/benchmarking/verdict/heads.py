"""Sentences of the verdict about the other heads: which of them differ from the best head."""

from __future__ import annotations

from tlfeatures.benchmarking.comparison import Comparison, Rank
from tlfeatures.metrics.against_best import by_images
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.metrics.scores import LABEL_SCORES, score_name
from tlfeatures.metrics.significance import LEVEL
from tlfeatures.names import all_of, chance, counted

PROBABLY = 0.8  # probability from which a head is named as within 1 point of the best
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
    tied = [rank for rank in ranking[1:] if rank.best]
    lines = []
    if len(ranking) > 1:
        lines += [_first(comparison, tied), *_untested(comparison)]
        lines += _practical(comparison, tied)
    if comparison.detectable is not None and tied:
        lines.append(_detectable(comparison, comparison.detectable, scorer))
    return lines


def _detectable(comparison: Comparison, value: float, scorer: BootstrapScorer) -> str:
    more = ""
    if by_images(comparison.scoring, scorer.units):
        more = " More images find smaller differences."
    elif comparison.ranking[0].repeats < 5:
        more = " `benchmark` with more --repeats finds smaller differences."
    groups = "" if comparison.group_scores is None else f" of {counted(scorer.units, 'group')}"
    return (
        f"With {len(scorer.codes):,} tested images{groups}, a difference in "
        f"{score_name(comparison.scoring)} of {_difference(value, comparison.scoring)} between two "
        f"heads is typically found only half of the time, and a smaller one less often.{more}"
    )


def _practical(comparison: Comparison, tied: list[Rank]) -> list[str]:
    """Name the heads that are probably as good as the best head in practice."""
    good = [(rank, rank.within) for rank in tied if rank.within and rank.within >= PROBABLY]
    if not good:
        return []
    (first, within), *others = good[:3]
    also = "".join(f", {comparison.name_of(rank)} with {chance(value)}" for rank, value in others)
    return [
        f"{comparison.name_of(first)} is within 1 percentage point of "
        f"{comparison.name_of(comparison.ranking[0])} with {chance(within)} probability{also}."
    ]


def _difference(value: float, scoring: str) -> str:
    if scoring in LABEL_SCORES:
        return f"{100 * value:.1f} percentage points"
    return f"{value:.3f}"


def _first(comparison: Comparison, tied: list[Rank]) -> str:
    ranking = comparison.ranking
    first = comparison.name_of(ranking[0])
    tested = [rank for rank in ranking[1:] if rank.standing != "untested"]
    if not tested:
        return f"{first} has the best score. The other heads can't be tested against it."
    if not tied:
        which = "all others" if len(tested) == len(ranking) - 1 else "all others that can be tested"
        return (
            f"{first} has the best score. It is surely better than {which}: the differences are "
            f"significant (p at most {LEVEL})."
        )
    differences = "this difference is" if len(tied) == 1 else "these differences are"
    return (
        f"{first} has the best score, but it is not sure that it is better than "
        f"{_names(tied, comparison)}: {differences} not significant."
    )


def _untested(comparison: Comparison) -> list[str]:
    """Name the heads that can't be tested against the best, by reason."""
    by_reason: dict[str, list[Rank]] = {}
    for rank in comparison.ranking[1:]:
        if rank.reason is not None:
            by_reason.setdefault(rank.reason, []).append(rank)
    return [
        f"Not tested against the best head: {_names(ranks, comparison)}. Reason: {reason}."
        for reason, ranks in by_reason.items()
    ]


def _names(ranks: list[Rank], comparison: Comparison) -> str:
    return all_of(map(comparison.name_of, ranks), 6)


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
    if dummies:
        lines.append(
            f"Even {_names(dummies, comparison)}, which always predicts the most frequent class, "
            "is not significantly different from the best head. With these images, the test can't "
            "distinguish the heads."
        )
    said = comparison.detectable is not None  # by `other_heads`, with a number, if it matters
    if scorer.units < FEW and len(comparison.ranking) > 1 and not said:
        lines.append(
            f"{scorer.units} {scorer.unit} are few: only large differences between heads "
            "can be found."
        )
    return lines
