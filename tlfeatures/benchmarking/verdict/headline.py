"""The headline of the verdict: how accurate the best head is, and whether it beats guessing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.benchmarking.verdict.groups import has_few
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.metrics.chosen import ChosenScore
from tlfeatures.metrics.group_scores import FEWEST_IMAGES
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
    chosen, flattered = "", []
    if corrected is not None:
        chosen, flattered = f", the best of {comparison.choices},", [_flattered(corrected)]
        if corrected.score is not None:
            score, reason = corrected.score, corrected.reason
    where = f"new images like these {len(scorer.codes):,}"
    if comparison.group_scores is not None and comparison.group_scores.count > 1:
        where = f"images of other groups like these {comparison.group_scores.count:,}"
    beats = interval is None or comparison.largest_class.is_below(interval)
    lead = "" if beats else "No better than guessing. "
    missing = "" if has_few(comparison) else _without_interval(interval, score, reason)
    return [
        f"{lead}{name}{chosen} labels {_of_100(score)} {where} right{_accuracy(score, interval)}"
        f"{_against_guessing(comparison)}{missing}",
        *flattered,
    ]


def _of_100(score: float | None) -> str:
    if score is None:
        return "an unknown share of"
    if 0.99 < score < 1:
        return "more than 99 of 100"
    if 0 < score < 0.01:
        return "fewer than 1 of 100"
    return f"about {100 * score:.0f} of 100"


def _accuracy(score: float | None, interval: Sequence[float] | None) -> str:
    if score is None:
        return ""
    between = ""
    if interval is not None:
        between = f", probably {bounds_text('accuracy', interval)} %: the 95 % interval"
    return f" (accuracy {score_text('accuracy', score)} %{between})"


def _flattered(corrected: ChosenScore) -> str:
    if corrected.score is None or corrected.own is None or corrected.optimism is None:
        return (
            "This accuracy is too high, because the head was chosen as the best on the same images"
            f"; it can't be corrected, because {corrected.reason}."
        )
    own = f"its own {score_text('accuracy', corrected.own)} % in the table"
    points = corrected.optimism_text(partial(score_text, "accuracy"))
    if points == "0.0":
        return f"This is also {own}: that the head was chosen as the best did not flatter it."
    return (
        f"Report this accuracy, not {own}: that is {points} percentage points too high, "
        "because the head was chosen as the best on the same images."
    )


def _without_interval(
    interval: Sequence[float] | None, score: float | None, reason: str | None
) -> str:
    if interval is not None or score is None or reason is None:
        return ""
    return f" There is no interval: {reason}."


def _against_guessing(comparison: Comparison) -> str:
    """Compare the best head with always predicting the largest class, to end the sentence."""
    first, largest = comparison.ranking[0], comparison.largest_class
    guessing = (
        f"; always predicting the largest class ({largest.label}) would give "
        f"{score_text('accuracy', largest.share)} %"
    )
    interval = comparison.interval_of(first, "accuracy")
    groups = comparison.group_scores
    if interval is None:
        known = "whether the head is better than that is not known"
        worst = None if groups is None or groups.count == 1 else groups.lowest
        if groups is not None and worst is not None and worst.accuracy > largest.share:
            which = f"group with {FEWEST_IMAGES} or more images" if groups.too_small else None
            known = f"the accuracy of each {which or 'of these groups'} is higher"
        return f"{guessing}, and {known}."
    if not largest.is_below(interval):
        return f"{guessing}, and the head is not surely better than that."
    if comparison.tied_dummies:
        dummies = some_of(map(comparison.name_of, comparison.tied_dummies), 6)
        return (
            f"{guessing}, which is below the interval, but the test finds no significant "
            f"difference between the head and {dummies}: it is not surely better than that."
        )
    return f"{guessing}, and the head is surely better than that."
