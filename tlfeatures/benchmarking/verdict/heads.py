"""Sentences of the verdict about the other heads: which of them differ from the best head."""

from __future__ import annotations

from tlfeatures.benchmarking.comparison import Comparison, Rank
from tlfeatures.metrics.against_best import LEVEL
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.metrics.scores import LABEL_SCORES, score_name
from tlfeatures.names import some_of

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
    if comparison.detectable is not None:
        more = " `benchmark` with more --repeats finds smaller differences."
        more = more if ranking[0].repeats < 5 else ""
        lines.append(
            f"With {len(scorer.codes):,} images and {comparison.folds} folds per repeat, the test "
            f"finds a difference in {score_name(comparison.scoring)} of "
            f"{_difference(comparison.detectable, comparison.scoring)} only half of the time, and "
            f"smaller ones less often.{more}"
        )
    return lines


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
            f"{first} has the best score. It is significantly different from {which} (p at most "
            f"{LEVEL})."
        )
    return (
        f"{first} has the best score, but is not significantly different from: "
        f"{_names(tied, comparison)}. This does not prove that they are equal."
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
    return some_of(map(comparison.name_of, ranks), 6)


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
    if scorer.units < FEW:
        lines.append(
            f"{scorer.units} {scorer.unit} are few: only large differences between heads "
            "can be found."
        )
    return lines
