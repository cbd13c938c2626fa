"""Shards: embeddings files of some hundred images, each made by one call on a worker.

What a shard holds gives it its name, so that a call that is made twice, or again, makes the same
file. It appears in its folder whole or not at all; what comes back of the call is a receipt.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tlfeatures import __version__
from tlfeatures.errors import ClusterError, ImageError
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.batches import Pixels, batch_size_for, decode_ahead, readable
from tlfeatures.features.calibrate import calibrate
from tlfeatures.features.cluster.client import threads_of_worker
from tlfeatures.features.engines.choose import choose_engine
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.file import store
from tlfeatures.features.forward import Forward, Values
from tlfeatures.features.images.few_levels import FewLevels
from tlfeatures.features.images.identify import (
    UNKNOWN,
    UNREADABLE,
    Known,
    Manifest,
    Stamp,
    allow_pixels,
    identify,
)
from tlfeatures.features.images.reading import opened
from tlfeatures.features.plan import Means, Task
from tlfeatures.features.sources.folders import ImageFile
from tlfeatures.features.sources.locations import Folder, is_url
from tlfeatures.features.spec import Spec

_REQUESTS = 16  # of a worker to an object store at the same time, where nothing else is to be done
_FORWARD = threading.Lock()  # one backbone a process, and one call of it at a time


@dataclass(frozen=True)
class Recipe:
    """What all shards of a run have in common.

    Attributes
    ----------
    folder : str
        Path or URL of the shards' folder, as every worker sees it.
    spec : Spec
    embeddings : dict of name to width
    dtype : str
    extent : int
        Images of a run that nothing cuts off; see `Plan.extent`.
    means : Means
    version : str
        Of this package: another one could compute something else.
    """

    folder: str
    spec: Spec
    embeddings: dict[str, int]
    dtype: str
    extent: int
    means: Means
    version: str = __version__


@dataclass(frozen=True)
class Order:
    """A shard that is to be made.

    Attributes
    ----------
    recipe : Recipe
    tasks : list of Task
        Its images, in the order of their rows; each once, whatever rows of the file it has.
    anew : bool
        Whether one that is there already is none to be believed.
    """

    recipe: Recipe
    tasks: list[Task]
    anew: bool = False

    @property
    def name(self) -> str:
        """Name of the shard's file: a hash of what is ordered.

        Not of the size of a batch, on which the last bits of some engines depend.
        """
        recipe = self.recipe
        spec = recipe.spec.to_dict()
        del spec["weights"]  # where they come from; their hash stays
        said = [spec, recipe.embeddings, recipe.dtype, recipe.version]
        found = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        for task in self.tasks:
            found.update(f"\n{task.image.id}\0{task.place}\0".encode() + task.digest)
        return f"{found.hexdigest()}.h5"


@dataclass(frozen=True)
class Receipt:
    """What there is to know of a shard without opening it.

    Attributes
    ----------
    name : str
    size : int
        In bytes.
    sha256 : bytes
        Of the file.
    digests : bytes
        sha256 of the image of each row, 32 bytes a row; zeros where it could not be embedded.
    failures : dict of row to str
        Why.
    few_levels : dict of row to FewLevels
        Images with few grey levels, if the shard was made just now.
    """

    name: str
    size: int
    sha256: bytes
    digests: bytes
    failures: dict[int, str]
    few_levels: dict[int, FewLevels] = field(default_factory=dict)


def rows_of(receipt: Receipt) -> list[bytes]:
    """Give the sha256 of the image in each row; `UNREADABLE` where there is none."""
    return [receipt.digests[at : at + 32] for at in range(0, len(receipt.digests), 32)]


@dataclass(frozen=True)
class Part:
    """Some images that are to be identified; what is known of them from their last time."""

    images: list[ImageFile]
    known: Known


def identify_part(part: Part) -> list[tuple[bytes, Stamp]]:
    """Give digest and stamp of each image; see `identify`."""
    # An object store answers late, but many at once: one by one, reading would be all waiting.
    far = any(is_url(image.folder) for image in part.images)
    with ThreadPoolExecutor(_REQUESTS if far else 1) as pool:
        known = (part.known.get(image.id) for image in part.images)
        return list(pool.map(identify, (image.location for image in part.images), known))


@dataclass(frozen=True)
class Wish:
    """An engine and a precision that may be left to the machine; see `choose_engine`."""

    engine: str | None
    precision: str | None
    device: str
    size: tuple[int, int]


def choose_for(wish: Wish) -> tuple[str, str]:
    """Fill in engine and precision as they are the fastest on this worker."""
    return choose_engine(wish.engine, wish.precision, wish.device, wish.size)


@dataclass(frozen=True)
class Sample:
    """Images on which an int8 backbone is to be calibrated; see `calibrate`."""

    spec: Spec
    files: list[tuple[str, bytes]]
    means: Means


def calibrate_on(sample: Sample) -> Quantization:
    """Measure the ranges of a backbone on a sample."""
    with _FORWARD:
        return calibrate(sample.spec, sample.files, sample.means)


def why_unreadable(image: ImageFile) -> str:
    """Say why an image can't be read here."""
    try:
        with opened(image.location) as content:
            return f"{content.size:,} bytes can be read now"
    except ImageError as error:
        return str(error)


def make_shard(order: Order) -> Receipt:
    """Embed some images and put them into a shard, unless it is there already.

    Raises
    ------
    ClusterError
        If this worker has another version of this package, or doesn't see the folder.
    StoreError
        If the shard can't be written.
    """
    recipe = order.recipe
    if recipe.version != __version__:
        raise ClusterError(
            f"a worker has tlfeatures {__version__}, the command is of {recipe.version}: install "
            "the same version on all machines"
        )
    folder = Folder(recipe.folder)
    if not folder.there:
        raise ClusterError(
            f"a worker doesn't see {recipe.folder}: give a folder that all machines share, or a "
            "URL, as in --shards s3://bucket/folder"
        )
    found = None if order.anew else check_shard((recipe, order.name))
    if found is not None and not _mended(order, found):
        return found
    allow_pixels(recipe.means.max_pixels)
    with _FORWARD:
        values, failures, few_levels = _embedded(order)
    with folder.making(order.name) as path:
        _write(path, order, values, failures)
        return replace(_receipt(order.name, path), few_levels=few_levels)


def check_shard(given: tuple[Recipe, str]) -> Receipt | None:
    """Give the receipt of a shard that is there; None if it is not, is another's or is damaged.

    One that another version of this package made is another's. Every row is read, and compared with
    its checksum.
    """
    recipe, name = given
    try:
        with Folder(recipe.folder).reading(name) as path, store.Reader(path) as reader:
            if path.is_symlink():  # readers of a virtual file follow none
                return None
            header = reader.header
            other = (
                header.spec.differences(recipe.spec)
                or header.spec.augmentation != recipe.spec.augmentation
                or header.embeddings != recipe.embeddings
                or header.dtype != recipe.dtype
                or header.shards is not None
                or version_of(header) != recipe.version
            )
            if other or not all(_sound(reader, table) for table in header.tables):
                return None
            return _receipt(name, path)
    except Exception:  # whatever is said of a file that isn't there, or is no such file
        return None


def version_of(header: store.Header) -> str | None:
    """Give the version of this package that made a file; None where the file doesn't say."""
    versions = header.provenance.get("versions")
    return versions.get("tlfeatures") if isinstance(versions, dict) else None


def _sound(reader: store.Reader, table: str) -> bool:
    rows = np.flatnonzero(reader.header.done)
    if not len(rows):
        return True
    kept = reader.copy_checksums(table, rows)
    values = reader.copy_rows(table, rows)
    return kept is not None and bool((kept == store.checksums(values)).all())


def _receipt(name: str, path: Path) -> Receipt:
    data = path.read_bytes()
    header = store.read_header(path)
    rows = zip(header.digests, header.done.tolist(), strict=True)
    return Receipt(
        name=name,
        size=len(data),
        sha256=hashlib.sha256(data).digest(),
        digests=b"".join(digest if done else UNREADABLE for digest, done in rows),
        failures={row: why for row, why in enumerate(header.reasons) if why},
    )


def _mended(order: Order, found: Receipt) -> bool:
    """Whether an image that could not be read when the shard was made can be now."""
    tasks = (order.tasks[row] for row in found.failures)
    files = ((task, task.image.location, task.digest) for task in tasks)
    spec, limit = order.recipe.spec, order.recipe.means.max_pixels
    decoded = decode_ahead(files, spec.size, max_pixels=limit, value_range=spec.value_range)
    return any(not isinstance(found, ImageError) for _, found in decoded)


def _embedded(
    order: Order,
) -> tuple[list[tuple[list[int], Values]], dict[int, str], dict[int, FewLevels]]:
    """Give rows with their values, batch by batch; why others failed; which have few levels."""
    spec, means = order.recipe.spec, order.recipe.means
    failed: list[tuple[Task, ImageError]] = []
    few_levels: list[tuple[Task, FewLevels]] = []
    row_of = {task.place: row for row, task in enumerate(order.tasks)}
    files = ((task, task.image.location, task.digest) for task in order.tasks)
    decoded = decode_ahead(
        files,
        spec.size,
        spec.augmentation,
        max_pixels=means.max_pixels,
        value_range=spec.value_range,
    )
    values = [
        ([row_of[task.place] for task in tasks], made)
        for tasks, made in _forward(order, readable(decoded, failed, few_levels))
    ]
    failures = {row_of[task.place]: str(error) for task, error in failed}
    return values, failures, {row_of[task.place]: few for task, few in few_levels}


def _forward(
    order: Order, images: Iterator[tuple[Task, Pixels]]
) -> Iterator[tuple[list[Task], Values]]:
    recipe = order.recipe
    backbone = load_backbone(
        recipe.spec,
        list(recipe.embeddings),
        device=recipe.means.device,
        threads=threads_of_worker(),
    )
    # Batches have the shapes that they have in a run on one machine that nothing cuts off.
    passes = recipe.extent * (1 + recipe.spec.variants)
    most = batch_size_for(passes, recipe.means.batch_size, backbone.most)
    return Forward(backbone, most).all(images)


def _write(
    path: Path, order: Order, batches: list[tuple[list[int], Values]], failures: dict[int, str]
) -> None:
    recipe = order.recipe
    manifest = Manifest(
        [task.image for task in order.tasks],
        [task.digest for task in order.tasks],
        [UNKNOWN] * len(order.tasks),
    )
    # What is put to a URL is made in a temporary folder, which is what has no room then.
    named = path if is_url(recipe.folder) else Path(recipe.folder, order.name)
    store.create(path, manifest, recipe.spec, recipe.embeddings, recipe.dtype, named=named)
    with store.Writer(path, named=named) as writer:
        if batches:
            rows = [row for part, _ in batches for row in part]
            whole = {
                name: np.concatenate([made[name] for _, made in batches])
                for name in recipe.embeddings
            }
            variants = {name: value[:, 1:] for name, value in whole.items()}
            writer.write(rows, {name: value[:, 0] for name, value in whole.items()}, variants)
        for row, reason in failures.items():
            writer.fail([row], reason)
