"""Choosing what to read from a file: the embedding, the variants, and the embedding for copies."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tlfeatures.dataset.duplicates import LEAST_COLUMNS
from tlfeatures.errors import ParameterError
from tlfeatures.features.combined import PLUS, parts_of
from tlfeatures.features.file.format import Header
from tlfeatures.features.spec import Spec
from tlfeatures.names import unknown_name


def choose_embedding(header: Header, embedding: str | None) -> str:
    """Return the name of the requested embedding, or of the default embedding.

    Raises
    ------
    ParameterError
        If the file does not have the requested embedding, or has several embeddings, none of them
        the default, and none is requested.
    """
    names = list(header.embeddings)
    if embedding is None and len(names) == 1:
        return names[0]
    backbone = header.spec.known_backbone
    default = None if backbone is None else backbone.default_embedding
    chosen = embedding or default
    if chosen is None or (embedding is None and default not in names):
        raise ParameterError(
            f"{header.path} has several embeddings; choose one of {', '.join(names)} with "
            "--embedding"
        )
    parts = [whole_name(part, names) for part in parts_of(chosen)]
    for part in parts:
        if part not in names:
            raise unknown_name(f"embedding of {header.path}", part, names)
    return PLUS.join(parts)


def whole_name(part: str, names: Collection[str]) -> str:
    """Return `LAYER.POOLING` for a layer that has only one embedding, else the part as it is."""
    of_layer = [name for name in names if name.rpartition(".")[0] == part]
    return of_layer[0] if part not in names and len(of_layer) == 1 else part


_POOLS_BEST_FIRST = ("cls", "avg", "flatten", "max", "none")


def embedding_for_copies(header: Header) -> str:
    """Return the name of the file's best embedding for the search for copies.

    This is an embedding of the deepest feature map, which represents objects instead of textures.
    With the averages of VGG16's first block, almost all of 1,078 landscapes became one chain of
    near-duplicates.
    """
    spec = header.spec
    backbone = spec.known_backbone
    shapes = {} if backbone is None else backbone.shapes(spec.size)
    depths = {layer: (len(shape) > 1, depth) for depth, (layer, shape) in enumerate(shapes.items())}

    def rank(name: str) -> tuple[bool, tuple[bool, int], int]:
        layer, _, pool = name.rpartition(".")
        wide = header.embeddings[name] >= LEAST_COLUMNS
        listed = pool in _POOLS_BEST_FIRST
        pooling = _POOLS_BEST_FIRST.index(pool) if listed else len(_POOLS_BEST_FIRST)
        return wide, depths.get(layer, (False, -1)), -pooling

    return max(header.embeddings, key=rank)


def with_variants(spec: Spec, count: int) -> Spec:
    """Return a spec whose number of variants of each image is `count`."""
    if spec.augmentation is None or count == spec.augmentation.variants:
        return spec
    few = replace(spec.augmentation, variants=count) if count else None
    return replace(spec, augmentation=few)


def choose_variants(header: Header, wanted: int | None) -> int:
    """Return the requested number of variants; the default is all variants of the file.

    Raises
    ------
    ParameterError
        If the file has fewer variants.
    """
    if wanted is None:
        return header.spec.variants
    if type(wanted) is not int or not 0 <= wanted <= header.spec.variants:
        has = f"has {header.spec.variants} of each image" if header.spec.variants else "has none"
        raise ParameterError(
            f"variants is {wanted!r}, but {header.path} {has}; to compute more variants, run "
            "`tlfeatures extract SOURCE -o FILE --augment N` with another file"
        )
    return wanted
