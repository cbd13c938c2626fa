"""The folder of a file's shards: which of them no file needs any more, so that they are removed.

A shard is removed only if no file beside it refers to it, so that copies and renamed files keep
their rows. If one of those files can't be read, nothing is removed: it may refer to any shard.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path

from tlfeatures.errors import StoreError
from tlfeatures.features.file.checks import is_of_another_program
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.lock import partial_path
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.file.sharded import SHARD_NAME, shards_folder
from tlfeatures.features.sources.locations import Folder
from tlfeatures.files import ENDINGS

logger = logging.getLogger(__name__)

_LEFTOVER = re.compile(rf"\.({SHARD_NAME.pattern})\..+")  # a temporary file of a killed worker
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ENDINGS = (*ENDINGS["an embeddings file"], ".partial")


def is_shard(name: str) -> bool:
    """Whether a file is a shard, by its name."""
    return SHARD_NAME.fullmatch(name) is not None


def shard_of(name: str) -> str | None:
    """Return the shard's name for a shard and for a killed worker's temporary file of it."""
    leftover = _LEFTOVER.fullmatch(name)
    return leftover[1] if leftover else name if is_shard(name) else None


def shards_of_others(target: Path) -> set[str]:
    """Return the shards of a file to which other files beside it refer, such as copies of it.

    Raises
    ------
    StoreError
        If a file beside it can't be read, so that it may refer to any.
    """
    shards: set[str] = set()
    folder = shards_folder(target).name
    own = (target.name, partial_path(target).name)
    try:
        for path in target.parent.iterdir():
            if path.name not in own and path.is_file():
                shards |= _shards_in(path, folder)
    except OSError as error:
        raise StoreError(f"{error.filename} can't be read: {error.strerror}") from error
    return shards


def _shards_in(path: Path, folder: str) -> set[str]:
    """Return the shards in this folder to which a file refers, if it is an embeddings file."""
    with path.open("rb") as file:
        is_hdf5 = file.read(len(_SIGNATURE)) == _SIGNATURE
    # A damaged file may have lost its first bytes: then its name tells what it was.
    if not is_hdf5 and not path.name.lower().endswith(_ENDINGS):
        return set()
    if is_of_another_program(path):
        return set()
    shards = read_header(path).shards
    return set(shards.names) if shards is not None and shards.folder == folder else set()


def remove_shards(target: Path, folder: Folder, names: Collection[str]) -> None:
    """Remove shards that a file does not need, except those to which files beside it refer.

    Parameters
    ----------
    target : Path
        The embeddings file.
    folder : Folder
        The folder with the shards. Other files refer to it only if it is beside the file.
    names : collection of str
        Names of shards, and of temporary files that killed workers left.
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


def remove_own_shards(header: Header) -> None:
    """Remove the shards of a sharded file that was replaced by one with all rows in itself."""
    if header.shards is not None and header.has_own_shards:
        folder = Folder(str(shards_folder(header.path)))
        remove_shards(header.path, folder, header.shards.names)


def remove_orphans(file: Path) -> None:
    """Remove shards of a file that has their rows in itself, as a killed `merge` leaves them.

    Shards with other rows stay: they are from an interrupted run on a cluster, and the next run
    uses them.
    """
    folder = Folder(str(shards_folder(file)))
    names = [name for name in folder.sizes() if shard_of(name) is not None]
    if not names:
        return
    header = read_header(file)
    if header.shards is None:
        done = header.done_digests()
        orphans = [
            name for name in names if not is_shard(name) or _is_in(name, folder, header, done)
        ]
        if orphans:
            remove_shards(file, folder, orphans)


def _is_in(name: str, folder: Folder, header: Header, done: set[bytes]) -> bool:
    """Whether a file has all rows of a shard; `done` are the digests of its finished rows."""
    try:
        with folder.reading(name) as path:
            shard = read_header(path)
    except StoreError:
        return False
    return (
        shard.is_comparable(header)
        and shard.embeddings.items() <= header.embeddings.items()
        and shard.done_digests() <= done
    )
