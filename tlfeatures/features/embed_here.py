"""A plan carried out on this machine: images are embedded, and their rows are written."""

from __future__ import annotations

import logging
from operator import attrgetter
from typing import Any

from tlfeatures.errors import SourceError, StoppedError
from tlfeatures.features.embed import Batch, ComputeOptions, Embedder
from tlfeatures.features.engines.keras_start import keras_backend
from tlfeatures.features.file.writer import Writer
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.plan import Plan, Task
from tlfeatures.features.run import (
    Callbacks,
    Outcome,
    calibrated,
    check_writable,
    count_unique,
    first_few,
    how_far,
    ids_of_few_levels,
    open_target,
    reasons,
    remove_taken_over,
    settled,
)
from tlfeatures.files import move

logger = logging.getLogger(__name__)


def embed_here(
    plan: Plan, provenance: dict[str, Any], options: ComputeOptions, callbacks: Callbacks
) -> Outcome:
    """Embed the images of a plan on this machine, and write their rows."""
    plan = calibrated(plan, options)
    run = Embedder(plan.spec, list(plan.embeddings), options).run(
        (ImageToRead(task, task.image.location, task.digest) for task in plan.tasks),
        plan.extent,
        place=attrgetter("place"),
        variants_only=attrgetter("variants_only"),
        progress=lambda done: callbacks.progress(done, len(plan.tasks)),
    )
    # The file is made after the backbone is loaded: without weights no file is left behind.
    started = run.start()
    failures = reasons(plan, run.failures)
    if not started and failures and len(run.failures) == count_unique(plan.manifest):
        raise SourceError(f"no image can be read: {first_few(failures)}")
    unchanged = None if started else settled(plan, failures)
    if unchanged is not None:
        return unchanged
    check_writable(plan)
    if started:
        _warn_of_another_backend(plan)
    computed = passes = 0
    with open_target(plan, provenance) as writer:
        _check_stop(0, plan, writer, callbacks)
        for batch in run.batches():
            _write(writer, batch)
            computed += len(batch.keys)
            passes += len(batch.keys) * batch.parts
            _check_stop(computed + len(run.failures), plan, writer, callbacks)
        for task, error in run.failures:
            writer.fail(task.rows, str(error))
    if writer.path != plan.target:
        move(writer.path, plan.target)
    remove_taken_over(plan)
    few_levels = ids_of_few_levels(plan, run.few_levels)
    done = int(writer.done.sum())
    return Outcome(computed, passes, done, reasons(plan, run.failures), few_levels=few_levels)


def _check_stop(done: int, plan: Plan, writer: Writer, callbacks: Callbacks) -> None:
    """Ask between two batches whether to stop; after the last one there is nothing to stop."""
    if done < len(plan.tasks) and callbacks.stop():
        raise StoppedError(how_far(plan, writer))


def _write(writer: Writer, batch: Batch[Task]) -> None:
    """Write the rows of a batch; images with the same bytes have the same values."""
    repeats = [len(task.rows) for task in batch.keys]
    rows = [row for task in batch.keys for row in task.rows]
    values = {name: value.repeat(repeats, axis=0) for name, value in batch.values.items()}
    if batch.variants_only:
        writer.write(rows, {}, values)
        return
    images = {name: value[:, 0] for name, value in values.items()}
    writer.write(rows, images, {name: value[:, 1:] for name, value in values.items()})


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
