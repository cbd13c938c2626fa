"""What an extraction has to do: the set difference between a folder and an embeddings file.

This module computes and writes no embedding.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tlfeatures.errors import SourceError, SpecError, StoreError
from tlfeatures.features.engines.choose import choose_engine
from tlfeatures.features.file.format import DTYPES, Header
from tlfeatures.features.file.lock import partial_path
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.images.augment import Augmentation
from tlfeatures.features.images.identify import UNREADABLE, Manifest
from tlfeatures.features.images.value_range import format_value_range
from tlfeatures.features.settings import Choose, Settings, complete_settings
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.spec import Spec
from tlfeatures.names import counted, unknown_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """One image file to decode and embed.

    Attributes
    ----------
    image : ImageRecord
    digest : bytes
        sha256 of its bytes.
    variants_only : bool
        Whether a source has all embeddings of the image itself, so that only its variants are
        missing.
    place : int
        Position in an uninterrupted run. It decides the position of the image in its batch. The
        last bits of some backbones depend on that, and stay the same after an interruption.
    rows : list of int
        Rows of the file whose images have these bytes.
    """

    image: ImageRecord
    digest: bytes
    variants_only: bool = False
    place: int = 0
    rows: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """The content of the file after a run, and which of it is to be computed.

    Attributes
    ----------
    target : Path
    manifest : Manifest
    spec : Spec
    embeddings : dict of name to width
    dtype : str
    current : Header or None
        Header of the file before the run; None if there is no file.
    sources : list of Path
        Files whose finished rows are copied: the file itself, and the unfinished file that an
        earlier run left next to it.
    tasks : list of Task
        Images of which no source has all embeddings and variants. Tasks of which only the variants
        are missing are last.
    extent : int
        Number of tasks of an uninterrupted run; 0 if there is nothing to do.
    removed : int
        Number of images of the file that are no longer in the folder.
    relabelled : bool
        Whether the labels are those of another source than the file's, which is replaced then.
    """

    target: Path
    manifest: Manifest
    spec: Spec
    embeddings: dict[str, int]
    dtype: str
    current: Header | None
    sources: list[Path]
    tasks: list[Task]
    extent: int
    removed: int
    relabelled: bool = False

    @property
    def matches(self) -> bool:
        """Whether the file already has a place for exactly these images and embeddings."""
        current = self.current
        return (
            current is not None
            and not self.relabelled
            and current.holds(self.manifest, self.embeddings, self.spec)
        )

    @property
    def in_place(self) -> bool:
        """Whether rows can be written into the file itself; those of a sharded file cannot."""
        return self.current is not None and self.matches and self.current.shards is None


def is_relabelled(current: Header | None, facts: Mapping[str, Any]) -> bool:
    """Whether a source that states labels is another one than the file's, or the file's was one.

    Parameters
    ----------
    current : Header or None
    facts : mapping
        See `tlfeatures.features.sources.open_source.source_facts`.
    """
    if current is None:
        return False
    stored = current.provenance
    names = ("states_labels", "source", "images", "columns", "rows")
    states_labels = facts.get("states_labels") or stored.get("states_labels")
    return bool(states_labels) and any(facts.get(name) != stored.get(name) for name in names)


def make_plan(
    manifest: Manifest,
    target: Path,
    settings: Settings,
    device: str,
    prune: bool = False,
    choose: Choose = choose_engine,
) -> Plan:
    """Compare the images of a folder with the embeddings file.

    Parameters
    ----------
    manifest : Manifest
        The images of the folder.
    target : Path
        The embeddings file, whether it exists or not.
    settings : Settings
    device : {"auto", "cpu", "gpu"}
    prune : bool
        Whether rows are deleted even if more than `MOST_REMOVED` of the images are gone.
    choose : callable, optional
        Chooses engine and precision, see `complete_settings`.

    Raises
    ------
    SpecError
        If the file was made with other settings.
    SourceError
        If too many of its images are not in the folder.
    """
    current = read_header(target) if target.exists() else None
    if current is not None and current.spec.imported is not None:
        raise SpecError(
            f"{target} holds imported embeddings, to which no images can be added; give another "
            "file with -o, or use `tlfeatures import` to replace its rows"
        )
    unfinished = _unfinished(partial_path(target), current)
    # Embeddings that a run began to add and could not finish are finished by this run.
    files = [header for header in (current, unfinished) if current and header]
    old = files[-1].spec if files else None
    old_embeddings = {name: width for header in files for name, width in header.embeddings.items()}
    embeddings, spec = complete_settings(settings, old, old_embeddings, device, choose)
    dtype = settings.dtype or (current.dtype if current else "float32")
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    removed = 0
    if current:
        _check_same(current, spec, dtype, settings)
        manifest = _keep_unreadable(manifest, current)
        removed = _check_removed(manifest, current, prune)
    sources = [header for header in (current, unfinished) if header and _fits(header, spec, dtype)]
    in_place = current is not None and current.holds(manifest, embeddings, spec)
    tasks = uninterrupted = _missing(manifest, embeddings, spec, sources)
    initial = [current] if current and not in_place else []  # sources of an uninterrupted run
    if tasks and sources != initial:
        uninterrupted = _missing(manifest, embeddings, spec, initial)
        places = {task.rows[0]: task.place for task in uninterrupted}
        tasks = [replace(task, place=places[task.rows[0]]) for task in tasks]
    return Plan(
        target=target,
        manifest=manifest,
        spec=spec,
        embeddings=embeddings,
        dtype=dtype,
        current=current,
        sources=[header.path for header in sources],
        tasks=tasks,
        extent=len(uninterrupted),
        removed=removed,
    )


def _fits(header: Header, spec: Spec, dtype: str) -> bool:
    return not header.spec.differences(spec) and header.dtype == dtype


def _unfinished(path: Path, current: Header | None) -> Header | None:
    """Return the header of the file that an earlier run left unfinished, if it can be used."""
    if not path.exists():
        return None
    try:
        header = read_header(path)
    except StoreError as error:
        logger.warning("%s is of no use: %s", path, error)
        return None
    if current and not _fits(header, current.spec, current.dtype):
        logger.warning("%s was made with other settings and is of no use", path)
        return None
    return header


def _keep_unreadable(manifest: Manifest, current: Header) -> Manifest:
    """Keep the embedding in the file of an image that cannot be read now."""
    finished = {
        id_: (digest, stamp)
        for id_, digest, stamp, done in zip(
            current.ids, current.digests, current.stamps, current.done.tolist(), strict=True
        )
        if done
    }
    digests, stamps = list(manifest.digests), list(manifest.stamps)
    kept = 0
    for row, image in enumerate(manifest.images):
        if digests[row] == UNREADABLE and image.id in finished:
            digests[row], stamps[row] = finished[image.id]
            kept += 1
    if kept:
        logger.warning("%d images can't be read now; their embeddings are kept", kept)
    return Manifest(manifest.images, digests, stamps)


MOST_REMOVED = 0.1  # largest share of a file's images that are removed without --prune


def count_removed(manifest: Manifest, current: Header) -> int:
    """Count the images of a file of which the folder has neither the id nor the bytes."""
    ids, digests = set(manifest.ids), set(manifest.digests)
    pairs = zip(current.ids, current.digests, strict=True)
    return sum(id_ not in ids and digest not in digests for id_, digest in pairs)


def _check_removed(manifest: Manifest, current: Header, prune: bool) -> int:
    """Count the removed images. If there are many, the folder is probably the wrong one."""
    removed = count_removed(manifest, current)
    if removed > MOST_REMOVED * len(current.ids) and not prune:
        raise SourceError(
            f"{removed} of the {len(current.ids)} images of {current.path} are not in this folder: "
            "to add images, give all sources together (tlfeatures extract OLD NEW -o FILE); else "
            "give another file with -o, or delete their rows with --prune"
        )
    return removed


# Spec entry -> the settings that decide it; others follow from the backbone and the version.
_OPTIONS = {
    "backbone": ("backbone",),
    "size": ("size",),
    "value_range": ("value_range",),
    "engine": ("engine", "backbone"),
    "precision": ("precision", "backbone"),
    "weights_sha256": ("weights", "random_state", "backbone"),
    "top_sha256": ("weights", "random_state", "backbone"),
    "dtype": ("dtype",),
    "augmentation": ("augment", "augment_spec"),
}


def _check_same(current: Header, spec: Spec, dtype: str, settings: Settings) -> None:
    differences = current.spec.differences(spec)
    if current.dtype != dtype:
        differences.append(("dtype", current.dtype, dtype))
    old, new = current.spec.augmentation, spec.augmentation
    if old is not None and old != new:  # variants can be added, as a layer can
        differences.append(("augmentation", old, "none" if new is None else new))
    if not differences:
        return
    shown = [row for row in differences if row[0] in _OPTIONS] or differences
    what = "; ".join(f"{name} {_short(old)}, not {_short(new)}" for name, old, new in shown)
    options = {option for name, *_ in shown for option in _OPTIONS.get(name, ())}
    given = {name for name in options if getattr(settings, name) is not None}
    other = {name for name in given if _differ(current.spec, spec, name)} or given
    options = {f"--{name.replace('_', '-')}" for name in other}
    leave = f"to update it, leave out {' '.join(sorted(options))}; " if options else ""
    raise SpecError(
        f"{current.path} was made with {what}: {leave}to keep both, give another file with -o"
    )


def _differ(old: Spec, new: Spec, setting: str) -> bool:
    """Whether two specs differ in a setting; True for a setting that is no entry of a spec."""
    return not hasattr(new, setting) or getattr(old, setting) != getattr(new, setting)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return format_value_range(value)
    if isinstance(value, Augmentation):
        return f"{counted(value.variants, 'variant')} ({value.to_text() or 'unchanged'})"
    text = str(value)
    return text if len(text) < 40 else f"{text[:12]}..."


def _missing(
    manifest: Manifest, embeddings: dict[str, int], spec: Spec, sources: Sequence[Header]
) -> list[Task]:
    """Return a task for each image of which no source has all embeddings and variants."""
    embedded: set[bytes] = set()
    finished: set[bytes] = set()
    for header in sources:
        if set(embeddings) <= set(header.embeddings):
            done = header.done_digests()
            embedded |= done - {UNREADABLE}
            if header.spec.augmentation == spec.augmentation:
                finished |= done - {UNREADABLE}
    tasks: dict[object, Task] = {}
    for row, (image, digest) in enumerate(zip(manifest.images, manifest.digests, strict=True)):
        if digest not in finished:
            key = row if digest == UNREADABLE else digest
            task = tasks.setdefault(key, Task(image, digest, digest in embedded))
            task.rows.append(row)
    listed = sorted(tasks.values(), key=lambda task: task.variants_only)
    return [replace(task, place=place) for place, task in enumerate(listed)]
