"""Unique labels for the heads and embeddings of a ranking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlfeatures.benchmarking.entries import Entry
from tlfeatures.dataset.dataset import BETWEEN_FILES
from tlfeatures.names import counted


def head_labels(ranked: list[list[Entry]], backbones: list[str]) -> list[str]:
    """Return a label for each head that distinguishes it from the other heads of the ranking.

    Parameters
    ----------
    ranked : list of lists of Entry
        Entries of each head, one for each repeat.
    backbones : list of str
        Backbone of each head.

    Returns
    -------
    list of str
        The name, the parameters that differ from another head, and how the head was fitted, for
        example `logreg C=3.0 (tuned, 2 variants)`.
    """
    every = [entries[0].facts for entries in ranked]
    labels = [
        _head_label(facts, [other for other in every if _same_but_params(facts, other)])
        for facts in every
    ]
    return _numbered(list(zip(labels, embedding_labels(every, backbones), strict=True)))


def _numbered(names: list[tuple[str, str]]) -> list[str]:
    """Give the labels of heads; those of one embedding that are equal get a number.

    Such heads differ in a parameter that is no plain data, or are fitted to two datasets of one
    embedding.
    """
    total, seen = Counter(names), Counter[tuple[str, str]]()
    labels = []
    for name in names:
        seen[name] += 1
        labels.append(f"{name[0]} #{seen[name]}" if total[name] > 1 else name[0])
    return labels


def _same_but_params(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Check whether two heads differ only in parameters and variants."""
    same = all(one[key] == other[key] for key in ("head", "tuned", "classifier"))
    return same and _images(one) == _images(other)


def _head_label(facts: dict[str, Any], similar: list[dict[str, Any]]) -> str:
    differing = [
        f"{name}={value}"
        for name, value in facts["params"].items()
        if any(other["params"].get(name) != value for other in similar)
    ]
    variants = facts["variants"]
    how = [
        *(["tuned"] if facts["tuned"] else []),
        *([counted(variants, "variant")] if variants else []),
    ]
    return " ".join([facts["head"], *differing]) + (f" ({', '.join(how)})" if how else "")


def embedding_labels(every: Sequence[Mapping[str, Any]], backbones: Sequence[str]) -> list[str]:
    """Return the embedding's name for each entry, preceded by its backbone if there are several.

    If the name is then not unique, it is preceded by its file.

    Parameters
    ----------
    every : sequence of mapping
        Facts of the entries.
    backbones : sequence of str
        Backbone of each entry.

    Returns
    -------
    list of str
        For example `resnet50`, `vgg16:block5_pool.avg` or `photos.h5:resnet50`.
    """
    matrices: dict[tuple[Any, ...], set[str]] = {}
    for facts, backbone in zip(every, backbones, strict=True):
        # The head's label shows the number of variants, but not which variants they are.
        of_name = backbone, facts["embedding"]
        matrices.setdefault(of_name, set()).add(_images(facts))
        matrices.setdefault((*of_name, facts["variants"]), set()).add(facts["matrix"])
    several = len(set(backbones) - {""}) > 1
    labels = []
    for facts, backbone in zip(every, backbones, strict=True):
        name = facts["embedding"]
        of_name = backbone, name
        if len(matrices[of_name]) > 1 or len(matrices[*of_name, facts["variants"]]) > 1:
            labels.append(f"{Path(facts['file']).name}:{name}")
        elif several and backbone and BETWEEN_FILES not in backbone:
            # The name of a joined embedding has the names of its backbones already.
            labels.append(f"{backbone}:{name}")
        else:
            labels.append(name)
    return labels


def _images(facts: Mapping[str, Any]) -> str:
    """Return the hash of the images' values, without the hash of their variants."""
    matrix: str = facts["matrix"]
    return matrix.partition("+")[0]
