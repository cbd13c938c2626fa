"""What an extraction has to do: settings filled in, spec, and the set difference.

Nothing here computes or writes an embedding. Weights are opened only where their hash is asked
for and not known.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.errors import SourceError, SpecError, StoreError
from tlfeatures.features import store
from tlfeatures.features.backbone import (
    auto_precision,
    embedding_widths,
    find_architecture,
    needs_top,
)
from tlfeatures.features.images import UNREADABLE, Manifest
from tlfeatures.features.spec import PRECISIONS, Spec, parse_size, unknown_name
from tlfeatures.features.weights import known_sha256, load_weights

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What was asked for; None stands for the file's own setting, else for the default.

    Attributes
    ----------
    backbone : str, default "vgg16"
    layers : sequence of str, default the backbone's own ("block5_pool")
    pools : sequence of str, default ("avg",)
    size : int, str or (int, int), default 224
        Of the images that enter the backbone: side, or height and width, in pixels.
    weights : str, default "imagenet"
        `imagenet`, `random` or the path of a file of Keras weights.
    precision : {"auto", "float32", "bfloat16"}
        Of the forward pass; "auto" is the file's, else bfloat16 where the hardware has it.
    dtype : {"float32", "float16"}, default "float32"
        Of the embeddings in the file.
    random_state : int, default 0
        Seed of random weights.
    """

    backbone: str | None = None
    layers: Sequence[str] = ()
    pools: Sequence[str] = ()
    size: Any = None
    weights: str | None = None
    precision: str | None = None
    dtype: str | None = None
    random_state: int | None = None


@dataclass(frozen=True)
class Task:
    """One image file to decode and embed, and every row that its bytes belong to."""

    path: Path
    digest: bytes
    rows: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What the file shall hold, and what of it is to be computed."""

    target: Path
    manifest: Manifest
    spec: Spec
    embeddings: dict[str, int]
    dtype: str
    sources: list[store.Header]
    tasks: list[Task]
    removed: int
    in_place: bool

    @property
    def partial(self) -> Path:
        """Where a file that shall replace another is made."""
        return self.target.with_name(f"{self.target.name}.partial")


def make_plan(manifest: Manifest, target: Path, settings: Settings, device: str) -> Plan:
    """Compare a folder with the file that shall hold it.

    Raises
    ------
    SpecError, SourceError
        If the file was made with other settings, or from other images.
    """
    current = store.read_header(target) if target.exists() else None
    embeddings, spec = _resolve(settings, current, device)
    dtype = settings.dtype or (current.dtype if current else "float32")
    if dtype not in store.DTYPES:
        raise unknown_name("dtype", dtype, store.DTYPES)
    if current:
        _check_same(current, spec, dtype, manifest)
    beside = target.with_name(f"{target.name}.partial")
    sources = [header for header in (current, _unfinished(beside, spec, dtype)) if header]
    digests = set(manifest.digests)
    return Plan(
        target=target,
        manifest=manifest,
        spec=spec,
        embeddings=embeddings,
        dtype=dtype,
        sources=sources,
        tasks=_missing(manifest, embeddings, sources),
        removed=sum(found not in digests for found in current.digests) if current else 0,
        in_place=current is not None and current.holds(manifest, list(embeddings)),
    )


def _resolve(
    settings: Settings, current: store.Header | None, device: str
) -> tuple[dict[str, int], Spec]:
    """Fill what was not asked for from the file, else from the defaults."""
    old = current.spec if current else None
    backbone = settings.backbone or (old.backbone if old else "vgg16")
    size = parse_size(settings.size if settings.size is not None else old.size if old else 224)
    embeddings = dict(current.embeddings) if current else {}
    if not embeddings or settings.layers or settings.pools:
        layers = settings.layers or (find_architecture(backbone).default_layer,)
        embeddings |= embedding_widths(backbone, layers, settings.pools or ("avg",), size)
    return embeddings, make_spec(settings, backbone, size, list(embeddings), device, old)


def make_spec(
    settings: Settings,
    backbone: str,
    size: tuple[int, int],
    names: Sequence[str],
    device: str,
    old: Spec | None = None,
) -> Spec:
    """Describe how these embeddings come about, following `old` in what was not asked for."""
    architecture = find_architecture(backbone)
    precision = settings.precision or "auto"
    if precision not in ("auto", *PRECISIONS):
        raise unknown_name("precision", precision, ("auto", *PRECISIONS))
    weights, seed, sha256, top_sha256 = "none", None, None, None
    if architecture.trained:
        weights = settings.weights or (old.weights if old else "imagenet")
        seed = _seed(settings, old) if weights == "random" else None
        sha256, top_sha256 = _hashes(settings, weights, seed, needs_top(backbone, names), old)
    if precision == "auto":
        precision = old.precision if old else auto_precision(backbone, device)
    return Spec(
        backbone=backbone,
        size=size,
        precision=precision,
        weights=weights,
        weights_sha256=sha256,
        top_sha256=top_sha256,
        random_state=seed,
        preprocessing=architecture.preprocessing,
    )


def _seed(settings: Settings, old: Spec | None) -> int:
    if settings.random_state is not None:
        return settings.random_state
    return (old.random_state if old else None) or 0


def _hashes(
    settings: Settings, weights: str, seed: int | None, top: bool, old: Spec | None
) -> tuple[str | None, str | None]:
    """Hash the weights, or trust the file where nothing was asked: loading checks it anyway."""
    asked = settings.weights is not None or settings.random_state is not None
    if old and not asked and (old.top_sha256 or not top):
        return old.weights_sha256, old.top_sha256
    known = known_sha256(weights, top=top)
    if known:
        return known, old.top_sha256 if old else None
    loaded = load_weights(weights, top=top, random_state=seed)
    return loaded.sha256, loaded.top_sha256 or (old.top_sha256 if old else None)


# Spec entry -> the option that sets it; the others follow from the backbone and the version.
_OPTIONS = {
    "backbone": "--backbone",
    "size": "--size",
    "precision": "--precision",
    "weights_sha256": "--weights",
    "top_sha256": "--weights",
    "dtype": "--dtype",
}


def _check_same(current: store.Header, spec: Spec, dtype: str, manifest: Manifest) -> None:
    differences = current.spec.differences(spec)
    if current.dtype != dtype:
        differences.append(("dtype", current.dtype, dtype))
    if differences:
        shown = [row for row in differences if row[0] in _OPTIONS] or differences
        what = "; ".join(f"{name} {_short(had)}, not {_short(new)}" for name, had, new in shown)
        options = sorted({_OPTIONS[name] for name, *_ in shown if name in _OPTIONS})
        mend = f"leave out {' '.join(options)} to bring it up to date, or " if options else ""
        raise SpecError(
            f"{current.path} was made with {what}: {mend}give another file with -o to keep both"
        )
    if not set(current.digests) & set(manifest.digests):
        raise SourceError(
            f"none of the {len(current.ids)} images of {current.path} is in this folder: it was "
            "made from another one; give another file with -o, or remove this one first"
        )


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    text = str(value)
    return text if len(text) < 40 else f"{text[:12]}..."


def _unfinished(path: Path, spec: Spec, dtype: str) -> store.Header | None:
    """A file that an earlier run could not finish: a source of rows, if it fits."""
    if not path.exists():
        return None
    try:
        header = store.read_header(path)
    except StoreError as error:
        logger.warning("%s is left aside: %s", path, error)
        return None
    fits = not header.spec.differences(spec) and header.dtype == dtype
    return header if fits else None


def _missing(
    manifest: Manifest, embeddings: dict[str, int], sources: Sequence[store.Header]
) -> list[Task]:
    """The set difference: image bytes that no source holds every embedding of."""
    finished = {
        header.digests[row]
        for header in sources
        if set(embeddings) <= set(header.embeddings)
        for row in np.flatnonzero(header.done).tolist()
    }
    tasks: dict[object, Task] = {}
    for row, (image, found) in enumerate(zip(manifest.images, manifest.digests, strict=True)):
        if found not in finished:
            key = row if found == UNREADABLE else found
            tasks.setdefault(key, Task(image.path, found)).rows.append(row)
    return list(tasks.values())
