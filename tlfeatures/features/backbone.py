"""Backbones: uint8 images in, embeddings out. The one file that imports Keras and TensorFlow.

`Backbone` is the seam: one method. What is known of a backbone without loading it (its layers
and their shapes) is in the table `BACKBONES`, so that a plan, an error about a layer's name and
a run with nothing to do need no TensorFlow.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError, SpecError, WeightsError
from tlfeatures.features.names import unknown_name
from tlfeatures.features.pixels import load_pixels, pixel_shapes
from tlfeatures.features.spec import POOLINGS, Spec
from tlfeatures.features.weights import (
    CONV_KERNELS,
    IMAGENET_SHA256,
    TOP_KERNELS,
    Weights,
    load_weights,
)

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "gpu")


class Backbone(Protocol):
    """Anything that turns images into embeddings."""

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
    load : callable (spec, names, device, weights) -> Backbone
    top : frozenset of str
        Layers that need the fully connected part and its one fixed input size.
    trained : bool
        Whether it has weights at all.
    """

    default_layer: str
    preprocessing: str
    smallest: int
    shapes: Callable[[tuple[int, int]], Shapes]
    load: Callable[[Spec, Sequence[str], str, str], Backbone]
    top: frozenset[str] = frozenset()
    trained: bool = True


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
    spec: Spec, names: Sequence[str], *, device: str = "auto", weights: str | None = None
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

    Raises
    ------
    WeightsError
        If the weights can't be had or their hash is not the spec's.
    SpecError
        If the spec asks for what this version doesn't do to an image.
    ParameterError
        If there is no such device.
    """
    if device not in DEVICES:
        raise unknown_name("device", device, DEVICES)
    _check_possible(spec)
    weights = weights or spec.weights
    # Variants of images are made before, so that their recipe makes no other backbone.
    return _load(replace(spec, augmentation=None), tuple(names), device, weights)


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
    return _spec_weights(spec, names, weights or spec.weights)


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
    )  # its augmentation is not compared: images themselves are embedded without
    for name, theirs, ours in spec.differences(here):
        raise SpecError(
            f"the embedding was made with {name} {theirs!r}, this tlfeatures does {ours!r}: use "
            "the version that made it, or extract and fit again"
        )


@functools.lru_cache(maxsize=2)
def _load(spec: Spec, names: tuple[str, ...], device: str, weights: str) -> Backbone:
    return find_architecture(spec.backbone).load(spec, names, device, weights)


def auto_precision(backbone: str, device: str) -> str:
    """Choose bfloat16 where the hardware multiplies it natively, else float32.

    Measured on VGG16 it is 2 times as fast with AVX512-BF16 and about 10 times with AMX, and the
    embeddings' cosine to float32 is above 0.999 (see benchmarks/).
    """
    if not find_architecture(backbone).trained:
        return "float32"
    gpu = _gpu_capability() if device != "cpu" else None
    if gpu is not None:
        return "bfloat16" if gpu >= (8, 0) else "float32"
    return "bfloat16" if _cpu_has_bfloat16() else "float32"


def _cpu_has_bfloat16() -> bool:
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # not Linux
        return False
    return bool(flags & {"amx_bf16", "avx512_bf16"})


def _gpu_capability() -> tuple[int, ...] | None:
    """Compute capability of the first GPU that TensorFlow sees, or None."""
    _start_keras()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    return tuple(details.get("compute_capability", (0, 0)))


def _start_keras() -> None:
    """Import Keras and its engine without their start-up notes on standard error.

    The notes come from C++ before any logging level applies, so the file descriptor itself is
    turned aside; if the import fails, they are shown after all.
    """
    if "keras" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    engine = logging.getLogger("tensorflow")
    if engine.level == logging.NOTSET:  # it warns of each shape that cross-validation compiles
        engine.setLevel(logging.ERROR)
    with tempfile.TemporaryFile() as notes, _stderr_into(notes):
        import keras

        keras.ops.zeros(1)  # the engine says the rest at its first operation


@contextlib.contextmanager
def _stderr_into(notes: IO[bytes]) -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # the process has no standard error
        yield
        return
    os.dup2(notes.fileno(), 2)
    try:
        yield
    except BaseException:
        notes.seek(0)
        os.write(kept, notes.read())
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)


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


class KerasBackbone:
    """VGG16 in Keras, with every wanted layer as an output of one model."""

    def __init__(self, model: keras.Model, device: str | None) -> None:
        self._model = model
        self._device = device

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Embed a batch of shape (b, h, w, 3); see `Backbone`."""
        with _on(self._device):
            outputs: Mapping[str, Any] = self._model.predict_on_batch(images)
        return {name: np.asarray(rows, np.float32) for name, rows in outputs.items()}


def _load_vgg16(spec: Spec, names: Sequence[str], device: str, weights: str) -> Backbone:
    tensors = _spec_weights(spec, names, weights)
    _start_keras()
    import keras

    place = _keras_device(device)
    with _on(place), _dtype_policy(spec.precision):
        image = keras.Input((*spec.size, 3), dtype="uint8", name="image")
        pixels = keras.applications.vgg16.preprocess_input(keras.ops.cast(image, "float32"))
        vgg16 = keras.applications.VGG16(
            weights=None, include_top=tensors.top_sha256 is not None, input_tensor=pixels
        )
        for layer, (kernel, bias) in tensors.tensors.items():
            vgg16.get_layer(layer).set_weights([kernel, bias])
    outputs = {name: _keras_output(vgg16, name) for name in names}
    return KerasBackbone(keras.Model(image, outputs), place)


def _keras_output(vgg16: keras.Model, name: str) -> Any:
    """Pool in float32 whatever the precision of the layer: the sums are long."""
    import keras

    layer, _, pool = name.rpartition(".")
    named = f"embedding_{layer}_{pool}"  # VGG16 with its top has a layer called flatten
    layer = "block5_pool" if layer == "flatten" else layer
    poolings = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
        "none": keras.layers.Flatten,  # of a vector: the vector
    }
    return poolings[pool](dtype="float32", name=named)(vgg16.get_layer(layer).output)


@contextlib.contextmanager
def _dtype_policy(precision: str) -> Iterator[None]:
    """Build layers under a policy; it is Keras's global, so put it back."""
    import keras

    before = keras.config.dtype_policy()
    mixed = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
    keras.config.set_dtype_policy(mixed[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _keras_device(device: str) -> str | None:
    if device == "auto":
        return None  # Keras's own choice: a GPU if it sees one
    if device == "gpu" and _gpu_capability() is None:
        raise ParameterError("TensorFlow sees no GPU; use --device cpu")
    return f"{device}:0"


def _on(device: str | None) -> contextlib.AbstractContextManager[Any]:
    import keras

    return keras.device(device) if device else contextlib.nullcontext()


BACKBONES: dict[str, Architecture] = {
    "vgg16": Architecture(
        default_layer="block5_pool",
        preprocessing="caffe: BGR, mean 103.939 116.779 123.68 subtracted",
        smallest=32,
        shapes=_vgg16_shapes,
        load=_load_vgg16,
        top=frozenset(TOP_KERNELS),
    ),
    "pixels": Architecture(
        default_layer="grid8",
        preprocessing="divided by 255",
        smallest=8,
        shapes=pixel_shapes,
        load=load_pixels,
        trained=False,
    ),
}
