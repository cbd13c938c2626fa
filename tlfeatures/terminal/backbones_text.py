"""The list of backbones as text, for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tlfeatures.terminal.tables import table

if TYPE_CHECKING:
    from tlfeatures.features.list_backbones import BackboneFacts

_WIDTH = 80
_HEADER = ["name", "width", "size", "parameters", "weights", "images/s", "scenes", "insects"]
_GROUPS = {
    "package index": "weights from the package index (pip):",
    "none": "no network, as a control:",
    "Keras": "of keras.applications, weights from Keras's host:",
}
_KERAS_SOURCE = "keras.applications, trained on ImageNet (--json names the articles)"
_LEGEND = (
    "width: values of the default embedding. size: default height and width of the images. "
    "weights: here, or get (downloaded when it is first used). images/s: the fastest engine that "
    "--engine auto may choose, as measured on this machine; `tlfeatures doctor` lists the engines. "
    "scenes, insects: accuracy "
    "on two reference sets. -: not measured.",
    "A file is a backbone, too: --backbone FILE.onnx, FILE.keras or DECLARATION.json, see "
    "docs/own_network.md.",
)


def render_backbones(backbones: Sequence[BackboneFacts]) -> str:
    """A table in groups, then damaged files, licences with sources, and how to read the table."""
    head, line, *rows = table(_HEADER, [_cells(facts) for facts in backbones]).splitlines()
    lines = [head, line]
    group = None
    for facts, row in zip(backbones, rows, strict=True):
        if facts.weights_from != group:
            group = facts.weights_from
            lines += ["", _GROUPS[group]]
        lines.append(row)
    lines += ["", *_damaged(backbones), "licences and sources of the weights:"]
    lines += [_wrapped(text, "  ") for text in _licences(backbones)]
    return "\n".join([*lines, "", *(_wrapped(text) for text in _LEGEND)])


def _cells(facts: BackboneFacts) -> list[str]:
    return [
        facts.name,
        f"{facts.width:,}",
        str(facts.default_size),
        f"{facts.parameters / 1e6:.1f} M" if facts.parameters else "none",
        _weights(facts),
        "-" if facts.images_per_second is None else f"{facts.images_per_second:.1f}",
        *(_accuracy(facts, name) for name in ("scenes", "insects")),
    ]


def _weights(facts: BackboneFacts) -> str:
    if facts.weights_from == "none":
        return "none"
    if facts.weights is None:
        return "get"
    return "here" if facts.weights_here else "damaged"


def _accuracy(facts: BackboneFacts, name: str) -> str:
    return f"{facts.accuracy[name][0]:.3f}" if name in facts.accuracy else "-"


def _damaged(backbones: Iterable[BackboneFacts]) -> list[str]:
    lines = [
        f"{facts.name}: {facts.weights.path} can't be used ({facts.weights.damage}): delete it, "
        "and it is downloaded again"
        for facts in backbones
        if facts.weights is not None and facts.weights.damage is not None
    ]
    return [*lines, ""] if lines else []


def _licences(backbones: Iterable[BackboneFacts]) -> list[str]:
    """Backbones of one licence and source in one line; a network of Keras has its own article."""
    names: dict[str, list[str]] = {}
    for facts in backbones:
        source = _KERAS_SOURCE if facts.weights_from == "Keras" else facts.source
        if facts.weights_from != "none":
            names.setdefault(f"{facts.licence}; {source}", []).append(facts.name)
    return [f"{', '.join(of)}: {text}" for text, of in names.items()]


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=2 * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
