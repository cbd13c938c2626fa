"""What an extraction has to do: settings filled in, spec, and the set difference.

Nothing here computes or writes an embedding. Weights are opened only where their hash is asked
for and not known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tlfeatures.errors import ParameterError, SourceError, SpecError, StoreError
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.table import (
    DEFAULT_BACKBONE,
    embedding_widths,
    find_backbone,
    needs_top,
)
from tlfeatures.features.backbones.weights import published_sha256, weights_sha256
from tlfeatures.features.engines.choose import choose_engine
from tlfeatures.features.file import store
from tlfeatures.features.images.augment import Augmentation
from tlfeatures.features.images.identify import UNREADABLE, Manifest
from tlfeatures.features.images.value_range import in_words, parse_value_range
from tlfeatures.features.sources.folders import ImageFile
from tlfeatures.features.spec import Spec, parse_size
from tlfeatures.names import as_list, counted, unknown_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What was asked for; None stands for the file's own setting, else for the default.

    Attributes
    ----------
    backbone : str, default `DEFAULT_BACKBONE`
    layers : str or sequence of str, default the backbone's own ("block5_pool")
        `LAYER`, pooled in each way that is asked for, or `LAYER.POOLING`.
    pools : str or sequence of str, default "avg"
    size : int, str or (int, int), default 224
        Of the images that enter the backbone: side, or height and width, in pixels.
    weights : str, default "imagenet"
        `imagenet`, `random` or the path of a file of Keras weights.
    engine : {"auto", "keras", "openvino", "ncnn"}
        What computes the forward pass; "auto" is the file's, else the fastest that is installed.
    precision : {"auto", "float32", "bfloat16", "int8"}
        Of the forward pass; "auto" is the file's, else bfloat16 where the hardware has it. int8 is
        OpenVINO's, and calibrated on a sample of the images.
    dtype : {"float32", "float16"}, default "float32"
        Of the embeddings in the file.
    augment : int, default 0
        Variants of each image, on which heads are trained beside the images themselves.
    augment_spec : str or mapping, default "rotation=30,zoom=0.2,horizontal_flip"
        How they are made, see `tlfeatures.features.images.augment.Augmentation.of`.
    random_state : int, default 0
        Seed of random weights.
    value_range : str or (float, float)
        The values that become black and white, of images with more than 8 bits a channel: "0,4095"
        for a camera of 12 bits. If not given, the range that each file states, or 0 to 65,535.
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


@dataclass(frozen=True)
class Means:
    """By what means it is computed; none of it changes what a row is.

    Attributes
    ----------
    device : {"auto", "cpu", "gpu"}
    batch_size : int or "auto"
    max_pixels : int
        An image that has more can't be read.
    """

    device: str
    batch_size: int | str
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Task:
    """One image file to decode and embed, and every row that its bytes belong to.

    `embedded` says that a source has all embeddings of the image itself: only its variants lack.
    `place` counts the tasks before it that a run has which nothing cuts off: there the image stands
    in its batch, so that a backbone whose last bits depend on it gives the same after a cut.
    """

    image: ImageFile
    digest: bytes
    embedded: bool = False
    place: int = 0
    rows: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What the file shall hold, and what of it is to be computed.

    Attributes
    ----------
    target : Path
    manifest : Manifest
    spec : Spec
    embeddings : dict of name to width
    dtype : str
    current : Header or None
        Of the file as it is.
    sources : list of Path
        Files whose finished rows are taken over: the file itself, and what an earlier run that
        was cut off left beside it.
    tasks : list of Task
        Image bytes that no source holds every embedding and variant of; those of which only the
        variants lack stand together.
    extent : int
        How many tasks a run has that nothing cuts off; 0 where there is nothing to do.
    removed : int
        Images of the file that are no longer in the folder.
    """

    target: Path
    manifest: Manifest
    spec: Spec
    embeddings: dict[str, int]
    dtype: str
    current: store.Header | None
    sources: list[Path]
    tasks: list[Task]
    extent: int
    removed: int

    @property
    def matches(self) -> bool:
        """Whether the file already has a place for exactly these images and embeddings."""
        return self.current is not None and self.current.holds(
            self.manifest, list(self.embeddings), self.spec
        )

    @property
    def in_place(self) -> bool:
        """Whether rows can be written into that place: a virtual file's are in its shards."""
        return self.current is not None and self.matches and self.current.shards is None

    @property
    def partial(self) -> Path:
        """Where a file that shall replace another is made."""
        return store.partial_path(self.target)


def new_spec(settings: Settings, device: str) -> tuple[dict[str, int], Spec]:
    """Give the embeddings (name to width) and the spec of a file that isn't there yet."""
    return _resolve(settings, [], device)


Choose = Callable[[str | None, str | None, str, tuple[int, int], Spec | None], tuple[str, str]]


def make_plan(
    manifest: Manifest,
    target: Path,
    settings: Settings,
    device: str,
    prune: bool = False,
    choose: Choose = choose_engine,
) -> Plan:
    """Compare a folder with the file that shall hold it.

    `choose` fills in engine and precision; another machine than this one may compute.

    Raises
    ------
    SpecError, SourceError
        If the file was made with other settings, or from other images.
    """
    current = store.read_header(target) if target.exists() else None
    beside = _unfinished(store.partial_path(target), current)
    # What a run began to add to the file and could not finish, this one finishes.
    known = [header for header in (current, beside) if current and header]
    embeddings, spec = _resolve(settings, known, device, choose)
    dtype = settings.dtype or (current.dtype if current else "float32")
    if dtype not in store.DTYPES:
        raise unknown_name("dtype", dtype, store.DTYPES)
    removed = 0
    if current:
        _check_same(current, spec, dtype)
        manifest = _keep_unreadable(manifest, current)
        removed = _count_removed(manifest, current, prune)
    sources = [header for header in (current, beside) if header and _fits(header, spec, dtype)]
    in_place = current is not None and current.holds(manifest, list(embeddings), spec)
    uncut = [current] if current and not in_place else []
    tasks = whole = _missing(manifest, embeddings, spec, sources)
    if tasks and sources != uncut:
        whole = _missing(manifest, embeddings, spec, uncut)
        places = {task.rows[0]: task.place for task in whole}
        tasks = [replace(task, place=places[task.rows[0]]) for task in tasks]
    return Plan(
        target=target,
        manifest=manifest,
        spec=spec,
        embeddings=embeddings,
        dtype=dtype,
        current=current,
        sources=[header.path for header in sources],
        tasks=tasks,
        extent=len(whole),
        removed=removed,
    )


def _fits(header: store.Header, spec: Spec, dtype: str) -> bool:
    return not header.spec.differences(spec) and header.dtype == dtype


def _unfinished(path: Path, current: store.Header | None) -> store.Header | None:
    """What an earlier run could not finish, unless it belongs to another file."""
    if not path.exists():
        return None
    try:
        header = store.read_header(path)
    except StoreError as error:
        logger.warning("%s is of no use: %s", path, error)
        return None
    if current and not _fits(header, current.spec, current.dtype):
        logger.warning("%s was made with other settings and is of no use", path)
        return None
    return header


def _keep_unreadable(manifest: Manifest, current: store.Header) -> Manifest:
    """An image that can't be read just now keeps the embedding that it has."""
    known = {
        id_: (digest, stamp)
        for id_, digest, stamp, done in zip(
            current.ids, current.digests, current.stamps, current.done.tolist(), strict=True
        )
        if done
    }
    found = list(zip(manifest.digests, manifest.stamps, strict=True))
    kept = [
        known.get(image.id, each) if each[0] == UNREADABLE else each
        for image, each in zip(manifest.images, found, strict=True)
    ]
    count = sum(a[0] != b[0] for a, b in zip(kept, found, strict=True))
    if count:
        logger.warning("%d images can't be read now; their embeddings are kept", count)
    return Manifest(manifest.images, [each for each, _ in kept], [stamp for _, stamp in kept])


TIDYING = 0.1  # share of a file's images that may go without a word


def _count_removed(manifest: Manifest, current: store.Header, prune: bool) -> int:
    """Count the images that are gone; that many of them are may be a mistaken folder."""
    ids, digests = set(manifest.ids), set(manifest.digests)
    gone = sum(
        id_ not in ids and found not in digests
        for id_, found in zip(current.ids, current.digests, strict=True)
    )
    if gone > TIDYING * len(current.ids) and not prune:
        raise SourceError(
            f"{gone} of the {len(current.ids)} images of {current.path} are not in this folder: "
            "give another file with -o, or let go of them with --prune"
        )
    return gone


def _resolve(
    settings: Settings, known: Sequence[store.Header], device: str, choose: Choose = choose_engine
) -> tuple[dict[str, int], Spec]:
    """Fill what was not asked for from what there is, the latest last, else from the defaults."""
    old = known[-1].spec if known else None
    backbone = settings.backbone or (old.backbone if old else DEFAULT_BACKBONE)
    size = parse_size(settings.size if settings.size is not None else old.size if old else 224)
    embeddings = {name: width for had in known for name, width in had.embeddings.items()}
    if not embeddings or settings.layers or settings.pools:
        layers, pools = as_list(settings.layers), as_list(settings.pools)
        had_layers, had_pools = _layers_and_pools(list(embeddings))
        if not pools:  # a layer that is there is there
            layers = [layer for layer in layers if layer not in had_layers]
            pools = had_pools or ["avg"]
        elif not layers:
            layers = had_layers
        if not embeddings:
            layers = layers or [find_backbone(backbone).default_layer]
        embeddings |= embedding_widths(backbone, layers, pools, size)
    spec = make_spec(settings, backbone, size, list(embeddings), device, old, choose)
    augmentation = _augmentation(settings, old.augmentation if old else None)
    return embeddings, replace(spec, augmentation=augmentation)


_AUGMENT_SPEC = "rotation=30,zoom=0.2,horizontal_flip"


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
    how = settings.augment_spec
    asked = Augmentation.of(count, _AUGMENT_SPEC if how is None else how)
    if not asked.changes:
        raise ParameterError(
            f"the augment spec {how!r} changes nothing, so that variants would be copies: name "
            f"what is drawn, as in {_AUGMENT_SPEC}"
        )
    return asked


def _layers_and_pools(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Give the layers of `LAYER.POOLING` names, and the poolings that all of them have.

    `none` is no pooling that other layers could take.
    """
    pools_of: dict[str, list[str]] = {}
    for layer, _, pool in (name.rpartition(".") for name in names):
        pools_of.setdefault(layer, []).append(pool)
    pooled = [pools for pools in pools_of.values() if pools != ["none"]]
    common = [pool for pool in (pooled or [[]])[0] if all(pool in pools for pools in pooled)]
    return list(pools_of), common


def make_spec(
    settings: Settings,
    backbone: str,
    size: tuple[int, int],
    names: Sequence[str],
    device: str,
    old: Spec | None = None,
    choose: Choose = choose_engine,
) -> Spec:
    """Describe how these embeddings come about, following `old` in what was not asked for."""
    record = find_backbone(backbone)
    value_range = parse_value_range(settings.value_range) or (old.value_range if old else None)
    engine, precision = "none", "float32"
    weights, seed, sha256, top_sha256 = "none", None, None, None
    if not record.trained:
        _refuse_settings_of_weights(settings, backbone)
    else:
        weights = settings.weights or (old.weights if old else "imagenet")
        if weights not in ("imagenet", "random"):
            weights = str(Path(weights).expanduser().resolve())  # found from any folder
        seed = _seed(settings, old) if weights == "random" else None
        sha256, top_sha256 = _hashes(
            record, settings, weights, seed, needs_top(backbone, names), old
        )
        engine, precision = choose(settings.engine, settings.precision, device, size, old)
    return Spec(
        backbone=backbone,
        size=size,
        precision=precision,
        weights=weights,
        weights_sha256=sha256,
        top_sha256=top_sha256,
        random_state=seed,
        preprocessing=record.preprocessing.describe(),
        value_range=value_range,
        engine=engine,
        quantization=old.quantization if old and old.precision == precision else None,
    )


def _refuse_settings_of_weights(settings: Settings, backbone: str) -> None:
    computed = (settings.engine, settings.precision)
    if (
        settings.weights is not None
        or settings.random_state is not None
        or computed
        not in (
            (engine, precision)
            for engine in (None, "auto", "keras")
            for precision in (None, "auto", "float32")
        )
    ):
        raise ParameterError(
            f"{backbone} has no weights: leave out --weights, --random-state, --engine and "
            "--precision"
        )


def _seed(settings: Settings, old: Spec | None) -> int:
    if settings.random_state is not None:
        if settings.random_state < 0:
            raise ParameterError(f"random_state must be 0 or more, got {settings.random_state}")
        return settings.random_state
    return (old.random_state if old else None) or 0


def _hashes(
    backbone: Backbone,
    settings: Settings,
    weights: str,
    seed: int | None,
    top: bool,
    old: Spec | None,
) -> tuple[str | None, str | None]:
    """Hash the weights, or trust the file where nothing was asked: loading checks it anyway."""
    asked = settings.weights is not None or settings.random_state is not None
    if old and not asked and (old.top_sha256 or not top):
        return old.weights_sha256, old.top_sha256
    published = published_sha256(backbone, weights, top=top)
    if published:
        return published, old.top_sha256 if old else None
    sha256, top_sha256 = weights_sha256(backbone, weights, top=top, random_state=seed)
    return sha256, top_sha256 or (old.top_sha256 if old else None)


# Spec entry -> the option that sets it; the others follow from the backbone and the version.
_OPTIONS = {
    "backbone": "--backbone",
    "size": "--size",
    "value_range": "--value-range",
    "engine": "--engine",
    "precision": "--precision",
    "weights_sha256": "--weights",
    "top_sha256": "--weights",
    "dtype": "--dtype",
    "augmentation": "--augment --augment-spec",
}


def _check_same(current: store.Header, spec: Spec, dtype: str) -> None:
    differences = current.spec.differences(spec)
    if current.dtype != dtype:
        differences.append(("dtype", current.dtype, dtype))
    had, wanted = current.spec.augmentation, spec.augmentation
    if had is not None and had != wanted:  # variants can be added, as a layer can
        differences.append(("augmentation", had, "none" if wanted is None else wanted))
    if not differences:
        return
    shown = [row for row in differences if row[0] in _OPTIONS] or differences
    what = "; ".join(f"{name} {_short(had)}, not {_short(new)}" for name, had, new in shown)
    options = {_OPTIONS[name] for name, *_ in shown if name in _OPTIONS}
    if "--weights" in options and current.spec.weights == spec.weights == "random":
        options = options - {"--weights"} | {"--random-state"}
    leave = f"leave out {' '.join(sorted(options))} to bring it up to date, or " if options else ""
    raise SpecError(
        f"{current.path} was made with {what}: {leave}give another file with -o to keep both"
    )


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return in_words(value)
    if isinstance(value, Augmentation):
        return f"{counted(value.variants, 'variant')} ({value.in_words() or 'unchanged'})"
    text = str(value)
    return text if len(text) < 40 else f"{text[:12]}..."


def _missing(
    manifest: Manifest, embeddings: dict[str, int], spec: Spec, sources: Sequence[store.Header]
) -> list[Task]:
    """The set difference: image bytes that no source holds every embedding and variant of."""
    embedded: set[bytes] = set()
    finished: set[bytes] = set()
    for header in sources:
        if set(embeddings) <= set(header.embeddings):
            done = header.done_digests()
            embedded |= done - {UNREADABLE}
            if header.spec.augmentation == spec.augmentation:
                finished |= done - {UNREADABLE}
    tasks: dict[object, Task] = {}
    for row, (image, found) in enumerate(zip(manifest.images, manifest.digests, strict=True)):
        if found not in finished:
            key = row if found == UNREADABLE else found
            task = tasks.setdefault(key, Task(image, found, found in embedded))
            task.rows.append(row)
    listed = sorted(tasks.values(), key=lambda task: task.embedded)
    return [replace(task, place=place) for place, task in enumerate(listed)]
