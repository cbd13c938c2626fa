"""The shards of one run: those that exist, those that workers create, and their receipts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from tlfeatures.errors import ClusterError, ImageError, StoppedError, StoreError
from tlfeatures.features.cluster.client import Workers
from tlfeatures.features.cluster.orders import Receipt, Recipe, ShardOrder
from tlfeatures.features.cluster.worker import check_shard, create_shard
from tlfeatures.features.engines.engine import BATCH_SIZE
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.file.shard_folder import is_shard, remove_shards, shard_of
from tlfeatures.features.images.few_levels import FewLevels
from tlfeatures.features.images.identify import UNREADABLE
from tlfeatures.features.plan import Plan, Task
from tlfeatures.features.sources.locations import Folder
from tlfeatures.progress import Progress

logger = logging.getLogger(__name__)

_SHARD_IMAGES, _SHARD_BYTES = 512, 64 * 2**20
_SHARDS_A_THREAD = 16  # so many that threads end at the same time, and a kill loses few images
_GPU_BATCH = 256
_TRIES = 3
_WAITS = (0.0, 1.0, 3.0, 10.0)  # seconds before a folder is listed again


class ShardRun:
    """The shards that a plan needs.

    Parameters
    ----------
    workers : Cluster or ThisProcess
    plan : Plan
    recipe : Recipe
    folder : Folder
        The folder of the shards.
    progress : callable (images done, images to do)
        Called after each shard.
    stop : callable () -> bool
        Called regularly; true ends the run.

    Attributes
    ----------
    old : set of str
        Names of the shards that the file has already.
    receipts : dict of shard name to Receipt
        Shards of this run and of earlier ones that hold an image.
    failures : list of (Task, ImageError)
        Images that could not be embedded.
    few_levels : list of (Task, FewLevels)
        Images embedded now that have few grey levels.
    computed : int
        Number of images embedded now.
    """

    def __init__(
        self,
        workers: Workers,
        plan: Plan,
        recipe: Recipe,
        folder: Folder,
        progress: Progress,
        stop: Callable[[], bool],
    ) -> None:
        self._workers, self._plan, self._recipe = workers, plan, recipe
        self.folder, self._progress, self._stop = folder, progress, stop
        current = plan.current
        own = current.shards if current and current.has_own_shards else None
        self.old = set(own.names if own else ())
        self._left = {task.place: task for task in plan.tasks}
        self._reused = 0  # images in shards of an earlier run
        self.receipts: dict[str, Receipt] = {}
        self.failures: list[tuple[Task, ImageError]] = []
        self.few_levels: list[tuple[Task, FewLevels]] = []
        self.computed = 0

    def carry_out(self) -> None:
        """Use the shards of earlier runs, and let workers create the others.

        Raises
        ------
        StoppedError, ClusterError
            The message says how many images are in the shards.
        """
        try:
            self._reuse()
            self._create()
        except ClusterError as error:
            raise ClusterError(f"{error}. {self._how_far()}; run the command again") from error

    def _reuse(self) -> None:
        """Use the shards of interrupted runs, which belong to no file yet."""
        names = sorted(name for name in set(self.folder.sizes()) - self.old if is_shard(name))
        place_of = {task.digest: place for place, task in self._left.items()}
        place_of.pop(UNREADABLE, None)
        checks = ((self._recipe, name) for name in names)
        for _, receipt in self._workers.map_unordered(check_shard, checks, stop=self._stop):
            digests = [] if receipt is None else receipt.digests
            places = [place_of[digest] for digest in digests if digest in place_of]
            new = [place for place in places if self._left.pop(place, None)]
            if receipt is not None and new:
                self.receipts[receipt.name] = receipt
        self._reused = self._done
        if self.receipts:
            logger.info("%d images are in shards of an earlier run", self._reused)

    @property
    def _done(self) -> int:
        return len(self._plan.tasks) - len(self._left)

    def _create(self) -> None:
        """Let the workers create the other shards; one that is missing at the end is repeated."""
        for _ in range(_TRIES):
            orders = {order.name: order for order in self._orders()}
            self._send(orders)
            lost = self._lost([name for name in self.receipts if name in orders])
            if not lost:
                return
            for name in lost:
                self._take_back(orders[name])
        raise StoreError(
            f"shards in {self.folder.location} were changed after they were written: make sure "
            "that nothing else writes into this folder"
        )

    def _lost(self, names: Sequence[str]) -> list[str]:
        """Return the shards that differ from their receipts; a shared folder may need some time."""
        for wait in _WAITS:
            time.sleep(wait)
            sizes = self.folder.sizes()
            lost = [name for name in names if sizes.get(name) != self.receipts[name].size]
            if not any(name not in sizes for name in lost):
                break
        return lost

    def _orders(self) -> Iterator[ShardOrder]:
        most = self._images_a_shard()
        left = (self._left[place] for place in sorted(self._left))
        for _, group in groupby(left, key=lambda task: task.place // most):
            # A row is in one shard: a shard has all embeddings of its images.
            tasks = [replace(task, variants_only=False, rows=[]) for task in group]
            order = ShardOrder(self._recipe, tasks)
            # `verify --mend` marks the rows of a damaged shard of the file as not done.
            yield replace(order, replace=order.name in self.old)

    def _images_a_shard(self) -> int:
        """Return a multiple of a batch, so that batches are those of a run on one machine."""
        recipe = self._recipe
        resources = self._workers.resources(recipe.options.device)
        threads = max(self._workers.threads_for(resources), 1)
        parts = 1 + recipe.spec.variants
        row_bytes = sum(recipe.embeddings.values()) * parts * np.dtype(recipe.dtype).itemsize
        fair = -(-len(self._left) // (_SHARDS_A_THREAD * threads))
        size = recipe.options.batch_size
        default = _GPU_BATCH if resources else BATCH_SIZE
        batch = max((size if isinstance(size, int) else default) // parts, 1)
        most = min(_SHARD_IMAGES, _SHARD_BYTES // row_bytes, fair)
        return batch * max(most // batch, 1)

    def _send(self, orders: dict[str, ShardOrder]) -> None:
        resources = self._workers.resources(self._recipe.options.device)
        calls = self._workers.map_unordered(
            create_shard, orders.values(), resources=resources, stop=self._stop
        )
        for order, receipt in calls:
            self._take(order, receipt)
            total = len(self._plan.tasks)
            self._progress(self._done - self._reused, total - self._reused)
        if self._left:
            raise StoppedError(f"Stopped: {self._how_far()}")

    def _take(self, order: ShardOrder, receipt: Receipt) -> None:
        for row, reason in receipt.failures.items():
            task = self._left[order.tasks[row].place]
            self.failures.append((task, ImageError(reason)))
        self.few_levels += [(order.tasks[row], few) for row, few in receipt.few_levels.items()]
        for task in order.tasks:
            del self._left[task.place]
        computed = len(order.tasks) - len(receipt.failures)
        self.computed += computed
        if computed:
            self.receipts[receipt.name] = receipt

    def _take_back(self, order: ShardOrder) -> None:
        receipt = self.receipts.pop(order.name)
        self.computed -= len(order.tasks) - len(receipt.failures)
        places = {task.place for task in order.tasks}
        self.failures = [pair for pair in self.failures if pair[0].place not in places]
        self.few_levels = [pair for pair in self.few_levels if pair[0].place not in places]
        self._left |= {task.place: task for task in self._plan.tasks if task.place in places}

    def _how_far(self) -> str:
        return (
            f"{self._done:,} of {len(self._plan.tasks):,} images are safe in {self.folder.location}"
        )

    def versions(self) -> dict[str, Any]:
        """Return the versions of a worker's libraries, which computed the rows."""
        header = self._plan.current
        for name in list(self.receipts)[-1:]:
            with self.folder.reading(name) as path:
                header = read_header(path)
        return {} if header is None else {"versions": header.provenance["versions"]}

    def tidy(self, kept: Collection[str]) -> None:
        """Remove the shards that no file refers to, and temporary files of killed workers.

        The folder belongs to this file, but copies of the file may refer to its shards, too.
        """
        names = {name for name in self.folder.sizes() if shard_of(name) is not None}
        remove_shards(self._plan.target, self.folder, names - set(kept))
