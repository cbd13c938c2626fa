"""Creating embeddings files: all space is allocated and the header written, but no row is done."""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tlfeatures import __version__
from tlfeatures.errors import StoreError
from tlfeatures.features.file.format import (
    FORMAT,
    FORMAT_VERSION,
    REASON_BYTES,
    DatasetFormat,
    datasets_of,
    shorten_reason,
    width_axis,
)
from tlfeatures.features.file.sharded import NAME_BYTES, Shards
from tlfeatures.features.images.identify import Manifest
from tlfeatures.features.spec import Spec
from tlfeatures.files import reason_of
from tlfeatures.installed import version_of

_METADATA_BYTES = 16 * 1024  # more than HDF5 needs to describe an embedding's or checksums' dataset
_ALIGNED = 64  # bytes: tables begin at multiples of it, so that they can be mapped into memory
_MAPPING_BYTES = 200  # more than HDF5 needs to map one run of rows


@dataclass(frozen=True)
class Contents:
    """What a new file holds.

    Attributes
    ----------
    manifest : Manifest
        The images.
    spec : Spec
    embeddings : mapping of name to width
    dtype : {"float32", "float16"}
    provenance : mapping
        Facts about the file's origin. `versions` default to those of the libraries in this process.
    shards : Shards or None
        The shards of a sharded file, of which every row with a place is done. None for a file that
        has its rows in itself, of which none is done.
    reasons : mapping of row to str
        Why images could not be embedded.
    """

    manifest: Manifest
    spec: Spec
    embeddings: Mapping[str, int]
    dtype: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    shards: Shards | None = None
    reasons: Mapping[int, str] = field(default_factory=dict)


def create(path: Path, contents: Contents, named: Path | None = None) -> None:
    """Create a file with space for every row that is not in a shard.

    Parameters
    ----------
    path : Path
    contents : Contents
    named : Path, optional
        The file that will replace this temporary one: messages name it.

    Raises
    ------
    StoreError
        If it can't be written, or the disk has no space for all of it; nothing is left then.
    """
    datasets = _sized_datasets(contents)
    needed = _bytes_needed(contents, datasets)
    try:
        _reserve(path, needed)  # HDF5 crashes the process if it can't write its metadata
        with h5py.File(
            path,
            "w",
            locking=False,
            alignment_threshold=_ALIGNED,
            alignment_interval=_ALIGNED,
        ) as file:
            _write_attributes(file, contents)
            columns = _columns(contents)
            for dataset in datasets:
                if not dataset.mapped:
                    _allocate(file, dataset, columns)
            if contents.shards is not None:
                mapped = (dataset for dataset in datasets if dataset.mapped)
                _map(file, mapped, contents.shards)
        _reserve(path, path.stat().st_size)  # creating the file has freed the reserved blocks
    except OSError as error:
        path.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free
        room = f", {free / 1e6:,.1f} MB are free; make room" if free < needed else "; make room"
        raise StoreError(
            f"{named or path} can't be made: {reason_of(error)}. It takes about "
            f"{needed / 1e6:,.1f} MB{room}, or choose another place with -o"
        ) from error


# ---- what is written


@dataclass(frozen=True)
class _SizedDataset:
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    mapped: bool


def _sized_datasets(contents: Contents) -> list[_SizedDataset]:
    """List the datasets of the format with the lengths of their axes."""
    ids, shards = contents.manifest.ids, contents.shards
    lengths: dict[str | int, int] = {"n": len(ids), "v": contents.spec.variants}
    lengths |= {width_axis(name): width for name, width in contents.embeddings.items()}
    texts = {"ids": max(len(id_.encode()) for id_ in ids), "reason": REASON_BYTES}
    if shards is not None:
        lengths["s"] = len(shards.names)
        texts["shards/name"] = NAME_BYTES
    return [
        _SizedDataset(
            entry.path,
            tuple(axis if isinstance(axis, int) else lengths[axis] for axis in entry.shape),
            _dtype(entry, texts, contents.dtype),
            mapped=shards is not None and entry.in_shards,
        )
        for entry in datasets_of(contents.embeddings, contents.spec, sharded=shards is not None)
    ]


def _dtype(entry: DatasetFormat, text_bytes: Mapping[str, int], values: str) -> np.dtype[Any]:
    if entry.dtype == "text":
        dtype: np.dtype[Any] = h5py.string_dtype("utf-8", text_bytes[entry.path])
        return dtype
    if entry.dtype == "values":  # checksums are of these bytes, on any machine
        return np.dtype(values).newbyteorder("<")
    return np.dtype(entry.dtype).newbyteorder("<")


def _bytes_needed(contents: Contents, datasets: Sequence[_SizedDataset]) -> int:
    own = [dataset for dataset in datasets if not dataset.mapped]
    values = sum(math.prod(dataset.shape) * dataset.dtype.itemsize for dataset in own)
    if contents.shards is None:
        return values + _METADATA_BYTES * (2 * len(contents.embeddings) + 3)
    mapped = len(datasets) - len(own)
    mappings = len(contents.manifest.images) * mapped + len(contents.shards.names)
    return values + _MAPPING_BYTES * mappings + 2**20


def _columns(contents: Contents) -> dict[str, Any]:
    """Values of the datasets that have them when the file is created."""
    manifest, shards = contents.manifest, contents.shards
    count = len(manifest.images)
    reasons = [shorten_reason(contents.reasons.get(row, "")).encode() for row in range(count)]
    columns: dict[str, Any] = {
        "ids": [id_.encode() for id_ in manifest.ids],
        "digest": _digests(manifest.digests),
        "stat": manifest.stamps,
        "done": np.zeros(count, bool) if shards is None else shards.place[:, 0] >= 0,
        "reason": reasons,
    }
    if shards is not None:
        columns |= {
            "place": shards.place,
            "shards/name": [name.encode() for name in shards.names],
            "shards/size": shards.sizes,
            "shards/sha256": _digests(shards.sha256),
        }
    return columns


def _digests(digests: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), 32)


def _write_attributes(file: h5py.File, contents: Contents) -> None:
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["spec"] = json.dumps(contents.spec.to_dict())
    provenance = {"versions": _versions(contents.spec), **contents.provenance}
    file.attrs["provenance"] = json.dumps(provenance)
    if contents.shards is not None:
        file.attrs["shards"] = contents.shards.folder


def _versions(spec: Spec) -> dict[str, str]:
    """Versions of the libraries that compute the embeddings, also of Keras's backend."""
    versions = {"python": platform.python_version(), "tlfeatures": __version__}
    keras = sys.modules.get("keras") if spec.engine == "keras" else None
    backend = (keras.config.backend(),) if keras else ()
    for package in (spec.engine, *backend, "h5py", "numpy", "pillow"):
        version = None if package == "none" else version_of(package)
        if version is not None:
            versions[package] = version
    return versions


# ---- how it is written


def _allocate(file: h5py.File, dataset: _SizedDataset, columns: Mapping[str, Any]) -> None:
    """Create a contiguous dataset with a fixed place in the file from the start."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)  # holes of a new file read as zeros
    created = file.create_dataset(dataset.path, dataset.shape, dataset.dtype, dcpl=properties)
    if dataset.path in columns:
        created[:] = columns[dataset.path]


def _map(file: h5py.File, datasets: Iterable[_SizedDataset], shards: Shards) -> None:
    """Create virtual datasets over the shards, for other programs."""
    runs = list(_runs(shards.place))
    folder = shards.folder.replace("%", "%%")  # HDF5 replaces %b by numbers
    for dataset in datasets:
        row = dataset.shape[1:]
        layout = h5py.VirtualLayout(dataset.shape, dataset.dtype)
        for shard, first, start, count in runs:
            # HDF5 needs no more of the shard's length than that these rows are in it.
            source = h5py.VirtualSource(
                f"{folder}/{shards.names[shard]}",
                dataset.path,
                (start + count, *row),
                dataset.dtype,
            )
            layout[first : first + count] = source[start : start + count]
        # A program that follows the mapping sees NaN if a shard is missing.
        file.create_virtual_dataset(dataset.path, layout, fillvalue=np.nan)


def _runs(place: NDArray[np.int64]) -> Iterator[tuple[int, int, int, int]]:
    """Split rows into runs in one shard: (shard, first row, first row in the shard, count)."""
    if not len(place):
        return
    continues = (np.diff(place[:, 0]) == 0) & (np.diff(place[:, 1]) == 1)
    starts = [0, *(np.flatnonzero(~continues) + 1).tolist(), len(place)]
    for first, last in itertools.pairwise(starts):
        shard, row = place[first].tolist()
        if shard >= 0:
            yield shard, first, row, last - first


def _reserve(path: Path, size: int) -> None:
    """Take the disk's blocks now: a full disk is noticed before any work, not in the middle."""
    path.touch()
    with path.open("r+b") as file:  # not for appending: emulated fallocate must be able to write
        if shutil.disk_usage(path.parent).free < size - path.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            if hasattr(os, "posix_fallocate"):  # not on macOS, nor on Windows
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        os.fsync(file.fileno())
