"""The sections of the page, as plain data and figures for its template."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from tlfeatures.benchmarking.comparison import WITHIN, Comparison, Rank
from tlfeatures.benchmarking.control import MEANINGS
from tlfeatures.benchmarking.ranking_html import any_interval
from tlfeatures.dataset.dataset import BETWEEN_FILES
from tlfeatures.metrics.group_scores import GroupScores
from tlfeatures.metrics.score_records import PooledScore, spread_text
from tlfeatures.metrics.scores import (
    bounds_text,
    score_name,
    score_text,
    score_title,
    score_unit,
)
from tlfeatures.model_selection.audit.results import Audit, Finding
from tlfeatures.model_selection.learning_curve.results import LearningCurve
from tlfeatures.model_selection.training_curve import TrainingCurve
from tlfeatures.names import SURELY, chance, missing_lines, sample_words
from tlfeatures.reports.diagnostics import EmbeddingMap
from tlfeatures.reports.drawing.heads import HeatMapDisplay, RankingDisplay
from tlfeatures.reports.drawing.image_map import EmbeddingMapDisplay
from tlfeatures.reports.drawing.progress_curves import LearningCurveDisplay, TrainingCurveDisplay
from tlfeatures.reports.page.figure import Figure, draw

FINDINGS, _OF_A_KIND = 40, 8  # findings of the audit that are shown: the first, and of each kind
COPIES = 20  # pairs that are shown


# ---- heads


def ranking(comparison: Comparison) -> dict[str, Any]:
    """The heads with their scores, and a figure if there are several."""
    scoring, rows = comparison.scoring, comparison.ranking
    names = list(dict.fromkeys([scoring, *(name for rank in rows for name in rank.scores)]))
    figure = None
    intervals = any_interval(rows)
    if len(rows) > 1:
        figure = draw(
            "ranking",
            "Heads, best first",
            f"{score_name(scoring)} of {len(rows)} heads"
            f"{' with 95 % intervals' if intervals else ''}; the numbers are in the table below",
            RankingDisplay(comparison),
        )
    return {
        "figure": figure,
        "names": [score_title(name) for name in names],
        "corrected": _corrected(comparison, names),
        "rows": [_ranked(rank, names) for rank in rows],
        "embeddings": len({rank.embedding for rank in rows}) > 1,
        "intervals": intervals,
        "missing": missing_lines(_missing(rows, names)),
        "spread": comparison.folds > 1,
        "test": comparison.test_method,
        "tested": len(rows) > 1,
        "within": WITHIN if comparison.has_within else "",
    }


def _corrected(comparison: Comparison, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the row of the best head's corrected scores, if it was chosen among several."""
    ranking_score = comparison.corrected(comparison.scoring)
    if ranking_score is None:
        return None
    scores = [comparison.corrected(name) for name in names]
    return {
        "title": ranking_score.title,
        "scores": [
            _score(name, None if score is None else score.as_pooled())
            for name, score in zip(names, scores, strict=True)
        ],
    }


def _ranked(rank: Rank, names: Sequence[str]) -> dict[str, Any]:
    return {
        "label": rank.label,
        "embedding": rank.embedding,
        "scores": [_score(name, rank.scores.get(name)) for name in names],
        "spread": rank.scores[names[0]]["std"],
        "spread_text": score_text(names[0], rank.scores[names[0]]["std"]) or "none",
        "difference": rank.difference,
        "difference_text": _difference(rank.difference, names[0]),
        "p": rank.p,
        "within": rank.within,
        "within_text": chance(rank.within),
        "seconds": rank.fit_seconds,
        "best": rank.best,
        **_STANDINGS[rank.standing],
        "reason": rank.reason,
    }


_STANDINGS = {
    "best": {"mark": "●", "standing": "best"},
    "not different": {"mark": "●", "standing": "not significantly different from the best"},
    "different": {"mark": "○", "standing": "significantly different from the best"},
    "untested": {"mark": "?", "standing": "can't be tested"},
}


def _difference(value: float | None, scoring: str) -> str:
    if value is None:
        return ""
    return f"{100 * value:+.1f}" if score_unit(scoring) else f"{value:+.3f}"


def _score(name: str, facts: PooledScore | None) -> dict[str, Any]:
    """Return a score as a value and as text, and its interval as text.

    Without an interval, the range between groups is given in its place, or else "no interval". All
    are empty if the head does not have this score.
    """
    if facts is None:
        return {"value": None, "text": "", "interval": ""}
    without = "" if facts["score"] is None else "no interval"
    return {
        "value": facts["score"],
        "text": score_text(name, facts["score"]) or "none",
        "interval": spread_text(name, facts) or without,
    }


def _missing(rows: Sequence[Rank], names: Sequence[str]) -> Iterator[tuple[str, str, str | None]]:
    """Give head, score and reason of each score and each interval that is none."""
    for rank in rows:
        for name in names:
            record = rank.scores.get(name)
            if record is not None and not spread_text(name, record):
                words = score_name(name)
                of_score = record["score"] is None
                yield rank.label, words if of_score else f"interval of {words}", record["reason"]


def controls(comparison: Comparison) -> dict[str, Any] | None:
    """The controls with their accuracies and what they mean; None if there are none."""
    rows = [
        {
            "name": control.name,
            "knows": control.about,
            "value": control.score,
            "text": score_text("accuracy", control.score) or "none",
            "interval": bounds_text("accuracy", control.interval) or "",
            "reason": control.reason or "",
            "better": SURELY[control.beaten],
            "meaning": MEANINGS[control.name],
        }
        for control in comparison.controls
    ]
    return {"rows": rows} if rows else None


def groups(found: GroupScores | None) -> dict[str, Any] | None:
    """The accuracies of the worst groups; None without groups."""
    if found is None:
        return None
    rows = [
        {
            "name": group.name,
            "images": group.images,
            "accuracy": group.accuracy,
            "text": score_text("accuracy", group.accuracy),
            "interval": bounds_text("accuracy", group.interval),
        }
        for group in found.worst
    ]
    return {"count": found.count, "rows": rows, "order": found.order_in_words()}


def heat_map(comparison: Comparison) -> Figure | None:
    """The scores of embeddings by heads, if there are two or more of each."""
    embeddings = {rank.embedding for rank in comparison.ranking}
    labels = {rank.label for rank in comparison.ranking}
    if len(embeddings) < 2 or len(labels) < 2:
        return None
    return draw(
        "heat-map",
        "Embeddings by heads",
        f"{score_name(comparison.scoring)} of {len(labels)} heads on {len(embeddings)} embeddings; "
        "the numbers are in the table of heads",
        HeatMapDisplay(comparison),
    )


# ---- analyses


def learning_curve(curve: LearningCurve) -> dict[str, Any]:
    """The learning curve, its numbers and its verdict."""
    last = curve.points[-1]
    figure = draw(
        "learning-curve",
        "Accuracy against images per class",
        f"Accuracy of {len(curve.points)} sizes of the training set; {last.accuracy:.3f} at "
        f"{last.images_per_class:,.0f} images per class; the numbers are in the table of this "
        "section",
        LearningCurveDisplay(curve),
    )
    return {
        "figure": figure,
        "sentence": curve.sentence,
        "points": curve.points,
        "images": sample_words(curve.sample, curve.images),
        "folds": curve.folds,
    }


def epochs(curve: TrainingCurve, named: str) -> dict[str, Any]:
    """Accuracy and loss by epoch, as figures and as numbers."""
    figures = [
        draw(
            what,
            f"{what.capitalize()} by epoch",
            f"{what.capitalize()} of {curve.head} on training and validation images, "
            f"{curve.epochs} epochs; the numbers are in the table of this section",
            TrainingCurveDisplay(curve, what),
        )
        for what in ("accuracy", "loss")
    ]
    tables = (curve.loss, curve.accuracy, curve.validation_loss, curve.validation_accuracy)
    # As in the figures: after a fold has stopped, the mean of the others would jump.
    means = [table.mean(axis=0) for table in tables]
    whole = int(np.isfinite(means[0]).sum())
    rows = [[epoch + 1, *(float(mean[epoch]) for mean in means)] for epoch in range(whole)]
    return {
        "figures": figures,
        "head": named,
        "sample": None if curve.sample is None else sample_words(curve.sample, curve.images),
        "split": curve.split,
        "folds": curve.folds,
        "rows": rows,
    }


def image_map(points: EmbeddingMap, labels: Any, wrong: Any) -> Figure:
    """The figure of the embedding map."""
    how = "principal components" if points.method == "pca" else "t-SNE"
    figure = draw(
        "map",
        f"{len(labels):,} images by {how}",
        f"Map of {len(labels):,} images; each point is an image, and similar images are near each "
        "other",
        EmbeddingMapDisplay(points, labels, wrong=wrong),
    )
    return replace(figure, width=600)  # points need room


def audit(result: Audit, pictures: Mapping[str, str]) -> dict[str, Any]:
    """The first findings, with their pictures."""
    rows = [
        {
            **asdict(finding),
            "picture": pictures.get(finding.id),
            "twin": finding.other if finding.kind == "near-duplicate" else None,
            "twin_picture": pictures.get(finding.other or ""),
        }
        for finding in _shown_findings(result.findings)
    ]
    return {
        "rows": rows,
        "counts": result.counts,
        "more": len(result.findings) - len(rows),
        "head": result.head,
        "accuracy": result.accuracy,
        "judged": result.judged,
        "sample": result.sample and sample_words(result.sample, result.images),
        "command": shlex.join(
            [
                *("tlfeatures", "audit", *result.file.split(BETWEEN_FILES)),
                *("--embedding", result.embedding),
            ]
        ),
    }


def _shown_findings(findings: Sequence[Finding]) -> list[Finding]:
    """The first findings, and some of each kind."""
    seen: Counter[str] = Counter()
    chosen = []
    for place, finding in enumerate(findings):
        if place < FINDINGS or seen[finding.kind] < _OF_A_KIND:
            chosen.append(finding)
            seen[finding.kind] += 1
    return chosen


def audit_ids(result: Audit | None) -> list[str]:
    """Return the ids of the images that `audit` shows."""
    shown = [] if result is None else _shown_findings(result.findings)
    rows = [finding for finding in shown if finding.kind != "unreadable"]  # it has no picture
    copies = [finding.other for finding in rows if finding.kind == "near-duplicate"]
    return [*(finding.id for finding in rows), *(id_ for id_ in copies if id_ is not None)]


def copies(pairs: Sequence[Sequence[str]], pictures: Mapping[str, str]) -> dict[str, Any] | None:
    """Pairs of copies that were kept in one fold; None if there are none."""
    if not pairs:
        return None
    rows = [[{"id": id_, "picture": pictures.get(id_)} for id_ in pair] for pair in pairs[:COPIES]]
    return {"rows": rows, "count": len(pairs), "more": len(pairs) - len(rows)}


def copy_ids(pairs: Sequence[Sequence[str]]) -> list[str]:
    """Return the ids of the images that `copies` shows."""
    return [id_ for pair in pairs[:COPIES] for id_ in pair]
