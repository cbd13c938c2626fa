"""The sentences of the verdict in their order."""

from __future__ import annotations

from tlfeatures.benchmarking.backbones import backbone_lines
from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.benchmarking.verdict.controls import cautions
from tlfeatures.benchmarking.verdict.groups import group_lines
from tlfeatures.benchmarking.verdict.headline import headline
from tlfeatures.benchmarking.verdict.heads import other_heads, warnings
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer


def write_verdict(comparison: Comparison, scorer: BootstrapScorer) -> list[str]:
    """Write the sentences of the verdict, the most important first.

    `tlfeatures fit` and `benchmark` print the cautions and the next four of
    them; the page shows all.

    Parameters
    ----------
    comparison : Comparison
        The ranking, without a verdict.
    scorer : BootstrapScorer
        Of the tested images.
    """
    return [
        *cautions(comparison),
        *headline(comparison, scorer),
        *group_lines(comparison),
        *backbone_lines(comparison),
        *other_heads(comparison, scorer),
        *warnings(comparison, scorer),
    ]
