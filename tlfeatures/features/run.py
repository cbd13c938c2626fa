"""The steps of a run that are the same on this machine and on a cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tlfeatures.errors import ImageError, StoreError
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.calibrate import calibrate, sample_files
from tlfeatures.features.embed import ComputeOptions, Progress
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.format import shorten_reason
from tlfeatures.features.file.writer import Writer
from tlfeatures.features.images.few_levels import FewLevels
from tlfeatures.features.images.identify import UNREADABLE, Manifest
from tlfeatures.features.plan import Plan, Task
from tlfeatures.features.sources.locations import absolute_location
from tlfeatures.features.spec import Spec
from tlfeatures.files import replacing
from tlfeatures.names import first_of

_COMMANDS = 20  # kept in a file; an attribute has 64 kB

Stop = Callable[[], bool]
Failed = list[tuple[Task, ImageError]]


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes
    ----------
    computed : int
        Images.
    passes : int
        What passed through the backbone for them.
    done : int
        Rows done in the file.
    failures : dict of id to reason
    shards : str or None
        Name of the folder beside the file that its rows are in.
    few_levels : dict of id to FewLevels
        Images embedded now with few grey levels.
    """

    computed: int
    passes: int
    done: int
    failures: dict[str, str]
    shards: str | None = None
    few_levels: dict[str, FewLevels] = field(default_factory=dict)


def _ignore(done: int, total: int) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Callbacks:
    """How the caller follows a run, and ends it.

    Attributes
    ----------
    progress : callable (images done, images to do)
        Called after each batch.
    stop : callable () -> bool
        Asked before each batch; true ends the run there.
    """

    progress: Progress = _ignore
    stop: Stop = _never


def how_far(plan: Plan, writer: Writer) -> str:
    """Say how many rows are done when a run is stopped, and which file has them."""
    done = int(writer.done.sum())
    if not done:
        return "Stopped before the first batch, nothing is lost"
    unchanged = "" if writer.path == plan.target else f" ({plan.target.name} is as it was)"
    count = f"{done:,} of {len(plan.manifest.images):,} images"
    return f"Stopped after {count}, which are safe in {writer.path.name}{unchanged}"


def provenance_of(
    plan: Plan, source: str | os.PathLike[str], command: str | None
) -> dict[str, Any]:
    """Say where the images are, and by which commands the file became what it is, the last ones."""
    commands = plan.current.provenance.get("commands", []) if plan.current else []
    if command is not None and command not in commands:
        commands = [*commands, command][-_COMMANDS:]
    return {"source": absolute_location(source), "commands": commands}


Measure = Callable[[Spec, Iterable[tuple[str, bytes]], ComputeOptions], Quantization]


def calibrated(plan: Plan, options: ComputeOptions, measure: Measure = calibrate) -> Plan:
    """Give an int8 backbone the ranges that it needs; once the file has them, they stay."""
    if plan.spec.precision != "int8" or plan.spec.quantization is not None:
        return plan
    quantization = measure(plan.spec, sample_files(plan.manifest), options)
    return replace(plan, spec=replace(plan.spec, quantization=quantization))


def settled(plan: Plan, failures: dict[str, str]) -> Outcome | None:
    """Say how it ends if the file holds every row already, and why others are missing.

    Then nothing is written but stamps.
    """
    if plan.current is None or not plan.matches:
        return None
    done = int(plan.current.done.sum())
    known = done + len(failures) == len(plan.current.ids) and plan.current.failures == failures
    if not known:
        return None
    _renew_stamps(plan)
    remove_taken_over(plan)
    had = plan.current.shards
    return Outcome(0, 0, done, failures, None if had is None else had.folder)


def check_writable(plan: Plan) -> None:
    """Refuse to replace a file that its owner made read-only."""
    if plan.current is not None and not os.access(plan.target, os.W_OK):
        # Replacing it asks for no right to it, but who took that right wants it to stay.
        raise StoreError(f"{plan.target} is read-only: make it writable, or give another with -o")


def _renew_stamps(plan: Plan) -> None:
    """Images that were touched and are the same needn't be read by a later run that trusts."""
    current = plan.current
    if current is not None and current.stamps != plan.manifest.stamps:
        with contextlib.suppress(OSError, StoreError), Writer(plan.target) as writer:
            writer.stamp(plan.manifest.stamps)  # where it can't be written, nothing is lost


def remove_taken_over(plan: Plan) -> None:
    """Remove an earlier run's unfinished update: it is in the file now, row by row."""
    if plan.partial in plan.sources:
        plan.partial.unlink(missing_ok=True)


def count_unique(manifest: Manifest) -> int:
    """Count files with bytes of their own, and those that can't be read."""
    unreadable = manifest.digests.count(UNREADABLE)
    return len(set(manifest.digests) - {UNREADABLE}) + unreadable


def reasons(plan: Plan, failed: Failed) -> dict[str, str]:
    """Give id -> why for every image of failed tasks."""
    images = plan.manifest.images
    return {
        images[row].id: shorten_reason(str(error)) for task, error in failed for row in task.rows
    }


def ids_of_few_levels(plan: Plan, found: Iterable[tuple[Task, FewLevels]]) -> dict[str, FewLevels]:
    """Give id -> what is left for every image of tasks with few grey levels."""
    images, rows = plan.manifest.images, {task.digest: task.rows for task in plan.tasks}
    return {images[row].id: few for task, few in found for row in rows.get(task.digest, ())}


def first_few(reasons: dict[str, str]) -> str:
    """Name the first three of them."""
    return first_of((f"{id_} ({why})" for id_, why in reasons.items()), 3)


def contents_of(plan: Plan, provenance: dict[str, Any]) -> Contents:
    """Give what a new file of a plan holds."""
    return Contents(plan.manifest, plan.spec, plan.embeddings, plan.dtype, provenance)


def open_target(plan: Plan, provenance: dict[str, Any]) -> Writer:
    """Open the file if rows can be written into it, else create the file that replaces it."""
    if plan.in_place:
        writer = Writer(plan.target)
        writer.stamp(plan.manifest.stamps)
        for source in plan.sources:
            writer.carry(source)
        return writer
    path = plan.partial if plan.current else plan.target
    with replacing(path) as fresh:
        create(fresh, contents_of(plan, provenance), named=path)
        with Writer(fresh, named=path) as writer:
            for source in plan.sources:
                writer.carry(source)
    return Writer(path, writer.carried)
