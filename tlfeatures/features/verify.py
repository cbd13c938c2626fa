"""The command `verify`: check the content of an embeddings file.

It reads every row. Given the folder of the images, it also hashes them and embeds some of them
again. Nothing is written, except that `mend` marks damaged rows as not done.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tlfeatures.errors import FormatError, ParameterError, SpecError, StoreError
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.engines.engine import DEVICES
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.lock import exclusive, partial_path
from tlfeatures.features.file.reader import Reader, open_embeddings, read_header
from tlfeatures.features.file.writer import Writer
from tlfeatures.features.images.decoding import MAX_PIXELS
from tlfeatures.features.images.identify import scan
from tlfeatures.features.plan import MOST_REMOVED, count_removed
from tlfeatures.features.recompute import Comparison, recompute
from tlfeatures.features.row_checks import Mask, check_rows, compare_with_folder
from tlfeatures.features.sources.open_source import Locations, open_with_stored_options
from tlfeatures.features.verification import Finding, Verification
from tlfeatures.files import resolved
from tlfeatures.names import as_list, unknown_name
from tlfeatures.progress import Progress, shown_progress

MIN_COSINE = 0.999  # bfloat16 against float32: 0.9999; other weights or images are far below

# Kind of problem -> description that follows "n images". Only rows with damage are mended.
_DAMAGE = {
    "done-and-failed": "marked as done, but also as failed",
    "not-finite": "with values that are not finite",
    "zeros": "marked as done, but with zeros instead of their values",
    "checksum": "with other values than were written, according to their checksums",
    "shard": "in a shard whose bytes have changed",
    "differs": f"whose values are different when computed again (cosine below {MIN_COSINE})",
}
_STATE = {
    "waiting": "not embedded yet",
    "gone": "no longer in the folder",
    "new": "in the folder only",
    "changed": "with other bytes than were embedded",
    "unreadable": "that can't be read",
}


def verify(
    file: str | os.PathLike[str],
    source: Locations | None = None,
    *,
    sample: int = 16,
    mend: bool = False,
    device: str = "auto",
    weights: str | None = None,
    max_pixels: int = MAX_PIXELS,
    random_state: int = 0,
    progress: bool | Progress | None = None,
) -> Verification:
    """Check every row of an embeddings file; given the folder, also its images and values.

    Parameters
    ----------
    file : path
        The embeddings file.
    source : path or URL, or sequence of them, optional
        The source of its images, usually a folder. They are hashed, and a sample is embedded again.
    sample : int
        Number of images to embed again, by the file's own spec.
    mend : bool
        Mark damaged rows as not done, so that the next `extract` computes them again. Nothing else
        is written.
    device : {"auto", "cpu", "gpu"}
        Where the forward pass is computed.
    weights : str, optional
        Source of the backbone's weights, if they are not where the spec says.
    max_pixels : int
        An image with more pixels cannot be embedded again.
    random_state : int
        Seed of the sample.
    progress : bool or callable of (done, total), optional
        Counts rows of tables, and images that are embedded again. See `extract`.

    Returns
    -------
    Verification

    Raises
    ------
    ParameterError
        If there is no such file or folder, or for an option that is out of range.
    FormatError
        If it is no embeddings file.
    SourceError
        If the folder has no images.
    BusyError
        If the file is to be mended while another process writes it.
    StoreError
        If the file is to be mended and is read-only.
    SpecError, WeightsError
        If the backbone of the file's spec cannot be loaded.

    Examples
    --------
    >>> verify("photos.h5", "photos").ok  # doctest: +SKIP
    """
    started = time.perf_counter()
    _check_settings(source, sample, random_state, device, weights)
    path = resolved(file)  # `extract` locks the same path
    header = read_header(file)  # a file of another format must raise before anything is locked
    if source is not None and header.spec.imported is not None:
        raise SpecError(
            f"{file} holds imported embeddings, which can't be compared with images; leave out "
            "--source to check its rows"
        )
    options = ComputeOptions(device=device, max_pixels=max_pixels, weights=weights, substitute=True)
    with exclusive(path) if mend else contextlib.nullcontext():
        with (
            open_embeddings(path) as reader,
            shown_progress(progress, "checking", "rows") as show,
        ):
            check = _check(reader, source, sample, random_state, options, show)
        damaged = check.damaged_rows() if mend else []
        if damaged:
            _unmark(path, check.header, damaged)
    header, comparison = check.header, check.comparison
    done, waiting = int(header.done.sum()), int(check.masks["waiting"].sum())
    folder = _source_in_command(header, source)
    return Verification(
        file=str(file),
        images=len(header.ids),
        done=done,
        failed=len(header.ids) - done - waiting,
        waiting=waiting,
        tables=header.tables,
        source=None if source is None else ", ".join(map(str, as_list(source))),
        sampled=comparison.count,
        smallest_cosine=comparison.smallest_cosine,
        largest_difference=comparison.largest_difference,
        findings=[
            Finding(kind, ids, what, _remedy(kind, check, str(file), folder, mend))
            for kind, what in (_DAMAGE | _STATE).items()
            if (ids := check.ids(kind))
        ],
        mended=len(damaged),
        seconds=time.perf_counter() - started,
    )


def _check_settings(
    source: Locations | None,
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


@dataclass
class _Check:
    """Result of the checks.

    Attributes
    ----------
    header : Header
    masks : dict of kind to ndarray of shape (n,), bool
        The rows with each problem.
    new : list of str
        Ids that are in the folder only.
    removed : int
        Number of images whose bytes are nowhere in the folder; see `count_removed`.
    comparison : Comparison
        The sample that was embedded again.
    """

    header: Header
    masks: dict[str, Mask]
    comparison: Comparison
    new: list[str] = field(default_factory=list)
    removed: int = 0

    def ids(self, kind: str) -> list[str]:
        if kind == "new":
            return self.new
        return [self.header.ids[row] for row in np.flatnonzero(self.masks.get(kind, ()))]

    def damaged_rows(self) -> list[int]:
        masks = [mask for kind, mask in self.masks.items() if kind in _DAMAGE]
        rows: list[int] = np.flatnonzero(np.any(masks, axis=0)).tolist()
        return rows


def _check(
    reader: Reader,
    source: Locations | None,
    sample: int,
    random_state: int,
    options: ComputeOptions,
    progress: Progress,
) -> _Check:
    header = reader.header
    opened = None if source is None else open_with_stored_options(source, header.provenance)
    manifest = None if opened is None else scan(opened)
    if opened is not None and manifest is not None and not manifest.images:
        raise opened.no_images_error("expected the folder of the images in the file")
    count = 0 if manifest is None else min(sample, int(header.done.sum()))
    advance = _count_steps(progress, len(header.tables) * len(header.ids) + count)
    check = _Check(header, check_rows(reader, advance), Comparison(len(header.ids)))
    if manifest is not None:
        check.masks |= compare_with_folder(header, manifest)
        check.new = sorted(set(manifest.ids) - set(header.ids))
        check.removed = count_removed(manifest, header)
        rows = _draw(check, sample, random_state)
        check.comparison = recompute(reader, manifest, rows, options, advance)
        check.masks["differs"] = check.comparison.cosines < MIN_COSINE
        check.masks["unreadable"][check.comparison.unreadable] = True
    return check


def _count_steps(progress: Progress, total: int) -> Callable[[int], None]:
    """Return a function that adds a number of steps, and reports their sum."""
    done = 0

    def advance(steps: int) -> None:
        nonlocal done
        done += steps
        progress(done, total)

    return advance


def _draw(check: _Check, sample: int, random_state: int) -> list[int]:
    """Draw rows to compute again from the finished rows without a problem; ascending."""
    sound = check.header.done & ~np.any(list(check.masks.values()), axis=0)
    rows = np.flatnonzero(sound)
    drawn = np.random.default_rng(random_state).choice(rows, min(sample, len(rows)), replace=False)
    ascending: list[int] = np.sort(drawn).tolist()
    return ascending


def _unmark(path: Path, header: Header, damaged: list[int]) -> None:
    """Mark rows as not done, also in the file of an interrupted run, which the next run copies."""
    if not os.access(path, os.W_OK):
        raise StoreError(f"{path} is read-only: make it writable to mend it")
    with Writer(path) as writer:
        writer.unmark(damaged)
    digests = {header.digests[row] for row in damaged}
    partial = partial_path(path)
    if partial.is_file():
        with contextlib.suppress(FormatError):  # then the next run can't use it, either
            rows = enumerate(read_header(partial).digests)
            with Writer(partial) as writer:
                writer.unmark([row for row, digest in rows if digest in digests])


def _source_in_command(header: Header, source: Locations | None) -> str:
    """Write the source as in a command: the one given, else that of the file, else SOURCE."""
    given = as_list(header.provenance.get("source") if source is None else source)
    usable = bool(given) and all(str(location).isprintable() for location in given)
    if not usable:
        return "SOURCE"
    options = header.provenance.get("images")
    images = f" --images {shlex.quote(options)}" if options and options.isprintable() else ""
    return shlex.join(map(str, given)) + images


def _remedy(kind: str, check: _Check, file: str, folder: str, mended: bool) -> str:
    """Give the commands that solve a kind of problem."""
    file = shlex.quote(file)
    count = len(check.header.ids)
    verb = "extract" if check.header.spec.imported is None else "import"
    update = f"tlfeatures {verb} {folder} -o {file}"
    if check.removed > MOST_REMOVED * count and kind in ("gone", "new"):
        return f"`{update} --prune`, if it is the right folder"
    if kind == "unreadable":
        return f"mend or remove them, then `{update}`"
    in_sample_only = kind == "differs" and check.comparison.count < check.header.done.sum()
    if kind not in _DAMAGE or (mended and not in_sample_only):
        return f"`{update}`"
    mend = f"tlfeatures verify {file} --mend"
    if kind == "differs":
        mend += f" --source {folder} --sample {count}"
    return f"`{mend}; {update}`"
