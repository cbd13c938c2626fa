"""A plan that workers carry out: they make shards, and the client makes the file of the shards.

A run that was cut off, wherever, finds the shards that it made in their folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlfeatures import __version__
from tlfeatures.errors import SourceError, StoreError
from tlfeatures.features.cluster.assemble import copy_into_file, make_sharded_file
from tlfeatures.features.cluster.calls import calibrate_on
from tlfeatures.features.cluster.client import Cluster, ThisProcess
from tlfeatures.features.cluster.orders import Recipe
from tlfeatures.features.cluster.shard_run import ShardRun
from tlfeatures.features.cluster.worker import version_of
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.file.shard_folder import is_shard
from tlfeatures.features.file.sharded import shards_folder
from tlfeatures.features.plan import Plan
from tlfeatures.features.run import (
    Callbacks,
    Outcome,
    calibrated,
    check_writable,
    count_unique,
    first_few,
    ids_of_few_levels,
    reasons,
    remove_taken_over,
    settled,
)
from tlfeatures.features.sources.locations import Folder, absolute_location, is_url


def carry_out_on(
    cluster: Cluster | ThisProcess,
    plan: Plan,
    provenance: dict[str, Any],
    options: ComputeOptions,
    callbacks: Callbacks,
    shards: str | os.PathLike[str] | None,
) -> Outcome:
    """Let the workers make what the file lacks, and make the file of it.

    Parameters
    ----------
    cluster : Cluster or ThisProcess
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
    folder, next_to_file = _folder(plan, shards)
    if plan.tasks:
        folder.create()
        plan = calibrated(with_ranges(plan, folder), options, calibrate_on(cluster))
    recipe = Recipe(folder.location, plan.spec, plan.embeddings, plan.dtype, plan.extent, options)
    run = ShardRun(cluster, plan, recipe, folder, callbacks)
    if plan.tasks:
        run.carry_out()
    failures = reasons(plan, run.failures)
    if run.failures and len(run.failures) == count_unique(plan.manifest):
        # Nothing is removed: if the folder is the wrong one, shards of the right one may be there.
        raise SourceError(f"no image can be read: {first_few(failures)}")
    unchanged = settled(plan, failures) if not run.receipts else None
    if unchanged:
        run.tidy(run.old)
        return unchanged
    provenance = {**provenance, **run.versions()}
    sharded = next_to_file and all(_is_sharded(plan, path) for path in plan.sources)
    make = make_sharded_file if sharded else copy_into_file
    done = make(plan, provenance, run)
    remove_taken_over(plan)
    passes = run.computed * (1 + plan.spec.variants)
    name = Path(folder.location).name if sharded else None
    few_levels = ids_of_few_levels(plan, run.few_levels)
    return Outcome(run.computed, passes, done, failures, name, few_levels)


def _folder(plan: Plan, shards: str | os.PathLike[str] | None) -> tuple[Folder, bool]:
    """Give the folder of the shards, and whether it is the default one next to the file.

    In another folder, each file has a folder of its own for its shards.
    """
    own = shards_folder(plan.target)
    given = str(own) if shards is None else absolute_location(shards)
    if not is_url(given) and Path(given).resolve() == own.resolve():
        return Folder(str(own)), True
    number = hashlib.sha256(str(plan.target).encode()).hexdigest()[:8]
    return Folder(f"{given}/{plan.target.name}-{number}.shards"), False


def with_ranges(plan: Plan, folder: Folder) -> Plan:
    """Take the ranges of int8 from the shards of an earlier run, so that these can be used."""
    if plan.spec.precision != "int8" or plan.spec.quantization is not None:
        return plan
    for name in folder.sizes():
        with contextlib.suppress(StoreError), folder.reading(name) as path:
            header = read_header(path) if is_shard(name) else None
            if header is None or version_of(header) != __version__:
                continue
            spec = header.spec
            if spec.quantization and not replace(spec, quantization=None).differences(plan.spec):
                return replace(plan, spec=replace(plan.spec, quantization=spec.quantization))
    return plan


def _is_sharded(plan: Plan, source: Path) -> bool:
    return source == plan.target and plan.current is not None and plan.current.has_own_shards
