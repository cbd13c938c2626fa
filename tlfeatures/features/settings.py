"""Settings of embeddings: the options of the user, completed to a spec.

A setting that is left out is taken from the embeddings file, else from the defaults. Weights are
opened only if their hash is needed and is in neither the file nor the record of the backbone.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.declaration_file import is_file_name
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.table import (
    DEFAULT_BACKBONE,
    embedding_widths,
    find_backbone,
    needs_top,
)
from tlfeatures.features.backbones.weights import RANDOM, published_sha256, weights_sha256
from tlfeatures.features.engines.choose import Request, choose_engine, named
from tlfeatures.features.engines.declared import DeclaredBackbone
from tlfeatures.features.engines.open_network import open_network, reopen_network
from tlfeatures.features.images.augment import Augmentation
from tlfeatures.features.images.value_range import parse_value_range
from tlfeatures.features.spec import Spec, parse_size
from tlfeatures.names import as_list

Chosen = tuple[str | DeclaredBackbone, tuple[int, int]]  # backbone, and size of the images
Choose = Callable[[Request], tuple[str, str]]  # engine and precision

DEFAULT_SIZE = 224
_AUGMENT_SPEC = "rotation=30,zoom=0.2,horizontal_flip"


@dataclass(frozen=True)
class Settings:
    """Settings that change the embeddings, as described in `tlfeatures.extract`.

    None or an empty sequence stands for the setting of the file, else for the default.
    """

    backbone: str | None = None
    layers: str | Sequence[str] = ()
    pools: str | Sequence[str] = ()
    size: Any = None
    weights: str | None = None
    engine: str | None = None
    precision: str | None = None
    dtype: str | None = None
    random_state: int | None = None
    augment: int | None = None
    augment_spec: str | Mapping[str, Any] | None = None
    value_range: Any = None


def complete_settings(
    settings: Settings,
    old: Spec | None,
    old_embeddings: Mapping[str, int],
    device: str,
    choose: Choose = choose_engine,
) -> tuple[dict[str, int], Spec]:
    """Complete settings from a file, or from the defaults.

    Parameters
    ----------
    settings : Settings
    old : Spec or None
        Spec of the file.
    old_embeddings : mapping of embedding name to width
        Embeddings of the file.
    device : {"auto", "cpu", "gpu"}
    choose : callable (Request) -> (engine, precision), optional
        Chooses both for a new file, as `choose_engine` does. Another machine may compute.

    Returns
    -------
    embeddings : dict of embedding name to width
        Those of the file, and those that the settings add.
    spec : Spec

    Raises
    ------
    ParameterError
        For a setting that is out of range.
    WeightsError
        If the weights are needed for their hash and cannot be obtained.
    """
    backbone, height_width = choose_backbone(settings, old)
    record = record_of(backbone)
    embeddings = dict(old_embeddings)
    if not embeddings or settings.layers or settings.pools:
        layers, pools = _new_layers_and_pools(settings, list(embeddings))
        if not embeddings:
            layers = layers or [record.default_layer]
        embeddings |= embedding_widths(record, layers, pools, height_width)
    spec = make_spec(settings, backbone, height_width, list(embeddings), device, old, choose)
    augmentation = _augmentation(settings, old.augmentation if old else None)
    return embeddings, replace(spec, augmentation=augmentation)


def choose_backbone(settings: Settings, old: Spec | None = None) -> Chosen:
    """Find the backbone, and the size of the images that enter it.

    Parameters
    ----------
    settings : Settings
    old : Spec, optional
        Spec of the file: settings that are left out are taken from it.

    Returns
    -------
    backbone : str or DeclaredBackbone
        A name in the table, or a declared network. Such a network is opened, unless all facts
        about it are in `old`.
    size : (int, int)
        Height and width in pixels.

    Raises
    ------
    ParameterError, WeightsError, EngineError
        If a declared network can't be used, see `OpenNetwork.for_size`.
    SpecError
        If this version doesn't have the backbone of the file.
    """
    named = settings.backbone or (old.backbone if old else DEFAULT_BACKBONE)
    if old is not None and named == old.backbone:
        old.find_backbone()  # raises if this version doesn't have it
    layers, declaration = as_list(settings.layers), old.declaration if old else None
    network, known = None, None
    if old is not None and declaration is not None and named == old.backbone:
        known = DeclaredBackbone.of(old, declaration)
        other_seed = settings.random_state is not None and old.weights == RANDOM
        new_layers = {layer.partition(".")[0] for layer in layers} - known.layers
        if settings.weights or other_seed or new_layers:
            network = reopen_network(old, declaration, settings.weights, _given_seed(settings))
    elif named in NAMED or is_file_name(named):
        network = open_network(named, settings.weights, _given_seed(settings))
    size = settings.size
    if size is None:
        size = old.size if old else (network and network.default_size) or DEFAULT_SIZE
    height_width = parse_size(size)
    if network is not None:
        return network.for_size(height_width, layers).with_layers_of(declaration), height_width
    return known or named, height_width


def record_of(backbone: str | DeclaredBackbone) -> Backbone:
    """Return the record of a backbone that `choose_backbone` returned.

    Raises
    ------
    ParameterError
        If the table has no backbone of this name.
    """
    return find_backbone(backbone) if isinstance(backbone, str) else backbone.record


def _new_layers_and_pools(
    settings: Settings, old_names: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the layers to add, which are not in the file, and their poolings."""
    layers, pools = as_list(settings.layers), as_list(settings.pools)
    old_layers, old_pools = _layers_and_pools(old_names)
    if not pools:
        return [layer for layer in layers if layer not in old_layers], old_pools
    return layers or old_layers, pools


def _augmentation(settings: Settings, old: Augmentation | None) -> Augmentation | None:
    count = settings.augment
    if count is None:
        if settings.augment_spec is None:
            return old
        if old is None:
            raise ParameterError("an augment spec needs a number of variants, too: --augment N")
        count = old.variants
    if count == 0:
        return None
    if settings.augment_spec is None and old is not None:
        return replace(old, variants=count)
    text = settings.augment_spec
    augmentation = Augmentation.parse(count, _AUGMENT_SPEC if text is None else text)
    if not augmentation.has_effect:
        raise ParameterError(
            f"the augment spec {text!r} changes nothing, so that variants would be copies: name "
            f"what is drawn, as in {_AUGMENT_SPEC}"
        )
    return augmentation


def _layers_and_pools(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the layers of `LAYER.POOLING` names, and the poolings that all feature maps have.

    `none` is the pooling of a layer that is a vector already, and of no other layer.
    """
    pools_of: dict[str, list[str]] = {}
    for layer, _, pool in (name.rpartition(".") for name in names):
        pools_of.setdefault(layer, []).append(pool)
    pooled = [pools for pools in pools_of.values() if pools != ["none"]]
    common = [pool for pool in (pooled or [[]])[0] if all(pool in pools for pools in pooled)]
    return list(pools_of), common


def make_spec(
    settings: Settings,
    backbone: str | DeclaredBackbone,
    size: tuple[int, int],
    names: Sequence[str],
    device: str,
    old: Spec | None = None,
    choose: Choose = choose_engine,
) -> Spec:
    """Complete settings to a spec, without augmentation.

    Parameters
    ----------
    settings : Settings
    backbone : str or DeclaredBackbone
        See `choose_backbone`.
    size : (int, int)
        Height and width in pixels.
    names : sequence of str
        The embeddings wanted, `LAYER.POOLING`.
    device : {"auto", "cpu", "gpu"}
    old : Spec, optional
        Spec of the file: settings that are left out are taken from it.
    choose : callable, optional
        See `complete_settings`.

    Raises
    ------
    ParameterError, WeightsError
        See `complete_settings`.
    """
    value_range = parse_value_range(settings.value_range) or (old.value_range if old else None)
    if not isinstance(backbone, str):
        spec = replace(_declared_spec(settings, backbone, size, old), value_range=value_range)
        return _with_engine(spec, settings, names, device, old, choose)
    record = find_backbone(backbone)
    weights, seed, sha256, top_sha256 = "none", None, None, None
    if not record.trained:
        _refuse_settings_of_weights(settings, backbone)
    else:
        weights = settings.weights or (old.weights if old else "imagenet")
        if weights not in ("imagenet", "random"):
            weights = str(Path(weights).expanduser().resolve())  # valid in any working directory
        seed = _seed(settings, old) if weights == "random" else None
        top = needs_top(record, names)
        sha256, top_sha256 = _hashes(record, settings, weights, seed, top, old)
    spec = Spec(
        backbone=backbone,
        size=size,
        precision="float32",
        weights=weights,
        weights_sha256=sha256,
        top_sha256=top_sha256,
        random_state=seed,
        preprocessing=record.preprocessing.describe(),
        value_range=value_range,
        engine="none",
    )
    return _with_engine(spec, settings, names, device, old, choose) if record.trained else spec


def _with_engine(
    spec: Spec,
    settings: Settings,
    names: Sequence[str],
    device: str,
    old: Spec | None,
    choose: Choose,
) -> Spec:
    """Add engine and precision; those of a file stay unless others are asked for.

    With an old spec there may be nothing to compute, so that the engine need not be installed.
    """
    engine, precision = named(settings.engine, settings.precision)
    if old is None:
        engine, precision = choose(Request(spec, tuple(names), device, engine, precision))
        return replace(spec, engine=engine, precision=precision)
    precision = precision or old.precision
    quantization = old.quantization if old.precision == precision else None
    return replace(
        spec, engine=engine or old.engine, precision=precision, quantization=quantization
    )


def _declared_spec(
    settings: Settings, backbone: DeclaredBackbone, size: tuple[int, int], old: Spec | None
) -> Spec:
    """Complete the settings of a declared network but for engine and precision."""
    seed = _seed(settings, old) if backbone.weights == RANDOM else None
    if settings.random_state is not None and seed is None:
        raise ParameterError(f"backbone {backbone.declaration.name} takes no --random-state")
    return Spec(
        backbone=backbone.declaration.name,
        size=size,
        precision="float32",
        weights=backbone.weights,
        weights_sha256=backbone.sha256,
        random_state=seed,
        preprocessing=backbone.record.preprocessing.describe(),
        engine="none",
        declaration=backbone.declaration,
    )


def _refuse_settings_of_weights(settings: Settings, backbone: str) -> None:
    given = {
        "--weights": settings.weights is not None,
        "--random-state": settings.random_state is not None,
        "--engine": settings.engine not in (None, "auto", "keras"),
        "--precision": settings.precision not in (None, "auto", "float32"),
    }
    options = " ".join(option for option, is_given in given.items() if is_given)
    if options:
        raise ParameterError(f"the backbone {backbone} has no weights: leave out {options}")


def _seed(settings: Settings, old: Spec | None) -> int:
    given = _given_seed(settings)
    return ((old.random_state if old else None) or 0) if given is None else given


def _given_seed(settings: Settings) -> int | None:
    given = settings.random_state
    if given is None:
        return None
    try:
        seed = operator.index(given)  # also an integer of NumPy's, which JSON can't hold
    except TypeError:
        seed = -1
    if seed < 0:
        raise ParameterError(f"random_state must be a whole number from 0 up, got {given!r}")
    return seed


def _hashes(
    record: Backbone,
    settings: Settings,
    weights: str,
    seed: int | None,
    top: bool,
    old: Spec | None,
) -> tuple[str | None, str | None]:
    """Hash the weights. Without options for them, the hashes in the file are kept.

    Loading the weights checks them anyway.
    """
    chosen = settings.weights is not None or settings.random_state is not None
    if old and not chosen and (old.top_sha256 or not top):
        return old.weights_sha256, old.top_sha256
    published = published_sha256(record, weights, top=top)
    if published:
        return published, old.top_sha256 if old else None
    sha256, top_sha256 = weights_sha256(record, weights, top=top, random_state=seed)
    return sha256, top_sha256 or (old.top_sha256 if old else None)
