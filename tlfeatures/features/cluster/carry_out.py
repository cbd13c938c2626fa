"""Carry out a plan on workers: they create shards, and the client creates the file from these.

After an interruption, the next run uses the shards that are in their folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlfeatures import __version__
from tlfeatures.errors import StoreError
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.cluster.assemble import copy_into_file, create_sharded_file
from tlfeatures.features.cluster.calls import calibrate_on
from tlfeatures.features.cluster.client import Workers
from tlfeatures.features.cluster.orders import Recipe
from tlfeatures.features.cluster.shard_run import ShardRun
from tlfeatures.features.cluster.worker import version_of
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.file.shard_folder import is_shard
from tlfeatures.features.file.sharded import shards_folder
from tlfeatures.features.plan import Plan
from tlfeatures.features.run import (
    Outcome,
    check_failures,
    check_writable,
    ids_of_few_levels,
    lacks_ranges,
    remove_copied,
    unchanged_outcome,
    with_ranges,
)
from tlfeatures.features.sources.locations import Folder, absolute_location, is_url
from tlfeatures.progress import Progress


def carry_out_on(
    workers: Workers,
    plan: Plan,
    provenance: dict[str, Any],
    options: ComputeOptions,
    progress: Progress,
    stop: Callable[[], bool],
    shards: str | os.PathLike[str] | None,
) -> Outcome:
    """Let the workers embed what the file lacks, and create the file.

    Parameters
    ----------
    workers : Cluster or ThisProcess
    plan : Plan
    provenance : dict
        Facts about the file's origin, see `Contents`.
    options : ComputeOptions
    progress : callable (images done, images to do)
        Called after each shard.
    stop : callable () -> bool
        Called regularly; true ends the run.
    shards : path or URL, optional
        The folder of the shards, if it is not next to the file.

    Raises
    ------
    SourceError
        If no image can be read.
    StoppedError, ClusterError
        The message says how many images are safe in the shards.
    """
    check_writable(plan)
    folder, next_to_file = _folder(plan, shards)
    if plan.tasks:
        folder.create()
        if lacks_ranges(plan):
            ranges = ranges_of_shards(plan, folder) or calibrate_on(workers, plan, options)
            plan = with_ranges(plan, ranges)
    recipe = Recipe(folder.location, plan.spec, plan.embeddings, plan.dtype, plan.extent, options)
    run = ShardRun(workers, plan, recipe, folder, progress, stop)
    if plan.tasks:
        run.carry_out()
    # Shards are removed after this check: if the folder of images is wrong, they may be right.
    failures = check_failures(plan, run.failures)
    unchanged = unchanged_outcome(plan, failures) if not run.receipts else None
    if unchanged:
        run.tidy(run.old)
        return unchanged
    provenance = {**provenance, **run.versions()}
    own_shards = plan.current is not None and plan.current.has_own_shards
    sharded = next_to_file and all(own_shards and path == plan.target for path in plan.sources)
    done = (create_sharded_file if sharded else copy_into_file)(plan, provenance, run)
    remove_copied(plan)
    passes = run.computed * (1 + plan.spec.variants)
    name = Path(folder.location).name if sharded else None
    few_levels = ids_of_few_levels(plan, run.few_levels)
    return Outcome(run.computed, passes, done, failures, name, few_levels)


def _folder(plan: Plan, shards: str | os.PathLike[str] | None) -> tuple[Folder, bool]:
    """Return the folder of the shards, and whether it is the default one next to the file.

    In another folder, each file has a folder of its own for its shards.
    """
    own = shards_folder(plan.target)
    location = str(own) if shards is None else absolute_location(shards)
    if not is_url(location) and Path(location).resolve() == own.resolve():
        return Folder(str(own)), True
    number = hashlib.sha256(str(plan.target).encode()).hexdigest()[:8]
    return Folder(f"{location}/{plan.target.name}-{number}.shards"), False


def ranges_of_shards(plan: Plan, folder: Folder) -> Quantization | None:
    """Return the ranges of int8 in the shards of an earlier run, so that these can be used."""
    for name in folder.sizes():
        with contextlib.suppress(StoreError), folder.reading(name) as path:
            header = read_header(path) if is_shard(name) else None
            if header is None or version_of(header) != __version__:
                continue
            spec = header.spec
            if spec.quantization and not replace(spec, quantization=None).differences(plan.spec):
                return spec.quantization
    return None
