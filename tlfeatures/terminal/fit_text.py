"""The result of `fit` as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tlfeatures.terminal.shared_lines import (
    RANDOM_WEIGHTS,
    averages_line,
    images_line,
    missing_lines,
    trained_on,
    validation,
)
from tlfeatures.terminal.tables import (
    interval,
    mean_and_spread,
    number,
    score_words,
    table,
)

if TYPE_CHECKING:
    from tlfeatures.benchmarking.fit_report import FitReport, HeadReport

_SHOWN = 3  # heads whose every fold is printed; more would bury the ranking


def render_fit(report: FitReport) -> str:
    """The ranked heads, then each head's folds."""
    folds = len(report.heads[0].evaluation.fit_seconds)
    how = validation(report.split, folds, report.groups, report.copies)
    how += ", tuned inside each fold" if report.tuned else ""
    how += trained_on(report.variants)
    lines = [images_line(report.images, report.classes)]
    lines.append(f"{report.embedding} of {report.file}; {how} ({report.tested:,} images tested)")
    if report.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    if report.held_back:
        lines.append("the test split was not scored; `--split test` scores on it")
    if report.tested_classes < len(report.classes):
        lines.append(averages_line(report.tested_classes, len(report.classes)))
    lines += ["", _ranking(report), *missing_lines(_missing(report))]
    tuned = [_chosen(head) for head in report.heads if head.evaluation.choices]
    lines += ["\nparameters chosen in each fold", *tuned] if tuned else []
    if folds > 1:
        shown = report.heads if len(report.heads) <= _SHOWN else report.heads[:1]
        lines += [f"\n{head.head}\n{_folds(head)}" for head in shown]
        if len(shown) < len(report.heads):
            lines.append("\n--json, or --head with fewer heads, shows the folds of the other heads")
    lines += [_refitted(report, head.model) for head in report.heads if head.model]
    return "\n".join(lines)


def _refitted(report: FitReport, model: str) -> str:
    """Say what the saved model was fitted on; this includes the split that it was scored on."""
    splits = f", {' and '.join(report.included)} included" if report.included else ""
    best = report.heads[0].head
    fitted = f"{best}, fitted again to all {report.images:,} images{splits}"
    return f"\n{fitted}: {model} (its card: {_card_of(model)})"


def _card_of(model: str) -> str:
    """Give the path of the model's card; if the model is a link, it lies next to its target."""
    from tlfeatures.models.card import card_path

    return str(card_path(model)) if Path(model).is_symlink() else f"{model}.md"


def _ranking(report: FitReport) -> str:
    names = list(report.heads[0].evaluation.scores)
    rows = [
        [
            head.head,
            interval(head.intervals[report.scoring]),
            *(mean_and_spread(summary) for summary in head.evaluation.summary().values()),
            f"{head.evaluation.fit_seconds.mean():.2f}",
        ]
        for head in report.heads
    ]
    header = [
        "head",
        f"95 % interval of {score_words(report.scoring)}",
        *map(score_words, names),
        "fit s",
    ]
    return table(header, rows)


def _missing(report: FitReport) -> Iterator[tuple[str, str, str | None]]:
    """Give head, score and reason of each mean and each shown interval that is none."""
    for head in report.heads:
        for name, facts in head.scores().items():
            if facts["mean"] is None:
                yield head.head, score_words(name), facts["reason"]
        if head.intervals[report.scoring] is None:
            reason = head.pooled[report.scoring]["reason"]
            yield head.head, f"interval of {score_words(report.scoring)}", reason


def _chosen(head: HeadReport) -> str:
    """Give the parameters that tuning chose in each fold."""
    points = [choice.params for choice in head.evaluation.choices]
    values = (f"{name} {', '.join(f'{p[name]:g}' for p in points)}" for name in points[0])
    return f"{head.head}: {'; '.join(values)}"


def _folds(head: HeadReport) -> str:
    count = len(head.evaluation.fit_seconds)
    rows = [
        [score_words(name), *(number(value) for value in summary["folds"])]
        for name, summary in head.evaluation.summary().items()
    ]
    rows.append(["fit s", *(f"{seconds:.2f}" for seconds in head.evaluation.fit_seconds)])
    return table(["fold", *map(str, range(1, count + 1))], rows)
