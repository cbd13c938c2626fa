"""Features files in HDF5: with the arrays `features` and `labels`, or of the program TRIDENT.

TRIDENT writes a file for each slide: `features` of shape (patches, d), and `coords` of shape
(patches, 2), the upper left corner of each patch in pixels of the slide. The attribute
`patch_size_level0` of `coords` is the side of a patch in the same pixels. A file of the features
of a whole slide has `features` of shape (d,).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError
from tlfeatures.features.exchange.arrays import ArrayInfo, Arrays, table_of_arrays
from tlfeatures.features.exchange.roles import RowFacts
from tlfeatures.features.exchange.table import Block, FeatureTable
from tlfeatures.features.file.format import FORMAT

MAGIC = b"\x89HDF\r\n\x1a\n"
ENDINGS = (".h5", ".hdf5")
_COORDS, _PATCH_SIZE = "coords", "patch_size_level0"
_RATIO = 1000  # of a dataset's bytes to the file's: datasets may be compressed
_SMALL = 64 * 2**20  # bytes of a dataset that are allowed whatever the ratio
_TEXT = np.dtype(str)


class Hdf5File(Arrays):
    """The datasets in the root of an HDF5 file that have their values in the file itself."""

    def __init__(self, path: Path) -> None:
        self.path, self.infos = path, {}
        with self._open() as file:
            try:
                self._list(file)
            except DatasetError:
                raise
            except Exception as error:  # HDF5 raises anything for a damaged file
                raise DatasetError(f"{path} is a damaged HDF5 file: {error}") from error

    def _list(self, file: h5py.File) -> None:
        if np.array_equal(file.attrs.get("format"), FORMAT):
            raise DatasetError(
                f"{self.path} is an embeddings file already, which all commands read; expected a "
                "features file of another program"
            )
        size = file.id.get_filesize()
        for name in file:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                continue
            item = file[name]
            if isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external:
                text = h5py.check_string_dtype(item.dtype) is not None
                self.infos[name] = ArrayInfo(item.shape or (), _TEXT if text else item.dtype)
                if item.nbytes > max(_SMALL, _RATIO * size):
                    raise DatasetError(f"{self.path}: {name} promises more than the file can hold")

    def _open(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r", locking=False)
        except OSError as error:
            raise DatasetError(f"{self.path} can't be read as HDF5: {error}") from error

    def read(self, name: str) -> NDArray[Any]:
        """See `Arrays.read`."""
        with self._open() as file:
            try:
                text = self.infos[name].dtype == _TEXT
                values = file[name].asstr()[()] if text else file[name][()]
            except Exception as error:  # see above
                raise DatasetError(f"{self.path}: {name} can't be read: {error}") from error
        return np.asarray(values)

    def blocks(self, name: str, rows: int) -> Iterator[NDArray[Any]]:
        """See `Arrays.blocks`."""
        with self._open() as file:
            for start in range(0, self.infos[name].shape[0], rows):
                try:
                    block = file[name][start : start + rows]
                except Exception as error:  # see above
                    raise DatasetError(f"{self.path}: {name} can't be read: {error}") from error
                yield block

    def patch_size(self) -> int | None:
        """Side of a patch in pixels of the slide, if the file states it."""
        with self._open() as file:
            size = file[_COORDS].attrs.get(_PATCH_SIZE)
        whole = isinstance(size, int | float | np.number) and float(size).is_integer()
        return int(size) if whole and size > 0 else None


def read_hdf5(path: Path, columns: Mapping[str, str] | None) -> FeatureTable:
    """Open an HDF5 file of features."""
    arrays = Hdf5File(path)
    table = table_of_arrays(arrays, columns)
    if table.facts.id is None and _COORDS in arrays.infos:
        facts = replace(table.facts, id=_patch_ids(arrays, path.stem))
        unused = tuple(name for name in table.unused if name != _COORDS)
        return replace(table, facts=facts, unused=unused)
    return table


def read_folder(folder: Path, columns: Mapping[str, str] | None) -> FeatureTable:
    """Open a folder with a file for each slide, as TRIDENT writes it; a slide is a group."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not files:
        raise DatasetError(f"{folder} has no HDF5 files; expected a file for each slide")
    slides = {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}
    if len(slides) < len(files):
        raise DatasetError(f"{folder} has two files of the same slide")
    tables = [_slide(path, slide, columns) for slide, path in slides.items()]
    first = tables[0]
    for table in tables:
        if table.widths != first.widths:
            raise DatasetError(
                f"{table.path} has {_columns_of(table)} and {first.path} {_columns_of(first)}; "
                "expected files of one network"
            )
    ids = [id_ for table in tables for id_ in table.facts.id or []]
    groups: list[str | None] = [
        slide for slide, table in zip(slides, tables, strict=True) for _ in range(table.rows)
    ]
    is_of_patches = len(ids) > len(files)
    return FeatureTable(
        path=folder,
        files=files,
        rows=len(ids),
        widths=first.widths,
        dtype="float16" if {table.dtype for table in tables} == {"float16"} else "float32",
        facts=RowFacts(ids, group=groups if is_of_patches else None),
        blocks=lambda: chain.from_iterable(table.blocks() for table in tables),
    )


def _columns_of(table: FeatureTable) -> str:
    return f"{sum(table.widths.values()):,} columns"


def _slide(path: Path, slide: str, columns: Mapping[str, str] | None) -> FeatureTable:
    """Open the file of a slide: of its patches, or of the slide as a whole."""
    arrays = Hdf5File(path)
    features = arrays.infos.get("features")
    if features is not None and _COORDS not in arrays.infos and len(features.shape) == 1:
        return FeatureTable(
            path=path,
            files=[path],
            rows=1,
            widths={"": features.shape[0]},
            dtype="float16" if features.dtype.name == "float16" else "float32",
            facts=RowFacts([slide]),
            blocks=partial(_whole_slide, arrays),
        )
    table = table_of_arrays(arrays, columns)
    ids = table.facts.id
    if ids is not None:
        ids = [f"{slide}#{id_}" for id_ in ids]
    elif _COORDS in arrays.infos:
        ids = _patch_ids(arrays, slide)
    elif table.rows == 1:
        ids = [slide]
    else:
        raise DatasetError(
            f"{path} has {table.rows:,} rows without coords or ids; expected the files that "
            "TRIDENT writes, or give one file instead of the folder"
        )
    return replace(table, facts=RowFacts(ids))


def _whole_slide(arrays: Hdf5File) -> Iterator[Block]:
    yield {"": arrays.read("features").reshape(1, -1)}


def _patch_ids(arrays: Hdf5File, slide: str) -> list[str]:
    """Return an id for each patch: the slide, and the box of the patch in it."""
    coords = arrays.read(_COORDS)
    if coords.ndim != 2 or coords.shape[1] != 2 or coords.dtype.kind not in "iu":
        raise DatasetError(
            f"{arrays.path}: coords has the shape {coords.shape} and the type {coords.dtype}; "
            "expected whole numbers of shape (patches, 2)"
        )
    size = arrays.patch_size()
    if size is None:
        return [f"{slide}#x={x},y={y}" for x, y in coords.tolist()]
    return [f"{slide}#box={x},{y},{size},{size}" for x, y in coords.tolist()]
