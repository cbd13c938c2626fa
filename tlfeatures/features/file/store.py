r"""The embeddings file. This docstring is the format's specification, versions 3 and 4.

One HDF5 file, written with the library's default (oldest) file version, so that h5py, pandas or
MATLAB open it without this package. n images, in the order of their ids:

===========================  =====================  ============================================
``/ids``                     (n,) fixed UTF-8       POSIX path relative to the source folder;
                                                    the length is that of the longest id
``/digest``                  (n, 32) uint8          sha256 of the image file's bytes; zeros where
                                                    the file could not be read
``/stat``                    (n, 2) int64           size in bytes and modification time in ns of
                                                    the image file just before its sha256 was
                                                    taken; zeros where unknown
``/done``                    (n,) bool              whether row i of every embedding is there,
                                                    and its variants
``/reason``                  (n,) fixed UTF-8       why image i could not be embedded, else empty
``/embeddings/LAYER.POOL``   (n, d) float32|16      one dataset an embedding
``/variants/LAYER.POOL``     (n, v, d), the same    of the v variants of image i; only where the
                                                    spec's augmentation says that there are some
``/checksums/TABLE``         (n,) uint32            CRC-32 (zlib's) of the bytes of row i of each
                                                    TABLE, ``embeddings/LAYER.POOL`` and
                                                    ``variants/LAYER.POOL``; of rows not done: any
===========================  =====================  ============================================

A virtual file, version 4, has its rows in s shards: files as above, of version 3, in the folder
beside it that the root's attribute ``shards`` names. It has no ``/checksums``, as the shards have
them; ``/embeddings`` and ``/variants`` are virtual datasets over the shards; and beside them

===========================  =====================  ============================================
``/place``                   (n, 2) int64           shard of image i, and its row there; -1 where
                                                    it could not be embedded
``/shards/name``             (s,) fixed ASCII       of the shard's file, a hash of what was put
                                                    into it, and ``.h5``
``/shards/size``             (s,) int64             of it in bytes
``/shards/sha256``           (s, 32) uint8          of its bytes
===========================  =====================  ============================================

Attributes of the root: ``format`` ("tlfeatures embeddings"), ``format_version`` (integer),
``spec`` (JSON, see `tlfeatures.features.spec.Spec`), ``provenance`` (JSON: the versions of the
libraries that wrote it, and where known the folder of the images and the commands that were given;
never a reason to recompute).

Rules for readers. A row counts if and only if ``done`` says so: rows not yet written read as
zeros, so the values can't tell. An id is identity, a digest is freshness. A file whose size and
modification time are those in ``stat`` most likely has the digest still; that they are unknown
where the time was no 2 s old, or in the future, is so that a change within a clock's step shows.
Rows in a shard that is gone, or has another size, aren't done, whatever ``done`` says. HDF5 itself
gives NaN for them, and for rows of a virtual file that are in no shard.

Rules for writers. All datasets are contiguous and allocated when the file is made, so that
writing rows touches no metadata: whatever moment the process is killed at, the file opens. Rows and
their checksums reach the disk before their ``done`` does. A file is made under a temporary name
(``.FILE.PID-HOST-RANDOM.new``), flushed to the disk and renamed. Adding images or embeddings writes
``FILE.partial`` beside the file, carries over every finished row with the same digest, computes the
rest into it, and renames it to the file at the end; if this run is cut off, the next one takes it
up. A row that is carried over brings its checksum along, so that damage stays visible. In the file
itself ``done`` may be taken back, so that rows are computed again, and ``stat`` renewed where the
bytes are the same. One writer at a time holds a lock on ``.FILE.lock`` (see `tlfeatures.locks`);
readers need none. A virtual file is made at the end of a run, when its shards are there; what a run
that was cut off made is found in their folder.

To change the format: raise ``FORMAT_VERSION``, keep reading every older version, add a file of
the old version to the tests' fixtures. Version 1 had no variants; versions 1 and 2 have neither
``stat`` nor ``checksums``. Both are read, and brought up to date as they are: `Header.checked` says
which kind a file is. Where an update makes a new file, that one has them, with checksums computed
from the rows as they are found. Version 4 is for virtual files alone; others are as in version 3.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import platform
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tlfeatures import __version__
from tlfeatures.errors import FormatError, ParameterError, StoreError
from tlfeatures.features.combined import BESIDE
from tlfeatures.features.file.sharded import (
    Shards,
    VirtualTable,
    has_endless_mapping,
    read_shards,
    write_shards,
)
from tlfeatures.features.images.identify import UNKNOWN, UNREADABLE, Manifest, Stamp
from tlfeatures.features.sources.locations import as_store_error
from tlfeatures.features.spec import Spec
from tlfeatures.files import reason_of, remove_leftovers
from tlfeatures.locks import locked

logger = logging.getLogger(__name__)

FORMAT = "tlfeatures embeddings"
FORMAT_VERSION = 3
_VIRTUAL_VERSION = 4
_READABLE = (1, 2, 3, 4)
_CHECKED = 3  # the first version with stat and checksums
DTYPES = ("float32", "float16")

_REASON_BYTES = 160
_METADATA_BYTES = 16 * 1024  # more than HDF5 takes for a dataset's description
_COPY_BYTES = 64 * 2**20  # carried over at a time
_RATIO = 100  # a dataset's bytes to the file's; others may have compressed it, as ours is not
_SMALL = 64 * 2**20  # under which the ratio doesn't matter
SMALL_VIRTUAL = 2**30  # the same of shards, whose rows serve all images of the same bytes


@dataclass(frozen=True)
class Header:
    """Everything of a file but its embeddings.

    Attributes
    ----------
    path : Path
    ids : list of str, length n
    digests : list of bytes, length n
    stamps : list of (int, int), length n
        Size in bytes and modification time in ns of each image file; zeros where unknown.
    done : ndarray of shape (n,), bool
    reasons : list of str, length n
    spec : Spec
    embeddings : dict of name to width
    dtype : {"float32", "float16"}
    provenance : dict
    checked : bool
        Whether it has checksums, and a place for stamps: files of version 1 and 2 have not.
    shards : Shards or None
        Where the rows of a virtual file are.
    """

    path: Path
    ids: list[str]
    digests: list[bytes]
    stamps: list[Stamp]
    done: NDArray[np.bool_]
    reasons: list[str]
    spec: Spec
    embeddings: dict[str, int]
    dtype: str
    provenance: dict[str, Any]
    checked: bool
    shards: Shards | None = None

    @property
    def failures(self) -> dict[str, str]:
        """Id -> reason of every image that could not be embedded."""
        return {id_: why for id_, why in zip(self.ids, self.reasons, strict=True) if why}

    def done_digests(self) -> set[bytes]:
        """Give the sha256 of the images whose rows are done."""
        return {self.digests[row] for row in np.flatnonzero(self.done).tolist()}

    @property
    def variants(self) -> int:
        """Variants of each image."""
        return self.spec.variants

    @property
    def tables(self) -> list[str]:
        """Paths of the datasets that have a row for each image: embeddings, then variants."""
        kinds = ["embeddings", *(["variants"] if self.variants else [])]
        return [f"{kind}/{name}" for kind in kinds for name in self.embeddings]

    def identified(self) -> dict[str, tuple[Stamp, bytes]]:
        """Id -> stamp and digest of every finished image whose file's stamp is known."""
        rows = zip(self.ids, self.stamps, self.digests, self.done.tolist(), strict=True)
        return {
            id_: (stamp, digest)
            for id_, stamp, digest, done in rows
            if done and stamp != UNKNOWN and digest != UNREADABLE
        }

    def holds(self, manifest: Manifest, names: Sequence[str], spec: Spec) -> bool:
        """Whether the file has a place for exactly these images, embeddings and variants."""
        return (
            self.ids == manifest.ids
            and self.digests == manifest.digests
            and set(self.embeddings) == set(names)
            and self.spec.augmentation == spec.augmentation
        )


def has_all(header: Header, names: Iterable[str], spec: Spec) -> bool:
    """Whether its finished rows have all these embeddings, and the variants."""
    return set(names) <= set(header.embeddings) and header.spec.augmentation == spec.augmentation


def partial_path(path: Path) -> Path:
    """Name the file beside a file that an update is made in, and that is left if it is cut off."""
    return path.with_name(f"{path.name}.partial")


# ---- reading


class Reader:
    """An embeddings file open for reading, also while another process writes or replaces it.

    What one reader gives belongs together: a file that replaces this one is another file. Of a
    virtual file the shards are opened as they are asked for: where they are removed meanwhile, as
    `merge` does, or an update that makes all of them anew, that is a `StoreError`.

    Parameters
    ----------
    path : path

    Attributes
    ----------
    header : Header

    Raises
    ------
    ParameterError
        If there is no such file.
    FormatError
        If it is no embeddings file, one of a newer version, or a damaged one.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = Path(path)
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise ParameterError(
                f"{path} {what}; an embeddings file is made by `tlfeatures extract SOURCE -o FILE`"
            )
        self._file = _open_to_read(path)
        try:
            self.header = _header(path, self._file)
        except BaseException:
            self._file.close()
            raise

    def read(self, name: str) -> NDArray[np.float32]:
        """Read the finished rows of one embedding.

        Returns
        -------
        ndarray of shape (number of finished rows, d), float32
            In the order of the ids.
        """
        table = self._table(f"embeddings/{name}")
        if isinstance(table, VirtualTable):
            return np.asarray(table.rows(np.flatnonzero(self.header.done)), np.float32)
        return self._finished(table[:])

    def read_variants(self, name: str, count: int) -> NDArray[np.float32]:
        """Read the first `count` variants of every finished row of one embedding.

        Returns
        -------
        ndarray of shape (number of finished rows, count, d), float32
        """
        table = self._table(f"variants/{name}")
        if isinstance(table, VirtualTable):
            rows = table.rows(np.flatnonzero(self.header.done))
            return np.asarray(rows[:, :count], np.float32)
        return self._finished(table[:, :count])

    def _table(self, path: str) -> h5py.Dataset | VirtualTable:
        if self.header.shards is None:
            return self._file[path]
        table = path.removeprefix("checksums/")
        shape = self._file[table].shape
        return VirtualTable(self.header, path, shape if path == table else shape[:1], Reader)

    def _finished(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        done = self.header.done
        return np.asarray(rows if done.all() else rows[done], np.float32)

    def copy_rows(self, path: str, rows: NDArray[Any]) -> NDArray[Any]:
        """Read these rows of a dataset, ascending and each once, as they are stored."""
        table = self._table(path)
        if isinstance(table, VirtualTable):
            return table.rows(rows)
        return np.concatenate([table[first:last] for first, last in _runs(rows)])

    def copy_checksums(self, path: str, rows: NDArray[Any]) -> NDArray[np.uint32] | None:
        """Read the checksums of these rows; None if the file has none."""
        return self.copy_rows(f"checksums/{path}", rows) if self.header.checked else None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def is_of_another_program(path: Path) -> bool:
    """Whether it is an HDF5 file that holds something else than embeddings.

    A file that has anything of ours may be a damaged one of ours.

    Raises
    ------
    StoreError
        If it can't be read, so that nobody knows.
    """
    with _open_to_read(path) as file:
        try:
            ours = {"format", "format_version", "spec", "provenance", "shards"} & set(file.attrs)
            return not ours and "embeddings" not in file
        except Exception as error:  # whatever HDF5 says of damage
            raise FormatError(f"{path} is damaged: {error}") from error


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read everything of a file but its embeddings; nothing in it is executed (see `Reader`)."""
    with Reader(path) as reader:
        return reader.header


def _open_to_read(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if not os.access(path, os.R_OK):
            raise StoreError(f"{path} can't be read: permission denied") from error
        raise FormatError(f"{path} is not an embeddings file, or a damaged one: {error}") from error


def _header(path: Path, file: h5py.File) -> Header:
    try:
        _check_version(path, file)
        _check_own(file, "embeddings")
        if any(BESIDE in name for name in file["embeddings"]):
            raise FormatError(f"the name of an embedding has a {BESIDE}, which joins names")
        virtual = int(file.attrs["format_version"]) == _VIRTUAL_VERSION
        names = list(file["embeddings"])
        embeddings = {name: _table(file, f"embeddings/{name}", virtual) for name in names}
        ids = _strings(_dataset(file, "ids"))
        checked = int(file.attrs["format_version"]) >= _CHECKED
        header = Header(
            path=path,
            ids=ids,
            digests=[row.tobytes() for row in _column(file, "digest", (len(ids), 32), "uint8")[:]],
            stamps=_stamps(file, len(ids)) if checked else [UNKNOWN] * len(ids),
            done=_column(file, "done", (len(ids),), "bool")[:],
            reasons=_strings(_dataset(file, "reason")),
            spec=Spec.from_dict(_json(file, "spec")),
            embeddings={name: dataset.shape[1] for name, dataset in embeddings.items()},
            dtype=next(iter(embeddings.values())).dtype.name,
            provenance=_provenance(path, _json(file, "provenance")),
            checked=checked,
            shards=_shards(path, file, len(ids)) if virtual else None,
        )
        _check_variants(file, header)
        _check_checksums(file, header)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except Exception as error:  # whatever HDF5, JSON and NumPy say of damage
        raise FormatError(f"{path} is a damaged embeddings file: {error!r}") from error
    lengths = {len(header.digests), len(header.done), len(header.reasons)}
    lengths |= {dataset.shape[0] for dataset in embeddings.values()}
    if lengths != {len(ids)}:
        raise FormatError(f"{path} is damaged: its datasets have {sorted(lengths)} rows")
    return _without_lost(header)


def _json(file: h5py.File, name: str) -> Any:
    """Read an attribute of the root, which holds JSON."""
    text = file.attrs.get(name)
    if not isinstance(text, str):
        raise FormatError(f"its attribute {name} is missing, or no text")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"its attribute {name} is no JSON: {error}") from error


def _provenance(path: Path, found: Any) -> dict[str, Any]:
    """Take what is known of where a file comes from; each of it may be missing.

    `versions` and `commands` are there afterwards. What is of another kind than we write is left
    out and named: the embeddings don't depend on it.
    """
    if not isinstance(found, dict):
        raise FormatError("its provenance is no JSON object")
    versions, commands = found.get("versions", {}), found.get("commands", [])
    right = {
        "versions": isinstance(versions, dict) and _all_texts(versions.values()),
        "commands": isinstance(commands, list) and _all_texts(commands),
        "source": isinstance(found.get("source"), str | None),
    }
    wrong = [name for name, fits in right.items() if not fits]
    if wrong:
        _say_odd(path.resolve(), ", ".join(wrong))
    kept = {name: value for name, value in found.items() if name not in wrong}
    return {"versions": {}, "commands": [], **kept}


@lru_cache
def _say_odd(path: Path, names: str) -> None:
    """Once, though a command opens a file several times."""
    logger.warning("%s: its provenance has %s of another kind than texts: left out", path, names)


def _all_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(each, str) for each in values)


@lru_cache
def _say_lost(path: Path, gone: int, shards: int, rows: int) -> None:
    """Once, though a command opens a file several times."""
    logger.warning(
        "%d of the %d shards of %s gone or cut off, and with them %d rows: run the command that "
        "made it again",
        gone,
        shards,
        path,
        rows,
    )


def _shards(path: Path, file: h5py.File, count: int) -> Shards:
    def column(name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
        return _column(file, name, shape, dtype)

    _check_own(file, "shards")
    _dataset(file, "shards/size")
    return read_shards(path, file, count, column)


def _without_lost(header: Header) -> Header:
    """Rows of shards that are gone or cut off aren't done: the next extraction computes them."""
    if header.shards is None:
        return header
    shards = header.shards
    lost = np.append(shards.lost(header.path), True)  # the last: of rows that are in none
    done = header.done & ~lost[shards.place[:, 0]]
    if lost[:-1].any():
        gone = int(lost[:-1].sum()), len(shards.names), int((header.done & ~done).sum())
        _say_lost(header.path.resolve(), *gone)
    values = sum(header.embeddings.values()) * (1 + header.variants)
    promised = int(done.sum()) * values * np.dtype(header.dtype).itemsize
    there = sum(size for size, gone in zip(shards.sizes, lost.tolist(), strict=False) if not gone)
    if promised > max(SMALL_VIRTUAL, _RATIO * there):
        raise FormatError(f"{header.path} promises {promised:,} bytes in shards of {there:,}")
    return replace(header, done=done)


def _check_variants(file: h5py.File, header: Header) -> None:
    if not header.variants:
        return
    _check_own(file, "variants")
    for name, width in header.embeddings.items():
        found = _dataset(file, f"variants/{name}", header.shards is not None)
        wanted = (len(header.ids), header.variants, width)
        if found.shape != wanted or found.dtype.name != header.dtype:
            raise FormatError(
                f"/variants/{name} is {found.dtype.name} {found.shape}, expected "
                f"{header.dtype} {wanted}"
            )


def _check_checksums(file: h5py.File, header: Header) -> None:
    for path in header.tables if header.checked and header.shards is None else []:
        group, _, _ = path.partition("/")
        _check_own(file, "checksums")
        _check_own(file, f"checksums/{group}")
        _column(file, f"checksums/{path}", (len(header.ids),), "uint32")


def _stamps(file: h5py.File, count: int) -> list[Stamp]:
    return [(row[0], row[1]) for row in _column(file, "stat", (count, 2), "int64")[:].tolist()]


def _column(file: h5py.File, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    dataset = _dataset(file, name)
    if dataset.shape != shape or dataset.dtype.name != dtype:
        raise FormatError(
            f"/{name} is {dataset.dtype.name} {dataset.shape}, expected {dtype} {shape}"
        )
    return dataset


def _check_version(path: Path, file: h5py.File) -> None:
    if not np.array_equal(file.attrs.get("format"), FORMAT):
        raise FormatError(
            "it is an HDF5 file, but not one that `tlfeatures extract` made; choose another file"
        )
    version = file.attrs.get("format_version")
    if not any(np.array_equal(version, known) for known in _READABLE):
        raise FormatError(
            f"it has format version {version}, this tlfeatures reads up to {_READABLE[-1]}: "
            "update it with `pip install --upgrade tlfeatures`"
        )


def _dataset(file: h5py.File, name: str, virtual: bool = False) -> h5py.Dataset:
    """A dataset whose values are in this very file: links and mappings out of it are refused.

    A virtual one is never read: there, its shape and type are what it is for.
    """
    _check_own(file, name)
    dataset = file[name]
    if virtual and isinstance(dataset, h5py.Dataset) and dataset.is_virtual:
        if has_endless_mapping(dataset):
            raise FormatError(f"/{name} has no length of its own")
        return dataset
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise FormatError(f"/{name} is no dataset with values of its own")
    size = file.id.get_filesize()
    if dataset.nbytes > max(_SMALL, _RATIO * size):
        raise FormatError(f"/{name} promises {dataset.nbytes:,} bytes in a file of {size:,}")
    return dataset


def _table(file: h5py.File, name: str, virtual: bool) -> h5py.Dataset:
    dataset = _dataset(file, name, virtual)
    if dataset.ndim != 2 or dataset.dtype.name not in DTYPES:
        raise FormatError(f"/{name} is no table of {' or '.join(DTYPES)}")
    return dataset


def _check_own(file: h5py.File, name: str) -> None:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise FormatError(f"/{name} is missing, or a link to somewhere else")


def _strings(dataset: h5py.Dataset) -> list[str]:
    if dataset.ndim != 1:
        raise FormatError(
            f"{dataset.name} has the shape {dataset.shape}, expected one text an image"
        )
    return [value.decode("utf-8") for value in dataset[:].tolist()]


# ---- writing


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Be the one writer of a file, or raise `BusyError`; see `tlfeatures.locks.locked`.

    What killed processes left beside the file is removed.

    Raises
    ------
    StoreError
        If the file can't be locked, or can't be written by what is done meanwhile.
    """
    with as_store_error(), locked(path):
        for each in (path, partial_path(path)):
            remove_leftovers(each, alone=True)
        yield


def create(
    path: Path,
    manifest: Manifest,
    spec: Spec,
    embeddings: Mapping[str, int],
    dtype: str,
    provenance: Mapping[str, Any] | None = None,
    named: Path | None = None,
) -> None:
    """Make a file with a place for every row, and none done.

    `provenance` is what is to be kept of it; the versions of the libraries here if it has none.
    `named` is the file that this temporary one shall become: an error names it.

    Raises
    ------
    StoreError
        If it can't be written or the disk has no room for all of it; nothing is left then.
    """
    longest = max(len(id_.encode()) for id_ in manifest.ids)
    values = sum(embeddings.values()) * (1 + spec.variants)
    tables = len(embeddings) * (2 if spec.variants else 1)
    row = values * np.dtype(dtype).itemsize + longest + _REASON_BYTES + 33 + 16 + 4 * tables
    needed = len(manifest.images) * row + _METADATA_BYTES * (2 * len(embeddings) + 1)
    try:
        _reserve(path, needed)  # HDF5 crashes the process where it can't write its metadata
        with h5py.File(path, "w", locking=False) as file:
            _fill(file, manifest, spec, embeddings, dtype)
            file.attrs["provenance"] = json.dumps({**_versions(spec), **(provenance or {})})
        _reserve(path, path.stat().st_size)  # making it has given the blocks back
    except OSError as error:
        path.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free
        room = f", {free / 1e6:,.1f} MB are free; make room" if free < needed else "; make room"
        raise StoreError(
            f"{named or path} can't be made: {reason_of(error)}. It takes about "
            f"{needed / 1e6:,.1f} MB{room}, or choose another place with -o"
        ) from error


def create_virtual(
    path: Path,
    manifest: Manifest,
    spec: Spec,
    embeddings: Mapping[str, int],
    dtype: str,
    provenance: Mapping[str, Any],
    shards: Shards,
    reasons: Mapping[int, str],
    named: Path | None = None,
) -> None:
    """Make a virtual file over shards; every row that has a place is done.

    Parameters
    ----------
    reasons : dict of row to str
        Of images that could not be embedded.
    named : Path, optional
        The file that this temporary one shall become: an error names it.

    Raises
    ------
    StoreError
        If it can't be written; nothing is left then.
    """
    longest = max(len(id_.encode()) for id_ in manifest.ids)
    tables = 2 * len(embeddings)
    row = longest + _REASON_BYTES + 33 + 16 + 16 + 200 * tables  # a run of rows is a mapping
    try:
        _reserve(path, len(manifest.images) * row + 200 * len(shards.names) + 2**20)
        with h5py.File(path, "w", locking=False) as file:
            _fill_columns(file, manifest, spec)
            file["done"][:] = shards.place[:, 0] >= 0
            for number, reason in reasons.items():
                file["reason"][number] = kept_reason(reason).encode()
            kinds = _shapes(len(manifest.images), spec, embeddings)
            write_shards(file, shards, {name: (shape, dtype) for name, shape in kinds.items()})
            file.attrs["format_version"] = _VIRTUAL_VERSION
            file.attrs["provenance"] = json.dumps({**_versions(spec), **provenance})
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StoreError(
            f"{named or path} can't be made: {reason_of(error)}; make room and run the same "
            "command again"
        ) from error


def _fill(
    file: h5py.File, manifest: Manifest, spec: Spec, embeddings: Mapping[str, int], dtype: str
) -> None:
    _fill_columns(file, manifest, spec)
    stored = np.dtype(dtype).newbyteorder("<")  # checksums are of these bytes, on any machine
    for path, shape in _shapes(len(manifest.images), spec, embeddings).items():
        _allocate(file, path, shape, stored)
        _allocate(file, f"checksums/{path}", shape[:1], np.dtype(np.uint32))


def _shapes(count: int, spec: Spec, embeddings: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Give dataset -> shape of every table."""
    shapes: dict[str, tuple[int, ...]] = {
        f"embeddings/{name}": (count, width) for name, width in embeddings.items()
    }
    if spec.variants:
        shapes |= {
            f"variants/{name}": (count, spec.variants, width) for name, width in embeddings.items()
        }
    return shapes


def _fill_columns(file: h5py.File, manifest: Manifest, spec: Spec) -> None:
    count = len(manifest.images)
    ids = [id_.encode() for id_ in manifest.ids]
    _allocate(file, "ids", (count,), h5py.string_dtype("utf-8", max(map(len, ids))))[:] = ids
    digests = np.frombuffer(b"".join(manifest.digests), np.uint8).reshape(count, 32)
    _allocate(file, "digest", (count, 32), np.dtype(np.uint8))[:] = digests
    _allocate(file, "stat", (count, 2), np.dtype(np.int64))[:] = manifest.stamps
    _allocate(file, "done", (count,), np.dtype(bool))[:] = False
    reasons = _allocate(file, "reason", (count,), h5py.string_dtype("utf-8", _REASON_BYTES))
    reasons[:] = [b""] * count
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["spec"] = json.dumps(spec.to_dict())


def _allocate(
    file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> h5py.Dataset:
    """Make a contiguous dataset whose place in the file is fixed from the start."""
    return file.create_dataset(name, shape, dtype, dcpl=_early_allocation())


def _early_allocation() -> h5py.h5p.PropDCID:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)  # a fresh file's holes read as zeros
    return properties


def _reserve(path: Path, size: int) -> None:
    """Take the disk's blocks now: a full disk shows before any work, not in the middle."""
    path.touch()
    with path.open("r+b") as file:  # not to append: emulated fallocate must be able to write
        if shutil.disk_usage(path.parent).free < size - path.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            if hasattr(os, "posix_fallocate"):  # not on macOS, nor on Windows
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        os.fsync(file.fileno())


def _versions(spec: Spec) -> dict[str, Any]:
    """Of what made the file, also of Keras's backend where Keras did."""
    versions = {"python": platform.python_version(), "tlfeatures": __version__}
    keras = sys.modules.get("keras") if spec.engine == "keras" else None
    backend = (keras.config.backend(),) if keras else ()
    engine = (spec.engine, *backend)
    packages = (*engine, "h5py", "numpy", "pillow")
    for package in (each for each in packages if each != "none"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {"versions": versions}


def kept_reason(reason: str) -> str:
    """Cut a reason to what a file has room for, between two characters."""
    return reason.encode()[:_REASON_BYTES].decode("utf-8", "ignore")


def checksums(rows: NDArray[Any]) -> NDArray[np.uint32]:
    """Give the CRC-32 of the bytes of each row as it is stored: shape (n, ...) to (n,)."""
    whole = np.ascontiguousarray(rows).reshape(len(rows), -1)
    return np.fromiter((zlib.crc32(row.data) for row in whole), np.uint32, len(whole))


class Writer:
    """An embeddings file open for writing rows; the only thing that changes one.

    Parameters
    ----------
    path : Path
        Made by `create`.
    carried : dict of dataset to ndarray of shape (n,), bool, optional
        Rows that are there already, though the image still lacks others.
    named : Path, optional
        The file that this temporary one shall become: an error names it.
    """

    def __init__(
        self,
        path: Path,
        carried: dict[str, NDArray[np.bool_]] | None = None,
        named: Path | None = None,
    ) -> None:
        self.path, self._named = path, named
        self._file = h5py.File(path, "r+", locking=False)
        # Kept open: a dataset that is closed between writes loses its last ones without a word.
        self._datasets: list[Any] = []
        self._file.visititems(lambda _, item: self._datasets.append(item))
        self._augmentation = Spec.from_dict(json.loads(self._file.attrs["spec"])).augmentation
        kinds = ["embeddings", *([] if self._augmentation is None else ["variants"])]
        paths = [f"{kind}/{name}" for kind in kinds for name in self._file["embeddings"]]
        self._tables: dict[str, h5py.Dataset] = {path: self._file[path] for path in paths}
        self._checked = int(self._file.attrs["format_version"]) >= _CHECKED
        self.done: NDArray[np.bool_] = self._file["done"][:].astype(bool)
        none = np.zeros(len(self.done), bool)
        self.carried = carried or {name: none.copy() for name in self._tables}

    @cached_property
    def _rows_of(self) -> dict[bytes, list[int]]:
        rows_of: dict[bytes, list[int]] = {}
        for row, digest in enumerate(self._file["digest"][:]):
            rows_of.setdefault(digest.tobytes(), []).append(row)
        rows_of.pop(UNREADABLE, None)
        return rows_of

    def carry(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Take over every finished row of another file, or of this one, found by its digest.

        `progress` is told how many rows of all tables are copied, and how many there are.
        """
        try:
            self._carry(path, progress)
        except OSError as error:
            raise self._lost(error) from error

    def _carry(self, path: Path, progress: Callable[[int, int], None] | None) -> None:
        with Reader(path) as source:
            digests = source.header.digests
            pairs = [
                (row, there)
                for there in np.flatnonzero(source.header.done).tolist()
                for row in self._rows_of.get(digests[there], ())
                if not self.done[row]
            ]
            kinds = {"embeddings"}
            if source.header.spec.augmentation == self._augmentation:
                kinds.add("variants")
            there_too = {f"{kind}/{name}" for kind in kinds for name in source.header.embeddings}
            names = [path for path in self._tables if path in there_too]
            if not pairs or not names:
                return
            here, there = (np.array(side) for side in zip(*pairs, strict=True))
            copied = 0
            for name in names:
                for count in self._copy(source, name, here, there):
                    copied += count
                    if progress is not None:
                        progress(copied, len(pairs) * len(names))
        if len(names) == len(self._tables):
            self._mark(here)

    def _copy(
        self, source: Reader, name: str, here: NDArray[Any], there: NDArray[Any]
    ) -> Iterator[int]:
        """Copy rows of one table, some at a time; how many each time."""
        table = self._tables[name]
        step = max(1, _COPY_BYTES // (table.dtype.itemsize * math.prod(table.shape[1:])))
        order = np.argsort(there, kind="stable")
        for start in range(0, len(order), step):
            part = order[start : start + step]
            wanted, back = np.unique(there[part], return_inverse=True)
            sums = source.copy_checksums(name, wanted)
            values = source.copy_rows(name, wanted)[back]
            self._put_rows(name, here[part], values, None if sums is None else sums[back])
            yield len(part)
        self.carried[name][here] = True

    def write(
        self,
        rows: Sequence[int],
        values: Mapping[str, NDArray[np.float32]],
        variants: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        """Write rows of every embedding, then mark them done.

        Parameters
        ----------
        rows : sequence of int, length b
        values : dict of embedding name to ndarray of shape (b, d)
            A row that was carried over is left as it was; where all were, none are needed.
        variants : dict of embedding name to ndarray of shape (b, v, d), optional
            Of the images' variants, where the file has some.

        Raises
        ------
        StoreError
            If the disk refuses them; what was done before is kept.
        """
        index = np.asarray(rows)
        given = {f"embeddings/{name}": value for name, value in values.items()}
        given |= {f"variants/{name}": value for name, value in (variants or {}).items()}
        try:
            for path in self._tables:
                fresh = ~self.carried[path][index]
                if fresh.any():
                    self._put_rows(path, index[fresh], self._stored(path, given[path][fresh]))
            self._mark(index)
        except OSError as error:
            raise self._lost(error) from error

    def fail(self, rows: Sequence[int], reason: str) -> None:
        """Record why these images could not be embedded."""
        try:
            self._put_reason(np.asarray(rows), kept_reason(reason).encode())
            self._sync()
        except OSError as error:
            raise self._lost(error) from error

    def unmark(self, rows: Sequence[int]) -> None:
        """Take back that these rows are done, so that the next extraction computes them again."""
        index = np.asarray(rows, int)
        try:
            self._put(self._file["done"], index, np.zeros(len(index), bool))
            self._sync()
        except OSError as error:
            raise self._lost(error) from error
        self.done[index] = False

    def stamp(self, stamps: Sequence[Stamp]) -> None:
        """Renew the stamps of images whose bytes are the same, where the file has a place."""
        if not self._checked or np.array_equal(self._file["stat"][:], stamps):
            return
        try:
            self._file["stat"][:] = stamps
            self._sync()
        except OSError as error:
            raise self._lost(error) from error

    def _stored(self, path: str, values: NDArray[np.float32]) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            stored = values.astype(self._tables[path].dtype)
        if not np.isfinite(stored).all():
            raise StoreError(
                f"{path.partition('/')[2]} has values that {stored.dtype} can't hold (up to "
                f"{np.abs(values).max():.4g}); use another file with --dtype float32"
            )
        return stored

    def _put_reason(self, rows: NDArray[Any], text: bytes) -> None:
        table = self._file["reason"]
        self._put(table, rows, np.full(len(rows), text, table.dtype))

    def _put_rows(
        self,
        path: str,
        rows: NDArray[Any],
        values: NDArray[Any],
        sums: NDArray[np.uint32] | None = None,
    ) -> None:
        """Put rows as they are stored, with their checksums: those that they came with, if any."""
        self._put(self._tables[path], rows, values)
        if self._checked:
            sums = checksums(values) if sums is None else sums
            self._put(self._file[f"checksums/{path}"], rows, sums)

    def _put(self, table: h5py.Dataset, rows: NDArray[Any], values: NDArray[Any]) -> None:
        order = np.argsort(rows, kind="stable")
        start = 0
        for first, last in _runs(rows[order]):  # a slice is written far faster than a list of rows
            part = order[start : start + last - first]
            table[first:last] = values[part]
            start += last - first

    def _mark(self, rows: NDArray[Any]) -> None:
        self._sync()  # the rows before their mark
        self._put_reason(rows, b"")
        self._put(self._file["done"], rows, np.ones(len(rows), bool))
        self._sync()
        self.done[rows] = True

    def _sync(self) -> None:
        try:
            self._file.flush()
        except RuntimeError as error:  # so h5py calls what the disk refuses here
            raise OSError(str(error)) from error
        os.fsync(self._file.id.get_vfd_handle())

    def _lost(self, error: OSError) -> StoreError:
        done = int(self.done.sum())
        with contextlib.suppress(OSError):
            # HDF5 crashes the process where it can't write at closing: from now on it writes
            # into nothing, and the file stays as it is.
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, self._file.id.get_vfd_handle(), inheritable=False)
            os.close(nothing)
        again = "make room and run the same command again"
        if self._named is not None:  # a temporary file, which is removed
            return StoreError(f"{self._named} can't be written: {reason_of(error)}; {again}")
        return StoreError(
            f"{self.path} can't be written: {reason_of(error)}. {done} rows are safe in it; {again}"
        )

    def close(self) -> None:
        """Close the file; a disk that fails even now has lost nothing that was marked done."""
        with contextlib.suppress(OSError, RuntimeError):
            self._file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _runs(rows: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Cut ascending row numbers into half-open ranges of consecutive ones."""
    if not len(rows):
        return
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for part in np.split(rows, breaks):
        yield int(part[0]), int(part[-1]) + 1
