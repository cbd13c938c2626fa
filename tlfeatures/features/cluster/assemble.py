"""Create the embeddings file of a run on workers from their shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.errors import StoreError
from tlfeatures.features.cluster.orders import Receipt
from tlfeatures.features.cluster.shard_run import ShardRun
from tlfeatures.features.file.create import create
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.file.shard_folder import remove_own_shards
from tlfeatures.features.file.sharded import Shards
from tlfeatures.features.images.identify import UNREADABLE
from tlfeatures.features.plan import Plan
from tlfeatures.features.run import contents_of, open_target
from tlfeatures.files import move, replacing


def create_sharded_file(plan: Plan, provenance: dict[str, Any], run: ShardRun) -> int:
    """Create a sharded file over the shards.

    Returns
    -------
    int
        Number of finished rows.
    """
    shards = _shards(plan, list(run.receipts.values()), Path(run.folder.location).name)
    reasons = {row: str(error) for task, error in run.failures for row in task.rows}
    contents = replace(contents_of(plan, provenance), shards=shards, reasons=reasons)
    with replacing(plan.target) as fresh:
        create(fresh, contents, named=plan.target)
    run.tidy(shards.names)
    return int((shards.place[:, 0] >= 0).sum())


def _shards(plan: Plan, receipts: Sequence[Receipt], folder: str) -> Shards:
    """Give each row its place: in a shard of the file before the run, else in one of the run."""
    shards: list[tuple[str, int, bytes]] = []
    places: dict[bytes, tuple[int, int]] = {UNREADABLE: (-1, -1)}
    current, old = plan.current, plan.current.shards if plan.current else None
    if current and old and current.has_own_shards and current.has_all(plan.embeddings, plan.spec):
        shards += zip(old.names, old.sizes, old.sha256, strict=True)
        for row in np.flatnonzero(current.done).tolist():
            places.setdefault(current.digests[row], tuple(old.place[row].tolist()))
    for number, receipt in enumerate(receipts, len(shards)):
        shards.append((receipt.name, receipt.size, receipt.sha256))
        for row, digest in enumerate(receipt.digests):
            places.setdefault(digest, (number, row))
    place = np.array([places.get(digest, (-1, -1)) for digest in plan.manifest.digests], np.int64)
    used = np.unique(place[place[:, 0] >= 0, 0])
    place[:, 0] = np.where(place[:, 0] >= 0, np.searchsorted(used, place[:, 0]), -1)
    kept = [shards[number] for number in used.tolist()]
    return Shards(
        folder,
        [name for name, _, _ in kept],
        [size for _, size, _ in kept],
        [sha256 for _, _, sha256 in kept],
        place,
    )


def copy_into_file(plan: Plan, provenance: dict[str, Any], run: ShardRun) -> int:
    """Copy the rows of the shards into the file itself, and remove the shards.

    Returns
    -------
    int
        Number of finished rows.
    """
    with open_target(plan, provenance) as writer:
        for name in run.receipts:
            with run.folder.reading(name) as path:
                writer.carry(path)
        for task, error in run.failures:
            writer.fail(task.rows, str(error))
    done = _check_rows(plan, writer.path, run)
    if writer.path != plan.target:
        move(writer.path, plan.target)
        if plan.current is not None:
            remove_own_shards(plan.current)
    run.tidy(())
    return done


def _check_rows(plan: Plan, path: Path, run: ShardRun) -> int:
    """Count the rows that are done in the file, once it is on the disk.

    Raises
    ------
    StoreError
        If it lacks rows of the shards, or of the file that it replaces: then these must stay.
    """
    embedded = {digest for receipt in run.receipts.values() for digest in receipt.digests}
    current = plan.current
    if current is not None and current.has_all(plan.embeddings, plan.spec):
        embedded |= current.done_digests()
    embedded.discard(UNREADABLE)
    header = read_header(path)
    rows = zip(header.digests, header.done.tolist(), strict=True)
    lost = sum(digest in embedded and not done for digest, done in rows)
    if lost:
        raise StoreError(
            f"{path} lacks {lost:,} rows that the shards in {run.folder.location} should have: "
            "nothing is removed; run the same command again, which computes them"
        )
    return int(header.done.sum())
