"""The functions that run on workers: identify images, calibrate, embed images into a shard.

A shard is an embeddings file of some hundred images. Its name is a hash of the order, so that a
call that is made twice makes the same file. It appears in its folder whole or not at all. Only its
receipt comes back to the client.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import numpy as np

from tlfeatures import __version__
from tlfeatures.errors import ClusterError, ImageError
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.calibrate import calibrate
from tlfeatures.features.cluster.client import threads_of_worker
from tlfeatures.features.cluster.orders import (
    CalibrationOrder,
    EngineOrder,
    IdentifyOrder,
    Receipt,
    Recipe,
    ShardOrder,
)
from tlfeatures.features.embed import Batch, Embedder, EmbeddingRun
from tlfeatures.features.engines.choose import choose_engine
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.reader import Reader, open_embeddings, read_header
from tlfeatures.features.file.writer import Writer, checksums
from tlfeatures.features.images.identify import UNKNOWN, UNREADABLE, Manifest, Stamp, identify
from tlfeatures.features.images.read_ahead import Decoding, ImageToRead, read_ahead
from tlfeatures.features.images.reading import open_content
from tlfeatures.features.plan import Task
from tlfeatures.features.sources.folders import ImageFile
from tlfeatures.features.sources.locations import Folder, is_url

_REQUESTS = 16  # simultaneous requests of a worker to an object store
_FORWARD = threading.Lock()  # a process has one backbone, and makes one call of it at a time


def identify_images(order: IdentifyOrder) -> list[tuple[bytes, Stamp]]:
    """Give the digest and the stamp of each image; see `identify`."""
    # An object store answers slowly, but many requests at once.
    remote = any(is_url(image.folder) for image in order.images)
    with ThreadPoolExecutor(_REQUESTS if remote else 1) as pool:
        known = (order.known.get(image.id) for image in order.images)
        return list(pool.map(identify, (image.location for image in order.images), known))


def choose_engine_here(order: EngineOrder) -> tuple[str, str]:
    """Choose the engine and the precision that are the fastest on this worker."""
    return choose_engine(order.engine, order.precision, order.device, order.size)


def calibrate_here(order: CalibrationOrder) -> Quantization:
    """Measure the ranges of an int8 backbone on a sample."""
    with _FORWARD:
        return calibrate(order.spec, order.files, order.options)


def why_unreadable(image: ImageFile) -> str:
    """Say why this worker cannot read an image."""
    try:
        with open_content(image.location) as content:
            return f"{content.size:,} bytes can be read now"
    except ImageError as error:
        return str(error)


def make_shard(order: ShardOrder) -> Receipt:
    """Embed images into a shard, unless it exists already.

    Raises
    ------
    ClusterError
        If this worker has another version of this package, or does not see the folder.
    StoreError
        If the shard cannot be written.
    """
    recipe = order.recipe
    if recipe.version != __version__:
        raise ClusterError(
            f"a worker has tlfeatures {__version__}, the command is of {recipe.version}: install "
            "the same version on all machines"
        )
    folder = Folder(recipe.folder)
    if not folder.exists:
        raise ClusterError(
            f"a worker doesn't see {recipe.folder}: give a folder that all machines share, or a "
            "URL, as in --shards s3://bucket/folder"
        )
    receipt = None if order.anew else check_shard((recipe, order.name))
    if receipt is not None and not _can_be_read_now(order, receipt):
        return receipt
    with _FORWARD:
        run = _start(order)
        batches = list(run.batches())
    row_of = {task.place: row for row, task in enumerate(order.tasks)}
    with folder.writing(order.name) as path:
        _write(path, order, batches, run, row_of)
        few_levels = {row_of[task.place]: few for task, few in run.few_levels}
        return replace(_receipt(order.name, path), few_levels=few_levels)


def check_shard(name: tuple[Recipe, str]) -> Receipt | None:
    """Give the receipt of a shard that exists already and fits a recipe.

    Every row is read and compared with its checksum.

    Parameters
    ----------
    name : (Recipe, str)
        The recipe, and the name of the shard's file.

    Returns
    -------
    Receipt or None
        None if there is no such shard, if it is damaged, or if another recipe or another version
        of this package made it.
    """
    recipe, file_name = name
    try:
        with Folder(recipe.folder).reading(file_name) as path, open_embeddings(path) as reader:
            if path.is_symlink():  # readers of a sharded file follow no links
                return None
            if not _fits(reader.header, recipe) or not _is_sound(reader):
                return None
            return _receipt(file_name, path)
    except Exception:  # whatever is wrong with the file, it is no such shard
        return None


def _fits(header: Header, recipe: Recipe) -> bool:
    return (
        not header.spec.differences(recipe.spec)
        and header.spec.augmentation == recipe.spec.augmentation
        and header.embeddings == recipe.embeddings
        and header.dtype == recipe.dtype
        and header.shards is None
        and version_of(header) == recipe.version
    )


def version_of(header: Header) -> str | None:
    """Give the version of this package that made a file; None where the file does not say."""
    versions = header.provenance.get("versions")
    return versions.get("tlfeatures") if isinstance(versions, dict) else None


def _is_sound(reader: Reader) -> bool:
    """Whether every finished row has the values that its checksum says."""
    rows = np.flatnonzero(reader.header.done)
    if not len(rows):
        return True
    for table in reader.header.tables:
        stored = reader.copy_checksums(table, rows)
        computed = checksums(reader.copy_rows(table, rows))
        if not np.array_equal(stored, computed):
            return False
    return True


def _receipt(name: str, path: Path) -> Receipt:
    data = path.read_bytes()
    header = read_header(path)
    rows = zip(header.digests, header.done.tolist(), strict=True)
    return Receipt(
        name=name,
        size=len(data),
        sha256=hashlib.sha256(data).digest(),
        digests=b"".join(digest if done else UNREADABLE for digest, done in rows),
        failures={row: why for row, why in enumerate(header.reasons) if why},
    )


def _can_be_read_now(order: ShardOrder, receipt: Receipt) -> bool:
    """Whether an image that could not be read when the shard was made can be read now."""
    spec, options = order.recipe.spec, order.recipe.options
    decoding = Decoding(spec.size, None, spec.value_range, options.max_pixels)
    images = _images_of(order.tasks[row] for row in receipt.failures)
    return any(not isinstance(result, ImageError) for _, result in read_ahead(images, decoding))


def _images_of(tasks: Iterable[Task]) -> Iterator[ImageToRead[Task]]:
    return (ImageToRead(task, task.image.location, task.digest) for task in tasks)


def _start(order: ShardOrder) -> EmbeddingRun[Task]:
    """Start to embed the images of a shard, in batches of the shapes of a run on one machine."""
    recipe = order.recipe
    options = replace(recipe.options, threads=threads_of_worker())
    embedder = Embedder(recipe.spec, list(recipe.embeddings), options)
    return embedder.run(_images_of(order.tasks), recipe.extent, place=attrgetter("place"))


def _write(
    path: Path,
    order: ShardOrder,
    batches: list[Batch[Task]],
    run: EmbeddingRun[Task],
    row_of: dict[int, int],
) -> None:
    recipe = order.recipe
    manifest = Manifest(
        [task.image for task in order.tasks],
        [task.digest for task in order.tasks],
        [UNKNOWN] * len(order.tasks),
    )
    # A shard at a URL is made in a temporary folder. An error names the place that has no room.
    named = path if is_url(recipe.folder) else Path(recipe.folder, order.name)
    contents = Contents(manifest, recipe.spec, recipe.embeddings, recipe.dtype)
    create(path, contents, named=named)
    with Writer(path, named=named) as writer:
        if batches:
            rows = [row_of[task.place] for batch in batches for task in batch.keys]
            values = {
                name: np.concatenate([batch.values[name] for batch in batches])
                for name in recipe.embeddings
            }
            images = {name: value[:, 0] for name, value in values.items()}
            writer.write(rows, images, {name: value[:, 1:] for name, value in values.items()})
        for task, error in run.failures:
            writer.fail([row_of[task.place]], str(error))
