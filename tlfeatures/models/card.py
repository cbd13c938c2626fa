"""The model card: a description of a model in Markdown, from the facts in its file only.

The headings follow M. Mitchell et al., Model cards for model reporting, FAT* 2019. The card states
which facts were not measured; nothing is filled in by hand.
"""

from __future__ import annotations

import html
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.declaration import has_unknown_format
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.spec import Spec
from tlfeatures.metrics.scores import score_name
from tlfeatures.models.backbone_facts import plain_backbones
from tlfeatures.names import number

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
        "How images are embedded": _spec(facts),
        "Weights of the backbone": _all_weights(facts),
        "Limits": _limits(name, facts),
        "Versions": _versions(facts),
    }
    lines = [_FIRST_LINE, "", f"# {_text(name)}"]
    for title, content in sections.items():
        lines += ["", f"## {title}", "", *content]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    """Escape a text so that Markdown shows it unchanged, also in a table."""
    escaped = html.escape(" ".join(str(value).split()), quote=False)
    for mark in "\\`*_[]#|~":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [header, ["---"] * len(header), *([_text(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _about(facts: Facts) -> Iterator[str]:
    classes = [_text(label) for label in facts["classes"]]
    names = [_text(part["spec"]["backbone"]) for part in plain_backbones(facts)]
    if len(names) > 1:
        turned = f"backbones {' and '.join(names)}, which are not changed by the training, turn"
    else:
        turned = f"backbone {names[0]}, which is not changed by the training, turns"
    yield (
        f"The model classifies images into {len(classes)} classes: {', '.join(classes)}. The "
        f"{turned} an image into an embedding, the {facts['columns']:,} numbers of "
        f"{_text(facts['embedding'])}. The "
        f"head (classifier) {_text(facts['head'])} computes the probability of each class from "
        "these numbers."
    )
    if facts.get("params"):
        params = (f"{key}={value}" for key, value in facts["params"].items())
        yield ""
        yield f"Parameters of the head: {_text(', '.join(params))}."
    if facts.get("tuned"):
        yield ""
        yield (
            "These parameters were tuned on all images. For the scores, the parameters were tuned "
            "on the training images of each fold."
        )


def _images(facts: Facts) -> Iterator[str]:
    counts: Mapping[str, int] = facts.get("counts", {})
    if counts:
        yield from _table(["class", "images"], list(counts.items()))
        yield ""
        yield f"{facts['images']:,} images in all."
    else:
        yield f"{facts['images']:,} images."
    if facts.get("variants"):
        yield ""
        recipe = _augmentation(plain_backbones(facts)[0]["spec"])  # the same for all backbones
        yield (
            f"The model was also fitted on {facts['variants']:,} variants of each image "
            f"({_text(recipe)}). It was not tested on variants."
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
        yield f"`tlfeatures evaluate {_file_name(name)} FOLDER` measures them on other images."
        return
    yield f"{facts['tested']:,} images tested; {_how(facts)}."
    yield ""
    folds = facts["split"] == "cv"
    rows = [
        [
            score_name(key),
            number(row["score"]),
            _range(row["interval"]),
            *([number(row["mean"]), number(row["std"])] if folds else []),
        ]
        for key, row in facts["scores"].items()
    ]
    of_folds = ["mean of folds", "std of folds"] if folds else []
    yield from _table(["score", "value", "95 % interval", *of_folds], rows)
    missing = [
        f"{score_name(key)}: {row['reason']}"
        for key, row in facts["scores"].items()
        if row.get("reason")
    ]
    if missing:
        yield ""
        yield f"Reasons for missing scores and intervals: {_text('; '.join(missing))}."
    if facts.get("verdict"):
        yield ""
        yield " ".join(map(_text, facts["verdict"]))
    if facts.get("compared", 1) > 1:
        yield ""
        yield (
            f"The head was chosen as the best of {facts['compared']} heads on the same images, so "
            "its scores are slightly too optimistic."
        )


def _how(facts: Facts) -> str:
    """Describe how the scores were measured, and which images the saved head is fitted on."""
    split = facts["split"]
    if split == "cv":
        return (
            f"{facts['folds']}-fold cross-validation: every image was tested by a head that was "
            "not trained on it. The saved head is fitted on all images"
        )
    included = " and ".join(facts.get("included", [split]))
    return (
        f"fitted on train, tested on {split}. The saved head is fitted on all "
        f"{facts['images']:,} images, {included} included"
    )


def _file_name(name: str) -> str:
    """Quote a file name for a shell, inside a span of code that it can't end."""
    return shlex.quote(name).replace("`", "'")


def _range(interval: Sequence[float] | None) -> str:
    return "none" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _spec(facts: Facts) -> Iterator[str]:
    for place, part in enumerate(plain_backbones(facts)):
        if place:
            yield ""
        yield from _spec_of(part["spec"], part["embedding"])
    if facts.get("joined"):
        yield ""
        yield (
            "Each part of the embedding is scaled to length 1. The parts are then put side by side "
            "in this order."
        )


def _spec_of(spec: Facts, embedding: str) -> Iterator[str]:
    settings = {
        "backbone": spec["backbone"],
        "embedding": embedding,
        "size": f"{_shape(spec['size'])} pixels (height x width)",
        **{
            key: spec[key]
            for key in ("resize", "crop", "color", "orientation", "alpha", "preprocessing")
        },
        **_declared_settings(spec),
        "precision": spec["precision"],
        **({"value range": _value_range(spec)} if spec.get("value_range") else {}),
        **({"engine": spec["engine"]} if "engine" in spec else {}),
    }
    yield from _table(["setting", "value"], list(settings.items()))


def _declared_settings(spec: Facts) -> dict[str, str]:
    """Return what the declaration of a network says about its layers."""
    declaration = _known_declaration(spec)
    return {
        f"layer {output['layer']}": f"tensor {output['tensor']}, {_shape(output['shape'])}"
        for output in (declaration["outputs"] if declaration else ())
    }


def _known_declaration(spec: Facts) -> Facts | None:
    """Return the declaration; None without one, or if it is in the format of a newer version."""
    declaration: Facts | None = spec.get("declaration")
    return None if has_unknown_format(declaration) else declaration


def _shape(numbers: Sequence[int]) -> str:
    """Write the numbers of a shape as in "7 x 7 x 512"."""
    return " x ".join(map(str, numbers))


def _value_range(spec: Facts) -> str:
    low, high = spec["value_range"]
    return f"{low:.10g} is black and {high:.10g} white, in images with more than 8 bits per channel"


def _all_weights(facts: Facts) -> Iterator[str]:
    for place, part in enumerate(plain_backbones(facts)):
        if place:
            yield ""
        if part["name"]:
            yield f"### {_text(part['name'])}"
            yield ""
        yield from _weights(part["spec"])


def _weights(spec: Facts) -> Iterator[str]:
    sha256 = spec["weights_sha256"]
    backbone, declaration = BACKBONES.get(spec["backbone"]), _known_declaration(spec)
    if sha256 is None:
        yield f"The backbone {_text(spec['backbone'])} has no weights."
        return
    if spec["weights"] == "random":
        yield (
            f"RANDOM (seed {spec['random_state']}): the backbone has learned nothing from ImageNet."
        )
    elif backbone is not None and backbone.is_published(sha256):
        yield f"{backbone.credit(link=True)}."
    elif declaration is not None:
        yield from _declared(declaration)
    else:
        yield "The weights come from a file; this program doesn't know their licence."
    yield ""
    hashed = "convolution tensors" if declaration is None else "ONNX file"
    yield f"sha256 of the {hashed}: `{sha256}`"
    if spec["top_sha256"]:
        yield ""
        yield (
            "sha256 of the fully connected tensors, whose origin this program doesn't know: "
            f"`{spec['top_sha256']}`"
        )


def _declared(declaration: Facts) -> Iterator[str]:
    """Write what a user has declared about their own network."""
    stated = {key: _text(declaration[key]) or "not stated" for key in ("source", "licence")}
    yield (
        "A network of the user's own, in an ONNX file. This program doesn't check what they "
        f"declared: source: {stated['source']}; licence: {stated['licence']}."
    )
    yield ""
    check = declaration["check"]
    if check is None:
        yield "It has no check vector: wrong colours, mean or standard deviation are not noticed."
    else:
        yield (
            f"Its check vector is verified at every start: norm {check['norm']:.6g} of "
            f"{_text(check['layer'])}, for the check image at "
            f"{_shape(check['size'])} pixels."
        )


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
        yield f"- The smallest class, {_text(least)}, has {counts[least]:,} images."
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
    yield f"{_text(', '.join(named))}."
