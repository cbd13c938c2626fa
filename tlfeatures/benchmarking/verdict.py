"""The verdict: what the scores say, in sentences.

It says whether the best head is surely better than always naming the largest class, and which heads
are significantly different from it.
"""

from __future__ import annotations

import math

from tlfeatures.benchmarking.comparison import LargestClass, Rank
from tlfeatures.metrics.against_best import LEVEL, VERY_FEW
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.metrics.scores import score_name
from tlfeatures.names import some_of

FEW = 100  # tested images, or groups: with fewer, the test finds only large differences


def write_verdict(
    ranking: list[Rank],
    scorer: BootstrapScorer,
    folds: int,
    scoring: str,
    detectable: float,
    largest: LargestClass,
) -> list[str]:
    """Write the sentences of the verdict.

    Parameters
    ----------
    ranking : list of Rank
        Best first.
    scorer : BootstrapScorer
        Of the tested images.
    folds : int
        Folds of a repeat.
    scoring : str
        The score that ranks.
    detectable : float
        See `Comparison`; NaN if unknown.
    largest : LargestClass
    """
    tied = [rank for rank in ranking[1:] if rank.best]
    lines = [_against_largest(ranking, scorer, largest)]
    if len(ranking) > 1:
        lines += [_first(ranking, tied), *_untested(ranking)]
    if not math.isnan(detectable):
        more = "; `benchmark` with more --repeats finds smaller ones"
        more = more if ranking[0].repeats < 5 else ""
        lines.append(
            f"With {len(scorer.codes):,} images and {folds} folds a repeat, a difference in "
            f"{score_name(scoring)} under {detectable:.3f} would go unnoticed half of the "
            f"time{more}."
        )
    return [*lines, *_warnings(ranking, tied, scorer)]


def _against_largest(ranking: list[Rank], scorer: BootstrapScorer, largest: LargestClass) -> str:
    """Say whether the best head is surely better than always naming the largest class."""
    first, name = ranking[0], _named(ranking[0], ranking)
    accuracy = first.scores["accuracy"]
    interval = accuracy["interval"]
    score = "no share" if accuracy["score"] is None else f"{100 * accuracy['score']:.1f} %"
    between = ""
    if interval is not None:
        between = f" (95 % interval: {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %)"
    surely = "surely" if largest.is_beaten_by(first) else "not surely"
    return (
        f"{name} is right for {score} of {len(scorer.codes):,} tested images{between}. Always "
        f"naming the largest class ({largest.label}) would be right for "
        f"{100 * largest.share:.1f} %: {name} is {surely} better."
    )


def _first(ranking: list[Rank], tied: list[Rank]) -> str:
    first = _named(ranking[0], ranking)
    tested = [rank for rank in ranking[1:] if rank.standing != "untested"]
    if not tested:
        return f"{first} is first; no test tells whether the others are worse."
    if not tied:
        which = "every other" if len(tested) == len(ranking) - 1 else "every other that is tested"
        return f"{first} is first, and significantly different from {which} (p at most {LEVEL})."
    return (
        f"{first} is first, but not significantly different from: {_names(tied, ranking)}. That is "
        "no proof that they are equal."
    )


def _untested(ranking: list[Rank]) -> list[str]:
    """Name the heads that can't be tested against the best, by reason."""
    by_reason: dict[str, list[Rank]] = {}
    for rank in ranking[1:]:
        if rank.reason is not None:
            by_reason.setdefault(rank.reason, []).append(rank)
    return [
        f"Can't be tested against the best: {_names(ranks, ranking)}; {reason}."
        for reason, ranks in by_reason.items()
    ]


def _names(ranks: list[Rank], ranking: list[Rank]) -> str:
    return some_of((_named(rank, ranking) for rank in ranks), 6)


def _warnings(ranking: list[Rank], tied: list[Rank], scorer: BootstrapScorer) -> list[str]:
    lines = []
    if any(rank.head == "dummy" for rank in tied):
        lines.append(
            "Not even guessing (dummy) is significantly different from the best: with these images "
            "the test can't tell heads apart."
        )
    elif tied and len(tied) == len(ranking) - 1:
        lines.append("None of these heads is significantly different from the best.")
    if scorer.units < FEW:
        lines.append(
            f"{scorer.units} {scorer.unit} are few: only large differences between heads "
            "can be found"
            + (", and the intervals are too narrow." if scorer.units < VERY_FEW else ".")
        )
    return lines


def _named(rank: Rank, ranking: list[Rank]) -> str:
    """Return the label of a head, with its embedding if there are several."""
    several = len({other.embedding for other in ranking}) > 1
    return rank.name if several else rank.label
