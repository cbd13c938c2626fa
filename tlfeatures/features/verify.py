"""Whether an embeddings file holds what it says: its rows, its images, what the backbone gives.

Rows are read in blocks, and images hashed and some embedded again where their folder is given.
Nothing is written, unless damaged rows are to lose their mark, so that `extract` computes them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import FormatError, ParameterError, StoreError
from tlfeatures.features.embed import Batch, ComputeOptions, Embedder
from tlfeatures.features.engines.engine import DEVICES
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.lock import exclusive, partial_path
from tlfeatures.features.file.reader import Reader, open_embeddings, read_header
from tlfeatures.features.file.writer import Writer, checksums
from tlfeatures.features.images.decoding import MAX_PIXELS
from tlfeatures.features.images.identify import UNREADABLE, Manifest, scan
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.plan import TIDYING
from tlfeatures.features.sources.folders import no_images_error
from tlfeatures.files import resolved
from tlfeatures.names import unknown_name

MIN_COSINE = 0.999  # of bfloat16 against float32 it is 0.9999; other weights or images are far off

BLOCK_BYTES = 16 * 2**20  # of a table, which are read and checked at a time

Mask = NDArray[np.bool_]
Progress = Callable[[int, int], None]

# Kind of finding -> what is said of the images; those of the first group are mended by --mend.
_DAMAGE = {
    "done-and-failed": "marked as done, and as one that can't be embedded",
    "not-finite": "with values that are no finite numbers",
    "zeros": "marked as done, with nothing but zeros (which a black image may have)",
    "checksum": "with other values than were written, by their checksums",
    "shard": "in a shard that has other bytes than it was made with",
    "differs": f"embedding to other values now (a cosine below {MIN_COSINE})",
}
_STATE = {
    "waiting": "not embedded yet",
    "gone": "no longer in the folder",
    "new": "in the folder only",
    "changed": "with other bytes than were embedded",
    "unreadable": "that can't be read",
}
_WHAT = _DAMAGE | _STATE


@dataclass(frozen=True)
class Finding:
    """Images of which the same is wrong.

    Attributes
    ----------
    kind : str
        `done-and-failed`, `not-finite`, `zeros`, `checksum`, `shard`, `differs` (damage),
        `waiting`, `gone`, `new`, `changed` or `unreadable`.
    ids : list of str
        Sorted.
    what : str
        What is wrong with them, in words that follow "n images".
    remedy : str
        What to do: a command, or words that have it in backticks.
    """

    kind: str
    ids: list[str]
    what: str
    remedy: str


@dataclass(frozen=True)
class Verification:
    """What `verify` checked and found.

    Attributes
    ----------
    file : str
    images, done, failed, waiting : int
        In the file; the first is the sum of the others.
    tables : list of str
        The datasets of which every row was read, `embeddings/LAYER.POOL` and the same of variants.
    source : str or None
        The folder whose images were hashed.
    sampled : int
        Images that were embedded again.
    smallest_cosine, largest_difference : float or None
        Of their values, and those of their variants, now and in the file.
    findings : list of Finding
        Damage first; empty if all is well.
    mended : int
        Rows that are no longer marked as done.
    seconds : float
    """

    file: str
    images: int
    done: int
    failed: int
    waiting: int
    tables: list[str]
    source: str | None
    sampled: int
    smallest_cosine: float | None
    largest_difference: float | None
    findings: list[Finding]
    mended: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data."""
        return {**asdict(self), "ok": self.ok}


def verify(
    file: str | os.PathLike[str],
    source: str | os.PathLike[str] | None = None,
    *,
    sample: int = 16,
    mend: bool = False,
    device: str = "auto",
    weights: str | None = None,
    max_pixels: int = MAX_PIXELS,
    random_state: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Check every row of an embeddings file, and with its folder its images and the backbone.

    Parameters
    ----------
    file : path
        What `extract` made.
    source : path, optional
        The folder of its images: they are hashed, and some are embedded again.
    sample : int
        How many finished images are embedded again, by the file's own spec.
    mend : bool
        Take back that damaged rows are done, so that the next `extract` computes them again. It
        is the only thing that is written.
    device : {"auto", "cpu", "gpu"}
    weights : str, optional
        Where the backbone's weights are, if not where the spec says.
    max_pixels : int
        An image that has more can't be embedded again.
    random_state : int
        Seed of the sample.
    progress : callable (rows done, rows to do), optional

    Returns
    -------
    Verification

    Raises
    ------
    ParameterError
        If there is no such file or folder, or for a wrong setting.
    FormatError
        If the file can't be opened as one.
    SourceError
        If the folder has no images.
    BusyError
        If it is to be mended while another process writes it.
    SpecError, WeightsError
        If the backbone of the file's spec can't be had.

    Examples
    --------
    >>> verify("photos.h5", "photos").ok  # doctest: +SKIP
    """
    started = time.perf_counter()
    _check_settings(source, sample, random_state, device, weights)
    path = resolved(file)  # as `extract` names the lock
    read_header(file)  # what is no file is said before anything is locked
    options = ComputeOptions(device=device, max_pixels=max_pixels, weights=weights, substitute=True)
    with exclusive(path) if mend else contextlib.nullcontext():
        with open_embeddings(path) as reader:
            seen = _look(reader, source, sample, random_state, options, progress)
        damaged = seen.damaged() if mend else []
        if damaged:
            _unmark(path, seen.header, damaged)
    header, waiting = seen.header, int(seen.found["waiting"].sum())
    done = int(header.done.sum())
    remedies = _Remedies(str(file), _folder(header, source), mend, seen)
    return Verification(
        file=str(file),
        images=len(header.ids),
        done=done,
        failed=len(header.ids) - done - waiting,
        waiting=waiting,
        tables=header.tables,
        source=None if source is None else str(source),
        sampled=seen.again.count,
        smallest_cosine=seen.again.smallest_cosine,
        largest_difference=seen.again.largest_difference,
        findings=[
            Finding(kind, ids, what, remedies.of(kind))
            for kind, what in _WHAT.items()
            if (ids := seen.ids(kind))
        ],
        mended=len(damaged),
        seconds=time.perf_counter() - started,
    )


def _check_settings(
    source: str | os.PathLike[str] | None,
    sample: int,
    random_state: int,
    device: str,
    weights: str | None,
) -> None:
    if sample < 0:
        raise ParameterError(f"sample must be 0 or more, got {sample}")
    if random_state < 0:
        raise ParameterError(f"random_state must be 0 or more, got {random_state}")
    if device not in DEVICES:
        raise unknown_name("device", device, DEVICES)
    if weights is not None and source is None:
        raise ParameterError("weights are of use only where images are embedded: give --source DIR")


# ---- looking


@dataclass
class _Again:
    """What embedding some images again gave; rows whose values differ, or that can't be read."""

    count: int = 0
    smallest_cosine: float | None = None
    largest_difference: float | None = None
    differing: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)


@dataclass
class _Seen:
    """What was found: a mask (n,) of the file's rows a kind, and ids that are in the folder only.

    `lost` counts images whose bytes are nowhere in the folder, as `extract` does.
    """

    header: Header
    found: dict[str, Mask]
    new: list[str] = field(default_factory=list)
    lost: int = 0
    again: _Again = field(default_factory=_Again)

    def ids(self, kind: str) -> list[str]:
        if kind not in self.found:
            return self.new if kind == "new" else []
        return [self.header.ids[row] for row in np.flatnonzero(self.found[kind])]

    def add(self, kind: str, rows: list[int]) -> None:
        self.found.setdefault(kind, np.zeros(len(self.header.ids), bool))[rows] = True

    def damaged(self) -> list[int]:
        masks = [self.found[kind] for kind in _DAMAGE if kind in self.found]
        return [int(row) for row in np.flatnonzero(np.any(masks, axis=0))]


class _Steps:
    """Rows done, of those to do."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _look(
    reader: Reader,
    source: str | os.PathLike[str] | None,
    sample: int,
    random_state: int,
    options: ComputeOptions,
    progress: Progress | None,
) -> _Seen:
    header = reader.header
    manifest = None if source is None else scan(source)
    if source is not None and manifest is not None and not manifest.images:
        raise no_images_error(source, "expected the folder that the file was made of")
    again = 0 if manifest is None else min(sample, int(header.done.sum()))
    steps = _Steps(progress, len(header.tables) * len(header.ids) + again)
    seen = _Seen(header, _of_marks(header) | _of_rows(reader, steps) | _of_shards(header))
    if manifest is None:
        return seen
    _compare_folder(seen, manifest)
    rows = _draw(seen, sample, random_state)
    seen.again = _embed_again(reader, manifest, rows, options, steps)
    seen.add("differs", seen.again.differing)
    seen.add("unreadable", seen.again.unreadable)
    return seen


def _of_marks(header: Header) -> dict[str, Mask]:
    reason = np.array([bool(why) for why in header.reasons])
    return {"waiting": ~header.done & ~reason, "done-and-failed": header.done & reason}


def _of_rows(reader: Reader, steps: _Steps) -> dict[str, Mask]:
    """Finished rows of which any table is damaged, each told as one kind a table."""
    header = reader.header
    kinds = ("not-finite", "zeros", "checksum")
    masks = {kind: np.zeros(len(header.ids), bool) for kind in kinds}
    for path in header.tables:
        infinite, empty, wrong = _read_table(reader, path, steps)
        empty &= wrong
        found = infinite, empty, wrong & ~infinite & ~empty
        for kind, mask in zip(kinds, found, strict=True):
            masks[kind] |= mask & header.done
    return masks


def _of_shards(header: Header) -> dict[str, Mask]:
    """Finished rows in shards of other bytes; nothing where there are no shards."""
    if header.shards is None:
        return {}
    altered = np.append(header.shards.altered(header.path), False)  # the last: of rows in none
    return {"shard": header.done & altered[header.shards.place[:, 0]]}


def _read_table(reader: Reader, path: str, steps: _Steps) -> tuple[Mask, Mask, Mask]:
    """Rows (of any one variant, where it has some) not finite, all zeros, of another checksum."""
    header = reader.header
    count, width = len(header.ids), header.embeddings[path.partition("/")[2]]
    infinite, empty, wrong = (np.zeros(count, bool) for _ in range(3))
    parts = header.variants if path.startswith("variants/") else 1
    step = max(1, BLOCK_BYTES // (np.dtype(header.dtype).itemsize * parts * width))
    for start in range(0, count, step):
        rows = np.arange(start, min(start + step, count))
        values = reader.copy_rows(path, rows).reshape(len(rows), parts, width)
        infinite[rows] = ~np.isfinite(values).all(axis=(1, 2))
        empty[rows] = np.any(np.all(values == 0, axis=2), axis=1)
        wrong[rows] = checksums(values) != reader.copy_checksums(path, rows)
        steps.add(len(rows))
    return infinite, empty, wrong


def _compare_folder(seen: _Seen, manifest: Manifest) -> None:
    header = seen.header
    now = dict(zip(manifest.ids, manifest.digests, strict=True))
    there = [now.get(id_) for id_ in header.ids]
    digests = set(manifest.digests)
    pairs = list(zip(there, header.digests, strict=True))
    seen.found |= {
        "gone": np.array([found is None for found in there]),
        "unreadable": np.array([found == UNREADABLE for found in there]),
        "changed": np.array([found not in (None, UNREADABLE, had) for found, had in pairs]),
    }
    seen.new = sorted(set(manifest.ids) - set(header.ids))
    seen.lost = sum(found is None and had not in digests for found, had in pairs)


def _unmark(path: Path, header: Header, damaged: list[int]) -> None:
    """Also where a run that was cut off left rows of the same images: the next takes them over."""
    if not os.access(path, os.W_OK):
        raise StoreError(f"{path} is read-only: make it writable to mend it")
    with Writer(path) as writer:
        writer.unmark(damaged)
    digests = {header.digests[row] for row in damaged}
    beside = partial_path(path)
    if beside.is_file():
        with contextlib.suppress(FormatError):  # then it is of no use to that run, either
            found = read_header(beside).digests
            with Writer(beside) as writer:
                writer.unmark([row for row, digest in enumerate(found) if digest in digests])


# ---- embedding again


def _draw(seen: _Seen, sample: int, random_state: int) -> list[int]:
    """Rows to embed again: finished, and with nothing found of them yet; ascending."""
    sound = seen.header.done & ~np.any(list(seen.found.values()), axis=0)
    rows = np.flatnonzero(sound)
    drawn = np.random.default_rng(random_state).choice(rows, min(sample, len(rows)), replace=False)
    return [int(row) for row in np.sort(drawn)]


def _embed_again(
    reader: Reader,
    manifest: Manifest,
    rows: list[int],
    options: ComputeOptions,
    steps: _Steps,
) -> _Again:
    """Embed these rows' images and their variants again, and compare them batch by batch."""
    header, result = reader.header, _Again()
    locations = {image.id: image.location for image in manifest.images}
    embedder = Embedder(header.spec, list(header.embeddings), options)
    run = embedder.run(
        (ImageToRead(row, locations[header.ids[row]], header.digests[row]) for row in rows),
        len(rows),
    )
    for batch in run.batches():
        _compare(result, reader, batch)
        steps.add(len(batch.keys))
    result.unreadable = [row for row, _ in run.failures]
    return result


def _compare(result: _Again, reader: Reader, batch: Batch[int]) -> None:
    """Compare the values of a batch with those in the file."""
    index = np.array(batch.keys)
    cosines = np.ones(len(index))
    for name, values in batch.values.items():
        stored = reader.copy_rows(f"embeddings/{name}", index)[:, None]
        if reader.header.variants:
            stored = np.concatenate([stored, reader.copy_rows(f"variants/{name}", index)], axis=1)
        computed = values.astype(stored.dtype)
        difference = float(np.nan_to_num(np.abs(computed.astype(np.float64) - stored)).max())
        result.largest_difference = max(difference, result.largest_difference or 0.0)
        cosines = np.minimum(cosines, _cosines(computed, stored).min(axis=1))
    result.count += len(index)
    smallest = float(cosines.min())
    if result.smallest_cosine is not None:
        smallest = min(smallest, result.smallest_cosine)
    result.smallest_cosine = smallest
    result.differing += index[cosines < MIN_COSINE].tolist()


def _cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Of the last axis; of two vectors of zeros it is 1, of one 0."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    products: NDArray[np.float64] = (a * b).sum(axis=-1) / np.where(lengths > 0, lengths, 1)
    products[np.all(a == b, axis=-1)] = 1
    return np.nan_to_num(np.clip(products, -1, 1))  # what is no number is no direction


# ---- what to do


def _folder(header: Header, source: str | os.PathLike[str] | None) -> str:
    """The folder to name in a command: as given, else as the file says, if that is a name."""
    if source is not None:
        return str(source)
    said = header.provenance.get("source")
    return said if isinstance(said, str) and said and said.isprintable() else "SOURCE"


@dataclass(frozen=True)
class _Remedies:
    """The command that mends each kind of finding."""

    file: str
    folder: str
    mended: bool
    seen: _Seen

    def of(self, kind: str) -> str:
        file, folder = shlex.quote(self.file), shlex.quote(self.folder)
        update = f"tlfeatures extract {folder} -o {file}"
        if self.seen.lost > TIDYING * len(self.seen.header.ids) and kind in ("gone", "new"):
            return f"`{update} --prune`, if it is the right folder"
        if kind == "unreadable":
            return f"mend or remove them, then `{update}`"
        again, header = self.seen.again, self.seen.header
        others = kind == "differs" and again.count < header.done.sum()  # may differ, too
        if kind not in _DAMAGE or (self.mended and not others):
            return f"`{update}`"
        check = f"tlfeatures verify {file} --mend"
        if kind == "differs":
            check += f" --source {folder} --sample {len(header.ids)}"
        return f"`{check}; {update}`"
