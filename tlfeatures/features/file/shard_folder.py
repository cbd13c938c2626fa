"""The folder of a file's shards: which of them are needed no more, and may be removed.

A shard is removed only if no file beside refers to it, so that copies and renamed files keep their
rows. Where a file beside can't be read, nothing is removed: it may refer to any of them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path

from tlfeatures.errors import StoreError
from tlfeatures.features.file import store
from tlfeatures.features.file.sharded import SHARD_NAME, has_own_shards, shards_folder
from tlfeatures.features.sources.locations import Folder
from tlfeatures.files import ENDINGS

logger = logging.getLogger(__name__)

_LEFTOVER = re.compile(rf"\.({SHARD_NAME.pattern})\..+")  # a temporary file of a killed worker
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ENDINGS = (*ENDINGS["an embeddings file"], ".partial")


def is_shard(name: str) -> bool:
    """Whether a file is a shard by its name."""
    return SHARD_NAME.fullmatch(name) is not None


def shard_of(name: str) -> str | None:
    """Name the shard that a file is, or that a process which was killed left of it."""
    leftover = _LEFTOVER.fullmatch(name)
    return leftover[1] if leftover else name if is_shard(name) else None


def shards_of_others(target: Path) -> set[str]:
    """Name the shards of a file's folder that other files beside it refer to: copies of it, say.

    Raises
    ------
    StoreError
        If a file beside can't be read, so that it may refer to any.
    """
    named: set[str] = set()
    folder = shards_folder(target).name
    own = (target.name, store.partial_path(target).name)
    try:
        for path in target.parent.iterdir():
            if path.name not in own and path.is_file():
                named |= _named_by(path, folder)
    except OSError as error:
        raise StoreError(f"{error.filename} can't be read: {error.strerror}") from error
    return named


def _named_by(path: Path, folder: str) -> set[str]:
    """Name the shards of this folder that a file refers to, if it is an embeddings file at all."""
    with path.open("rb") as file:
        is_hdf5 = file.read(len(_SIGNATURE)) == _SIGNATURE
    # A damaged file may have lost its first bytes: then its name says what it was.
    if not is_hdf5 and not path.name.lower().endswith(_ENDINGS):
        return set()
    if store.is_of_another_program(path):
        return set()
    shards = store.read_header(path).shards
    return set(shards.names) if shards is not None and shards.folder == folder else set()


def remove_shards(target: Path, folder: Folder, names: Collection[str]) -> None:
    """Remove shards that a file needs no more, but for those that others beside it refer to.

    Parameters
    ----------
    target : Path
        The embeddings file.
    folder : Folder
        Where they are; files beside refer to none that are elsewhere than beside the file.
    names : collection of str
        Shards, and what killed workers left of some.
    """
    unneeded = set(names)
    if unneeded and folder.location == str(shards_folder(target)):
        try:
            others = shards_of_others(target)
        except StoreError as error:
            logger.warning(
                "%d unneeded files in %s are kept, because another file in the same folder can't "
                "be read and may refer to them: %s. Repair or move that file, then run the command "
                "again",
                len(unneeded),
                folder.location,
                error,
            )
            return
        unneeded -= others
    folder.remove(unneeded)


def remove_own_shards(header: store.Header) -> None:
    """Remove the shards of a virtual file that was replaced by one with all rows in itself."""
    if header.shards is not None and has_own_shards(header):
        folder = Folder(str(shards_folder(header.path)))
        remove_shards(header.path, folder, header.shards.names)


def remove_orphans(file: Path) -> None:
    """Remove shards of a file that has their rows in itself, as a killed `merge` leaves them.

    Shards with other rows stay: a run on a cluster that was cut off has made them, and the next one
    takes them up.
    """
    folder = Folder(str(shards_folder(file)))
    names = [name for name in folder.sizes() if shard_of(name) is not None]
    if not names:
        return
    header = store.read_header(file)
    if header.shards is None:
        held = header.done_digests()
        orphans = [
            name for name in names if not is_shard(name) or _is_in(name, folder, header, held)
        ]
        if orphans:
            remove_shards(file, folder, orphans)


def _is_in(name: str, folder: Folder, header: store.Header, held: set[bytes]) -> bool:
    """Whether a file has all rows of a shard."""
    try:
        with folder.reading(name) as path:
            shard = store.read_header(path)
    except StoreError:
        return False
    return (
        not shard.spec.differences(header.spec)
        and shard.spec.augmentation == header.spec.augmentation
        and shard.dtype == header.dtype
        and shard.embeddings.items() <= header.embeddings.items()
        and shard.done_digests() <= held
    )
