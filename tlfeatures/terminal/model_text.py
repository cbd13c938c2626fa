"""The results of `evaluate`, `export` and `info` as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tlfeatures.names import counted, missing_lines, number, percent
from tlfeatures.terminal.groups_text import group_lines
from tlfeatures.terminal.shared_lines import (
    RANDOM_WEIGHTS,
    averages_line,
    first_names,
)
from tlfeatures.terminal.tables import score_words, spread, table

if TYPE_CHECKING:
    from tlfeatures.metrics.confusion import Confusion
    from tlfeatures.models.evaluate import ModelEvaluation
    from tlfeatures.models.export.check import Check
    from tlfeatures.models.export.export import Export


def render_evaluation(result: ModelEvaluation) -> str:
    """What was tested, each score with its interval, and the confusion matrix."""
    from tlfeatures.models.evaluate import left_out_words, not_searched_words

    not_searched = not_searched_words(result.not_searched)
    left_out = left_out_words(result.seen, result.nearly_seen)
    lines = [
        f"{result.source}: {result.images:,} images",
        *([f"left out: {left_out}"] if left_out else []),
        *([not_searched] if not_searched else []),
        f"{result.head} on {result.embedding} of {result.model or 'the model'}; "
        f"{result.tested:,} images tested, on which the model was not fitted",
    ]
    if result.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    if result.outliers is not None:
        lines.append(
            f"{result.outliers:,} of them are unlike the images that the model was fitted on "
            "(outliers)"
        )
    if result.operating_point is not None:
        lines.append(result.operating_point.line())
    if result.sets is not None:
        from tlfeatures.models.prediction_sets import sets_text

        lines.append(f"prediction sets: {sets_text(result.sets)}")
    rows = [
        [score_words(name), number(row["score"]), spread(row)]
        for name, row in result.scores.items()
    ]
    confusion = result.confusion
    tested = sum(any(row) for row in confusion.counts.tolist())
    if tested < len(result.classes):
        lines.append(averages_line(tested, len(result.classes)))
    lines += [
        "",
        table(["score", "value", _spread_title(result)], rows),
        *missing_lines(_missing_in(result)),
        *group_lines(result.by_group()),
    ]
    return "\n".join([*lines, "", _confusion_table(confusion)])


_PAIRS = 20  # of many classes, the pairs that are confused most often


def _confusion_table(confusion: Confusion) -> str:
    """Write the confusion matrix, or of more than 100 classes the most confused pairs."""
    if confusion.is_large:
        shown = confusion.confused(_PAIRS)
        if not shown:
            return "no tested image is classified wrongly"
        rows = [
            [pair.true, pair.predicted, f"{pair.images:,}", percent(pair.share)] for pair in shown
        ]
        of = counted(confusion.pairs, "pair")
        title = f"the classes that are confused most often: {len(shown)} of {of}"
        header = ["true class", "predicted class", "images", "of the true class"]
        return f"{title}\n{table(header, rows, left=2)}"
    counts = [
        [label, *map(str, row), str(sum(row))]
        for label, row in zip(confusion.classes, confusion.counts.tolist(), strict=True)
    ]
    return table(["true / predicted", *confusion.classes, "images"], counts)


def _spread_title(result: ModelEvaluation) -> str:
    few = any(row["groups_range"] for row in result.scores.values())
    return "range" if few else "95 % interval"


def _missing_in(result: ModelEvaluation) -> Iterator[tuple[str, str, str | None]]:
    for name, row in result.scores.items():
        if row["score"] is None:
            yield "", score_words(name), row["reason"]
        elif row["interval"] is None:
            yield "", f"interval of {score_words(name)}", row["reason"]


def render_export(result: Export) -> str:
    """The file's inputs and outputs, and how it compares with the model if it was checked."""
    height, width = result.size
    lines = [
        f"{result.file}: {result.bytes / 1e6:.1f} MB, {result.head} on {result.embedding}",
        f"input: RGB images, uint8, (n, {height}, {width}, 3); output: probabilities of "
        f"{len(result.classes)} classes ({first_names(result.classes)}) and labels",
    ]
    if result.model_precision != result.precision:
        lines.append(
            f"the ONNX file computes in {result.precision}; the head was fitted on embeddings "
            f"computed in {result.model_precision}"
        )
    if result.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    compare = ["to compare the probabilities and the speed with `predict`, use --check IMAGES"]
    return "\n".join(lines + (compare if result.check is None else _checked(result.check)))


def _checked(check: Check) -> list[str]:
    onnx, own = check.onnx_images_per_second, check.own_images_per_second
    return [
        f"{check.images:,} images compared with `predict` in {check.own_precision}: largest "
        f"difference of a probability {check.largest_difference:.1e}, {check.labels_differ:,} "
        "labels differ",
        f"speed, including the reading of images: ONNX Runtime {onnx:.1f} images/s, `predict` in "
        f"{check.own_precision} {own:.1f} images/s ({onnx / own:.2f} times)",
    ]


def render_info(facts: dict[str, Any]) -> str:
    """The facts of `tlfeatures.models.describe.describe`, one per line."""
    from tlfeatures.features.spec import Spec, no_such_backbone
    from tlfeatures.models.backbone_facts import plain_backbones

    lines = []
    for key, value in facts.items():
        if key == "joined":
            for part in value:
                lines.append(f"spec of {part['name']}:")
                lines += _spec_lines(part["spec"])
        elif key == "spec":
            lines += [f"{key}:", *_spec_lines(value)] if value else []
        elif isinstance(value, dict):
            lines.append(f"{key}:" if value else f"{key}: none")
            lines += [f"  {name}: {_plain(inner)}" for name, inner in value.items()]
        elif key == "verdict":
            lines += [f"{key}:", *(f"  {sentence}" for sentence in value)]
        elif key == "failed" and value:
            lines.append(f"{key}: {len(value)}")
            lines += [f"  {item['id']}: {item['reason']}" for item in value]
        else:
            lines.append(f"{key}: {_plain(value)}")
    specs = [Spec.from_dict(part["spec"]) for part in plain_backbones(facts)]
    if any(spec.weights == "random" for spec in specs):
        lines.append(RANDOM_WEIGHTS)
    lines += [no_such_backbone(spec) for spec in specs if spec.known_backbone is None]
    return "\n".join(lines)


def _spec_lines(spec: dict[str, Any]) -> list[str]:
    """Return the lines of a spec; those of an object in it are indented more."""
    lines = []
    for name, value in spec.items():
        if name in ("declaration", "imported") and value:
            lines.append(f"  {name}:")
            lines += [f"    {key}: {_plain(inner) or 'none'}" for key, inner in value.items()]
        elif name == "quantization" and value:
            # Hundreds of ranges may be in it; --json shows them.
            lines.append(
                f"  {name}: ranges of {counted(len(value['largest']), 'layer')}, "
                f"measured on {counted(value['images'], 'image')}"
            )
        else:
            lines.append(f"  {name}: {_plain(value)}")
    return lines


def _plain(value: Any) -> str:
    if isinstance(value, dict) and {"score", "interval"} <= set(value):
        return f"{number(value['score'])} {spread(value)}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)
