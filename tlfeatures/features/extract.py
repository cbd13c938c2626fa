"""A folder of images in, an embeddings file out: plan, then batches, then the store.

What is already in the file is never computed again, and where nothing is to be computed no
backbone is loaded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ImageError, ParameterError, SourceError
from tlfeatures.features import store
from tlfeatures.features.backbone import Backbone, load_backbone
from tlfeatures.features.batches import (
    BATCH_SIZE,
    Pixels,
    batch_size_for,
    batched,
    decode_ahead,
    readable,
)
from tlfeatures.features.images import MAX_PIXELS, UNREADABLE, Manifest, allow_pixels, scan
from tlfeatures.features.plan import Plan, Settings, Task, make_plan


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
    removed : int
        Rows left out because their image is no longer in the folder.
    embeddings : dict of name to width
    variants : int
        Of each image.
    seconds, images_per_second : float
        Of the whole call; what passed through the backbone, variants too, over its seconds.
    weights, weights_sha256, precision : str
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

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data."""
        return asdict(self)


Progress = Callable[[int, int], None]


def extract(
    source: str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    max_pixels: int = MAX_PIXELS,
    prune: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Extraction:
    """Embed a folder of images into a file, computing only what the file lacks.

    Parameters
    ----------
    source : path
        A folder with one subfolder a class, optionally under train, val and test.
    file : path
        The HDF5 file; made, or brought up to date.
    device : {"auto", "cpu", "gpu"}
    batch_size : int
        Images a forward pass.
    max_pixels : int
        An image that has more can't be read.
    prune : bool
        Let go of rows even where over a tenth of the images are no longer in the folder.
    command : str, optional
        The command line that asks for it; kept in the file, to be read by people.
    progress : callable (images done, images to do), optional
        Called after each batch.
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
    WeightsError, StoreError

    Examples
    --------
    >>> extract("photos", "photos.h5", layers=["block5_pool"], size=150)  # doctest: +SKIP
    """
    started = time.perf_counter()
    target = Path(file).resolve()  # a link stays a link, and names the same lock
    _check_target(target)
    allow_pixels(max_pixels)
    manifest = scan(source)
    if not manifest.images:
        raise SourceError(f"{source} has no images; expected a folder with one subfolder a class")
    with store.exclusive(target):
        plan = make_plan(manifest, target, Settings(**settings), device, prune)
        provenance = _provenance(plan, source, command)
        decoded = _decode(plan, max_pixels)
        outcome = _carry_out(
            plan, provenance, decoded, device, batch_size, progress or _no_progress
        )
    seconds = time.perf_counter() - started
    failed = sorted(outcome.failures.items())
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
    )


def _no_progress(done: int, total: int) -> None:
    pass


def _check_target(target: Path) -> None:
    if target.is_dir():
        raise ParameterError(f"{target} is a folder; name a file, as in -o {target}/images.h5")
    if not target.parent.is_dir():
        raise ParameterError(f"there is no folder {target.parent} for {target.name}; make it first")


# ---- carrying it out

_COMMANDS = 20  # kept in a file; an attribute has 64 kB

Failed = list[tuple[Task, ImageError]]


@dataclass(frozen=True)
class _Outcome:
    """What this run did.

    Images computed, what passed through the backbone for them, rows done in the file, and the
    reasons of failures by id.
    """

    computed: int
    passes: int
    done: int
    failures: dict[str, str]


def _provenance(plan: Plan, source: str | os.PathLike[str], command: str | None) -> dict[str, Any]:
    """Where the images are, and the last commands that made the file what it is."""
    commands = plan.current.provenance.get("commands", []) if plan.current else []
    if command is not None and command not in commands:
        commands = [*commands, command][-_COMMANDS:]
    return {"source": str(Path(source).absolute()), "commands": commands}


def _decode(plan: Plan, max_pixels: int) -> Iterator[tuple[Task, Pixels | ImageError]]:
    files = ((task, task.path, task.digest) for task in plan.tasks)
    return decode_ahead(files, plan.spec.size, plan.spec.augmentation, max_pixels)


def _carry_out(
    plan: Plan,
    provenance: dict[str, Any],
    decoded: Iterator[tuple[Task, Pixels | ImageError]],
    device: str,
    batch_size: int,
    progress: Progress,
) -> _Outcome:
    batch_size = batch_size_for(len(plan.tasks) * (1 + plan.spec.variants), batch_size)
    failed: Failed = []
    images = readable(decoded, failed)
    first = next(images, None)
    if first is None and failed and len(failed) == _count_unique(plan.manifest):
        raise SourceError(f"no image can be read: {_first_few(_reasons(plan, failed))}")
    settled = _settled(plan, failed) if first is None else None
    if settled:
        _remove_taken_over(plan)
        return settled
    backbone = None
    if first is not None:  # before the file: without weights no file is left behind
        backbone = load_backbone(plan.spec, list(plan.embeddings), device=device)
        images = chain([first], images)
    computed = passes = 0
    with _open_target(plan, provenance) as writer:
        if backbone is not None:
            for count, passed in _Embed(backbone, writer, batch_size).all(images):
                computed, passes = computed + count, passes + passed
                progress(computed + len(failed), len(plan.tasks))
        for task, error in failed:
            writer.fail(task.rows, str(error))
    if writer.path != plan.target:
        os.replace(writer.path, plan.target)
    _remove_taken_over(plan)
    done = int(writer.done.sum())
    return _Outcome(computed, passes, done, _reasons(plan, failed))


def _settled(plan: Plan, failed: Failed) -> _Outcome | None:
    """What there is to say if the file holds every row already, and why others are missing."""
    if plan.current is None or not plan.in_place:
        return None
    done, reasons = int(plan.current.done.sum()), _reasons(plan, failed)
    known = done + len(reasons) == len(plan.current.ids) and plan.current.failures == reasons
    return _Outcome(0, 0, done, reasons) if known else None


def _remove_taken_over(plan: Plan) -> None:
    """An earlier run's unfinished update is in the file now, row by row."""
    if plan.partial in plan.sources:
        plan.partial.unlink(missing_ok=True)


def _count_unique(manifest: Manifest) -> int:
    unreadable = manifest.digests.count(UNREADABLE)
    return len(set(manifest.digests) - {UNREADABLE}) + unreadable


def _reasons(plan: Plan, failed: Failed) -> dict[str, str]:
    return {plan.manifest.images[row].id: str(error) for task, error in failed for row in task.rows}


def _first_few(reasons: dict[str, str]) -> str:
    named = [f"{id_} ({why})" for id_, why in list(reasons.items())[:3]]
    return ", ".join(named) + (", ..." if len(reasons) > 3 else "")


def _open_target(plan: Plan, provenance: dict[str, Any]) -> store.Writer:
    """Open the file itself, or make it; where another one is to be replaced, make it beside."""
    if plan.in_place:
        writer = store.Writer(plan.target)
        for source in plan.sources:
            writer.carry(source)
        return writer
    path = plan.partial if plan.current else plan.target
    fresh = path.with_name(f".{path.name}.new")
    store.create(fresh, plan.manifest, plan.spec, plan.embeddings, plan.dtype, provenance)
    with store.Writer(fresh) as writer:
        for source in plan.sources:
            writer.carry(source)
    os.replace(fresh, path)
    return store.Writer(path, writer.carried)


@dataclass(frozen=True)
class _Embed:
    """Pixels to rows of the file, batch by batch.

    Attributes
    ----------
    backbone : Backbone
    writer : store.Writer
    batch_size : int
        Images and variants of a forward pass.
    """

    backbone: Backbone
    writer: store.Writer
    batch_size: int

    def all(self, images: Iterable[tuple[Task, Pixels]]) -> Iterator[tuple[int, int]]:
        """Embed and write batch by batch.

        Parameters
        ----------
        images : iterable of (Task, ndarray of shape ([1 + variants,] h, w, 3))

        Yields
        ------
        (int, int)
            How many images a batch held, and how many passes they took.
        """
        for embedded, group in groupby(images, key=lambda item: item[0].embedded):
            stacks = ((task, each if each.ndim == 4 else each[None]) for task, each in group)
            wanted = ((task, stack[1:] if embedded else stack) for task, stack in stacks)
            first = next(wanted)
            parts = len(first[1])
            in_a_batch = max(1, self.batch_size // parts)
            for tasks, batch in batched(chain([first], wanted), in_a_batch):
                self._write(tasks, self._pass(batch), embedded)
                yield len(tasks), len(tasks) * parts

    def _write(
        self, tasks: list[Task], values: dict[str, NDArray[np.float32]], embedded: bool
    ) -> None:
        repeats = [len(task.rows) for task in tasks]
        rows = [row for task in tasks for row in task.rows]
        kept = {name: value[: len(tasks)].repeat(repeats, axis=0) for name, value in values.items()}
        if embedded:
            self.writer.write(rows, {}, kept)
            return
        themselves = {name: value[:, 0] for name, value in kept.items()}
        self.writer.write(rows, themselves, {name: value[:, 1:] for name, value in kept.items()})

    def _pass(self, batch: Pixels) -> dict[str, NDArray[np.float32]]:
        """(b, parts, h, w, 3) to (b, parts, d): one forward pass, or several of one shape."""
        count, parts = batch.shape[:2]
        images = batch.reshape(-1, *batch.shape[2:])
        passes = -(-len(images) // self.batch_size)
        size = -(-len(images) // passes)
        if passes * size > len(images):  # the last pass is padded by the first images
            images = np.resize(images, (passes * size, *images.shape[1:]))
        made = [
            self.backbone.embed(images[start : start + size])
            for start in range(0, len(images), size)
        ]
        return {
            name: np.concatenate([each[name] for each in made])[: count * parts].reshape(
                count, parts, -1
            )
            for name in made[0]
        }
