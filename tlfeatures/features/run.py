"""Steps of a run that are the same on this machine and on a cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tlfeatures.errors import ImageError, SourceError, StoreError
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.format import shorten_reason
from tlfeatures.features.file.lock import partial_path
from tlfeatures.features.file.writer import Writer
from tlfeatures.features.images.few_levels import FewLevels
from tlfeatures.features.images.identify import UNREADABLE
from tlfeatures.features.plan import Plan, Task
from tlfeatures.files import replacing
from tlfeatures.names import some_of

_COMMANDS = 20  # number of commands that a file records: an attribute has 64 kB


@dataclass(frozen=True)
class Outcome:
    """Result of a run.

    Attributes
    ----------
    computed : int
        Number of images that were embedded.
    passes : int
        Number of images and variants that passed through the backbone.
    done : int
        Number of rows in the file that are done.
    failures : dict of id to reason
        Images that could not be embedded.
    shards : str or None
        Name of the folder next to the file that has its rows; None if they are in the file itself.
    few_levels : dict of id to FewLevels
        Images with few grey levels that were embedded.
    """

    computed: int
    passes: int
    done: int
    failures: dict[str, str]
    shards: str | None = None
    few_levels: dict[str, FewLevels] = field(default_factory=dict)


def describe_progress(plan: Plan, writer: Writer) -> str:
    """Say how many rows are done when a run is stopped, and which file has them."""
    done = int(writer.done.sum())
    if not done:
        return "Stopped before the first batch, nothing is lost"
    unchanged = "" if writer.path == plan.target else f" ({plan.target.name} is as it was)"
    count = f"{done:,} of {len(plan.manifest.images):,} images"
    return f"Stopped after {count}, which are safe in {writer.path.name}{unchanged}"


def provenance_of(plan: Plan, source: dict[str, Any], command: str | None) -> dict[str, Any]:
    """Return the facts about the source, and the last commands that wrote the file."""
    commands = plan.current.provenance.get("commands", []) if plan.current else []
    if command is not None and command not in commands:
        commands = [*commands, command][-_COMMANDS:]
    return {**source, "commands": commands}


def lacks_ranges(plan: Plan) -> bool:
    """Whether the ranges of an int8 backbone are to be measured; those of a file stay."""
    return plan.spec.precision == "int8" and plan.spec.quantization is None


def with_ranges(plan: Plan, quantization: Quantization) -> Plan:
    """Return the same plan with the ranges of its int8 backbone."""
    return replace(plan, spec=replace(plan.spec, quantization=quantization))


def unchanged_outcome(plan: Plan, failures: dict[str, str]) -> Outcome | None:
    """Return the outcome if the file already has every row, and the reasons of those that failed.

    Then only stamps are written. None if rows or reasons are to be written.
    """
    current = plan.current
    if current is None or not plan.matches or current.failures != failures:
        return None
    done = int(current.done.sum())
    if done + len(failures) != len(current.ids):
        return None
    if current.stamps != plan.manifest.stamps:  # the next run with --trust-mtime reads fewer files
        with contextlib.suppress(OSError, StoreError), Writer(plan.target) as writer:
            writer.stamp(plan.manifest.stamps)
    remove_copied(plan)
    return Outcome(0, 0, done, failures, None if current.shards is None else current.shards.folder)


def check_writable(plan: Plan) -> None:
    """Refuse to replace a file that its owner made read-only."""
    if plan.current is not None and not os.access(plan.target, os.W_OK):
        # The system would allow to replace it, but its owner wants it to stay.
        raise StoreError(f"{plan.target} is read-only: make it writable, or give another with -o")


def remove_copied(plan: Plan) -> None:
    """Remove the unfinished update of an earlier run, whose rows are in the file now."""
    partial = partial_path(plan.target)
    if partial in plan.sources:
        partial.unlink(missing_ok=True)


def check_failures(plan: Plan, failures: list[tuple[Task, ImageError]]) -> dict[str, str]:
    """Return id -> reason of every image of failed tasks.

    Raises
    ------
    SourceError
        If no image of the folder can be read.
    """
    images, digests = plan.manifest.images, plan.manifest.digests
    reasons = {
        images[row].id: shorten_reason(str(error)) for task, error in failures for row in task.rows
    }
    unique = len(set(digests) - {UNREADABLE}) + digests.count(UNREADABLE)
    if failures and len(failures) == unique:
        listed = some_of((f"{id_} ({reason})" for id_, reason in reasons.items()), 3)
        raise SourceError(f"no image can be read: {listed}")
    return reasons


def ids_of_few_levels(plan: Plan, tasks: Iterable[tuple[Task, FewLevels]]) -> dict[str, FewLevels]:
    """Return id -> grey levels of every image of tasks with few of them."""
    images, rows = plan.manifest.images, {task.digest: task.rows for task in plan.tasks}
    return {images[row].id: few for task, few in tasks for row in rows.get(task.digest, ())}


def contents_of(plan: Plan, provenance: dict[str, Any]) -> Contents:
    """Return what a new file of a plan holds."""
    return Contents(plan.manifest, plan.spec, plan.embeddings, plan.dtype, provenance)


def open_target(plan: Plan, provenance: dict[str, Any]) -> Writer:
    """Open the file if rows can be written into it, else create the file that replaces it."""
    if plan.in_place:
        writer = Writer(plan.target)
        writer.stamp(plan.manifest.stamps)
        for source in plan.sources:
            writer.carry(source)
        return writer
    path = partial_path(plan.target) if plan.current else plan.target
    with replacing(path) as fresh:
        create(fresh, contents_of(plan, provenance), named=path)
        with Writer(fresh, named=path) as writer:
            for source in plan.sources:
                writer.carry(source)
    return Writer(path, writer.carried)
