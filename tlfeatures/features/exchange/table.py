"""An opened features file: what it says of its rows, and their values in blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.combined import COLON, PLUS
from tlfeatures.features.exchange.roles import ROLES, RowFacts
from tlfeatures.names import some_of

BLOCK_BYTES = 16 * 2**20  # of values that are read at a time

Block = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class FeatureTable:
    """An opened features file.

    Attributes
    ----------
    path : Path
    files : list of Path
        The files that hold the values; one, unless `path` is a folder.
    rows : int
    widths : dict of name to int
        Number of columns of each embedding. The name "" is replaced by that of the caller.
    dtype : {"float32", "float16"}
        Type that holds the values: float16 if the file has them as float16.
    facts : RowFacts
    blocks : callable () -> iterator of dict of name to ndarray of shape (b, d)
        Reads the values: consecutive rows of all embeddings.
    unused : tuple of str
        Names of arrays or columns that are neither values nor have a role.
    """

    path: Path
    files: list[Path]
    rows: int
    widths: dict[str, int]
    dtype: str
    facts: RowFacts
    blocks: Callable[[], Iterator[Block]]
    unused: tuple[str, ...] = ()

    def renamed(self, old: str, new: str) -> FeatureTable:
        """Return the same table with another name for one embedding."""
        if old not in self.widths:
            return self

        def blocks() -> Iterator[Block]:
            for block in self.blocks():
                yield {new if name == old else name: values for name, values in block.items()}

        widths = {new if name == old else name: width for name, width in self.widths.items()}
        return replace(self, widths=widths, blocks=blocks)


def sha256_of(table: FeatureTable) -> str:
    """Return the sha256 of a features file; of a folder, that of the sha256 of its files."""
    hashes = []
    for path in table.files:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    if table.path.is_file():
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def check_table(table: FeatureTable) -> None:
    """Check numbers of rows, names and ids.

    Raises
    ------
    DatasetError
    """
    if not table.rows or not all(table.widths.values()):
        raise DatasetError(f"{table.path} has no rows, or no columns of values")
    for role, count in table.facts.lengths().items():
        if count != table.rows:
            raise DatasetError(
                f"{table.path} has {table.rows:,} rows of values, but {count:,} values of {role}; "
                "expected one for each row"
            )
    for name in table.widths:
        check_name(name)
    if table.facts.id is not None and len(set(table.facts.id)) < table.rows:
        seen: set[str] = set()
        twice = [id_ for id_ in table.facts.id if id_ in seen or seen.add(id_)]  # type: ignore[func-returns-value]
        raise DatasetError(
            f"{table.path} has {len(twice):,} ids twice, such as {some_of(map(repr, twice), 3)}; "
            "every row needs an id of its own"
        )


def check_name(name: str) -> None:
    """Raise `ParameterError` if a file can't have an embedding of this name.

    The signs + and : join names, and HDF5 divides a name at a slash.
    """
    if name.casefold() in {usual for names in ROLES.values() for usual in names}:
        raise ParameterError(
            f"an embedding can't have the name {name!r}, which is that of other columns; give "
            "another name with --embedding"
        )
    if any(sign in name for sign in (PLUS, COLON, "/", "\0")) or name in (".", ".."):
        raise ParameterError(
            f"an embedding can't have the name {name!r}, because {PLUS}, {COLON} and / have a "
            "meaning; give another name with --embedding"
        )


def common_dtype(dtypes: Mapping[str, np.dtype[Any]], path: Path) -> str:
    """Return float16 if all values are float16, else float32.

    Raises
    ------
    DatasetError
        If an array holds no numbers.
    """
    for name, dtype in dtypes.items():
        if dtype.kind not in "fiub":
            raise DatasetError(
                f"{path}: {name} is of the type {dtype}; expected numbers. Arrays of Python "
                "objects are not read, because reading them could run a program"
            )
    return "float16" if {dtype.name for dtype in dtypes.values()} == {"float16"} else "float32"


def rows_of_block(widths: Mapping[str, int]) -> int:
    """Return the number of rows that are read at a time."""
    return max(1, BLOCK_BYTES // (4 * max(1, sum(widths.values()))))
