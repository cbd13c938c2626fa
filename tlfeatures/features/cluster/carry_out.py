"""A plan carried out in shards: made by workers of a cluster or here, put together here.

What comes back of a worker is a receipt. A run that was cut off, wherever, finds the shards that it
had made in their folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures import __version__
from tlfeatures.errors import (
    ClusterError,
    ImageError,
    SourceError,
    StoppedError,
    StoreError,
)
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.calibrate import IMAGES
from tlfeatures.features.cluster.client import Cluster, Here
from tlfeatures.features.cluster.worker import (
    Order,
    Part,
    Receipt,
    Recipe,
    Sample,
    Wish,
    calibrate_on,
    check_shard,
    choose_for,
    identify_part,
    make_shard,
    rows_of,
    version_of,
    why_unreadable,
)
from tlfeatures.features.engines.choose import choose_engine
from tlfeatures.features.engines.engine import BATCH_SIZE
from tlfeatures.features.file import store
from tlfeatures.features.file.shard_folder import (
    is_shard,
    remove_own_shards,
    remove_shards,
    shard_of,
)
from tlfeatures.features.file.sharded import Shards, has_own_shards, shards_folder
from tlfeatures.features.images.few_levels import FewLevels
from tlfeatures.features.images.identify import UNREADABLE, Known, Manifest
from tlfeatures.features.plan import Choose, Means, Plan, Task
from tlfeatures.features.run import (
    Measure,
    Outcome,
    Watch,
    calibrated,
    check_writable,
    count_unique,
    first_few,
    ids_of_few_levels,
    open_target,
    reasons,
    remove_taken_over,
    settled,
)
from tlfeatures.features.sources.folders import ImageFile, list_images
from tlfeatures.features.sources.locations import Folder, absolute, is_url
from tlfeatures.features.spec import Spec
from tlfeatures.files import move, replacing

logger = logging.getLogger(__name__)

_PART = 256  # images of a call that identifies
_SHARD_IMAGES, _SHARD_BYTES = 512, 64 * 2**20
_SHARDS_A_THREAD = 16  # of few images: threads end at about the same time, a kill costs little
_GPU_BATCH = 256
_TRIES = 3
_PATIENCE = (0.0, 1.0, 3.0, 10.0)  # seconds before each look at a folder
_SAMPLED = 8 * IMAGES  # sent to be calibrated on: some may be unreadable


def identified(
    cluster: Cluster | Here, source: str | os.PathLike[str], known: Known | None, watch: Watch
) -> Manifest:
    """List a folder here, and let the workers read and identify its images.

    Raises
    ------
    SourceError
        If no worker can read any.
    """
    images = list(list_images(absolute(source)))
    logger.info("the workers tell %d images apart", len(images))
    starts = range(0, len(images), _PART)
    made = {
        part.images[0].id: found
        for part, found in cluster.each(
            identify_part,
            (_part(images[start : start + _PART], known or {}) for start in starts),
            stop=watch.stop,
        )
    }
    if len(made) < len(starts):
        raise StoppedError("Stopped while the images were being read, nothing is lost")
    found = [each for start in starts for each in made[images[start].id]]
    if found and all(digest == UNREADABLE for digest, _ in found):
        why = cluster.first(why_unreadable, images[0])
        raise SourceError(
            f"no worker can read any image of {absolute(source)} ({images[0].id}: {why}): give a "
            "folder that all machines share under this path, or a URL, as in s3://bucket/photos"
        )
    return Manifest(images, [digest for digest, _ in found], [stamp for _, stamp in found])


def _part(images: list[ImageFile], known: Known) -> Part:
    return Part(images, {image.id: known[image.id] for image in images if image.id in known})


def chosen_on(cluster: Cluster | Here) -> Choose:
    """Let a worker fill in engine and precision: it computes, and has what is installed there."""

    def choose(
        engine: str | None,
        precision: str | None,
        device: str,
        size: tuple[int, int],
        old: Spec | None = None,
    ) -> tuple[str, str]:
        if old is not None:  # the file's
            return choose_engine(engine, precision, device, size, old)
        wish = Wish(engine, precision, device, size)
        return cluster.first(choose_for, wish, cluster.resources(device))

    return choose


def _measured_on(cluster: Cluster | Here) -> Measure:
    """Let a worker calibrate: it has the engine, and sees the images."""

    def measure(spec: Spec, files: Iterable[tuple[str, bytes]], means: Means) -> Quantization:
        sample = Sample(spec, list(islice(files, _SAMPLED)), means)
        return cluster.first(calibrate_on, sample, cluster.resources(means.device))

    return measure


def carry_out_on(
    cluster: Cluster | Here,
    plan: Plan,
    provenance: dict[str, Any],
    means: Means,
    watch: Watch,
    shards: str | os.PathLike[str] | None,
) -> Outcome:
    """Let the workers make what the file lacks, and make the file of it.

    Parameters
    ----------
    cluster : Cluster or Here
    shards : path or URL, optional
        Where the shards are made, if not beside the file.

    Raises
    ------
    SourceError
        If no image can be read.
    StoppedError, ClusterError
        Each says how many images are safe in the shards.
    """
    check_writable(plan)
    folder, beside = _folder(plan, shards)
    if plan.tasks:
        folder.make()
        plan = calibrated(with_ranges(plan, folder), means, _measured_on(cluster))
    recipe = Recipe(folder.location, plan.spec, plan.embeddings, plan.dtype, plan.extent, means)
    work = _Work(cluster, plan, recipe, folder, watch)
    if plan.tasks:
        work.carry_out()
    failures = reasons(plan, work.failed)
    if work.failed and len(work.failed) == count_unique(plan.manifest):
        # Nothing is removed: if the folder is the wrong one, shards of the right one may be there.
        raise SourceError(f"no image can be read: {first_few(failures)}")
    known = settled(plan, failures) if not work.receipts else None
    if known:
        work.tidy(work.held)
        return known
    provenance = {**provenance, **work.versions()}
    virtual = beside and all(_is_virtual(plan, path) for path in plan.sources)
    done = _put_beside(plan, provenance, work) if virtual else _put_into(plan, provenance, work)
    remove_taken_over(plan)
    passes = work.computed * (1 + plan.spec.variants)
    name = Path(folder.location).name if virtual else None
    few_levels = ids_of_few_levels(plan, work.few_levels)
    return Outcome(work.computed, passes, done, failures, name, few_levels)


def _folder(plan: Plan, shards: str | os.PathLike[str] | None) -> tuple[Folder, bool]:
    """Give the folder of the shards, and whether it is the one beside the file.

    Elsewhere it is one of this file alone in that which was given: another file's may be there.
    """
    own = shards_folder(plan.target)
    given = str(own) if shards is None else absolute(shards)
    if not is_url(given) and Path(given).resolve() == own.resolve():
        return Folder(str(own)), True
    number = hashlib.sha256(str(plan.target).encode()).hexdigest()[:8]
    return Folder(f"{given}/{plan.target.name}-{number}.shards"), False


def with_ranges(plan: Plan, folder: Folder) -> Plan:
    """Let an int8 backbone have the ranges of a run that was cut off, so that its shards stand."""
    if plan.spec.precision != "int8" or plan.spec.quantization is not None:
        return plan
    for name in folder.sizes():
        with contextlib.suppress(StoreError), folder.reading(name) as path:
            header = store.read_header(path) if is_shard(name) else None
            if header is None or version_of(header) != __version__:
                continue
            spec = header.spec
            if spec.quantization and not replace(spec, quantization=None).differences(plan.spec):
                return replace(plan, spec=replace(plan.spec, quantization=spec.quantization))
    return plan


def _is_virtual(plan: Plan, source: Path) -> bool:
    return source == plan.target and plan.current is not None and has_own_shards(plan.current)


class _Work:
    """The shards of a run: which there are, which are to be made, what came of it.

    Attributes
    ----------
    held : set of str
        Shards that the file had already.
    receipts : dict of shard to Receipt
        Of all that were found or made, and hold an image.
    failed : list of (Task, ImageError)
    few_levels : list of (Task, FewLevels)
    computed : int
        Images that were embedded now.
    """

    def __init__(
        self,
        cluster: Cluster | Here,
        plan: Plan,
        recipe: Recipe,
        folder: Folder,
        watch: Watch,
    ) -> None:
        self._cluster, self._plan, self._recipe = cluster, plan, recipe
        self.folder, self._watch = folder, watch
        current = plan.current
        own = current.shards if current and has_own_shards(current) else None
        self.held = set(own.names if own else ())
        self._left = {task.place: task for task in plan.tasks}
        self._found = 0  # images
        self.receipts: dict[str, Receipt] = {}
        self.failed: list[tuple[Task, ImageError]] = []
        self.few_levels: list[tuple[Task, FewLevels]] = []
        self.computed = 0

    def carry_out(self) -> None:
        """Have all made that there isn't."""
        try:
            self._find()
            self._make()
        except ClusterError as error:
            raise ClusterError(f"{error}. {self._how_far()}; run the command again") from error

    def _find(self) -> None:
        """Take what earlier runs made and no file holds yet."""
        names = sorted(name for name in set(self.folder.sizes()) - self.held if is_shard(name))
        place_of = {task.digest: place for place, task in self._left.items()}
        place_of.pop(UNREADABLE, None)
        checks = ((self._recipe, name) for name in names)
        for _, receipt in self._cluster.each(check_shard, checks, stop=self._watch.stop):
            digests = [] if receipt is None else rows_of(receipt)
            places = [place_of[each] for each in digests if each in place_of]
            new = [place for place in places if self._left.pop(place, None)]
            if receipt is not None and new:
                self.receipts[receipt.name] = receipt
        self._found = self._done
        if self.receipts:
            logger.info("%d images are in shards of an earlier run", self._found)

    @property
    def _done(self) -> int:
        return len(self._plan.tasks) - len(self._left)

    def _make(self) -> None:
        """Let the workers make the rest; what is gone again by the end is made again."""
        for _ in range(_TRIES):
            orders = {order.name: order for order in self._orders()}
            self._send(orders)
            lost = self._lost([name for name in self.receipts if name in orders])
            if not lost:
                return
            for name in lost:
                self._give_back(orders[name])
        raise StoreError(
            f"shards in {self.folder.location} don't stay as they were made: look who else writes "
            "there"
        )

    def _lost(self, names: Sequence[str]) -> list[str]:
        """Which aren't there as their receipts say; a shared folder may show them late."""
        for wait in _PATIENCE:
            time.sleep(wait)
            sizes = self.folder.sizes()
            lost = [name for name in names if sizes.get(name) != self.receipts[name].size]
            if not any(name not in sizes for name in lost):
                break
        return lost

    def _orders(self) -> Iterator[Order]:
        most = self._images_a_shard()
        left = (self._left[place] for place in sorted(self._left))
        for _, group in groupby(left, key=lambda task: task.place // most):
            # Whole images, whatever of them is in the file: a row is in one shard.
            tasks = [replace(task, embedded=False, rows=[]) for task in group]
            order = Order(self._recipe, tasks)
            # What the file has and holds for not done, as `verify --mend` does, is not good.
            yield replace(order, anew=order.name in self.held)

    def _images_a_shard(self) -> int:
        """Give a multiple of a batch, so that batches are those of a run on one machine."""
        recipe = self._recipe
        resources = self._cluster.resources(recipe.means.device)
        threads = max(self._cluster.threads_for(resources), 1)
        parts = 1 + recipe.spec.variants
        row = sum(recipe.embeddings.values()) * parts * np.dtype(recipe.dtype).itemsize
        fair = -(-len(self._left) // (_SHARDS_A_THREAD * threads))
        asked = recipe.means.batch_size
        usual = _GPU_BATCH if resources else BATCH_SIZE
        batch = max((asked if isinstance(asked, int) else usual) // parts, 1)
        most = min(_SHARD_IMAGES, _SHARD_BYTES // row, fair)
        return batch * max(most // batch, 1)

    def _send(self, orders: dict[str, Order]) -> None:
        resources = self._cluster.resources(self._recipe.means.device)
        calls = self._cluster.each(
            make_shard, orders.values(), resources=resources, stop=self._watch.stop
        )
        for order, receipt in calls:
            self._take(order, receipt)
            total = len(self._plan.tasks)
            self._watch.progress(self._done - self._found, total - self._found)
        if self._left:
            raise StoppedError(f"Stopped: {self._how_far()}")

    def _take(self, order: Order, receipt: Receipt) -> None:
        for row, why in receipt.failures.items():
            task = self._left[order.tasks[row].place]
            self.failed.append((task, ImageError(why)))
        self.few_levels += [(order.tasks[row], few) for row, few in receipt.few_levels.items()]
        for each in order.tasks:
            del self._left[each.place]
        computed = len(order.tasks) - len(receipt.failures)
        self.computed += computed
        if computed:
            self.receipts[receipt.name] = receipt

    def _give_back(self, order: Order) -> None:
        receipt = self.receipts.pop(order.name)
        self.computed -= len(order.tasks) - len(receipt.failures)
        places = {task.place for task in order.tasks}
        self.failed = [(task, why) for task, why in self.failed if task.place not in places]
        self.few_levels = [each for each in self.few_levels if each[0].place not in places]
        self._left |= {task.place: task for task in self._plan.tasks if task.place in places}

    def _how_far(self) -> str:
        return (
            f"{self._done:,} of {len(self._plan.tasks):,} images are safe in {self.folder.location}"
        )

    def versions(self) -> dict[str, Any]:
        """Of the libraries on a worker: they made it, and not those here."""
        current = self._plan.current
        made_by = current.provenance if current else {}
        for name in list(self.receipts)[-1:]:
            with self.folder.reading(name) as path:
                made_by = store.read_header(path).provenance
        return {"versions": made_by["versions"]} if "versions" in made_by else {}

    def tidy(self, kept: Collection[str]) -> None:
        """Remove what nothing refers to, and what killed workers left.

        The folder is this file's: what else is there, a run that was cut off has made. Copies of
        the file under other names may refer to some, too.
        """
        names = {name for name in self.folder.sizes() if shard_of(name) is not None}
        remove_shards(self._plan.target, self.folder, names - set(kept))


# ---- the file


def _put_beside(plan: Plan, provenance: dict[str, Any], work: _Work) -> int:
    """Make a virtual file over the shards; how many rows are done."""
    shards = _shards(plan, list(work.receipts.values()), Path(work.folder.location).name)
    why = {row: str(error) for task, error in work.failed for row in task.rows}
    with replacing(plan.target) as fresh:
        store.create_virtual(
            fresh,
            plan.manifest,
            plan.spec,
            plan.embeddings,
            plan.dtype,
            provenance,
            shards,
            why,
            named=plan.target,
        )
    work.tidy(shards.names)
    return int((shards.place[:, 0] >= 0).sum())


def _shards(plan: Plan, receipts: Sequence[Receipt], folder: str) -> Shards:
    """Find each row's place: in the shards that the file had, then in those that came now."""
    known: list[tuple[str, int, bytes]] = []
    where: dict[bytes, tuple[int, int]] = {}
    current = plan.current
    if (
        current
        and current.shards
        and has_own_shards(current)
        and store.has_all(current, plan.embeddings, plan.spec)
    ):
        old = current.shards
        known += zip(old.names, old.sizes, old.sha256, strict=True)
        for row in np.flatnonzero(current.done).tolist():
            where[current.digests[row]] = tuple(old.place[row].tolist())
    for number, receipt in enumerate(receipts, len(known)):
        known.append((receipt.name, receipt.size, receipt.sha256))
        for row, digest in enumerate(rows_of(receipt)):
            where.setdefault(digest, (number, row))
    where.pop(UNREADABLE, None)
    nowhere = (-1, -1)
    place = np.array([where.get(digest, nowhere) for digest in plan.manifest.digests], np.int64)
    used = np.unique(place[place[:, 0] >= 0, 0])
    place[:, 0] = np.where(place[:, 0] >= 0, np.searchsorted(used, place[:, 0]), -1)
    kept = [known[number] for number in used.tolist()]
    return Shards(
        folder,
        [name for name, _, _ in kept],
        [size for _, size, _ in kept],
        [sha256 for _, _, sha256 in kept],
        place,
    )


def _put_into(plan: Plan, provenance: dict[str, Any], work: _Work) -> int:
    """Put the rows of the shards into the file itself, and let go of them; rows done."""
    with open_target(plan, provenance) as writer:
        for name in work.receipts:
            with work.folder.reading(name) as path:
                writer.carry(path)
        for task, error in work.failed:
            writer.fail(task.rows, str(error))
    done = _check_rows(plan, writer.path, work)
    if writer.path != plan.target:
        move(writer.path, plan.target)
        if plan.current is not None:
            remove_own_shards(plan.current)
    work.tidy(())
    return done


def _check_rows(plan: Plan, path: Path, work: _Work) -> int:
    """Count the rows that are done in the file, once it is on the disk.

    Raises
    ------
    StoreError
        If it lacks rows of the shards, or of the file that it replaces: then these must stay.
    """
    given = {digest for receipt in work.receipts.values() for digest in rows_of(receipt)}
    current = plan.current
    if current is not None and store.has_all(current, plan.embeddings, plan.spec):
        given |= current.done_digests()
    given.discard(UNREADABLE)
    made = store.read_header(path)
    rows = zip(made.digests, made.done.tolist(), strict=True)
    lost = sum(digest in given and not done for digest, done in rows)
    if lost:
        raise StoreError(
            f"{path} lacks {lost:,} rows that the shards in {work.folder.location} should have: "
            "nothing is removed; run the same command again, which computes them"
        )
    return int(made.done.sum())
