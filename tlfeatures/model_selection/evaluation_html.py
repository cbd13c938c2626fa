"""How an evaluation is shown in a notebook: its scores, and where its mistakes are."""

from __future__ import annotations

from collections.abc import Mapping

from tlfeatures.html_tables import Cell, table_html
from tlfeatures.metrics.confusion import Confusion
from tlfeatures.metrics.group_scores import GroupScores
from tlfeatures.metrics.score_records import Score, spread_text
from tlfeatures.metrics.scores import bounds_text, score_name, score_text, score_title, score_unit
from tlfeatures.names import percent

_MOST_CLASSES = 8  # a larger confusion matrix is shown as a list of its largest mistakes


def score_in_percent(name: str, scores: Mapping[str, Score]) -> str:
    """Write a score with its interval, for example "accuracy 85.1 % (82.9 to 87.0)"."""
    record = scores[name]
    value, bounds = score_text(name, record["score"]), spread_text(name, record)
    if value is None:
        return f"no {score_name(name)}"
    return f"{score_name(name)} {value}{score_unit(name)}" + (f" ({bounds})" if bounds else "")


def score_table(scores: Mapping[str, Score]) -> str:
    """Return the table of scores with their intervals, and the reasons for missing ones."""
    several = any(len(record["folds"]) > 1 for record in scores.values())
    few = any(record["groups_range"] for record in scores.values())
    between = "range" if few else "95 % interval"
    header = ["score", "value", between, *(["std of folds"] if several else [])]
    rows: list[list[Cell]] = []
    for name, record in scores.items():
        value = score_text(name, record["score"]) or "none"
        interval = spread_text(name, record) or record["reason"] or "none"
        spread = [score_text(name, record["std"]) or "none"] if several else []
        rows.append([score_title(name), value, interval, *spread])
    return table_html(header, rows, caption="Scores of all tested images together", most=len(rows))


def group_table(groups: GroupScores | None) -> str:
    """Return the table of the groups with the lowest accuracies; empty without groups."""
    if groups is None:
        return ""
    rows: list[list[Cell]] = [
        [
            group.name,
            group.images,
            score_text("accuracy", group.accuracy),
            bounds_text("accuracy", group.interval),
        ]
        for group in groups.worst
    ]
    return table_html(
        ["group", "images", "accuracy, %", "95 % interval"],
        rows,
        caption=f"Accuracy of each group, {groups.order_in_words()}",
        most=len(rows),
        total=groups.count,
    )


def confusion_table(confusion: Confusion) -> str:
    """Return the confusion matrix, or for many classes the list of the most frequent mistakes."""
    if len(confusion.classes) > _MOST_CLASSES:
        return _mistakes_table(confusion)
    rows: list[list[Cell]] = [
        [name, *map(int, counts), int(counts.sum())]
        for name, counts in zip(confusion.classes, confusion.counts, strict=True)
    ]
    return table_html(
        ["true / predicted", *confusion.classes, "images"],
        rows,
        caption="Numbers of images of each true class (rows) and predicted class (columns)",
    )


def _mistakes_table(confusion: Confusion) -> str:
    rows: list[list[Cell]] = [
        [pair.true, pair.predicted, pair.images, percent(pair.share)]
        for pair in confusion.confused(_MOST_CLASSES)
    ]
    return table_html(
        ["true class", "predicted class", "images", "of the true class"],
        rows,
        caption="The most frequent mistakes",
        total=confusion.pairs,
    )
