"""Whether an opened HDF5 file is an embeddings file: it is compared with the format's table.

Files come from anywhere. A file is refused if it has links, values outside itself, or announces
more than it can hold, before any of that is followed, read or allocated.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tlfeatures.errors import FormatError, StoreError
from tlfeatures.features.combined import PLUS
from tlfeatures.features.file.format import (
    DTYPES,
    FORMAT,
    FORMAT_VERSION,
    DatasetFormat,
    Header,
    datasets_of,
    width_axis,
)
from tlfeatures.features.file.sharded import SHARD_NAME, Shards, shards_folder
from tlfeatures.features.spec import Spec

logger = logging.getLogger(__name__)

Datasets = dict[str, h5py.Dataset]

_RATIO = 100  # of a dataset's bytes to the file's: datasets of other programs may be compressed
_SMALL = 64 * 2**20  # bytes of a dataset that are allowed whatever the ratio
SMALL_SHARDED = 2**30  # the same for all rows of a sharded file: images may share rows


def open_to_read(path: Path) -> h5py.File:
    """Open an HDF5 file.

    Raises
    ------
    StoreError
        If it may not be read.
    FormatError
        If it is no HDF5 file, or a damaged one.
    """
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if not os.access(path, os.R_OK):
            raise StoreError(f"{path} can't be read: permission denied") from error
        raise FormatError(_why_not_hdf5(path, error)) from error


def _why_not_hdf5(path: Path, error: OSError) -> str:
    with suppress(OSError), path.open("rb") as file:
        if file.read(2) == b"PK":
            return (
                f"{path} is a model file or another archive; expected an embeddings file, which "
                "`tlfeatures extract SOURCE -o FILE.h5` makes"
            )
    return f"{path} is not an embeddings file, or a damaged one: {error}"


def is_of_another_program(path: Path) -> bool:
    """Whether an HDF5 file is of another program; a file with a part of ours may be damaged.

    Raises
    ------
    StoreError
        If it can't be read.
    """
    with open_to_read(path) as file:
        try:
            ours = {"format", "format_version", "spec", "provenance", "shards"} & set(file.attrs)
            return not ours and "embeddings" not in file
        except Exception as error:  # HDF5 raises anything for a damaged file
            raise FormatError(f"{path} is damaged: {error}") from error


def check_file(path: Path, file: h5py.File) -> Header:
    """Compare a file with the format, and read its header.

    Parameters
    ----------
    path : Path
        The path of the file, for messages.
    file : h5py.File

    Raises
    ------
    FormatError
        If it is no embeddings file, has another version, or is damaged.
    """
    try:
        header = _read_header(path, file)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except Exception as error:  # HDF5, JSON and NumPy raise anything for a damaged file
        raise FormatError(f"{path} is a damaged embeddings file: {error!r}") from error
    return header if header.shards is None else _without_lost_rows(header, header.shards)


def _read_header(path: Path, file: h5py.File) -> Header:
    _check_version(file)
    spec = Spec.from_dict(_json(file, "spec"))
    sharded = "shards" in file.attrs
    names = _embeddings(file)
    axes = _Axes({"v": spec.variants})
    datasets: Datasets = {}
    for entry in datasets_of(names, spec, sharded=sharded):
        dataset = _open(file, entry.path, may_be_mapped=sharded and entry.in_shards)
        axes.check(entry, dataset)
        datasets[entry.path] = dataset
    return Header(
        path=path,
        ids=_texts(datasets["ids"]),
        digests=_bytes_of_rows(datasets["digest"]),
        stamps=list(zip(*datasets["stat"][:].T.tolist(), strict=True)),
        done=datasets["done"][:],
        reasons=_texts(datasets["reason"]),
        spec=spec,
        embeddings={name: axes.lengths[width_axis(name)] for name in names},
        dtype=axes.dtypes["values"],
        provenance=_provenance(path, _json(file, "provenance")),
        shards=_shards(path, file, datasets) if sharded else None,
    )


# ---- attributes and groups


def _check_version(file: h5py.File) -> None:
    if not np.array_equal(file.attrs.get("format"), FORMAT):
        raise FormatError(
            "it is an HDF5 file, but not one that `tlfeatures extract` made; choose another file"
        )
    version = file.attrs.get("format_version")
    if not np.array_equal(version, FORMAT_VERSION):
        raise FormatError(
            f"it has format version {version}, this tlfeatures reads version {FORMAT_VERSION}: "
            "update it with `pip install --upgrade tlfeatures`"
        )


def _json(file: h5py.File, name: str) -> Any:
    """Read an attribute of the root with JSON in it."""
    text = file.attrs.get(name)
    if not isinstance(text, str):
        raise FormatError(f"its attribute {name} is missing, or no text")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"its attribute {name} is no JSON: {error}") from error


def _embeddings(file: h5py.File) -> list[str]:
    """Names of the embeddings."""
    _check_own(file, "embeddings")
    group = file["embeddings"]
    if not isinstance(group, h5py.Group) or not len(group):
        raise FormatError("it has no embeddings")
    names = list(group)
    if any(PLUS in name for name in names):
        raise FormatError(f"the name of an embedding has a {PLUS}, which joins names")
    return names


def _provenance(path: Path, found: Any) -> dict[str, Any]:
    """Read where the file comes from; every part may be missing.

    The result has `versions` and `commands`. Parts of the wrong type are left out with a
    warning: the embeddings don't depend on them.
    """
    if not isinstance(found, dict):
        raise FormatError("its provenance is no JSON object")
    versions, commands = found.get("versions", {}), found.get("commands", [])
    columns, source = found.get("columns", {}), found.get("source")
    several = source if isinstance(source, list) else []
    right = {
        "versions": isinstance(versions, dict) and _all_texts(versions.values()),
        "commands": isinstance(commands, list) and _all_texts(commands),
        "source": isinstance(source, str | list | None) and _all_texts(several),
        "states_labels": isinstance(found.get("states_labels"), bool | None),
        "images": isinstance(found.get("images"), str | None),
        "name_parts": isinstance(found.get("name_parts"), int | None),
        "rows": isinstance(found.get("rows"), str | None),
        "ids": isinstance(found.get("ids"), str | None),
        "ids_sha256": isinstance(found.get("ids_sha256"), str | None),
        "columns": isinstance(columns, dict) and _all_texts([*columns, *columns.values()]),
    }
    wrong = [name for name, fits in right.items() if not fits]
    if wrong:
        _warn_once(
            f"{path.resolve()}: its provenance has {', '.join(wrong)} of another kind than texts: "
            "left out"
        )
    kept = {name: value for name, value in found.items() if name not in wrong}
    return {"versions": {}, "commands": [], **kept}


@lru_cache
def _warn_once(message: str) -> None:
    """Log a warning once, although a command opens a file several times."""
    logger.warning("%s", message)


def _all_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


# ---- datasets


def _open(file: h5py.File, path: str, *, may_be_mapped: bool) -> h5py.Dataset:
    """Open a dataset that has its values in this very file, without a link on the way to it.

    A mapped dataset is never read: only its shape and dtype count.
    """
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        _check_own(file, "/".join(parts[:depth]))
    dataset = file[path]
    if may_be_mapped and isinstance(dataset, h5py.Dataset) and dataset.is_virtual:
        if _has_endless_mapping(dataset):
            raise FormatError(f"/{path} has no length of its own")
        return dataset
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise FormatError(f"/{path} is no dataset with values of its own")
    size = file.id.get_filesize()
    if dataset.nbytes > max(_SMALL, _RATIO * size):
        raise FormatError(f"/{path} promises {dataset.nbytes:,} bytes in a file of {size:,}")
    return dataset


def _check_own(file: h5py.File, path: str) -> None:
    if not isinstance(file.get(path, getlink=True), h5py.HardLink):
        raise FormatError(f"/{path} is missing, or a link to somewhere else")


def _has_endless_mapping(dataset: h5py.Dataset) -> bool:
    """Whether a mapped dataset grows with its sources: HDF5 opens them to tell its shape."""
    properties = dataset.id.get_create_plist()
    try:
        for number in range(properties.get_virtual_count()):
            properties.get_virtual_vspace(number).get_select_npoints()
    except RuntimeError:  # an endless selection has no number of points
        return True
    return False


@dataclass
class _Axes:
    """Lengths of the axes: the first dataset that has an axis decides, the others must agree."""

    lengths: dict[str | int, int]
    dtypes: dict[str, str] = field(default_factory=dict)

    def check(self, entry: DatasetFormat, dataset: h5py.Dataset) -> None:
        shape, dtype = dataset.shape, dataset.dtype
        right = self._has_dtype(entry, dtype) and len(shape) == len(entry.shape)
        if right:
            for axis, length in zip(entry.shape, shape, strict=True):
                expected = axis if isinstance(axis, int) else self.lengths.setdefault(axis, length)
                right = right and length == expected
        if not right:
            lengths = ", ".join(str(self.lengths.get(axis, axis)) for axis in entry.shape)
            raise FormatError(
                f"/{entry.path} is {dtype.name} ({', '.join(map(str, shape))}), expected "
                f"{self.dtypes.get(entry.dtype, entry.dtype)} ({lengths})"
            )

    def _has_dtype(self, entry: DatasetFormat, dtype: np.dtype[Any]) -> bool:
        if entry.dtype == "text":
            return dtype.kind == "S"
        if entry.dtype == "values":
            return dtype.name in DTYPES and dtype.name == self.dtypes.setdefault(
                "values", dtype.name
            )
        return dtype.name == entry.dtype


def _bytes_of_rows(dataset: h5py.Dataset) -> list[bytes]:
    rows = dataset[:]
    values: list[bytes] = rows.view(f"V{rows.shape[1]}").ravel().tolist()
    return values


def _texts(dataset: h5py.Dataset) -> list[str]:
    return [value.decode("utf-8") for value in dataset[:].tolist()]


# ---- shards


def _shards(path: Path, file: h5py.File, datasets: Datasets) -> Shards:
    folder = _shards_folder(path, file.attrs["shards"])
    names = _texts(datasets["shards/name"])
    if not all(SHARD_NAME.fullmatch(name) for name in names):
        raise FormatError("its shards have other names than shards have")
    sizes = datasets["shards/size"][:].tolist()
    if any(size <= 0 for size in sizes):
        raise FormatError("its shards have no bytes")
    place = datasets["place"][:]
    if len(place) and not (place[:, 0].min() >= -1 and place[:, 0].max() < len(names)):
        raise FormatError("its rows are in shards that it doesn't name")
    sha256 = _bytes_of_rows(datasets["shards/sha256"])
    return Shards(folder=folder, names=names, sizes=sizes, sha256=sha256, place=place)


def _shards_folder(path: Path, name: Any) -> str:
    """Name of the shards' folder beside the file, also after both were renamed."""
    plain = isinstance(name, str) and len(name) > len(".shards") and name.endswith(".shards")
    if not plain or "\0" in name or Path(name).name != name:
        raise FormatError("its folder of shards is not one beside it")
    own = shards_folder(path)
    return own.name if own.is_dir() and not (path.parent / name).is_dir() else str(name)


def _without_lost_rows(header: Header, shards: Shards) -> Header:
    """Rows of missing or shortened shards are not done: the next extraction computes them."""
    lost = np.append(shards.lost(header.path), True)  # the last item is for place -1
    done = header.done & ~lost[shards.place[:, 0]]
    if lost[:-1].any():
        _warn_once(
            f"{lost[:-1].sum()} of the {len(shards.names)} shards of {header.path.resolve()} are "
            f"missing or cut off, and with them {(header.done & ~done).sum()} rows: if the "
            "file was moved, move its folder of shards, too; else run `tlfeatures extract` again"
        )
    promised = int(done.sum()) * sum(map(header.row_bytes, header.tables))
    present = sum(size for size, gone in zip(shards.sizes, lost.tolist(), strict=False) if not gone)
    if promised > max(SMALL_SHARDED, _RATIO * present):
        raise FormatError(f"{header.path} promises {promised:,} bytes in shards of {present:,}")
    return replace(header, done=done)
