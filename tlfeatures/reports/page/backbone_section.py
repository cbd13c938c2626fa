"""The section of the page that compares backbones, as plain data for its template."""

from __future__ import annotations

from typing import Any

from tlfeatures.benchmarking.backbones import standing_in_words
from tlfeatures.benchmarking.comparison import BackboneRank, Comparison
from tlfeatures.metrics.scores import bounds_text, score_text, score_title


def backbones(comparison: Comparison) -> dict[str, Any] | None:
    """Each backbone with its best head and embedding; None if there is only one backbone."""
    if not comparison.backbones:
        return None
    best, scoring = comparison.backbones[0], comparison.scoring
    return {
        "name": score_title(scoring),
        "speeds": any(each.images_per_second for each in comparison.backbones),
        "rows": [_row(backbone, best, comparison) for backbone in comparison.backbones],
    }


def _row(backbone: BackboneRank, best: BackboneRank, comparison: Comparison) -> dict[str, Any]:
    rank, scoring = comparison.ranking[backbone.place], comparison.scoring
    score = rank.scores[scoring]
    verdict = f"{standing_in_words(comparison, rank)} {best.name}"
    return {
        "backbone": backbone.name,
        "columns": backbone.columns,
        "speed": backbone.images_per_second,
        "head": rank.label,
        "embedding": rank.embedding,
        "value": score["score"],
        "text": score_text(scoring, score["score"]) or "none",
        "interval": bounds_text(scoring, score["interval"]),
        "difference": rank.difference,
        "difference_text": score_text(scoring, rank.difference) or "",
        "difference_interval": bounds_text(scoring, rank.difference_interval),
        "verdict": "best" if backbone is best else verdict,
    }
