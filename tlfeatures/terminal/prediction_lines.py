"""Predictions as lines of CSV or JSON, written one by one."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tlfeatures.terminal.streams import (
    one_line,
    print_failure,
    print_message,
    print_result,
    writing_output,
)

if TYPE_CHECKING:
    from tlfeatures.models.predictions import Prediction

Writer = Callable[["Prediction"], None]


def print_predictions(
    predictions: Iterable[Prediction], write: Writer, *, immediately: bool
) -> bool:
    """Print predictions and a summary; return whether an image could not be read.

    Parameters
    ----------
    predictions : iterable of Prediction
    write : callable
        From `json_writer` or `csv_writer`.
    immediately : bool
        Whether each line leaves the process before the next prediction is computed, and failures
        are named at once: a program may wait for the answer. Otherwise failures come last.
    """
    counts: Counter[str] = Counter()
    failures: list[tuple[str, str]] = []  # of a stream, which may never end, none are kept
    failed = 0
    for prediction in predictions:
        write(prediction)
        counts["got no label, because no class reached --min-confidence"] += prediction.abstained
        counts["flagged as outliers"] += bool(prediction.outlier)
        if prediction.error is not None:
            failed += 1
            if immediately:
                print_failure(prediction.path, prediction.error)
            else:
                failures.append((prediction.path, prediction.error))
        if immediately:
            with writing_output():
                sys.stdout.flush()
    if immediately:
        counts["could not be read"] = failed
    summary = [f"{count:,} {what}" for what, count in counts.items() if count]
    if summary:
        print_message(", ".join(summary))
    for path, reason in failures:
        print_failure(path, reason)
    return failed > 0


def json_writer(note: dict[str, str]) -> Writer:
    """Give a function that writes one JSON object a line; `note` is added to each."""

    def write(prediction: Prediction) -> None:
        row: dict[str, Any] = {"path": prediction.path}
        if prediction.error is None:
            row |= {"label": prediction.label, "probabilities": prediction.probabilities, **note}
            if prediction.outlier is not None:
                distance = prediction.distance
                finite = distance is not None and math.isfinite(distance)
                # JSON has no infinity
                row |= {"outlier": prediction.outlier, "distance": distance if finite else None}
        else:
            row["error"] = prediction.error
        print_result(json.dumps(row))

    return write


def csv_writer(classes: list[str], outliers: bool, note: dict[str, str], ready: bool) -> Writer:
    """Write the header; give a function that writes a row for each image.

    `ready`: flush the header, which shows another program that it can send paths. The
    probabilities are in columns `p_CLASS`, so that no class has the name of another column.
    """
    writer = csv.DictWriter(sys.stdout, _csv_columns(classes, outliers, note), lineterminator="\n")
    with writing_output():
        writer.writeheader()
        if ready:
            sys.stdout.flush()

    def write(prediction: Prediction) -> None:
        with writing_output():
            writer.writerow(row_of(prediction))

    def row_of(prediction: Prediction) -> dict[str, str]:
        if prediction.error is not None:
            return {"path": prediction.path, "error": one_line(prediction.error)}
        row = {"path": prediction.path, "label": prediction.label or "", **note}
        row |= {f"p_{name}": f"{prediction.probabilities[name]:.6f}" for name in classes}
        if prediction.distance is not None:
            row["outlier"] = "yes" if prediction.outlier else "no"
            row["distance"] = f"{prediction.distance:.3f}"
        return row

    return write


def _csv_columns(classes: list[str], outliers: bool, note: dict[str, str]) -> list[str]:
    return [
        "path",
        "label",
        *(f"p_{name}" for name in classes),
        *(["outlier", "distance"] if outliers else []),
        *note,
        "error",
    ]
