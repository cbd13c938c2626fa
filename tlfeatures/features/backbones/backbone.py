"""Backbones: uint8 images in, embeddings out.

`Backbone` is the seam: one method; behind it stands an engine that computes the forward pass. What
is known of a backbone without loading it (its layers and their shapes) is in the table `BACKBONES`,
so that a plan, an error about a layer's name and a run with nothing to do need no engine.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError, ParameterError, SpecError, WeightsError
from tlfeatures.features.backbones.pixels import PixelBackbone, pixel_shapes
from tlfeatures.features.backbones.weights import (
    CONV_KERNELS,
    IMAGENET_SHA256,
    TOP_KERNELS,
    Weights,
    check_weights_source,
    load_weights,
)
from tlfeatures.features.engines.choose import ENGINES, Engine, check_engine
from tlfeatures.features.spec import POOLINGS, Spec
from tlfeatures.names import unknown_name

logger = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "gpu")


class Backbone(Protocol):
    """Anything that turns images into embeddings.

    Attributes
    ----------
    one_shape : bool
        Whether another batch shape costs time, and may give other last bits: batches are padded
        to one.
    most : int
        Images of a batch beyond which nothing is gained.
    """

    one_shape: bool
    most: int

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Embed a batch in one forward pass.

        Parameters
        ----------
        images : ndarray of shape (b, h, w, 3), uint8
            RGB, of the spec's size.

        Returns
        -------
        dict of embedding name to ndarray of shape (b, d), float32
            Row i belongs to image i alone: no image changes another's row.
        """
        ...


Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """What is known of a backbone without loading it.

    Attributes
    ----------
    default_layer : str
    preprocessing : str
        Recorded in the spec.
    smallest : int
        Least height and width of an image, in pixels.
    shapes : callable (h, w) -> dict of layer name to output shape without the batch axis
    top : frozenset of str
        Layers that need the fully connected part and its one fixed input size.
    load : callable (names of embeddings) -> Backbone, optional
        Loads a backbone that has no weights. Without it an engine loads the backbone.
    """

    default_layer: str
    preprocessing: str
    smallest: int
    shapes: Callable[[tuple[int, int]], Shapes]
    top: frozenset[str] = frozenset()
    load: Callable[[Sequence[str]], Backbone] | None = None

    @property
    def trained(self) -> bool:
        """Whether it has weights."""
        return self.load is None


def find_architecture(name: str) -> Architecture:
    """Look a backbone up by name, or raise `ParameterError` naming those there are."""
    if name not in BACKBONES:
        raise unknown_name("backbone", name, BACKBONES)
    return BACKBONES[name]


def embedding_widths(
    backbone: str, layers: Sequence[str], pools: Sequence[str], size: tuple[int, int]
) -> dict[str, int]:
    """Name the embeddings that layers and poolings give, with their widths.

    A feature map takes avg, max or flatten. A layer that already is a vector has nothing to
    pool: it gives `LAYER.none`, whatever the poolings. A layer may name its own pooling,
    `block5_pool.flatten`.

    Returns
    -------
    dict of `LAYER.POOLING` to width

    Raises
    ------
    ParameterError
        For an unknown layer or pooling, one that doesn't fit the layer, or too small a size.
    """
    architecture = find_architecture(backbone)
    if min(size) < architecture.smallest:
        raise ParameterError(
            f"{backbone} takes images of {architecture.smallest} pixels or more a side, "
            f"got size {size[0]},{size[1]}"
        )
    shapes = architecture.shapes(size)
    widths = {}
    for named in layers:
        layer, dot, own = named.partition(".")
        if layer not in shapes or (dot and not own):
            name = named if dot and not own else layer
            raise unknown_name(f"layer of {backbone}", name, shapes)
        if layer in architecture.top and size != (224, 224):
            raise ParameterError(f"layer {layer} needs --size 224, got {size[0]},{size[1]}")
        for pool in [own] if own else pools:
            name, width = _embedding(layer, pool, shapes[layer])
            if own and not name.endswith(f".{own}"):
                raise ParameterError(f"layer {layer} is a vector: it has no pooling {own}")
            widths[name] = width
    return widths


def _embedding(layer: str, pool: str, shape: tuple[int, ...]) -> tuple[str, int]:
    if pool not in POOLINGS:
        raise unknown_name("pooling", pool, POOLINGS)
    if len(shape) == 1:
        return f"{layer}.none", shape[0]
    if pool == "none":
        raise ParameterError(
            f"layer {layer} is a feature map {shape}: pool it by avg or max, or flatten it"
        )
    return f"{layer}.{pool}", int(np.prod(shape)) if pool == "flatten" else shape[-1]


def needs_top(backbone: str, names: Sequence[str]) -> bool:
    """Whether any of these embeddings comes from a fully connected layer."""
    top = find_architecture(backbone).top
    return any(name.rpartition(".")[0] in top for name in names)


def load_backbone(
    spec: Spec,
    names: Sequence[str],
    *,
    device: str = "auto",
    weights: str | None = None,
    substitute: bool = False,
    threads: int | None = None,
) -> Backbone:
    """Load the backbone that a spec describes.

    The last two are kept, so that the clones of a cross-validation share one.

    Parameters
    ----------
    spec : Spec
    names : sequence of str
        The embeddings wanted, `LAYER.POOLING`.
    device : {"auto", "cpu", "gpu"}
    weights : str, optional
        Where to take the weights from, if not from where the spec says.
    substitute : bool
        Whether Keras may stand in for an engine that isn't here; int8 has no substitute.
    threads : int, optional
        Of a CPU; all cores if not given.

    Raises
    ------
    WeightsError
        If the weights can't be had or their hash is not the spec's.
    SpecError
        If the spec asks for what this version doesn't do to an image.
    EngineError
        If the engine is not installed, or can't do it on this machine.
    ParameterError
        If there is no such device, or an int8 spec has no ranges.
    """
    if device not in DEVICES:
        raise unknown_name("device", device, DEVICES)
    _check_possible(spec)
    if spec.precision == "int8" and spec.quantization is None:
        # The engine would compute in float32.
        raise ParameterError("an int8 backbone needs ranges: measure them on images before")
    weights = _chosen_weights(spec, weights)
    # Variants of images are made before, so that their recipe makes no other backbone.
    spec = replace(spec, augmentation=None)
    if substitute and device == "gpu" and spec.precision != "int8":
        spec = replace(spec, engine="keras")  # no other has one
    try:
        return _load(spec, tuple(names), device, weights, threads)
    except EngineError as error:
        if not substitute or spec.precision == "int8" or spec.engine == "keras":
            raise
        logger.warning("%s; Keras stands in, whose embeddings differ by rounding alone", error)
        return _load(replace(spec, engine="keras"), tuple(names), device, weights, threads)


def keras_backend() -> str | None:
    """Name what Keras computes on, once it is loaded."""
    keras = sys.modules.get("keras")
    return None if keras is None else str(keras.config.backend())


def find_weights(spec: Spec, names: Sequence[str], weights: str | None = None) -> Weights | None:
    """Give the very tensors that a spec names, without loading the backbone itself.

    Parameters
    ----------
    spec : Spec
    names : sequence of str
        The embeddings wanted, `LAYER.POOLING`.
    weights : str, optional
        Where to take them from, if not from where the spec says.

    Returns
    -------
    Weights or None
        None where the backbone has none.

    Raises
    ------
    WeightsError
        If they can't be had or their hash is not the spec's.
    SpecError
        If the spec asks for what this version doesn't do to an image.
    """
    _check_possible(spec)
    if not find_architecture(spec.backbone).trained:
        return None
    return _spec_weights(spec, names, _chosen_weights(spec, weights))


def _chosen_weights(spec: Spec, given: str | None) -> str:
    """Give the weights that the user asked for, which must exist, or those of the spec."""
    if given is None:
        return spec.weights
    check_weights_source(given)
    return given


def _spec_weights(spec: Spec, names: Sequence[str], weights: str) -> Weights:
    if weights != "random" and not Path(weights).is_file():
        known = spec.weights_sha256 == IMAGENET_SHA256
        weights = "imagenet" if known else weights  # the same tensors from wherever they are
    tensors = load_weights(
        weights, top=needs_top(spec.backbone, names), random_state=spec.random_state
    )
    for wanted, got in (
        (spec.weights_sha256, tensors.sha256),
        (spec.top_sha256, tensors.top_sha256),
    ):
        if None not in (wanted, got) and wanted != got:
            raise WeightsError(
                f"the weights from {weights} have sha256 {got}, expected {wanted}: give the "
                "file that made these embeddings with --weights PATH"
            )
    return tensors


def _check_possible(spec: Spec) -> None:
    """Refuse a spec of another version rather than embed by other rules than its own."""
    here = Spec(
        backbone=spec.backbone,
        size=spec.size,
        precision=spec.precision,
        weights=spec.weights,
        weights_sha256=spec.weights_sha256,
        top_sha256=spec.top_sha256,
        preprocessing=find_architecture(spec.backbone).preprocessing,
        value_range=spec.value_range,
        engine=spec.engine,
        quantization=spec.quantization,
    )  # its augmentation is not compared: images themselves are embedded without
    for name, theirs, ours in spec.differences(here):
        raise SpecError(
            f"the embedding was made with {name} {theirs!r}, this tlfeatures does {ours!r}: use "
            "the version that made it, or extract and fit again"
        )


def _load(
    spec: Spec, names: tuple[str, ...], device: str, weights: str, threads: int | None
) -> Backbone:
    load = find_architecture(spec.backbone).load
    if load is not None:
        return load(names)
    check_engine(spec.engine, spec.precision, device)
    return _load_by_engine(ENGINES[spec.engine], spec, names, device, weights, threads)


@functools.lru_cache(maxsize=2)
def _load_by_engine(
    engine: Engine,
    spec: Spec,
    names: tuple[str, ...],
    device: str,
    weights: str,
    threads: int | None,
) -> Backbone:
    return engine.load(spec, names, device, _spec_weights(spec, names, weights), threads)


# ---- VGG16


def _vgg16_shapes(size: tuple[int, int]) -> Shapes:
    height, width = size
    shapes: Shapes = {}
    for layer, kernel in CONV_KERNELS.items():
        block, _, conv = layer.partition("_")
        shapes[layer] = (height, width, kernel[-1])
        if conv == ("conv2" if block in ("block1", "block2") else "conv3"):
            height, width = height // 2, width // 2
            shapes[f"{block}_pool"] = (height, width, kernel[-1])
    shapes["flatten"] = (height * width * 512,)
    return shapes | {layer: kernel[-1:] for layer, kernel in TOP_KERNELS.items()}


BACKBONES: dict[str, Architecture] = {
    "vgg16": Architecture(
        default_layer="block5_pool",
        preprocessing="caffe: BGR, mean 103.939 116.779 123.68 subtracted",
        smallest=32,
        shapes=_vgg16_shapes,
        top=frozenset(TOP_KERNELS),
    ),
    "pixels": Architecture(
        default_layer="grid8",
        preprocessing="divided by 255",
        smallest=8,
        shapes=pixel_shapes,
        load=PixelBackbone,
    ),
}
