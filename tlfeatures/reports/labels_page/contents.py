"""All contents of the page of labels, as plain data for its template."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tlfeatures.features.backbones.table import title_of
from tlfeatures.features.images.value_range import ValueRange
from tlfeatures.heads.table import HEADS
from tlfeatures.metrics.scores import score_text
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.label_summary import UNSURE, LabelSummary
from tlfeatures.names import MOST_CLASSES, counted, one_line, percent, some_of
from tlfeatures.progress import Progress, no_progress
from tlfeatures.reports.labels_page.shown_images import LabelledImage, ShownImages
from tlfeatures.reports.page.thumbnails import (
    BUDGET,
    SIDE,
    Original,
    Thumbnails,
    make_thumbnails,
)

_LARGEST_SIDE = 224  # pixels of a picture, if there are few
_PER_PIXEL = 0.3  # characters of a picture, for each pixel of a square of its side
_MOST_CLASSES = 30  # rows of the table of classes
_LONGEST = 160  # characters of a name that is shown


@dataclass(frozen=True)
class LabelsPage:
    """The page before it is written.

    Attributes
    ----------
    contents : dict
        Variables of the template.
    images : int
        Number of images that the page shows.
    """

    contents: dict[str, Any]
    images: int


def labels_page(
    shown: ShownImages,
    originals: Mapping[str, Original | None],
    images: Sequence[LabelledImage],
    model: FittedHead,
    names: Mapping[str, str | None],
    progress: Progress = no_progress,
) -> LabelsPage:
    """Gather the contents of the page.

    Parameters
    ----------
    shown : ShownImages
    originals : mapping of path to Original or None
        Where the pictures come from.
    images : sequence of LabelledImage
        The images of `shown`, the most important first. The page shows the least confident first,
        and leaves out the last ones if the pictures of the others fill it.
    model : FittedHead
    names : mapping
        `title` of the page and name of the `model`; None if not known.
    progress : callable of (done, total)
        Counts the pictures.
    """
    parts = model.backbones
    images = list({image.path: image for image in images}.values())  # one may be given twice
    originals = {image.path: originals.get(image.path) for image in images}
    shades = parts[0].spec.value_range if len(parts) == 1 else None
    pictures = _pictures(originals, shades, progress)
    images = sorted(images[: pictures.tried], key=lambda image: (image.confidence, image.path))
    summary = shown.summary
    folder = _common_folder([image.path for image in images])
    labels = list(dict.fromkeys(image.label for image in images if image.label is not None))
    number_of = {label: number for number, label in enumerate(sorted(labels))}
    return LabelsPage(
        {
            "title": names["title"] or f"Labels of {counted(summary.images, 'image')}",
            "summary": summary,
            "labels": some_of(
                (f"{count:,} {one_line(name)}" for name, count in summary.labels.most_common()),
                MOST_CLASSES,
            ),
            "unsure_limit": UNSURE,
            "unsure": summary.unsure.total(),
            "median": summary.median_confidence(),
            "classes": _classes(summary),
            "more_classes": max(0, len(summary.labels) - _MOST_CLASSES),
            "folder": one_line(folder),
            "images": [_image(image, folder, pictures.urls, number_of) for image in images],
            "options": [(number, one_line(label)) for label, number in number_of.items()],
            "unreadable": [(_short(path), one_line(why)) for path, why in shown.unreadable],
            "sets": _sets(summary),
            "outliers_looked_for": model.outliers is not None,
            "model": _model(model, names["model"]),
            "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        },
        len(images),
    )


# ---- images


def _pictures(
    originals: Mapping[str, Original | None], value_range: ValueRange | None, progress: Progress
) -> Thumbnails:
    """Make pictures as large as the page has room for."""
    count = max(1, len(originals))
    side = min(_LARGEST_SIDE, max(SIDE, int((BUDGET / count / _PER_PIXEL) ** 0.5)))
    made = make_thumbnails(originals, side, BUDGET, value_range, progress)
    if made.tried < len(originals) and side > SIDE:
        made = make_thumbnails(originals, SIDE, BUDGET, value_range, progress)
    return made


def _image(
    image: LabelledImage, folder: str, urls: Mapping[str, str], number_of: Mapping[str, int]
) -> dict[str, Any]:
    name = one_line(image.path[len(folder) :])
    return {
        "path": image.path,
        "name": _short(name),
        "whole_name": name,
        "label": None if image.label is None else one_line(image.label),
        "number": "" if image.label is None else number_of[image.label],
        "confidence": image.confidence,
        "others": [
            (one_line(guess), probability)
            for guess, probability in image.guesses
            if guess != image.label
        ],
        "outlier": image.outlier,
        "label_set": ", ".join(map(one_line, image.label_set)),
        "picture": urls.get(image.path),
    }


def _common_folder(paths: Sequence[str]) -> str:
    """Return the folder that all paths are in, with the separator at its end, or an empty text."""
    if not paths:
        return ""
    first, last = min(paths), max(paths)
    length = 0
    while length < len(first) and first[length] == last[length]:
        length += 1
    start = first[:length]
    return start[: max(start.rfind("/"), start.rfind(os.sep)) + 1]


def _short(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} … {text[-half:]}"


# ---- numbers


def _sets(summary: LabelSummary) -> dict[str, str] | None:
    if summary.coverage is None or not summary.images:
        return None
    return {
        "coverage": f"{100 * summary.coverage:g}",
        "size": f"{summary.in_sets / summary.images:.2f}",
        "single": percent(summary.single / summary.images),
    }


def _classes(summary: LabelSummary) -> list[dict[str, Any]]:
    return [
        {
            "label": one_line(label),
            "images": count,
            "share": count / summary.images,
            "median": summary.median_confidence(label),
            "unsure": summary.unsure[label],
        }
        for label, count in summary.labels.most_common(_MOST_CLASSES)
    ]


# ---- the model


def _model(model: FittedHead, name: str | None) -> dict[str, Any]:
    info = model.info
    head = info["head"]
    own = info.get("scores", {}).get("accuracy", {})
    chosen = info.get("chosen", {}).get("accuracy", {})
    corrected = chosen.get("score") is not None
    accuracy = chosen if corrected else own
    low, high = accuracy.get("interval") or (None, None)
    return {
        "name": None if name is None else one_line(name),
        "head": HEADS[head].title if head in HEADS else one_line(head),
        "embedding": ", joined with ".join(
            f"{one_line(part.embedding)} of {one_line(title_of(part.spec.backbone))} at "
            f"{part.spec.size[0]} × {part.spec.size[1]}"
            for part in model.backbones
        ),
        "images": info["images"],
        "classes": some_of(map(one_line, model.classes), 20),
        "class_count": len(model.classes),
        "accuracy": score_text("accuracy", accuracy.get("score")),
        "low": score_text("accuracy", low),
        "high": score_text("accuracy", high),
        "tested": info.get("tested"),
        "how": _validation(info),
        "best_of": info.get("compared", 1),
        "corrected": corrected,
        "random_weights": model.weights == "random",
    }


def _validation(info: Mapping[str, Any]) -> str:
    split = info.get("split")
    return f"{info.get('folds')}-fold cross-validation" if split == "cv" else f"tested on {split}"
