"""The sections about one head: its mistakes by class, its probabilities and its sets of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.metrics.conformal import cross_fitted
from tlfeatures.metrics.confusion import MANY_CLASSES
from tlfeatures.models.prediction_sets import quality_facts
from tlfeatures.names import percent
from tlfeatures.reports.diagnostics import (
    Confusion,
    OutOfFold,
    precision_recall,
    reliability,
    roc,
)
from tlfeatures.reports.drawing.confusion_matrix import ConfusionDisplay
from tlfeatures.reports.drawing.curves import (
    PrecisionRecallDisplay,
    ReliabilityDisplay,
    RocDisplay,
)
from tlfeatures.reports.page.figure import Figure, draw

# Of more than 100 classes, the page has these numbers of pairs, of classes and of curves.
PAIRS, WORST, BEST, CURVES = 50, 40, 10, 8


def confusion_matrix(table: Confusion) -> dict[str, Any]:
    """Counts and rates of each cell, and the recall and precision of each class.

    Of more than 100 classes, there is no matrix, but the pairs that are confused most often, and
    the classes with the lowest and the highest recalls.
    """
    right, true = table.counts.diagonal(), table.counts.sum(axis=1)
    predicted = table.counts.sum(axis=0)
    shown = _shown_classes(table, right, true)
    classes = [
        {
            "name": table.classes[row],
            "images": int(true[row]),
            "recall": _share(right[row], true[row]),
            "precision": _share(right[row], predicted[row]),
        }
        for row in shown
    ]
    common = {"classes": classes, "all_classes": len(table.classes)}
    if table.is_large:
        return {**common, "figure": None, "pairs": _pairs(table), "all_pairs": table.pairs}
    return {
        **common,
        "pairs": None,
        "counts": table.counts.tolist(),
        "rates": np.nan_to_num(table.rates).tolist(),
        "figure": draw(
            "confusion",
            "Confusion matrix",
            "How many images of each true class were predicted as each class; the same numbers "
            "are in the table of this section",
            ConfusionDisplay(table),
        ),
    }


def _shown_classes(table: Confusion, right: NDArray[np.int_], true: NDArray[np.int_]) -> list[int]:
    """Return the codes of all classes, or of many classes the worst and the best."""
    if not table.is_large:
        return list(range(len(table.classes)))
    # A class without images has no recall, and comes last of the worst.
    recall = np.where(true > 0, right / np.maximum(true, 1), 2.0)
    order = np.argsort(recall, kind="stable")
    tested = int((true > 0).sum())
    best = order[max(tested - BEST, WORST) : tested]
    return [*order[:WORST].tolist(), *best.tolist()]


def _pairs(table: Confusion) -> list[dict[str, Any]]:
    code = {name: place for place, name in enumerate(table.classes)}
    return [
        {**asdict(pair), "row": code[pair.true], "column": code[pair.predicted]}
        for pair in table.confused(PAIRS)
    ]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def probabilities(predictions: OutOfFold) -> list[Figure] | None:
    """Reliability, ROC and precision-recall; None for a head without probabilities."""
    if not predictions.has_probabilities:
        return None
    classes = len(predictions.classes)
    most = CURVES if classes > MANY_CLASSES else None
    diagram, curves, steps = (
        reliability(predictions),
        roc(predictions, most=most),
        precision_recall(predictions, most=most),
    )
    chosen = f"The {CURVES} of {classes:,} classes with the smallest areas." if most else ""
    figures = [
        draw(
            "reliability",
            "Reliability",
            "Share of correct predictions against the probability that the head gave; expected "
            f"calibration error {diagram.error:.3f}",
            ReliabilityDisplay(diagram),
            "On the diagonal, a prediction with the probability 0.8 is correct for 8 of 10 images. "
            "Above the diagonal, the probabilities are too low; below it, they are too high.",
        )
    ]
    if curves:
        figures += [
            draw(
                "roc",
                "ROC curve",
                "True positive rate against false positive rate; area under the curve: "
                f"{_areas(curves)}",
                RocDisplay(curves),
                chosen,
            ),
            draw(
                "precision-recall",
                "Precision and recall",
                f"Precision against recall; average precision: {_areas(steps)}",
                PrecisionRecallDisplay(steps),
                chosen,
            ),
        ]
    return figures


def label_sets(predictions: OutOfFold, groups: NDArray[np.int64] | None) -> dict[str, Any] | None:
    """Coverage and size of prediction sets; None without probabilities or with too few images."""
    if not predictions.has_probabilities:
        return None
    head = (predictions.y, predictions.predicted, predictions.probabilities)
    measured = cross_fitted(*head, predictions.fold, groups)
    if measured is None:
        return None
    by_class = quality_facts(measured, predictions.classes)["by_class"]
    rows = [
        {"name": name, "images": of["images"], "coverage": of["coverage"], "size": of["mean_size"]}
        for name, of in by_class.items()
    ]
    if len(rows) > MANY_CLASSES:
        rows = sorted(rows, key=lambda row: row["coverage"])[:WORST]
    return {
        "level": f"{100 * measured.level:g}",
        "coverage": percent(measured.coverage, 1),
        "size": f"{measured.mean_size:.2f}",
        "single": percent(measured.single),
        "rows": rows,
        "classes": len(by_class),
    }


def _areas(curves: Sequence[Any]) -> str:
    more = f" and {len(curves) - 8} more" if len(curves) > 8 else ""
    return ", ".join(f"{curve.label} {curve.area:.3f}" for curve in curves[:8]) + more
