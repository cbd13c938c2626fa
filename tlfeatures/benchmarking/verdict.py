"""The verdict: what the scores say, in sentences.

It says whether the best head is surely better than always predicting the largest class, and which
heads are significantly different from it.
"""

from __future__ import annotations

from tlfeatures.benchmarking.backbones import backbone_lines
from tlfeatures.benchmarking.comparison import Comparison, Rank
from tlfeatures.metrics.against_best import LEVEL, VERY_FEW
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.metrics.scores import LABEL_SCORES, score_name
from tlfeatures.names import some_of

FEW = 100  # tested images, or groups: with fewer, the test finds only large differences


def write_verdict(comparison: Comparison, scorer: BootstrapScorer) -> list[str]:
    """Write the sentences of the verdict.

    Parameters
    ----------
    comparison : Comparison
        The ranking, without a verdict.
    scorer : BootstrapScorer
        Of the tested images.
    """
    ranking = comparison.ranking
    tied = [rank for rank in ranking[1:] if rank.best]
    lines = [_against_largest(comparison, scorer)]
    if len(ranking) > 1:
        lines += [_first(ranking, tied), *_untested(ranking)]
    if comparison.detectable is not None:
        more = " `benchmark` with more --repeats finds smaller differences."
        more = more if ranking[0].repeats < 5 else ""
        lines.append(
            f"With {len(scorer.codes):,} images and {comparison.folds} folds per repeat, the test "
            f"finds a difference in {score_name(comparison.scoring)} of "
            f"{_difference(comparison.detectable, comparison.scoring)} only half of the time, and "
            f"smaller ones less often.{more}"
        )
    lines += backbone_lines(comparison)
    return [*lines, *_warnings(ranking, tied, scorer)]


def _difference(value: float, scoring: str) -> str:
    if scoring in LABEL_SCORES:
        return f"{100 * value:.1f} percentage points"
    return f"{value:.3f}"


def _against_largest(comparison: Comparison, scorer: BootstrapScorer) -> str:
    """Say whether the best head is surely better than always predicting the largest class."""
    first, largest = comparison.ranking[0], comparison.largest_class
    name, accuracy = _named(first, comparison.ranking), first.scores["accuracy"]
    interval = accuracy["interval"]
    score = "unknown" if accuracy["score"] is None else f"{100 * accuracy['score']:.1f} %"
    between = ""
    if interval is not None:
        between = f" (95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %)"
    surely = "surely" if comparison.is_surely_better(first) else "not surely"
    return (
        f"{name}: accuracy {score}{between} on {len(scorer.codes):,} tested images. Always "
        f"predicting the largest class ({largest.label}) would give {100 * largest.share:.1f} %; "
        f"{name} is {surely} better than that."
    )


def _first(ranking: list[Rank], tied: list[Rank]) -> str:
    first = _named(ranking[0], ranking)
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
        f"{_names(tied, ranking)}. This does not prove that they are equal."
    )


def _untested(ranking: list[Rank]) -> list[str]:
    """Name the heads that can't be tested against the best, by reason."""
    by_reason: dict[str, list[Rank]] = {}
    for rank in ranking[1:]:
        if rank.reason is not None:
            by_reason.setdefault(rank.reason, []).append(rank)
    return [
        f"Not tested against the best head: {_names(ranks, ranking)}. Reason: {reason}."
        for reason, ranks in by_reason.items()
    ]


def _names(ranks: list[Rank], ranking: list[Rank]) -> str:
    return some_of((_named(rank, ranking) for rank in ranks), 6)


def _warnings(ranking: list[Rank], tied: list[Rank], scorer: BootstrapScorer) -> list[str]:
    lines = []
    dummies = [rank for rank in tied if rank.is_dummy]
    if dummies:
        lines.append(
            f"Even {_names(dummies, ranking)}, which always predicts the most frequent class, is "
            "not significantly different from the best head. With these images, the test can't "
            "distinguish the heads."
        )
    if scorer.units < FEW:
        lines.append(
            f"{scorer.units} {scorer.unit} are few: only large differences between heads "
            "can be found." + (" The intervals are too narrow." if scorer.units < VERY_FEW else "")
        )
    return lines


def _named(rank: Rank, ranking: list[Rank]) -> str:
    """Return the label of a head, with its embedding if there are several."""
    several = len({other.embedding for other in ranking}) > 1
    return rank.name if several else rank.label
