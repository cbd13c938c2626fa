"""Results as text for a terminal."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlfeatures.names import counted, some_of

if TYPE_CHECKING:
    from tlfeatures.benchmarking.benchmark import Benchmark
    from tlfeatures.benchmarking.comparison import Rank
    from tlfeatures.benchmarking.fit_report import FitReport, HeadReport
    from tlfeatures.features.extract import Extraction
    from tlfeatures.features.merge import Merging
    from tlfeatures.features.verify import Finding, Verification
    from tlfeatures.model_selection.audit.results import Audit
    from tlfeatures.model_selection.learning_curve.results import (
        CurvePoint,
        Forecast,
        LearningCurve,
    )
    from tlfeatures.models.evaluate import Trial
    from tlfeatures.models.export.check import Check
    from tlfeatures.models.export.export import Export
    from tlfeatures.reports.report import Report

_SHOWN = 3  # heads whose every fold is printed; more would bury the ranking
_SPLITS = {"val": "fitted on train, scored on val", "test": "fitted on train, scored on test"}


def render_extraction(result: Extraction) -> str:
    """One line each for counts, classes and embeddings; further lines only where they apply."""
    what = "images and variants/s" if result.variants else "images/s"
    by = "" if result.engine == "none" else f" by {result.engine} in {result.precision}"
    speed = f", {result.images_per_second:.1f} {what}{by}" if result.computed else ""
    counts = [f"{result.computed:,} computed", f"{result.reused:,} reused"]
    counts += [f"{len(result.failed):,} failed"] if result.failed else []
    counts += [f"{result.removed:,} no longer in the folder"] if result.removed else []
    lines = [
        f"{result.file}: {result.images:,} images ({', '.join(counts)}) in "
        f"{result.seconds:.1f} s{speed}",
        _class_counts(result),
        "embeddings: " + ", ".join(f"{name} ({d:,})" for name, d in result.embeddings.items()),
    ]
    if result.variants:
        lines.append(f"and {counted(result.variants, 'variant')} of each image, for training")
    if result.shards is not None:
        lines.append(
            f"the rows are in shards in {result.shards}: keep both together, or merge them by "
            f"`tlfeatures merge {shlex.quote(result.file)}`"
        )
    if result.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    return "\n".join(lines)


_CLASSES_SHOWN = 12


def _class_counts(result: Extraction) -> str:
    """The classes that the folders name, with their images, and those of each split."""
    classes = result.classes
    if not classes:
        return "no class folders: give the labels to `fit` by --labels CSV"
    listed = some_of((f"{name} {count:,}" for name, count in classes.items()), _CLASSES_SHOWN)
    splits = ", ".join(f"{name} {count:,}" for name, count in result.splits.items())
    without = result.images - sum(classes.values())
    return (
        f"{len(classes):,} class{'es' * (len(classes) != 1)}: {listed}"
        + (f" ({splits})" if splits else "")
        + (f"; {counted(without, 'image')} without a class" if without else "")
    )


def render_verification(result: Verification) -> str:
    """The counts, what was checked, then each finding with its remedy."""
    counts = [f"{result.done:,} embedded", f"{result.failed:,} that can't be embedded"]
    lines = [
        f"{result.file}: {result.images:,} images ({counts[0]}, {counts[1]}, "
        f"{result.waiting:,} waiting), checked in {result.seconds:.1f} s"
    ]
    lines.append(f"every row of {', '.join(result.tables)}: marks, finite values, checksums")
    if result.source is not None:
        again = "none embedded again"
        if result.smallest_cosine is not None:
            again = (
                f"{result.sampled:,} embedded again, smallest cosine {result.smallest_cosine:.6f}, "
                f"largest difference {result.largest_difference:.2g}"
            )
        lines.append(f"{result.source}: every image hashed, {again}")
    lines += [_finding(each) for each in result.findings] or ["nothing found"]
    if result.mended:
        lines.append(
            f"\n{counted(result.mended, 'row')} unmarked: the next `extract` computes them again"
        )
    return "\n".join(lines)


_NAMED = 5  # ids of a finding; --json has all


def _finding(finding: Finding) -> str:
    return (
        f"\n{finding.kind}: {counted(len(finding.ids), 'image')} {finding.what}\n"
        f"  {some_of(finding.ids, _NAMED)}\n  what to do: {finding.remedy}"
    )


RANDOM_WEIGHTS = "made with RANDOM weights: nothing here has been learned from ImageNet"


def render_fit(report: FitReport) -> str:
    """The ranked heads, then each head's folds."""
    folds = len(report.heads[0].evaluation.fit_seconds)
    how = _SPLITS.get(report.split, f"{folds}-fold cross-validation")
    how += f", {report.groups:,} groups kept together" if report.groups else ""
    how += _copies(report.copies, report.split)
    how += ", tuned inside each fold" if report.tuned else ""
    how += _trained_on(report.variants)
    lines = [_images(report.images, report.classes)]
    lines.append(f"{report.embedding} of {report.file}; {how} ({report.tested:,} images tested)")
    if report.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    if report.held_back:
        lines.append("the test split was not scored; `--split test` scores on it")
    if report.tested_classes < len(report.classes):
        lines.append(_averages(report.tested_classes, len(report.classes)))
    lines += ["", _ranking(report), *_why_none(_missing(report))]
    tuned = [_chosen(head) for head in report.heads if head.evaluation.choices]
    lines += ["\nchosen in each fold", *tuned] if tuned else []
    if folds > 1:
        shown = report.heads if len(report.heads) <= _SHOWN else report.heads[:1]
        lines += [f"\n{head.head}\n{_folds(head)}" for head in shown]
        if len(shown) < len(report.heads):
            lines.append("\nthe folds of the other heads: --json, or --head with fewer of them")
    lines += [_refitted(report, head.model) for head in report.heads if head.model]
    return "\n".join(lines)


def _trained_on(variants: int) -> str:
    if not variants:
        return ""
    return f", trained also on {counted(variants, 'variant')} of each image"


def _refitted(report: FitReport, model: str) -> str:
    """Say what the saved model has seen; a split that it was scored on is among it."""
    splits = f", {' and '.join(report.included)} included" if report.included else ""
    best = report.heads[0].head
    again = f"{best}, fitted again on all {report.images:,} images{splits}"
    return f"\n{again}: {model} (its card: {shown_card(model)})"


def shown_card(model: str) -> str:
    """Where the card is: beside the file itself, where the model is a link."""
    from tlfeatures.models.card import card_path

    return str(card_path(model)) if Path(model).is_symlink() else f"{model}.md"


def _ranking(report: FitReport) -> str:
    names = list(report.heads[0].evaluation.scores)
    rows = [
        [
            head.head,
            _interval(head.intervals[report.scoring]),
            *(_mean_std(summary) for summary in head.evaluation.summary().values()),
            f"{head.evaluation.fit_seconds.mean():.2f}",
        ]
        for head in report.heads
    ]
    header = ["head", f"95 % interval of {_words(report.scoring)}", *map(_words, names), "fit s"]
    return table(header, rows)


def _averages(tested: int, classes: int) -> str:
    return (
        f"{tested} of {classes} classes have tested images; balanced accuracy and macro F1 are "
        "averages over these"
    )


def _missing(report: FitReport) -> Iterator[tuple[str, str, str | None]]:
    """Name each head and score without a mean, or without the interval that is shown: and why."""
    for head in report.heads:
        for name, facts in head.scores().items():
            if facts["mean"] is None:
                yield head.head, _words(name), facts["reason"]
        if head.intervals[report.scoring] is None:
            of = head.pooled[report.scoring]
            yield head.head, f"interval of {_words(report.scoring)}", of["reason"]


def _why_none(missing: Iterable[tuple[str, str, str | None]]) -> list[str]:
    """Give one line for each reason why something is none, from (head, what, reason)."""
    heads: dict[tuple[str, str], list[str]] = {}
    for head, what, reason in missing:
        heads.setdefault((what, reason or "not defined"), []).append(head)
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (what, reason), of in heads.items():
        found.setdefault((reason, tuple(of)), []).append(what)
    return [
        f"none: {', '.join(what)}{f' ({_some(list(of))})' if any(of) else ''}: {reason}"
        for (reason, of), what in found.items()
    ]


def _interval(interval: list[float] | None) -> str:
    return "none" if interval is None else f"[{interval[0]:.3f}, {interval[1]:.3f}]"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _chosen(head: HeadReport) -> str:
    """What tuning chose, fold by fold."""
    points = [choice.params for choice in head.evaluation.choices]
    values = (f"{name} {', '.join(f'{p[name]:g}' for p in points)}" for name in points[0])
    return f"{head.head}: {'; '.join(values)}"


def _folds(head: HeadReport) -> str:
    count = len(head.evaluation.fit_seconds)
    rows = [
        [_words(name), *(_number(value) for value in summary["folds"])]
        for name, summary in head.evaluation.summary().items()
    ]
    rows.append(["fit s", *(f"{seconds:.2f}" for seconds in head.evaluation.fit_seconds)])
    return table(["fold", *map(str, range(1, count + 1))], rows)


# ---- benchmark


def render_benchmark(result: Benchmark) -> str:
    """The images, the ranking with intervals, and what it can tell."""
    study, ranking = result.study.facts, result.comparison.ranking
    from tlfeatures.benchmarking.comparison import INTERVALS

    embeddings = list(dict.fromkeys(rank.embedding for rank in ranking))
    lines = [_images(study["images"], study["classes"])]
    lines.append(f"{', '.join(embeddings)}; {_cut(study)}" if len(embeddings) == 1 else _cut(study))
    if study["weights"] == "random":
        lines.append(RANDOM_WEIGHTS)
    lines += ["", _ranks(ranking, result.comparison.scoring)]
    lines += [*_why_none(_missing_of(ranking, result.comparison.scoring)), ""]
    said = [f"{INTERVALS}.", f"{result.comparison.test_method}.", _MARK, ""]
    said += result.comparison.verdict
    lines += [textwrap.fill(text, 100) for text in said]
    if result.out:
        kept = len(result.entries) - result.computed
        there = f", {kept} were there" if kept else ""
        lines.append(f"\n{result.computed} entries computed{there}: {result.out}/results.json")
    return "\n".join(lines)


_MARK = (
    "*: the best, or not significantly different from it; ?: can't be tested; no mark: "
    "significantly different. Scores are pooled over folds; `fit` shows their means."
)
_MARKS = {"best": "*", "not different": "*", "different": "", "untested": "?"}


def _copies(pairs: int, split: str) -> str:
    """What became of copies; what a given split parts was said before anything was scored."""
    if not pairs or split != "cv":
        return ""
    return f", {pairs:,} {'pair' if pairs == 1 else 'pairs'} of copies kept together"


def _cut(study: dict[str, Any]) -> str:
    how = _SPLITS.get(study["split"], f"{study['folds']}-fold cross-validation")
    how += f", {study['groups']:,} groups kept together" if study["groups"] else ""
    how += _copies(study["copies"], study["split"])
    return f"{how} ({study['tested']:,} images tested)"


def _images(count: int, classes: list[str]) -> str:
    return f"{count:,} images, {len(classes)} classes ({_some(classes)})"


def _some(classes: list[str]) -> str:
    return some_of(classes, 6)


def _missing_of(ranking: list[Rank], scoring: str) -> Iterator[tuple[str, str, str | None]]:
    """Name each head and score that is none, or whose interval is though it is shown: and why."""
    for rank in ranking:
        for name in dict.fromkeys([scoring, *ranking[0].scores]):
            facts = rank.scores.get(name)
            if facts is None:
                yield rank.label, _words(name), "not among the scores when it was computed"
            elif facts["score"] is None:
                yield rank.label, _words(name), facts["reason"]
            elif name == scoring and facts["interval"] is None:
                yield rank.label, f"interval of {_words(name)}", facts["reason"]


def _ranks(ranking: list[Rank], scoring: str) -> str:
    names = list(dict.fromkeys([scoring, *ranking[0].scores]))
    several = len({rank.embedding for rank in ranking}) > 1
    named = ["head", "embedding"] if several else ["head"]
    header = ["", *named, *map(_words, names), "p", "fit s"]
    rows = [_rank_row(rank, names, several) for rank in ranking]
    return table(header, rows, left=1 + len(named))


def _rank_row(rank: Rank, names: list[str], several: bool) -> list[str]:
    first, *others = [rank.scores.get(name, {}) for name in names]
    interval = first.get("interval")
    around = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    return [
        _MARKS[rank.standing],
        rank.label,
        *([rank.embedding] if several else []),
        _number(first.get("score")) + around,
        *(_number(score.get("score")) for score in others),
        _p_value(rank),
        f"{rank.fit_seconds:.2f}",
    ]


def _p_value(rank: Rank) -> str:
    if rank.p is None:
        return "none" if rank.standing == "untested" else ""
    return "<0.001" if rank.p < 0.001 else _number(rank.p)


# ---- cells


def _mean_std(summary: dict[str, Any]) -> str:
    spread = "" if summary["std"] is None else f" ± {summary['std']:.3f}"
    return _number(summary["mean"]) + spread


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Align columns: the first ones to the left, the others to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def render_merging(merging: Merging) -> str:
    """The merged file, its size and its shards."""
    size = f"{merging.done:,} of {merging.images:,} rows, {merging.bytes / 1e6:,.1f} MB"
    if not merging.shards:
        return f"{merging.file}: {size}; it has no shards"
    removed = ", which were removed" if merging.in_place else ""
    return f"{merging.file}: {size}, merged from {counted(merging.shards, 'shard')}{removed}"


def render_info(facts: dict[str, Any]) -> str:
    """The facts of `tlfeatures.models.describe.describe`, a line each."""
    from tlfeatures.features.backbones.table import BACKBONES

    lines = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines.append(f"{key}:" if value else f"{key}: none")
            lines += [f"  {name}: {_plain(inner)}" for name, inner in value.items()]
        elif key == "failed" and value:
            lines.append(f"{key}: {len(value)}")
            lines += [f"  {item['id']}: {item['reason']}" for item in value]
        else:
            lines.append(f"{key}: {_plain(value)}")
    if facts["spec"]["weights"] == "random":
        lines.append(RANDOM_WEIGHTS)
    backbone = facts["spec"]["backbone"]
    if backbone not in BACKBONES:
        lines.append(
            f"this version of tlfeatures has no backbone {backbone}, so it can't embed images for "
            f"this file (there are: {', '.join(BACKBONES)})"
        )
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, dict) and {"mean", "std", "interval"} <= set(value):
        return _mean_std(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def render_trial(trial: Trial) -> str:
    """What was tested, each score with its interval, and which class was taken for which."""
    seen = f", {trial.seen:,} of them left out: the model was fitted on them" if trial.seen else ""
    lines = [
        f"{trial.source}: {trial.images:,} images{seen}",
        f"{trial.head} on {trial.embedding} of {trial.model or 'the model'}; "
        f"{trial.tested:,} images tested whose files it has not seen",
    ]
    if trial.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    if trial.outliers is not None:
        lines.append(
            f"{trial.outliers:,} of them are unlike those that it was fitted on (outliers)"
        )
    rows = [
        [
            _words(name),
            _number(row["score"]),
            _interval(row["interval"]),
        ]
        for name, row in trial.scores.items()
    ]
    tested = sum(any(row) for row in trial.confusion.counts.tolist())
    if tested < len(trial.classes):
        lines.append(_averages(tested, len(trial.classes)))
    lines += ["", table(["score", "", "95 % interval"], rows), *_why_none(_missing_in(trial))]
    counts = [
        [label, *map(str, row), str(sum(row))]
        for label, row in zip(trial.classes, trial.confusion.counts.tolist(), strict=True)
    ]
    lines += ["", table(["class / taken for", *trial.classes, "images"], counts)]
    return "\n".join(lines)


def _missing_in(trial: Trial) -> Iterator[tuple[str, str, str | None]]:
    for name, row in trial.scores.items():
        if row["score"] is None:
            yield "", _words(name), row["reason"]
        elif row["interval"] is None:
            yield "", f"interval of {_words(name)}", row["reason"]


def render_audit(result: Audit, top: int = 20) -> str:
    """Counts by kind, the first rows, and what to do with them."""
    found = result.findings
    counts = ", ".join(f"{count:,} {kind}" for kind, count in result.counts.items())
    lines = [f"{result.embedding} of {result.file}: {result.images:,} images"]
    lines.append(f"{len(found):,} findings ({counts})" if found else "nothing found")
    lines.append(f"{result.head} is right on {result.accuracy:.1%} of the labels, out of fold")
    if result.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    if found[:top]:
        rows = [[each.kind, each.id, f"{each.score:.3f}", each.reason] for each in found[:top]]
        lines += ["", table(["kind", "image", "score", "reason"], rows, left=4)]
    if len(found) > top:
        lines.append(f"and {len(found) - top:,} more: -o FILE.csv has all, --top N shows more")
    if result.output is not None:
        lines.append(f"\nall rows: {result.output}")
    if found:
        lines.append(_AUDIT_NEXT)
    return "\n".join(lines)


_AUDIT_NEXT = """
Nothing was changed. Open each image; if its label is wrong, move it to the right folder or correct
the labels' CSV; remove the copy that is too much. Then run `tlfeatures extract` (it computes only
what is new) and `tlfeatures fit` again."""


def render_report(report: Report) -> str:
    """Where the page is, how large, and what it shows."""
    sections = ", ".join(name.replace("_", " ") for name in report.sections)
    return (
        f"{report.file}: {report.bytes / 1e6:.1f} MB, {report.images:,} pictures; with {sections}\n"
        "open it in any browser"
    )


def render_export(result: Export) -> str:
    """What the file takes and gives, and how it compares with the model, if that was asked."""
    height, width = result.size
    lines = [
        f"{result.file}: {result.bytes / 1e6:.1f} MB, {result.head} on {result.embedding}",
        f"takes images (n, {height}, {width}, 3) uint8 RGB, gives probabilities of "
        f"{len(result.classes)} classes ({_some(result.classes)}) and label",
    ]
    if result.model_precision != result.precision:
        lines.append(
            f"it computes in {result.precision}; the head was fitted on embeddings in "
            f"{result.model_precision}"
        )
    if result.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    compare = ["beside `predict`, in numbers and in speed: --check IMAGES"]
    return "\n".join(lines + (compare if result.check is None else _checked(result.check)))


def _checked(check: Check) -> list[str]:
    onnx, own = check.onnx_images_per_second, check.own_images_per_second
    return [
        f"{check.images:,} images beside `predict` in {check.own_precision}: largest difference of "
        f"a probability {check.largest_difference:.1e}, {check.labels_differ:,} labels differ",
        f"speed from files: ONNX Runtime {onnx:.1f} images/s, `predict` in {check.own_precision} "
        f"{own:.1f} images/s ({onnx / own:.2f} times)",
    ]


def render_learning_curve(curve: LearningCurve) -> str:
    """The measured sizes with a plot, what the law says of more images, and the verdict."""
    points = curve.points
    lines = [
        _images(curve.images, curve.classes),
        f"{curve.head} on {curve.embedding} of {curve.file}; every size is tested on the same "
        f"images, {curve.folds}-fold cross-validation{_trained_on(curve.variants)}",
    ]
    if curve.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    low, high = min(p.interval[0] for p in points), max(p.interval[1] for p in points)
    ends = f"{low:.3f}{high:{_PLOT - 5}.3f}"
    header = ["images a class", "trained on", "accuracy", "95 % interval", ends]
    lines += ["", table(header, [_point_row(point, low, high) for point in points])]
    if curve.verdict != "unknown":  # a number would be read as one, whatever is said of it
        header = ["extrapolated to", "accuracy", "95 % interval", "gain", "95 % interval"]
        lines += ["", table(header, [_forecast_row(each) for each in curve.forecasts])]
    if curve.backtest is not None and curve.backtest.passed:
        test = curve.backtest
        lines.append(
            f"Proof: the curve fitted up to {test.fitted_to:,.0f} images a class predicts "
            f"{test.predicted:.3f} [{test.interval[0]:.3f}, {test.interval[1]:.3f}] at "
            f"{test.images_per_class:,.0f}, where {test.seen:.3f} was seen. Further than "
            f"{curve.forecasts[-1].factor} times the images it says nothing."
        )
    return "\n".join([*lines, "", curve.sentence])


_PLOT = 24  # characters


def _point_row(point: CurvePoint, low: float, high: float) -> list[str]:
    scale = (_PLOT - 1) / max(high - low, 1e-9)
    start, here, end = (
        round((value - low) * scale)
        for value in (point.interval[0], point.accuracy, point.interval[1])
    )
    bar = " " * start + "-" * (end - start + 1)
    return [
        f"{point.images_per_class:,.0f}",
        f"{point.train_images:,.0f}",
        _number(point.accuracy),
        _around(point.interval),
        (bar[:here] + "o" + bar[here + 1 :]).ljust(_PLOT),
    ]


def _forecast_row(forecast: Forecast) -> list[str]:
    return [
        f"{forecast.images_per_class:,.0f} ({forecast.factor} times)",
        _number(forecast.accuracy),
        _around(forecast.interval),
        f"{forecast.gain:+.3f}",
        _around(forecast.gain_interval),
    ]


def _around(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]"
