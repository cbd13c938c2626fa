"""The headline of the verdict: how accurate the best head is, and whether it beats guessing."""

from __future__ import annotations

from collections.abc import Sequence

from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.metrics.chosen import ChosenScore
from tlfeatures.metrics.scores import bounds_text, score_text
from tlfeatures.names import some_of


def headline(comparison: Comparison, scorer: BootstrapScorer) -> list[str]:
    """Say which accuracy to expect on new images, and whether it is better than guessing.

    The accuracy is corrected for having been chosen as the best of several heads, and the sentence
    says how much of its own accuracy comes from this choice.

    Parameters
    ----------
    comparison : Comparison
        The ranking, without a verdict.
    scorer : BootstrapScorer
        Of the tested images.
    """
    first, corrected = comparison.ranking[0], comparison.corrected("accuracy")
    name, interval = comparison.name_of(first), comparison.interval_of(first, "accuracy")
    record = first.scores["accuracy"]
    score, reason = record["score"], record["reason"]
    chosen, flattered = "", ""
    if corrected is not None:
        chosen, flattered = f", the best of {comparison.choices}", _flattered(corrected)
        if corrected.score is not None:
            score, reason = corrected.score, corrected.reason
    value = "unknown" if score is None else f"{score_text('accuracy', score)} %"
    images = f"{len(scorer.codes):,}"
    beats = interval is None or comparison.largest_class.is_below(interval)
    lead = "" if beats else "No better than guessing. "
    missing = _without_interval(interval, score, reason)
    return [
        f"{lead}{name}{chosen}: accuracy {value}{_between(interval)} on new images like these "
        f"{images}.{flattered}{missing} {_against_guessing(comparison)}"
    ]


def _between(interval: Sequence[float] | None) -> str:
    if interval is None:
        return ""
    return f" (95 % interval {bounds_text('accuracy', interval)} %)"


def _flattered(corrected: ChosenScore) -> str:
    if corrected.score is None or corrected.own is None or corrected.optimism is None:
        return (
            " This accuracy is too high, because the head was chosen as the best on the same images"
            f"; it can't be corrected, because {corrected.reason}."
        )
    own = f" Its own accuracy is {score_text('accuracy', corrected.own)} %"
    points = f"{100 * corrected.optimism:.1f}"
    if points == "0.0":
        return f"{own}; being chosen as the best did not flatter it."
    return f"{own}; {points} percentage points of this come from having been chosen as the best."


def _without_interval(
    interval: Sequence[float] | None, score: float | None, reason: str | None
) -> str:
    if interval is not None or score is None or reason is None:
        return ""
    return f" There is no interval: {reason}."


def _against_guessing(comparison: Comparison) -> str:
    """Compare the best head with always predicting the largest class, in one sentence or two."""
    first, largest = comparison.ranking[0], comparison.largest_class
    name = comparison.name_of(first)
    guessing = (
        f"lways predicting the largest class ({largest.label}) would give "
        f"{score_text('accuracy', largest.share)} %"
    )
    interval = comparison.interval_of(first, "accuracy")
    if interval is None:
        return f"A{guessing}; whether {name} is better than that is not known."
    if not largest.is_below(interval):
        return f"A{guessing}; the interval of {name} does not lie above that."
    if comparison.tied_dummies:
        dummies = some_of(map(comparison.name_of, comparison.tied_dummies), 6)
        return (
            f"A{guessing}, which is below the interval. But the test finds no significant "
            f"difference between {name} and {dummies}, so {name} is not surely better than that."
        )
    return f"A{guessing}; {name} is surely better than that."
