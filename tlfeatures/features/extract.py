"""A folder of images in, an embeddings file out: plan, then batches, then the store.

What is already in the file is never computed again, and where nothing is to be computed no
backbone is loaded.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.batches import (
    batch_size_for,
    checked_batch_size,
    decode_ahead,
    readable,
)
from tlfeatures.features.cluster.carry_out import carry_out_on, chosen_on, identified
from tlfeatures.features.cluster.client import TLS, Cluster, Here, connect_if
from tlfeatures.features.engines.choose import choose_engine
from tlfeatures.features.engines.keras_start import keras_backend
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.file import store
from tlfeatures.features.file.shard_folder import remove_orphans
from tlfeatures.features.forward import Forward, Values
from tlfeatures.features.head_start import Early, head_start
from tlfeatures.features.images.few_levels import FewLevels, warn_of_few_levels
from tlfeatures.features.images.identify import MAX_PIXELS, Known, Scan, allow_pixels
from tlfeatures.features.plan import Means, Plan, Settings, Task, make_plan
from tlfeatures.features.run import (
    Failed,
    Outcome,
    Progress,
    Stop,
    Watch,
    calibrated,
    check_writable,
    count_unique,
    first_few,
    ids_of_few_levels,
    open_target,
    provenance_of,
    reasons,
    remove_taken_over,
    settled,
)
from tlfeatures.features.sources.folder_labels import count_labels, folder_hint
from tlfeatures.features.sources.folders import no_images
from tlfeatures.features.sources.spelling import alike_names
from tlfeatures.files import check_ending, move

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extraction:
    """What `extract` did.

    Attributes
    ----------
    file : str
    images : int
        In the folder; the sum of the next three.
    computed, reused : int
        Images that passed through the backbone; images whose embeddings were already there, or
        are those of another image with the same bytes.
    failed : list of {"id", "reason"}
        Images that could not be read.
    few_levels : list of str
        Ids of the images computed now of which 16 grey levels or fewer are left: nearly black,
        nearly white or of one colour.
    removed : int
        Rows left out because their image is no longer in the folder.
    embeddings : dict of name to width
    variants : int
        Of each image.
    seconds, images_per_second : float
        Of the whole call; what passed through the backbone, variants too, over its seconds.
    weights, weights_sha256, precision, engine : str
    shards : str or None
        Folder beside the file that its rows are in; None where they are in the file itself.
    classes, splits : dict of name to number of images
        Number of images of each class and of each split, as the folders name them; images whose
        path names none are not counted (see `tlfeatures.features.sources.folder_labels`).
    """

    file: str
    images: int
    computed: int
    reused: int
    failed: list[dict[str, str]]
    removed: int
    embeddings: dict[str, int]
    variants: int
    seconds: float
    images_per_second: float
    weights: str
    weights_sha256: str | None
    precision: str
    engine: str
    shards: str | None = None
    classes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    few_levels: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data."""
        return asdict(self)


def extract(
    source: str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    device: str = "auto",
    batch_size: int | str = "auto",
    max_pixels: int = MAX_PIXELS,
    prune: bool = False,
    trust_mtime: bool = False,
    cluster: Any = None,
    tls: TLS | None = None,
    shards: str | os.PathLike[str] | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    **settings: Any,
) -> Extraction:
    """Embed a folder of images into a file, computing only what the file lacks.

    Parameters
    ----------
    source : path or URL
        A folder with one subfolder a class, optionally under train, val and test.
    file : path
        The HDF5 file; made, or brought up to date.
    device : {"auto", "cpu", "gpu"}
    batch_size : int or "auto"
        Images a forward pass; "auto" is as many as gain anything and fit into memory.
    max_pixels : int
        An image that has more can't be read.
    prune : bool
        Let go of rows even where over a tenth of the images are no longer in the folder.
    trust_mtime : bool
        Take a finished image whose file has the size and modification time that it had when it was
        last read for unchanged, without reading it.
    cluster : str or distributed.Client, optional
        Embed on the workers of this Dask scheduler: its address, or "local" for one on this
        machine. A new file is then a virtual one, whose rows are in shards beside it, and stays one
        whoever adds to it. All machines see images and shards under the same paths or URLs.
    tls : TLS, optional
        For a scheduler whose connections are encrypted.
    shards : path or URL, optional
        Folder that workers put their shards into; `FILE.shards` beside the file if not given. The
        rows of shards elsewhere are put into the file itself at the end, and the shards removed.
    command : str, optional
        The command line that asks for it; kept in the file, to be read by people.
    progress : callable (images done, images to do), optional
        Called after each batch.
    stop : callable, optional
        Asked before each batch: true ends the run there, and the same call goes on later.
    **settings
        The attributes of `Settings`.

    Returns
    -------
    Extraction

    Raises
    ------
    ParameterError
        For a wrong setting, naming what it can be.
    SourceError
        If there are no images, or none that can be read.
    SpecError
        If the file was made with other settings.
    StoppedError
        If `stop` said so; it says how far the run came, and which file holds that.
    WeightsError, StoreError

    Examples
    --------
    >>> extract("photos", "photos.h5", layers=["block5_pool"], size=150)  # doctest: +SKIP
    """
    started = time.perf_counter()
    check_ending(file, "an embeddings file")
    target = Path(file).resolve()  # a link stays a link, and names the same lock
    _check_target(target)
    checked_batch_size(batch_size)
    allow_pixels(max_pixels)
    asked, means = Settings(**settings), Means(device, batch_size, max_pixels)
    watch = Watch(progress or _no_progress, stop or _never)
    if cluster is None and shards is not None:
        raise ParameterError("shards are made by a cluster: give one, too")
    with store.exclusive(target), ExitStack() as stack:
        known = _identified(target) if trust_mtime and target.exists() else None
        workers: Cluster | Here | None = stack.enter_context(connect_if(cluster, tls))
        early: Early = {}
        few_early: list[tuple[Task, FewLevels]] = []
        if workers is None:
            with Scan(source, known) as scan:
                early = head_start(
                    scan, target, asked, means, watch.progress, watch.stop, few_early
                )
                manifest = scan.manifest()
            del scan  # it is as large as the manifest
        else:
            manifest = identified(workers, source, known, watch)
        del known  # so is this
        if not manifest.images:
            raise no_images(source)
        choose = choose_engine if workers is None else chosen_on(workers)
        plan = make_plan(manifest, target, asked, means.device, prune, choose)
        provenance = provenance_of(plan, source, command)
        if plan.current is not None and plan.current.shards is not None:
            workers = workers or Here()  # a virtual file stays one
        if workers is None:
            outcome = _carry_out_here(plan, provenance, means, watch, early, few_early)
            remove_orphans(target)  # of a merge that was killed
        else:
            outcome = carry_out_on(workers, plan, provenance, means, watch, shards)
    classes, splits = _counted_labels(manifest.ids)
    seconds = time.perf_counter() - started
    failed = sorted(outcome.failures.items())
    few_levels = sorted(outcome.few_levels.items())
    warn_of_few_levels(few_levels)
    return Extraction(
        file=str(file),
        images=len(manifest.images),
        computed=outcome.computed,
        reused=outcome.done - outcome.computed,
        failed=[{"id": id_, "reason": why} for id_, why in failed],
        removed=plan.removed,
        embeddings=plan.embeddings,
        variants=plan.spec.variants,
        seconds=seconds,
        images_per_second=outcome.passes / seconds,
        weights=plan.spec.weights,
        weights_sha256=plan.spec.weights_sha256,
        precision=plan.spec.precision,
        engine=plan.spec.engine,
        shards=outcome.shards,
        classes=classes,
        splits=splits,
        few_levels=[id_ for id_, _ in few_levels],
    )


def _counted_labels(ids: list[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Images of each class and of each split by the folders, with a warning where these mislead."""
    classes, splits = count_labels(ids)
    for warning in (folder_hint(ids), *alike_names("classes", classes)):
        if warning:
            logger.warning("%s", warning)
    return classes, splits


def _identified(target: Path) -> Known:
    """What the file knows of its images, so that those which stayed as they are needn't be read."""
    header = store.read_header(target)
    if not header.checked:
        logger.warning("%s has no times of its images: all of them are read", target)
    return header.identified()


def _no_progress(done: int, total: int) -> None:
    pass


def _never() -> bool:
    return False


def _check_target(target: Path) -> None:
    if target.is_dir():
        raise ParameterError(f"{target} is a folder; name a file, as in -o {target}/images.h5")
    if not target.parent.is_dir():
        raise ParameterError(f"there is no folder {target.parent} for {target.name}; make it first")


# ---- carrying it out

_EARLY_ROWS = 512


def _carry_out_here(
    plan: Plan,
    provenance: dict[str, Any],
    means: Means,
    watch: Watch,
    early: Early,
    few_early: list[tuple[Task, FewLevels]],
) -> Outcome:
    failed: Failed = []
    few_levels = list(few_early)
    left = (task for task in plan.tasks if task.digest not in early)
    files = ((task, task.image.location, task.digest) for task in left)
    decoded = decode_ahead(
        files,
        plan.spec.size,
        plan.spec.augmentation,
        max_pixels=means.max_pixels,
        value_range=plan.spec.value_range,
    )
    images = readable(decoded, failed, few_levels)
    first = next(images, None)
    if first is None and failed and len(failed) == count_unique(plan.manifest):
        raise SourceError(f"no image can be read: {first_few(reasons(plan, failed))}")
    known = settled(plan, reasons(plan, failed)) if first is None else None
    if known:
        return known
    check_writable(plan)
    batches: Iterable[tuple[list[Task], Values]] = ()
    if first is not None:  # before the file: without weights no file is left behind
        plan = calibrated(plan, means)
        backbone = load_backbone(plan.spec, list(plan.embeddings), device=means.device)
        _warn_of_another_backend(plan)
        # Of a run that nothing cuts off: one that goes on has batches of the same shape.
        passes = plan.extent * (1 + plan.spec.variants)
        forward = Forward(backbone, batch_size_for(passes, means.batch_size, backbone.most))
        batches = forward.all(chain([first], images))
    computed = passed = 0
    with open_target(plan, provenance) as writer:
        for tasks, values in _in_batches(plan, early):
            _write(writer, tasks, values)
            computed += len(tasks)
            passed += len(tasks) * (1 + plan.spec.variants)
        watch.look(computed, plan, writer)
        for tasks, values in batches:
            _write(writer, tasks, values)
            computed += len(tasks)
            passed += len(tasks) * next(iter(values.values())).shape[1]
            watch.look(computed + len(failed), plan, writer)
        for task, error in failed:
            writer.fail(task.rows, str(error))
    if writer.path != plan.target:
        move(writer.path, plan.target)
    remove_taken_over(plan)
    done = int(writer.done.sum())
    few = ids_of_few_levels(plan, few_levels)
    return Outcome(computed, passed, done, reasons(plan, failed), few_levels=few)


def _in_batches(plan: Plan, early: Early) -> Iterator[tuple[list[Task], Values]]:
    """What a head start has embedded already, to be written some hundred images at a time."""
    there = [task for task in plan.tasks if task.digest in early]
    for start in range(0, len(there), _EARLY_ROWS):
        tasks = there[start : start + _EARLY_ROWS]
        yield (
            tasks,
            {
                name: np.stack([early[task.digest][name] for task in tasks])
                for name in plan.embeddings
            },
        )


def _write(writer: store.Writer, tasks: list[Task], values: Values) -> None:
    repeats = [len(task.rows) for task in tasks]
    rows = [row for task in tasks for row in task.rows]
    kept = {name: value.repeat(repeats, axis=0) for name, value in values.items()}
    if tasks[0].embedded:
        writer.write(rows, {}, kept)
        return
    themselves = {name: value[:, 0] for name, value in kept.items()}
    writer.write(rows, themselves, {name: value[:, 1:] for name, value in kept.items()})


def _warn_of_another_backend(plan: Plan) -> None:
    """Keras's own choice of what computes is no part of the spec: it is one of rounding."""
    backend = keras_backend() if plan.spec.engine == "keras" else None
    versions = plan.current.provenance.get("versions", {}) if plan.current else {}
    if backend and versions and not any(name.startswith(backend) for name in versions):
        logger.warning(
            "%s was made by Keras on another backend than %s: new rows differ in their last bits",
            plan.target,
            backend,
        )
