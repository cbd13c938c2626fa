"""The shards of an embeddings file: what the file says about them, and where they are on the disk.

A shard is an ordinary embeddings file with a part of the rows. The shards of `FILE.h5` are in the
folder `FILE.h5.shards` beside it.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHARD_NAME = re.compile(r"[0-9a-f]{64}\.h5")
NAME_BYTES = 67


@dataclass(frozen=True)
class Shards:
    """The shards of a sharded file, and the place of each of its rows.

    Attributes
    ----------
    folder : str
        Name of the shards' folder, which is beside the file: the name that is written in the file,
        or, if there is no such folder, the name that belongs to the file's own name.
    names : list of str, length s
        File names of the shards.
    sizes : list of int, length s
        Sizes of the shards in bytes.
    sha256 : list of bytes, length s
        sha256 of each shard's bytes.
    place : ndarray of shape (n, 2), int64
        Number of the shard with the image's row, and the row's number in it; -1 for an image
        that could not be embedded.
    """

    folder: str
    names: list[str]
    sizes: list[int]
    sha256: list[bytes]
    place: NDArray[np.int64]

    def lost(self, file: Path) -> NDArray[np.bool_]:
        """Which shards of a file are missing, or have another size: shape (s,)."""
        folder = file.parent / self.folder
        pairs = zip(self.names, self.sizes, strict=True)
        return np.array([size_of(folder / name) != size for name, size in pairs], bool)

    def altered(self, file: Path) -> NDArray[np.bool_]:
        """Which shards of a file have other bytes than when they were written: shape (s,)."""
        folder = file.parent / self.folder
        pairs = zip(self.names, self.sha256, strict=True)
        return np.array([_sha256(folder / name) not in (None, sha) for name, sha in pairs], bool)


def shards_folder(file: Path) -> Path:
    """Path of the folder with the shards of a file."""
    return file.with_name(f"{file.name}.shards")


def size_of(path: Path) -> int:
    """Size of a regular file in bytes; -1 of anything else, also of a link."""
    try:
        status = os.lstat(path)
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def _sha256(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:  # a missing shard is reported by `lost`
        return None
