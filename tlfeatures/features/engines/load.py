"""Loading the backbone that a spec describes, by the engine that the spec names."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tlfeatures.errors import EngineError, ParameterError, SpecError, WeightsError
from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.onnx_file import read_network
from tlfeatures.features.backbones.recipes.published import obtain
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.table import needs_top
from tlfeatures.features.backbones.tensors import Weights
from tlfeatures.features.backbones.weights import (
    IMAGENET,
    RANDOM,
    checked_source,
    load_weights,
    read_weights,
)
from tlfeatures.features.engines.choose import ENGINES, check_engine, check_loads
from tlfeatures.features.engines.engine import DEVICES, Engine, LoadedBackbone
from tlfeatures.features.spec import IMAGE_RULES, Spec
from tlfeatures.names import unknown_name

logger = logging.getLogger(__name__)

# What may replace an engine that isn't installed, the first that can.
_STAND_INS = {"keras": "Keras", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def load_backbone(
    spec: Spec,
    names: Sequence[str],
    *,
    device: str = "auto",
    weights: str | None = None,
    substitute: bool = False,
    threads: int | None = None,
) -> LoadedBackbone:
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
        Whether another engine may replace one that isn't installed, if it can load the backbone
        and compute in its precision: Keras, or ONNX Runtime or OpenVINO for an ONNX network.
    threads : int, optional
        Number of a CPU's threads; all cores if not given.

    Raises
    ------
    WeightsError
        If the weights can't be had or their hash is not the spec's.
    SpecError
        If the spec asks for what this version doesn't do to an image.
    EngineError
        If the engine is not installed, or can't do it on this machine.
    ParameterError
        If there is no such device, the engine can't load this backbone, or an int8 spec has no
        ranges.
    """
    if device not in DEVICES:
        raise unknown_name("device", device, DEVICES)
    _check_possible(spec)
    if spec.precision == "int8" and spec.quantization is None:
        # The engine would compute in float32.
        raise ParameterError("an int8 backbone needs ranges: measure them on images before")
    source = spec.weights if weights is None else checked_source(weights)
    # Images are augmented before they are embedded: the recipe makes no other backbone.
    spec = replace(spec, augmentation=None)
    other = _stand_in(spec, device) if substitute else None
    own = ENGINES.get(spec.engine)
    if other is not None and device == "gpu" and own is not None and not own.gpu:
        spec = replace(spec, engine=other)
    try:
        return _load(spec, tuple(names), device, source, threads)
    except EngineError as error:
        if other in (None, spec.engine):
            raise
        logger.warning(
            "%s; %s stands in, whose embeddings differ by rounding alone", error, _STAND_INS[other]
        )
        return _load(replace(spec, engine=other), tuple(names), device, source, threads)


def _stand_in(spec: Spec, device: str) -> str | None:
    """Name the engine that may replace the spec's; None without any."""
    backbone = spec.find_backbone()
    for name in _STAND_INS:
        engine = ENGINES[name]
        able = spec.precision in engine.precisions and engine.loads(backbone)
        if name != spec.engine and able and engine.installed and (device != "gpu" or engine.gpu):
            return name
    return None


def find_weights(spec: Spec, names: Sequence[str], weights: str | None = None) -> Weights | None:
    """Get the very tensors that a spec names, without loading the backbone itself.

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
    backbone = spec.find_backbone()
    if not backbone.trained:
        return None
    source = spec.weights if weights is None else checked_source(weights)
    return _spec_weights(backbone, spec, names, source)


def _spec_weights(backbone: Backbone, spec: Spec, names: Sequence[str], source: str) -> Weights:
    if backbone.declared_format == "onnx":
        file = _onnx_path(spec, source)
        content, file_sha256 = read_network(file, backbone.name, spec.weights_sha256)
        return Weights({}, file_sha256, None, content)
    if backbone.declared_format == "keras_file":
        file = Path(source).expanduser()
        content, file_sha256 = read_network(file, backbone.name, spec.weights_sha256, ".keras")
        return Weights({}, file_sha256, None, content)
    if backbone.declared_format == "keras_hub":
        return Weights({}, str(spec.weights_sha256), None)
    if backbone.declared_format is not None:  # of Keras, whose engine compares the hash
        return Weights({}, str(spec.weights_sha256), None, read_weights(source))
    if source != RANDOM and not Path(source).is_file():
        # The published tensors are the same from wherever they come.
        source = IMAGENET if backbone.is_published(spec.weights_sha256) else source
    weights = load_weights(
        backbone, source, top=needs_top(backbone, names), random_state=spec.random_state
    )
    for expected, sha256 in (
        (spec.weights_sha256, weights.sha256),
        (spec.top_sha256, weights.top_sha256),
    ):
        if None not in (expected, sha256) and expected != sha256:
            raise WeightsError(
                f"the weights from {source} have sha256 {sha256}, expected {expected}: give the "
                "file that made these embeddings with --weights PATH"
            )
    return weights


def _onnx_path(spec: Spec, source: str) -> Path:
    """Return the path of the file; that of a named network may be made of a package first."""
    path, named = Path(source).expanduser(), NAMED.get(spec.backbone)
    if named is None or named.recipe is None:
        return path
    is_same = spec.weights_sha256 == named.recipe.onnx_sha256
    is_missing = is_same and not path.is_file()
    return obtain(named) if source == IMAGENET or is_missing else path


def _check_possible(spec: Spec) -> None:
    """Refuse a spec of another version rather than embed by other rules than its own."""
    rules = {name: getattr(Spec, name) for name in IMAGE_RULES}
    preprocessing = spec.find_backbone().preprocessing.describe()
    own = replace(spec, preprocessing=preprocessing, **rules)
    for name, theirs, ours in spec.differences(own):
        raise SpecError(
            f"the embedding was made with {name} {theirs!r}, this tlfeatures does {ours!r}: use "
            "the version that made it, or extract and fit again"
        )


def _load(
    spec: Spec, names: tuple[str, ...], device: str, source: str, threads: int | None
) -> LoadedBackbone:
    backbone = spec.find_backbone()
    if backbone.load is not None:
        loaded: LoadedBackbone = backbone.load(names)
        return loaded
    check_engine(spec.engine, spec.precision, device)
    check_loads(spec.engine, backbone)
    return _load_by_engine(ENGINES[spec.engine], backbone, spec, names, device, source, threads)


@functools.lru_cache(maxsize=2)
def _load_by_engine(
    engine: Engine,
    backbone: Backbone,
    spec: Spec,
    names: tuple[str, ...],
    device: str,
    source: str,
    threads: int | None,
) -> LoadedBackbone:
    weights = _spec_weights(backbone, spec, names, source)
    return engine.load(spec, names, device, weights, threads)
