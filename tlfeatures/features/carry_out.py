"""Carry out a plan on this machine: embed its images, and write their rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Any

from tlfeatures.errors import StoppedError
from tlfeatures.features.calibrate import calibrate, sample_images
from tlfeatures.features.embed import Batch, ComputeOptions, Embedder, EmbeddingRun
from tlfeatures.features.engines.keras_start import keras_backend
from tlfeatures.features.file.writer import Writer
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.plan import Plan, Task
from tlfeatures.features.run import (
    Outcome,
    check_failures,
    check_writable,
    describe_progress,
    ids_of_few_levels,
    lacks_ranges,
    open_target,
    remove_copied,
    unchanged_outcome,
    with_ranges,
)
from tlfeatures.files import move
from tlfeatures.progress import Progress

logger = logging.getLogger(__name__)


def carry_out(
    plan: Plan,
    provenance: dict[str, Any],
    options: ComputeOptions,
    progress: Progress,
    stop: Callable[[], bool],
) -> Outcome:
    """Embed the images of a plan on this machine, and write their rows.

    Parameters
    ----------
    plan : Plan
    provenance : dict
        Facts about the file's origin, see `Contents`.
    options : ComputeOptions
    progress : callable (images done, images to do)
        Called after each batch.
    stop : callable () -> bool
        Called before each batch; true ends the run.

    Raises
    ------
    SourceError
        If no image can be read.
    StoppedError
        The message says how many images are done.
    """
    if lacks_ranges(plan):
        plan = with_ranges(plan, calibrate(plan.spec, sample_images(plan.manifest), options))
    run = EmbeddingRun(
        Embedder(plan.spec, list(plan.embeddings), options),
        (ImageToRead.of(task, task.image, task.digest) for task in plan.tasks),
        plan.extent,
        place=attrgetter("place"),
        variants_only=attrgetter("variants_only"),
        progress=lambda done: progress(done, len(plan.tasks)),
    )
    # The file is created after the backbone is loaded: without weights there is no file.
    started = run.start()
    failures = check_failures(plan, run.failures)
    unchanged = None if started else unchanged_outcome(plan, failures)
    if unchanged is not None:
        return unchanged
    check_writable(plan)
    if started:
        _warn_of_another_backend(plan)
    computed = passes = 0
    with open_target(plan, provenance) as writer:
        for batch in run.batches(stop):
            _write(writer, batch)
            computed += len(batch.keys)
            passes += len(batch.keys) * batch.parts
        if computed + len(run.failures) < len(plan.tasks):
            raise StoppedError(describe_progress(plan, writer))
        for task, error in run.failures:
            writer.fail(task.rows, str(error))
    if writer.path != plan.target:
        move(writer.path, plan.target)
    remove_copied(plan)
    few_levels = ids_of_few_levels(plan, run.few_levels)
    done = int(writer.done.sum())
    failures = check_failures(plan, run.failures)
    return Outcome(computed, passes, done, failures, few_levels=few_levels)


def _write(writer: Writer, batch: Batch[Task]) -> None:
    """Write the rows of a batch; images with the same bytes have the same values."""
    repeats = [len(task.rows) for task in batch.keys]
    rows = [row for task in batch.keys for row in task.rows]
    values = {name: value.repeat(repeats, axis=0) for name, value in batch.values.items()}
    repeated = replace(batch, values=values, properties=batch.properties.repeat(repeats, axis=0))
    writer.write(rows, repeated.images, repeated.variants, repeated.properties)


def _warn_of_another_backend(plan: Plan) -> None:
    """Warn of rows that differ in their last bits, as the backend of Keras is not in the spec."""
    backend = keras_backend() if plan.spec.engine == "keras" else None
    versions = plan.current.provenance.get("versions", {}) if plan.current else {}
    if backend and versions and not any(name.startswith(backend) for name in versions):
        logger.warning(
            "%s was made by Keras on another backend than %s: new rows differ in their last bits",
            plan.target,
            backend,
        )
