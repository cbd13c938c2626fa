"""Features files that are arrays with names: NumPy's .npz and .npy, and HDF5."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError
from tlfeatures.features.exchange.roles import (
    FEATURES,
    GENERAL,
    LABEL_NAMES,
    RowFacts,
    exact_name,
    find_parts,
    row_facts,
    with_names,
)
from tlfeatures.features.exchange.table import Block, FeatureTable, common_dtype, rows_of_block

EMBEDDING_NAMES = "embedding_names"  # array in the files of `export-features`


class ArrayInfo(NamedTuple):
    """Shape and type of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Arrays(ABC):
    """The arrays of a file.

    Attributes
    ----------
    path : Path
    infos : dict of name to ArrayInfo
    """

    path: Path
    infos: dict[str, ArrayInfo]

    @abstractmethod
    def read(self, name: str) -> NDArray[Any]:
        """Read a whole array."""

    @abstractmethod
    def blocks(self, name: str, rows: int) -> Iterator[NDArray[Any]]:
        """Read an array of shape (n, d) in blocks of `rows` rows."""


def table_of_arrays(arrays: Arrays, columns: Mapping[str, str] | None) -> FeatureTable:
    """Find the roles of arrays.

    Raises
    ------
    DatasetError
        If there are no values, or the arrays don't fit together.
    """
    sources = _values(arrays, columns)
    infos = {name: arrays.infos[source] for name, source in sources.items()}
    for source, info in zip(sources.values(), infos.values(), strict=True):
        if len(info.shape) != 2:
            raise DatasetError(
                f"{arrays.path}: {source} has the shape {info.shape}; expected (rows, columns), so "
                "that each image has one vector"
            )
    counts = {info.shape[0] for info in infos.values()}
    if len(counts) > 1:
        raise DatasetError(f"{arrays.path}: its embeddings have {sorted(counts)} rows")
    widths = {name: info.shape[1] for name, info in infos.items()}
    dtype = common_dtype(
        {source: arrays.infos[source].dtype for source in sources.values()}, arrays.path
    )

    def blocks() -> Iterator[Block]:
        parts = [arrays.blocks(source, rows_of_block(widths)) for source in sources.values()]
        for values in zip(*parts, strict=True):
            yield dict(zip(sources, values, strict=True))

    facts = facts_of_arrays(arrays, columns)
    used = {*sources.values(), *find_parts(list(arrays.infos), columns, arrays.path).values()}
    used |= {EMBEDDING_NAMES, *LABEL_NAMES}
    unused = tuple(name for name in arrays.infos if name not in used)
    return FeatureTable(
        arrays.path, [arrays.path], counts.pop(), widths, dtype, facts, blocks, unused
    )


def facts_of_arrays(arrays: Arrays, columns: Mapping[str, str] | None) -> RowFacts:
    """Read ids, labels, groups, splits and digests."""
    parts = find_parts(list(arrays.infos), columns, arrays.path)
    read: dict[str, list[Any]] = {}
    for role, name in parts.items():
        if role == "label":
            read[role] = with_names(_labels(arrays, name), _label_names(arrays), arrays.path)
        else:
            read[role] = _column(arrays, name).tolist()
    return row_facts(read, arrays.path)


def _labels(arrays: Arrays, name: str) -> NDArray[Any]:
    """Read labels, also one-hot ones of shape (n, k), as Keras takes them."""
    shape, dtype = arrays.infos[name]
    if len(shape) != 2 or shape[1] < 2 or dtype.kind not in "fiub":
        return _column(arrays, name)
    values = arrays.read(name)
    if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
        raise DatasetError(
            f"{arrays.path}: {name} has the shape {shape}, but is not one-hot; expected one label "
            "for each row"
        )
    codes: NDArray[np.int_] = values.argmax(axis=1)
    return codes


def _column(arrays: Arrays, name: str) -> NDArray[Any]:
    """Read an array of shape (n,), or (n, 1)."""
    shape, dtype = arrays.infos[name]
    if len(shape) != 1 and shape[1:] != (1,):
        raise DatasetError(
            f"{arrays.path}: {name} has the shape {shape}; expected one value for each row"
        )
    if dtype.kind == "O":
        raise DatasetError(
            f"{arrays.path}: {name} is an array of Python objects, which is not read, because "
            f"reading it could run a program; save it as texts, as in numpy.asarray({name}, str)"
        )
    return arrays.read(name).reshape(-1)


def _label_names(arrays: Arrays) -> NDArray[Any] | None:
    folded = {name.casefold(): name for name in arrays.infos}
    found = next((folded[name] for name in LABEL_NAMES if name in folded), None)
    return None if found is None else _column(arrays, found)


def _values(arrays: Arrays, columns: Mapping[str, str] | None) -> dict[str, str]:
    """Return the array of each embedding; the name "" stands for an embedding without a name."""
    names = list(arrays.infos)
    wanted = (columns or {}).get(FEATURES)
    if wanted is not None:
        return {"": exact_name(wanted, names, arrays.path)}
    if EMBEDDING_NAMES in names:
        listed = _column(arrays, EMBEDDING_NAMES).tolist()
        return {name: exact_name(name, names, arrays.path) for name in map(str, listed)}
    folded = {name.casefold(): name for name in names}
    general = next((folded[name] for name in GENERAL if name in folded), None)
    if general is not None:
        return {"": general}
    tables = [name for name, info in arrays.infos.items() if len(info.shape) > 1]
    if len(tables) != 1:
        listed = ", ".join(names) or "no arrays"
        raise DatasetError(
            f"{arrays.path} has {listed}; expected an array {FEATURES} of shape (rows, columns), "
            "or name it with --columns features=NAME"
        )
    return {"": tables[0]}
