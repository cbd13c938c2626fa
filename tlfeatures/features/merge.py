"""One file with all its rows in it, of a virtual file and its shards."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlfeatures.errors import ParameterError, StoreError
from tlfeatures.features.file import store
from tlfeatures.features.file.shard_folder import remove_orphans, remove_own_shards
from tlfeatures.features.images.identify import Manifest
from tlfeatures.features.sources.folders import ImageFile
from tlfeatures.files import check_ending, replacing


@dataclass(frozen=True)
class Merging:
    """What `merge` did.

    Attributes
    ----------
    file : str
        That has its rows in itself now.
    images, done : int
        In the file; of these, rows that are there.
    shards : int
        That were merged; 0 where the file had all its rows in it already, and stays as it is.
    bytes : int
        Of the file.
    in_place : bool
        Whether it replaced the virtual file, whose shards are removed then.
    """

    file: str
    images: int
    done: int
    shards: int
    bytes: int
    in_place: bool

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data."""
        return asdict(self)


def merge(
    file: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Merging:
    """Put the rows of a virtual embeddings file into one file.

    Parameters
    ----------
    file : path
    output : path, optional
        The file to make, if it is not to replace `file`. Where `file` is replaced, its shards are
        removed.
    progress : callable (rows copied, rows), optional
        Of all embeddings.

    Returns
    -------
    Merging

    Raises
    ------
    ParameterError
        If `output` is there already.
    FormatError, StoreError
        If the file, or a shard, is not what it should be, or a shard is gone.
    """
    if output is not None:
        check_ending(output, "an embeddings file")
    source = Path(file).resolve()
    target = source if output is None else Path(output).resolve()
    if output is not None and target.exists():
        raise ParameterError(f"{target} is there already: give another file with -o, or remove it")
    with store.exclusive(target):
        header = store.read_header(source)
        shards = header.shards
        if target == source and not os.access(source, os.W_OK):
            raise StoreError(f"{source} is read-only: make it writable, or give another with -o")
        if shards is not None and shards.lost(source).any():
            raise StoreError(
                f"{shards.lost(source).sum()} of the {len(shards.names)} shards of {source} are "
                "gone or cut off: bring them back, or run the command that made it again"
            )
        if shards is None and target == source:
            remove_orphans(target)  # of a merge that was killed
            return _merging(target, header, 0, in_place=True)
        with replacing(target) as fresh:
            _copy(source, header, fresh, target, progress)
        if target == source:
            remove_own_shards(header)
        return _merging(
            target, store.read_header(target), len(shards.names) if shards else 0, target == source
        )


def _copy(
    source: Path,
    header: store.Header,
    fresh: Path,
    target: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Make a file with all rows of a virtual one, under a temporary name."""
    manifest = Manifest(
        [ImageFile(id_, "", id_) for id_ in header.ids], header.digests, header.stamps
    )
    kind = header.spec, header.embeddings, header.dtype, header.provenance
    store.create(fresh, manifest, *kind, named=target)
    with store.Writer(fresh, named=target) as writer:
        writer.carry(source, progress)
        for row, reason in enumerate(header.reasons):
            if reason:
                writer.fail([row], reason)
    if int(store.read_header(fresh).done.sum()) < int(header.done.sum()):
        raise StoreError(f"{source} has changed meanwhile: run the command again")


def _merging(file: Path, header: store.Header, shards: int, in_place: bool) -> Merging:
    return Merging(
        file=str(file),
        images=len(header.ids),
        done=int(header.done.sum()),
        shards=shards,
        bytes=file.stat().st_size,
        in_place=in_place,
    )
