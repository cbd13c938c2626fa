"""The command `merge`: put the rows of a sharded file into one file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tlfeatures.errors import ParameterError, StoreError
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.lock import exclusive
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.file.shard_folder import remove_orphans, remove_own_shards
from tlfeatures.features.file.writer import Writer
from tlfeatures.features.images.identify import Manifest
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.file_result import FileResult
from tlfeatures.files import check_ending, replacing, resolved
from tlfeatures.html_tables import Cell
from tlfeatures.names import counted
from tlfeatures.progress import Progress, shown_progress


@dataclass(frozen=True, repr=False)
class Merging(FileResult):
    """Result of `merge`.

    Attributes
    ----------
    file : str
        Path of the file that has its rows in itself now.
    images, done : int
        Number of images in the file, and of those whose rows are done.
    shards : int
        Number of shards that were merged; 0 if the file had all its rows in itself, and is
        unchanged.
    bytes : int
        Size of the file in bytes.
    in_place : bool
        Whether the file replaced the sharded file.
    kept : int
        Number of the shards that still exist after a merge in place, because another file in the
        folder refers to them, or may do so.
    """

    images: int
    done: int
    shards: int
    bytes: int
    in_place: bool
    kept: int

    def _about(self) -> str:
        return f"{counted(self.images, 'image')}, {counted(self.shards, 'shard')} merged"

    def _facts(self) -> Mapping[str, Cell]:
        return {
            "finished rows": self.done,
            "size": f"{self.bytes / 1e6:,.1f} MB",
            "kept shards": self.kept or None,
        }


def merge(
    file: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    progress: bool | Progress | None = None,
) -> Merging:
    """Put the rows of a sharded embeddings file into one file.

    Parameters
    ----------
    file : path
        The sharded file.
    output : path, optional
        The file to create. By default `file` is replaced, and its shards are removed.
    progress : bool or callable of (done, total), optional
        Counts rows of all embeddings. See `extract`.

    Returns
    -------
    Merging

    Raises
    ------
    ParameterError
        If there is no such file, or `output` exists.
    FormatError, StoreError
        If the file or a shard is damaged, or a shard is missing.
    BusyError
        If another process writes the file.
    """
    if output is not None:
        check_ending(output, "an embeddings file")
    source = resolved(file)
    target = source if output is None else resolved(output)
    if output is not None and target.exists():
        raise ParameterError(f"{target} is there already: give another file with -o, or remove it")
    with exclusive(target):
        header = read_header(source)
        shards = header.shards
        if target == source and not os.access(source, os.W_OK):
            raise StoreError(f"{source} is read-only: make it writable, or give another with -o")
        if shards is not None and shards.lost(source).any():
            raise StoreError(
                f"{shards.lost(source).sum()} of the {len(shards.names)} shards of {source} are "
                "gone or cut off: bring them back, or run the command that made it again"
            )
        if shards is None and target == source:
            remove_orphans(target)  # shards that a killed merge has left
        else:
            shown = shown_progress(progress, "merging", "rows")
            with replacing(target) as fresh, shown as show:
                _copy(source, header, fresh, target, show)
            if target == source:
                remove_own_shards(header)
        return Merging(
            file=str(target),
            images=len(header.ids),
            done=int(read_header(target).done.sum()),
            shards=0 if shards is None else len(shards.names),
            bytes=target.stat().st_size,
            in_place=target == source,
            kept=_count_shards(header) if target == source else 0,
        )


def _count_shards(header: Header) -> int:
    """Count the shards of a file that exist."""
    if header.shards is None:
        return 0
    return len(header.shards.names) - int(header.shards.lost(header.path).sum())


def _copy(
    source: Path,
    header: Header,
    fresh: Path,
    target: Path,
    progress: Progress,
) -> None:
    """Create a file with all rows of a sharded one, under a temporary name."""
    manifest = Manifest(
        [ImageRecord(id_, "", id_) for id_ in header.ids], header.digests, header.stamps
    )
    contents = Contents(manifest, header.spec, header.embeddings, header.dtype, header.provenance)
    create(fresh, contents, named=target)
    with Writer(fresh, named=target) as writer:
        writer.carry(source, progress)
        for row, reason in enumerate(header.reasons):
            if reason:
                writer.fail([row], reason)
    if int(read_header(fresh).done.sum()) < int(header.done.sum()):
        raise StoreError(f"{source} has changed meanwhile: run the command again")
