"""The model card: a description of a model in Markdown, from the facts in its file only.

The headings follow M. Mitchell et al., Model cards for model reporting, FAT* 2019. The card states
which facts were not measured; nothing is filled in by hand.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlfeatures.errors import ParameterError
from tlfeatures.features.spec import Spec
from tlfeatures.metrics.chosen import ChosenScore
from tlfeatures.metrics.score_records import range_line
from tlfeatures.metrics.scores import score_name
from tlfeatures.models.backbone_facts import plain_backbones
from tlfeatures.models.card_backbones import settings_lines, weights_lines
from tlfeatures.models.card_sets import set_lines
from tlfeatures.models.markdown import escaped, table_lines
from tlfeatures.models.operating_point import OperatingPoint
from tlfeatures.models.probabilities import Probabilities
from tlfeatures.names import SURELY, folds_in_words, number

_FIRST_LINE = "<!-- model card, written by tlfeatures; it is replaced when the model is -->"

Facts = Mapping[str, Any]


def card_path(model: str | os.PathLike[str]) -> Path:
    """Give the path of a model's card: `MODEL.md`, in the same folder."""
    path = Path(model).resolve()
    return path.with_name(f"{path.name}.md")


def check_card_target(model: str | os.PathLike[str]) -> Path:
    """Refuse to replace a file that is no model card.

    Raises
    ------
    ParameterError
        If another file has the name of this model's card.
    """
    target = card_path(model)
    if target.is_dir() or (target.is_file() and not _is_card(target)):
        raise ParameterError(
            f"the description of the model (model card) would replace {target}, which is another "
            "file: give the model another name, or move that file"
        )
    return target


def _is_card(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().rstrip() == _FIRST_LINE.encode()


def render_card(name: str, facts: Facts) -> str:
    """Write the card's text.

    Parameters
    ----------
    name : str
        Name of the model file.
    facts : mapping
        Facts of the model file; the card leaves out those that are missing.

    Returns
    -------
    str
        Markdown. Class names are escaped, so that markup in them is shown as text.
    """
    sections = {
        "What it is": _about(facts),
        "What it was fitted on": _images(facts),
        "How good it is": _scores(name, facts),
        "Sets of labels": set_lines(facts),
        "How images are embedded": settings_lines(facts),
        "Weights of the backbone": weights_lines(facts),
        "Limits": _limits(name, facts),
        "Versions": _versions(facts),
    }
    lines = [_FIRST_LINE, "", f"# {escaped(name)}"]
    for title, content in sections.items():
        lines += ["", f"## {title}", "", *content]
    return "\n".join(lines) + "\n"


def _about(facts: Facts) -> Iterator[str]:
    classes = [escaped(label) for label in facts["classes"]]
    specs = [part["spec"] for part in plain_backbones(facts)]
    names = [escaped(spec["backbone"]) for spec in specs]
    if len(names) == 1 and "imported" in specs[0]:
        turned = "program that has computed the imported embeddings turns"
    elif len(names) > 1:
        turned = f"backbones {' and '.join(names)}, which are not changed by the training, turn"
    else:
        turned = f"backbone {names[0]}, which is not changed by the training, turns"
    yield (
        f"The model classifies images into {len(classes)} classes: {', '.join(classes)}. The "
        f"{turned} an image into an embedding, the {facts['columns']:,} numbers of "
        f"{escaped(facts['embedding'])}. The "
        f"head (classifier) {escaped(facts['head'])} computes the probability of each class from "
        "these numbers."
    )
    if facts.get("params"):
        params = (f"{key}={value}" for key, value in facts["params"].items())
        yield ""
        yield f"Parameters of the head: {escaped(', '.join(params))}."
    if facts.get("form"):
        yield ""
        yield f"Form of the head: {escaped(facts['form'])}."
    if facts.get("tuned"):
        yield ""
        yield (
            "These parameters were tuned on all images. For the scores, the parameters were tuned "
            "on the training images of each fold."
        )


def _images(facts: Facts) -> Iterator[str]:
    counts: Mapping[str, int] = facts.get("counts", {})
    if counts:
        yield from table_lines(["class", "images"], list(counts.items()))
        yield ""
        yield f"{facts['images']:,} images in all."
    else:
        yield f"{facts['images']:,} images."
    if facts.get("variants"):
        yield ""
        recipe = _augmentation(plain_backbones(facts)[0]["spec"])  # the same for all backbones
        yield (
            f"The model was also fitted on {facts['variants']:,} variants of each image "
            f"({escaped(recipe)}). It was not tested on variants."
        )
    relations = []
    if facts.get("copies"):
        one = facts["copies"] == 1
        relations.append(
            f"{facts['copies']:,} {'pair' if one else 'pairs'} of images {'is' if one else 'are'} "
            "the same or nearly the same photograph."
        )
    if facts.get("groups"):
        relations.append(f"The images belong to {facts['groups']:,} groups.")
    if relations:
        kept = {
            "cv": "Images of a pair or a group were kept in one fold.",
            "val": _APART,
            "test": _APART,
        }.get(facts.get("split", ""), "")
        yield ""
        yield " ".join([*relations, kept]).rstrip()


def _augmentation(spec: Facts) -> str:
    """Give the augmentation as the command line accepts it."""
    recipe = Spec.from_dict(dict(spec)).augmentation
    return "" if recipe is None else recipe.to_text()


_APART = "For the scores, training images in a pair or a group with a tested image were left out."


def _scores(name: str, facts: Facts) -> Iterator[str]:
    if not {"scores", "split", "folds", "tested"} <= set(facts):
        yield "The scores were not measured when the model was fitted."
        is_imported = any("imported" in part["spec"] for part in plain_backbones(facts))
        source = "FILE.h5" if is_imported else "FOLDER"
        yield f"`tlfeatures evaluate {_file_name(name)} {source}` measures them on other images."
        return
    yield f"{facts['tested']:,} images tested; {_how(facts)}."
    yield ""
    if facts.get("verdict"):
        yield from (f"- {escaped(sentence)}" for sentence in facts["verdict"])
        yield ""
    yield from _corrected(facts)
    folds = facts["split"] == "cv"
    rows = [
        [
            score_name(key),
            number(row["score"]),
            _spread(row),
            *([number(row["mean"]), number(row["std"])] if folds else []),
        ]
        for key, row in facts["scores"].items()
    ]
    of_folds = ["mean of folds", "std of folds"] if folds else []
    few = any(row.get("groups_range") for row in facts["scores"].values())
    between = "range" if few else "95 % interval"
    yield from table_lines(["score", "value", between, *of_folds], rows)
    reasons: dict[str, list[str]] = {}
    for key, row in facts["scores"].items():
        if row.get("reason"):
            reasons.setdefault(row["reason"], []).append(score_name(key))
        if folds and row.get("folds_reason") not in (None, row.get("reason")):
            reasons.setdefault(row["folds_reason"], []).append(f"{score_name(key)} of folds")
    if reasons:
        missing = [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
        yield ""
        yield f"Reasons for missing scores and intervals: {escaped('. '.join(missing))}."
    if facts.get("probabilities"):
        yield ""
        yield Probabilities.of(facts["probabilities"]).sentence
    yield from _controls(facts)
    yield from _point(facts)


def _corrected(facts: Facts) -> Iterator[str]:
    """Say which scores to expect, if the head was chosen as the best of several."""
    if facts.get("compared", 1) < 2:
        return
    yield (
        f"The head was chosen as the best of {facts['compared']} heads on the same images, so its "
        "own scores in the table are too good."
    )
    for name, score in facts.get("chosen", {}).items():
        if name == "accuracy" and facts.get("verdict"):
            continue  # the verdict says it
        yield ""
        if score["score"] is None:
            why = escaped(score["reason"] or "unknown")
            yield f"The {score_name(name)} can't be corrected for this choice. Reason: {why}."
            continue
        between = f" (95 % interval {_spread(score)})" if score["interval"] else ""
        yield (
            f"Corrected for this choice, its {score_name(name)} is {number(score['score'])}"
            f"{between}. Expect this on new images like these. The value in the table is "
            f"{ChosenScore(**score).optimism_text(number)} too good."
        )
    yield ""


def _point(facts: Facts) -> Iterator[str]:
    """Describe the operating point; the scores above are not those of its labels."""
    point = facts.get("operating_point")
    if point is None:
        return
    yield ""
    yield "### Operating point"
    yield ""
    yield " ".join(map(escaped, OperatingPoint.from_dict(point).sentences(facts["classes"])))
    yield ""
    yield (
        "`predict` and `evaluate` label images at this operating point. The scores in the table "
        "above are those of the head's own labels, without the threshold."
    )


def _controls(facts: Facts) -> Iterator[str]:
    """Show the accuracy of simple rules on the same images, which the head must beat."""
    controls = facts.get("controls", [])
    shown = [control for control in controls if control["score"] is not None]
    if not shown:
        return
    yield ""
    yield "Controls are simple rules on the same folds, which the head must beat:"
    yield ""
    rows = [
        [
            f"{control['name']}: {control['about']}",
            number(control["score"]),
            _bounds(control["interval"]),
            SURELY[control["beaten"]],
        ]
        for control in shown
    ]
    yield from table_lines(["control", "accuracy", "95 % interval", "head is better"], rows)
    reasons = (f"{c['name']}: {c['reason']}" for c in controls if c["reason"])
    missing = "; ".join(reasons)
    if missing:
        yield ""
        yield f"Controls that were not computed: {escaped(missing)}."


def _how(facts: Facts) -> str:
    """Describe how the scores were measured, and which images the saved head is fitted on."""
    split = facts["split"]
    if split == "cv":
        return (
            f"{folds_in_words(facts['folds'], facts.get('groups'))}: every image was tested by a "
            "head that was not trained on it. The saved head is fitted on all images"
        )
    included = " and ".join(facts.get("included", [split]))
    return (
        f"fitted on train, tested on {split}. The saved head is fitted on all "
        f"{facts['images']:,} images, {included} included"
    )


def _file_name(name: str) -> str:
    """Quote a file name for a shell, inside a span of code that it can't end."""
    return shlex.quote(name).replace("`", "'")


def _spread(row: Facts) -> str:
    """Write the interval of a score, or the range between a few groups."""
    if row.get("groups_range") is not None:
        return range_line(row["groups_range"])
    return _bounds(row["interval"])


def _bounds(interval: Sequence[float] | None) -> str:
    return "none" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _limits(name: str, facts: Facts) -> Iterator[str]:
    classes = facts["classes"]
    yield (
        f"- The model predicts one of its {len(classes)} classes for every image, also for an "
        "image of none of these classes. `predict --min-confidence P` gives no label if the "
        "probability is below P."
    )
    outliers = facts.get("outliers")
    if outliers:
        yield (
            "- `predict --outliers` flags images that are unlike the images that the model was "
            f"fitted on: the distance to the {_nth(outliers['neighbor'])} nearest of these images "
            f"is larger than {outliers['threshold']:.3f}. The column `distance` is divided by this "
            f"limit. {outliers['compared']:,} of these images were compared with the others in the "
            f"same way, and {outliers['beyond']:,} of them would be flagged."
        )
    else:
        yield "- The model can't flag images that are unlike the images that it was fitted on."
    counts: Mapping[str, int] = facts.get("counts", {})
    if counts:
        least = min(counts, key=lambda label: counts[label])
        yield f"- The smallest class, {escaped(least)}, has {counts[least]:,} images."
    if facts.get("scores"):
        yield (
            "- The scores hold for images from the same source as the training images. For other "
            f"images, measure them with `tlfeatures evaluate {_file_name(name)} FOLDER`."
        )


def _nth(position: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(position, "th")
    return f"{position}{ending}"


def _versions(facts: Facts) -> Iterator[str]:
    named = (f"{package} {version}" for package, version in facts["versions"].items())
    yield f"{escaped(', '.join(named))}."
