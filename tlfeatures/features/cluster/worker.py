"""The functions that run on workers: identify images, calibrate, embed images into a shard.

A shard is an embeddings file of some hundred images. Its name is a hash of the order, so that a
repeated call creates the same file. It appears in its folder when it is complete. Only its receipt
is returned to the client.
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
from tlfeatures.features.cluster.orders import Receipt, Recipe, ShardOrder
from tlfeatures.features.embed import Batch, ComputeOptions, Embedder, EmbeddingRun
from tlfeatures.features.engines.choose import Request, choose_engine
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.reader import Reader, open_embeddings, read_header
from tlfeatures.features.file.writer import Writer, checksums
from tlfeatures.features.images.identify import UNKNOWN, UNREADABLE, Manifest, Stamp, identify
from tlfeatures.features.images.read_ahead import Decoding, ImageToRead, read_ahead
from tlfeatures.features.images.reading import open_content
from tlfeatures.features.plan import Task
from tlfeatures.features.sources.locations import Folder, is_url
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.spec import Spec

_REQUESTS = 16  # simultaneous requests of a worker to an object store
_FORWARD = threading.Lock()  # a process has one backbone, which is used by one call at a time


def identify_images(
    images: list[tuple[ImageRecord, tuple[Stamp, bytes] | None]],
) -> list[tuple[bytes, Stamp]]:
    """Identify images, of which each may come with its stamp and digest from an earlier run.

    Returns
    -------
    list of (digest, stamp)
        See `identify`.
    """
    # An object store answers slowly, but many requests at once.
    remote = any(is_url(image.place_path) for image, _ in images)
    with ThreadPoolExecutor(_REQUESTS if remote else 1) as pool:
        return list(pool.map(identify, *zip(*images, strict=True)))


def choose_engine_on_worker(request: Request) -> tuple[str, str]:
    """Choose engine and precision for this worker; see `choose_engine`."""
    return choose_engine(request)


def calibrate_on_worker(
    arguments: tuple[Spec, list[ImageToRead[str]], ComputeOptions],
) -> Quantization:
    """Measure the ranges of an int8 backbone on a sample; see `calibrate`."""
    with _FORWARD:
        return calibrate(*arguments)


def why_unreadable(image: ImageRecord) -> str:
    """Return the reason why this worker cannot read an image."""
    try:
        with open_content(image.location) as content:
            return f"{content.size:,} bytes can be read now"
    except ImageError as error:
        return str(error)


def create_shard(order: ShardOrder) -> Receipt:
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
    receipt = None if order.replace else check_shard((recipe, order.name))
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
    """Return the receipt of a shard that exists already and fits a recipe.

    Every row is read and compared with its checksum.

    Parameters
    ----------
    name : (Recipe, str)
        The recipe, and the name of the shard's file.

    Returns
    -------
    Receipt or None
        None if there is no such shard, if it is damaged, or if it was created by another recipe or
        another version of this package.
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
    """Return the version of this package that created a file; None if it is not recorded."""
    version: str | None = header.provenance["versions"].get("tlfeatures")
    return version


def _is_sound(reader: Reader) -> bool:
    """Whether the values of every finished row fit their checksums."""
    rows = np.flatnonzero(reader.header.done)
    return not len(rows) or all(
        np.array_equal(reader.copy_checksums(table, rows), checksums(reader.copy_rows(table, rows)))
        for table in reader.header.tables
    )


def _receipt(name: str, path: Path) -> Receipt:
    data = path.read_bytes()
    header = read_header(path)
    rows = zip(header.digests, header.done.tolist(), strict=True)
    return Receipt(
        name=name,
        size=len(data),
        sha256=hashlib.sha256(data).digest(),
        digests=[digest if done else UNREADABLE for digest, done in rows],
        failures={row: reason for row, reason in enumerate(header.reasons) if reason},
    )


def _can_be_read_now(order: ShardOrder, receipt: Receipt) -> bool:
    """Whether an image that could not be read when the shard was created can be read now."""
    spec, options = order.recipe.spec, order.recipe.options
    decoding = Decoding(spec.size, None, spec.value_range, options.max_pixels)
    images = _images_of(order.tasks[row] for row in receipt.failures)
    return any(not isinstance(result, ImageError) for _, result in read_ahead(images, decoding))


def _images_of(tasks: Iterable[Task]) -> Iterator[ImageToRead[Task]]:
    return (ImageToRead.of(task, task.image, task.digest) for task in tasks)


def _start(order: ShardOrder) -> EmbeddingRun[Task]:
    """Start to embed the images of a shard, in batches of the shapes of a run on one machine."""
    recipe = order.recipe
    options = replace(recipe.options, threads=threads_of_worker())
    embedder = Embedder(recipe.spec, list(recipe.embeddings), options)
    images = _images_of(order.tasks)
    return EmbeddingRun(embedder, images, recipe.extent, place=attrgetter("place"))


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
    # A shard at a URL is written in a temporary folder, which an error then names.
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
            properties = np.concatenate([batch.properties for batch in batches])
            whole = Batch(rows, values, properties)
            writer.write(rows, whole.images, whole.variants, whole.properties)
        for task, error in run.failures:
            writer.fail([row_of[task.place]], str(error))
