"""The table of backbones that aren't declared, and the embeddings that layers give.

All other named backbones are in `tlfeatures.features.backbones.catalogue`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.network import Shape
from tlfeatures.features.backbones.pixels import PIXELS
from tlfeatures.features.backbones.record import Backbone, default_pool
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.names import unknown_name

BACKBONES: dict[str, Backbone] = {backbone.name: backbone for backbone in (VGG16, PIXELS)}

DEFAULT_BACKBONE = VGG16.name

POOLINGS = ("avg", "max", "flatten", "cls", "none")


def find_backbone(name: str) -> Backbone:
    """Look a backbone up by name, or raise `ParameterError` naming those there are."""
    if name not in BACKBONES:
        raise unknown_name("backbone", name, [*BACKBONES, *NAMED])
    return BACKBONES[name]


def title_of(name: str) -> str:
    """Give a backbone's title for people; the name itself for one that isn't in the table."""
    known = BACKBONES.get(name) or NAMED.get(name)
    return known.title if known else name


def embedding_widths(
    backbone: Backbone, layers: Sequence[str], pools: Sequence[str], size: tuple[int, int]
) -> dict[str, int]:
    """Name the embeddings that layers and poolings give, with their widths.

    A feature map takes avg, max or flatten. Tokens also take cls, their first token, if they have
    prefix tokens; avg and max leave these out. A layer that already is a vector has nothing to
    pool: it gives `LAYER.none`, whatever the poolings. A layer may name its own pooling,
    `block5_pool.flatten`. Without poolings, each layer has its default one.

    Parameters
    ----------
    backbone : Backbone
    layers, pools : sequence of str
    size : (int, int)
        Height and width of the images that enter the backbone, in pixels.

    Returns
    -------
    dict of `LAYER.POOLING` to width

    Raises
    ------
    ParameterError
        For an unknown layer or pooling, one that doesn't fit the layer, or too small a size.
    """
    if min(size) < backbone.smallest:
        raise ParameterError(
            f"{backbone.name} takes images of {backbone.smallest} pixels or more a side, "
            f"got size {size[0]},{size[1]}"
        )
    shapes = backbone.shapes(size)
    widths = {}
    for entry in layers:
        layer, dot, own_pool = entry.partition(".")
        if layer not in shapes or (dot and not own_pool):
            name = entry if dot and not own_pool else layer
            raise unknown_name(f"layer of {backbone.name}", name, shapes)
        if layer in backbone.network.top and size != (224, 224):
            raise ParameterError(f"layer {layer} needs --size 224, got {size[0]},{size[1]}")
        prefix = backbone.prefix_tokens.get(layer, 0)
        default = default_pool(shapes[layer], prefix)
        for pool in [own_pool] if own_pool else pools or [default]:
            name, width = _embedding(layer, pool, shapes[layer], prefix)
            if own_pool and not name.endswith(f".{own_pool}"):
                raise ParameterError(f"layer {layer} is a vector: it has no pooling {own_pool}")
            widths[name] = width
    return widths


def _embedding(layer: str, pool: str, shape: Shape, prefix: int) -> tuple[str, int]:
    if pool not in POOLINGS:
        raise unknown_name("pooling", pool, POOLINGS)
    if len(shape) == 1:
        return f"{layer}.none", shape[0]
    if pool == "none":
        kind = "has tokens" if len(shape) == 2 else "is a feature map"
        raise ParameterError(f"layer {layer} {kind} {shape}: pool it by avg or max, or flatten it")
    if pool == "cls" and not prefix:
        raise ParameterError(
            f"layer {layer} has no class token, so that it has no pooling cls: take avg or max"
        )
    return f"{layer}.{pool}", math.prod(shape) if pool == "flatten" else shape[-1]


def needs_top(backbone: Backbone, names: Sequence[str]) -> bool:
    """Whether any of these embeddings comes from a dense layer."""
    return any(name.rpartition(".")[0] in backbone.network.top for name in names)
