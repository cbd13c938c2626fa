"""Embeddings that are joined over several files, such as `a.h5:block5_pool.avg+b.h5:features.none`.

In the name that a user gives, each part has its file in front of it: the path as the user gave it,
the name of the file, or the name of the file's backbone. In the name of the dataset, each part has
the name of its backbone, or of its file if two files have the same backbone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tlfeatures.dataset.dataset import BETWEEN_FILES, Dataset, FilePart
from tlfeatures.dataset.matching import different_images
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.combined import COLON, PLUS, join_backbones, joined_name
from tlfeatures.features.file.reader import read_header


def parts_by_file(embedding: str, files: Sequence[str]) -> dict[str, str] | None:
    """Return the embedding that a name takes from each file.

    Parameters
    ----------
    embedding : str
        For example `a.h5:block5_pool.avg+b.h5:features.none`.
    files : sequence of str
        Paths of the embeddings files that the name may name.

    Returns
    -------
    dict of path to str, or None
        For example `{"a.h5": "block5_pool.avg", "b.h5": "features.none"}`. None if no part of the
        name has a file.

    Raises
    ------
    ParameterError
        If only some parts have a file, a part has another file, or two files have this name.
    StoreError
        If a file can't be read.
    """
    if COLON not in embedding:
        return None
    aliases = _aliases(files)
    found: dict[str, list[str]] = {}
    for alias, name in _split(embedding, aliases):
        if alias is None:
            listed = ", ".join(files)
            unknown, colon, _ = name.rpartition(COLON)
            raise ParameterError(
                f"embedding is {embedding!r}, but {unknown!r} is none of the files {listed}"
                if colon
                else f"embedding is {embedding!r}, but {name!r} has no file; write FILE.h5:{name} "
                f"with one of {listed}"
            )
        if not name:
            raise ParameterError(
                f"embedding is {embedding!r}; expected LAYER.POOLING after {alias}{COLON}"
            )
        if len(aliases[alias]) > 1:
            raise ParameterError(
                f"embedding is {embedding!r}, but {alias!r} is the name of several files: "
                f"{', '.join(aliases[alias])}; write the path of the file"
            )
        found.setdefault(aliases[alias][0], []).append(name)
    return {file: PLUS.join(names) for file, names in found.items()}


def _aliases(files: Sequence[str]) -> dict[str, list[str]]:
    """Return the files that each text may mean: a path, else a file name, else a backbone."""
    ways = (
        {file: file for file in files},
        {file: Path(file).name for file in files},
        {file: read_header(file).spec.backbone for file in files},
    )
    aliases: dict[str, list[str]] = {}
    for names in ways:
        fresh: dict[str, list[str]] = {}
        for file, name in names.items():
            fresh.setdefault(name, []).append(file)
        aliases = {**fresh, **aliases}
    return aliases


def _split(embedding: str, aliases: Mapping[str, list[str]]) -> list[tuple[str | None, str]]:
    """Split a name into parts of (file, name). The path of a file may contain a plus."""
    longest_first = sorted(aliases, key=len, reverse=True)
    one = re.compile(rf"(?:({'|'.join(map(re.escape, longest_first))}){COLON})?([^{PLUS}]*)")
    parts, place = [], 0
    while place <= len(embedding):
        match = one.match(embedding, place)
        assert match is not None  # the expression matches any text
        parts.append((match[1], match[2]))
        place = match.end() + len(PLUS)
    return parts


def join_datasets(datasets: Sequence[Dataset]) -> Dataset:
    """Put the embeddings of several files side by side.

    Each part has length 1 in each row, as in `join`.

    Parameters
    ----------
    datasets : sequence of Dataset
        One dataset for each file, with the same images (see `keep_common`).

    Returns
    -------
    Dataset

    Raises
    ------
    DatasetError
        If the files have different images under the same id.
    ParameterError
        If the files have different variants.
    """
    first = datasets[0]
    if len(datasets) == 1:
        return first
    for other in datasets[1:]:
        _check_same_images(first, other)
        _check_same_variants(first, other)
    parts = tuple(
        replace(part, name=name)
        for name, data in zip(_names(datasets), datasets, strict=True)
        for part in data.parts
    )
    embeddings = [part.embedding for part in parts]
    variants = [data.variants for data in datasets if data.variants is not None]
    return replace(
        first,
        X=join_backbones([data.X for data in datasets], embeddings),
        variants=join_backbones(variants, embeddings) if variants else None,
        embedding=joined_name(parts),
        spec=None,
        file=BETWEEN_FILES.join(part.file for part in parts),
        looks=first.X if first.looks is None else first.looks,
        digests=next((data.digests for data in datasets if data.has_file_digests), first.digests),
        properties=next(
            (data.properties for data in datasets if data.properties is not None), None
        ),
        near_duplicates=None,
        joined=parts,
    )


def _check_same_images(first: Dataset, other: Dataset) -> None:
    different = different_images(first, other)
    if different is not None:
        raise DatasetError(f"{different}; run `tlfeatures extract` again for both files")


def _check_same_variants(first: Dataset, other: Dataset) -> None:
    recipes = [part.spec.augmentation for data in (first, other) for part in data.parts]
    if recipes[0] != recipes[1]:
        raise ParameterError(
            f"{first.file} and {other.file} have different variants of the images, so their "
            "variants can't be joined; leave the variants out with --variants 0"
        )


def _names(datasets: Sequence[Dataset]) -> list[str]:
    """Return a name for each file: its backbone, or its file name if the backbone isn't unique."""
    parts: list[FilePart] = [part for data in datasets for part in data.parts]
    backbones = [part.spec.backbone for part in parts]
    names = [
        part.spec.backbone if backbones.count(part.spec.backbone) == 1 else Path(part.file).name
        for part in parts
    ]
    names = [re.sub(rf"[{COLON}{PLUS}]", "_", name) for name in names]
    return [
        name if names.count(name) == 1 else f"{name}#{number}"
        for number, name in enumerate(names, 1)
    ]
