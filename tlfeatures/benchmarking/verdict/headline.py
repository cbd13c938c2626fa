"""The headline of the verdict: how accurate the best head is, and whether it beats guessing."""

from __future__ import annotations

from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer


def headline(comparison: Comparison, scorer: BootstrapScorer) -> list[str]:
    """Say whether the best head is surely better than always predicting the largest class.

    Parameters
    ----------
    comparison : Comparison
        The ranking, without a verdict.
    scorer : BootstrapScorer
        Of the tested images.
    """
    first, largest = comparison.ranking[0], comparison.largest_class
    name, accuracy = comparison.name_of(first), first.scores["accuracy"]
    interval = accuracy["interval"]
    score = "unknown" if accuracy["score"] is None else f"{100 * accuracy['score']:.1f} %"
    between = ""
    if interval is not None:
        between = f" (95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %)"
    surely = "surely" if comparison.is_surely_better(first) else "not surely"
    return [
        f"{name}: accuracy {score}{between} on {len(scorer.codes):,} tested images. Always "
        f"predicting the largest class ({largest.label}) would give {100 * largest.share:.1f} %; "
        f"{name} is {surely} better than that."
    ]
