"""Choose the embedding of a file, the number of variants, and the embedding to find copies on."""

from __future__ import annotations

from dataclasses import replace

from tlfeatures.dataset.duplicates import LEAST_COLUMNS
from tlfeatures.errors import ParameterError
from tlfeatures.features.combined import parts_of
from tlfeatures.features.file.format import Header
from tlfeatures.features.spec import Spec
from tlfeatures.names import unknown_name


def choose_embedding(header: Header, embedding: str | None) -> str:
    """Give the name of the requested embedding, or of the default one.

    Raises
    ------
    ParameterError
        If the file has no such embedding, or has several and none is requested.
    """
    names = list(header.embeddings)
    if embedding is None and len(names) == 1:
        return names[0]
    backbone = header.spec.known_backbone
    default = None if backbone is None else backbone.default_embedding
    chosen = embedding or default
    if chosen is None or (embedding is None and default not in names):
        raise ParameterError(
            f"{header.path} has several embeddings: choose one with --embedding, of "
            f"{', '.join(names)}"
        )
    for part in parts_of(chosen):
        if part not in names:
            raise unknown_name(f"embedding of {header.path}", part, names)
    return chosen


_POOLS_BEST_FIRST = ("avg", "flatten", "max", "none")


def embedding_for_copies(header: Header) -> str:
    """Give the name of the file's embedding on which copies are found best.

    It is the deepest feature map, which represents objects and not textures: on the averages of
    VGG16's first block, nearly all of 1,078 landscapes are one chain of near-duplicates.
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
    """Give the spec with fewer variants of each image."""
    if spec.augmentation is None or count == spec.augmentation.variants:
        return spec
    few = replace(spec.augmentation, variants=count) if count else None
    return replace(spec, augmentation=few)


def choose_variants(header: Header, wanted: int | None) -> int:
    """Give the requested number of variants, by default all in the file.

    Raises
    ------
    ParameterError
        If the file has fewer.
    """
    if wanted is None:
        return header.spec.variants
    if type(wanted) is not int or not 0 <= wanted <= header.spec.variants:
        has = f"has {header.spec.variants} of each image" if header.spec.variants else "has none"
        raise ParameterError(
            f"variants is {wanted!r}, and {header.path} {has}; to embed more into another file: "
            "`tlfeatures extract SOURCE -o FILE --augment N`"
        )
    return wanted
