"""Results as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlfeatures.features.extract import Extraction
    from tlfeatures.fitting import FitReport, HeadReport

_SPLITS = {"val": "fitted on train, scored on val", "test": "fitted on train, scored on test"}


def render_extraction(result: Extraction) -> str:
    """One line of counts, one of embeddings; random weights are named as such."""
    speed = f", {result.images_per_second:.1f} images/s" if result.computed else ""
    counts = [f"{result.computed:,} computed", f"{result.reused:,} reused"]
    counts += [f"{len(result.failed):,} failed"] if result.failed else []
    counts += [f"{result.removed:,} no longer in the folder"] if result.removed else []
    lines = [
        f"{result.file}: {result.images:,} images ({', '.join(counts)}) in "
        f"{result.seconds:.1f} s{speed}",
        "embeddings: " + ", ".join(f"{name} ({d:,})" for name, d in result.embeddings.items()),
    ]
    if result.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    return "\n".join(lines)


RANDOM_WEIGHTS = "made with RANDOM weights: nothing here has been learned from ImageNet"


def render_fit(report: FitReport) -> str:
    """The ranked heads, then each head's folds."""
    folds = len(report.heads[0].evaluation.fit_seconds)
    how = _SPLITS.get(report.split, f"{folds}-fold cross-validation")
    how += f", {report.groups:,} groups kept together" if report.groups else ""
    names = report.classes
    classes = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    lines = [f"{report.images:,} images, {len(names)} classes ({classes})"]
    lines.append(f"{report.embedding} of {report.file}; {how} ({report.tested:,} images tested)")
    if report.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    if report.held_back:
        lines.append("the test split was not scored; `--split test` scores on it")
    lines += ["", _ranking(report)]
    if folds > 1:
        lines += [f"\n{head.head}\n{_folds(head)}" for head in report.heads]
    lines += [_refitted(report, head.model) for head in report.heads if head.model]
    return "\n".join(lines)


def _refitted(report: FitReport, model: str) -> str:
    """Say what the saved model has seen; a split that it was scored on is among it."""
    splits = {"cv": "", "val": ", val included", "test": ", test included"}[report.split]
    splits = ", val and test included" if report.held_back else splits
    best = report.heads[0].head
    return f"\n{best}, fitted again on all {report.images:,} images{splits}: {model}"


def _ranking(report: FitReport) -> str:
    names = list(report.heads[0].evaluation.scores)
    rows = [
        [
            head.head,
            *(_mean_std(summary) for summary in head.evaluation.summary().values()),
            f"{head.evaluation.fit_seconds.mean():.2f}",
        ]
        for head in report.heads
    ]
    return table(["head", *(name.replace("_", " ") for name in names), "fit s"], rows)


def _folds(head: HeadReport) -> str:
    count = len(head.evaluation.fit_seconds)
    rows = [
        [name.replace("_", " "), *(_number(value) for value in summary["folds"])]
        for name, summary in head.evaluation.summary().items()
    ]
    rows.append(["fit s", *(f"{seconds:.2f}" for seconds in head.evaluation.fit_seconds)])
    return table(["fold", *map(str, range(1, count + 1))], rows)


def _mean_std(summary: dict[str, Any]) -> str:
    spread = "" if summary["std"] is None else f" ± {summary['std']:.3f}"
    return _number(summary["mean"]) + spread


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, the others to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(
            text.rjust(width) if column else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def render_info(facts: dict[str, Any]) -> str:
    """The facts of `tlfeatures.info.describe`, a line each."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines.append(f"{key}:" if value else f"{key}: none")
            lines += [f"  {name}: {_plain(inner)}" for name, inner in value.items()]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{key}: {len(value)}")
            lines += [f"  {item['id']}: {item['reason']}" for item in value]
        else:
            lines.append(f"{key}: {_plain(value)}")
    if facts["spec"]["weights"] == "random":
        lines.append(RANDOM_WEIGHTS)
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, dict) and "mean" in value:
        return _mean_std(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
