"""Virtual embeddings files: their rows are in shards, files in a folder beside them.

Written as virtual datasets, so that other programs follow them by HDF5 itself. HDF5 would give
zeros for a shard that is gone, and read whatever file a crafted mapping names: so this package
reads shards by itself, and takes nothing but embeddings files whose names, sizes and images are
those that the receipts in the virtual file say.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import FormatError, StoreError

if TYPE_CHECKING:
    from tlfeatures.features.file.store import Header, Reader

SHARD_NAME = re.compile(r"[0-9a-f]{64}\.h5")

_FOLDER_NAME = re.compile(r"[^/\0]+\.shards")
_NAME_BYTES = 67


@dataclass(frozen=True)
class Shards:
    """The shards of a virtual file, and where in them each of its rows is.

    Attributes
    ----------
    folder : str
        Its name beside the virtual file: that which is written in it, or, where there is none and
        both were renamed, that which goes with the file's name.
    names : list of str, length s
    sizes : list of int, length s
        In bytes.
    sha256 : list of bytes, length s
        Of each shard.
    place : ndarray of shape (n, 2), int64
        Shard and row in it of each image; -1 for one that could not be embedded.
    """

    folder: str
    names: list[str]
    sizes: list[int]
    sha256: list[bytes]
    place: NDArray[np.int64]

    def lost(self, file: Path) -> NDArray[np.bool_]:
        """Tell which shards aren't there, or not as long as they were: shape (s,)."""
        folder = file.parent / self.folder
        pairs = zip(self.names, self.sizes, strict=True)
        return np.array([_size(folder / name) != size for name, size in pairs], bool)

    def altered(self, file: Path) -> NDArray[np.bool_]:
        """Tell which shards have other bytes than they were made with: shape (s,)."""
        folder = file.parent / self.folder
        pairs = zip(self.names, self.sha256, strict=True)
        return np.array([_sha256(folder / name) not in (None, had) for name, had in pairs], bool)


def _sha256(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:  # it is gone: that is told elsewhere
        return None


def shards_folder(file: Path) -> Path:
    """Name the folder of a virtual file's shards."""
    return file.with_name(f"{file.name}.shards")


def has_own_shards(header: Header) -> bool:
    """Whether a virtual file's shards are in the folder of its own name.

    A copy of the file under another name has those of the first one: they are only read.
    """
    return header.shards is not None and header.shards.folder == shards_folder(header.path).name


def _size(path: Path) -> int:
    """Bytes of a regular file; -1 of what is none, a link included."""
    try:
        found = os.lstat(path)
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


# ---- in the file


def write_shards(file: h5py.File, shards: Shards, tables: Mapping[str, Any]) -> None:
    """Put receipts and places into a file, and map its tables onto the shards.

    Parameters
    ----------
    file : h5py.File
    shards : Shards
    tables : dict of dataset to (shape, dtype)
    """
    names = [name.encode() for name in shards.names]
    file.create_dataset("shards/name", data=np.array(names, f"S{_NAME_BYTES}"))
    file.create_dataset("shards/size", data=np.array(shards.sizes, np.int64))
    digests = np.frombuffer(b"".join(shards.sha256), np.uint8).reshape(len(names), 32)
    file.create_dataset("shards/sha256", data=digests)
    file.create_dataset("place", data=shards.place)
    file.attrs["shards"] = shards.folder
    runs = list(_runs(shards.place))
    folder = shards.folder.replace("%", "%%")  # HDF5 puts numbers for %b
    for path, (shape, dtype) in tables.items():
        layout = h5py.VirtualLayout(shape, dtype)
        for shard, first, start, count in runs:
            # Of its source's length HDF5 wants to know no more than that the rows are in it.
            source = h5py.VirtualSource(
                f"{folder}/{shards.names[shard]}", path, (start + count, *shape[1:]), dtype
            )
            layout[first : first + count] = source[start : start + count]
        # Who follows the mapping by HDF5 alone shall see that a shard is gone.
        file.create_virtual_dataset(path, layout, fillvalue=np.nan)


def _runs(place: NDArray[np.int64]) -> Iterator[tuple[int, int, int, int]]:
    """Cut rows into runs of one shard: (shard, first row here, first row there, how many)."""
    if not len(place):
        return
    goes_on = (np.diff(place[:, 0]) == 0) & (np.diff(place[:, 1]) == 1)
    starts = [0, *(np.flatnonzero(~goes_on) + 1).tolist(), len(place)]
    for first, last in itertools.pairwise(starts):
        shard, row = place[first].tolist()
        if shard >= 0:
            yield shard, first, row, last - first


def has_endless_mapping(dataset: h5py.Dataset) -> bool:
    """Whether a virtual dataset grows with its sources: to tell its shape, HDF5 opens these."""
    made = dataset.id.get_create_plist()
    try:
        for number in range(made.get_virtual_count()):
            made.get_virtual_vspace(number).get_select_npoints()
    except RuntimeError:  # there is no number of points
        return True
    return False


def _folder_in(path: Path, file: h5py.File) -> str:
    """Name the folder of a file's shards, where it is now."""
    named = file.attrs["shards"]
    plain = isinstance(named, str) and _FOLDER_NAME.fullmatch(named) and Path(named).name == named
    if not plain:
        raise FormatError("its folder of shards is none beside it")
    own = shards_folder(path)
    return own.name if own.is_dir() and not (path.parent / named).is_dir() else str(named)


def read_shards(
    path: Path,
    file: h5py.File,
    count: int,
    column: Callable[[str, tuple[int, ...], str], h5py.Dataset],
) -> Shards:
    """Read what `write_shards` wrote; nothing else is taken for it.

    Parameters
    ----------
    path : Path
        Of the file.
    file : h5py.File
    count : int
        Of its images.
    column : callable (dataset, shape, dtype) -> h5py.Dataset
        Refuses what is not of this shape and in this very file.

    Raises
    ------
    FormatError
    """
    folder = _folder_in(path, file)
    size = file["shards/size"].shape
    names = [name.decode() for name in column("shards/name", size, f"bytes{8 * _NAME_BYTES}")[:]]
    if not all(SHARD_NAME.fullmatch(name) for name in names):
        raise FormatError("its shards have other names than shards have")
    sizes = column("shards/size", size, "int64")[:].tolist()
    if any(each <= 0 for each in sizes):
        raise FormatError("its shards have no bytes")
    place = column("place", (count, 2), "int64")[:]
    if len(place) and not (place[:, 0].min() >= -1 and place[:, 0].max() < len(names)):
        raise FormatError("its rows are in shards that it doesn't name")
    return Shards(
        folder=folder,
        names=names,
        sizes=sizes,
        sha256=[row.tobytes() for row in column("shards/sha256", (*size, 32), "uint8")[:]],
        place=place,
    )


# ---- reading its rows


class VirtualTable:
    """One table of a virtual file, as far as `Reader` asks for it: rows.

    Parameters
    ----------
    header : Header
        Of the virtual file.
    path : str
        The table's.
    shape : tuple of int
    reader : callable (path) -> Reader
    """

    def __init__(
        self,
        header: Header,
        path: str,
        shape: Sequence[int],
        reader: Callable[[Path], Reader],
    ) -> None:
        assert header.shards is not None  # it is one
        self._header, self._shards, self._path = header, header.shards, path
        self._row, self._reader = tuple(shape[1:]), reader

    def rows(self, wanted: NDArray[Any]) -> NDArray[Any]:
        """Read these rows, opening each shard once."""
        place = self._shards.place[wanted]
        dtype = "uint32" if self._path.startswith("checksums/") else self._header.dtype
        shape = (len(wanted), *self._row)
        found = None  # nothing is taken for it that a shard doesn't bear out
        there = self._header.done[wanted] & (place[:, 0] >= 0)
        for shard in np.unique(place[there, 0]).tolist():
            here = np.flatnonzero(there & (place[:, 0] == shard))
            rows_there, back = np.unique(place[here, 1], return_inverse=True)
            digests = [self._header.digests[row] for row in wanted[here].tolist()]
            with self._open(shard) as reader:
                _check_images(reader.header, place[here, 1].tolist(), digests)
                found = np.zeros(shape, dtype) if found is None else found
                found[here] = reader.copy_rows(self._path, rows_there)[back]
        return np.broadcast_to(np.zeros((), dtype), shape) if found is None else found

    def _open(self, shard: int) -> Reader:
        shards, header = self._shards, self._header
        path = header.path.parent / shards.folder / shards.names[shard]
        if _size(path) != shards.sizes[shard]:
            raise StoreError(
                f"{path} is gone, or no more as it was made: run `tlfeatures extract` of "
                f"{header.path} again"
            )
        reader = self._reader(path)
        try:
            found = reader.header
            if (
                found.shards is not None
                or header.spec.differences(found.spec)
                or header.spec.augmentation != found.spec.augmentation
                or header.dtype != found.dtype
                or not header.embeddings.items() <= found.embeddings.items()
            ):
                raise FormatError(f"{path} is no shard of {header.path}")
        except BaseException:
            reader.__exit__()
            raise
        return reader


def _check_images(shard: Header, rows: list[int], digests: list[bytes]) -> None:
    for row, digest in zip(rows, digests, strict=True):
        if not 0 <= row < len(shard.ids) or not shard.done[row] or shard.digests[row] != digest:
            raise FormatError(f"{shard.path} has other images than its receipt says")
