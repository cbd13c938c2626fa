"""Which embedding of a file is loaded, how many variants, and which one tells copies."""

from __future__ import annotations

from dataclasses import replace

from tlfeatures.dataset.duplicates import LEAST_COLUMNS
from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.combined import parts_of
from tlfeatures.features.file.format import Header
from tlfeatures.features.spec import Spec
from tlfeatures.names import unknown_name


def choose_embedding(header: Header, embedding: str | None) -> str:
    """Give the name of the embedding that is asked for, or of the one that is usual.

    Raises
    ------
    ParameterError
        If the file has no such embedding, or several and none is asked for.
    """
    names = list(header.embeddings)
    if embedding is None and len(names) == 1:
        return names[0]
    backbone = BACKBONES.get(header.spec.backbone)
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


_TELLING_POOLS = ("avg", "flatten", "max", "none")


def telling_embedding(header: Header) -> str:
    """Name the embedding of a file that tells best whether two images are the same photo.

    It is that of the deepest feature map, which sees things and not textures: on the averages of
    VGG16's first block nearly all of 1,078 landscapes are one chain of near-duplicates.
    """
    spec = header.spec
    shapes = BACKBONES[spec.backbone].shapes(spec.size) if spec.backbone in BACKBONES else {}
    depths = {layer: (len(shape) > 1, depth) for depth, (layer, shape) in enumerate(shapes.items())}

    def rank(name: str) -> tuple[bool, tuple[bool, int], int]:
        layer, _, pool = name.rpartition(".")
        wide = header.embeddings[name] >= LEAST_COLUMNS
        known = pool in _TELLING_POOLS
        pooling = _TELLING_POOLS.index(pool) if known else len(_TELLING_POOLS)
        return wide, depths.get(layer, (False, -1)), -pooling

    return max(header.embeddings, key=rank)


def with_variants(spec: Spec, count: int) -> Spec:
    """Give the spec of images with only so many variants."""
    if spec.augmentation is None or count == spec.augmentation.variants:
        return spec
    few = replace(spec.augmentation, variants=count) if count else None
    return replace(spec, augmentation=few)


def choose_variants(header: Header, wanted: int | None) -> int:
    """Give the number of variants that is asked for, or of all in the file.

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
            f"variants is {wanted!r}, and {header.path} {has}; more are made into another file by "
            "`tlfeatures extract SOURCE -o FILE --augment N`"
        )
    return wanted
