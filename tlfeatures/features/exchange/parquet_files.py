"""Reading and writing features as Parquet, with pyarrow (`tlfeatures[parquet]`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError, SourceError
from tlfeatures.features.exchange.columns import TableColumns, find_columns
from tlfeatures.features.exchange.roles import FEATURES, GENERAL, RowFacts, find_parts, row_facts
from tlfeatures.features.exchange.table import Block, FeatureTable, rows_of_block
from tlfeatures.features.sources.tables.class_labels import class_names, name_of_class
from tlfeatures.installed import check_installed

MAGIC = b"PAR1"
_ROWS = 16_384  # rows of which ids and labels are read at a time
_BUFFER = 2**20  # bytes
_RATIO = 1000  # of rows to the bytes of a file: more can't be right


def check_pyarrow(path: object) -> None:
    """Raise `ParameterError` if pyarrow is not installed."""
    check_installed("pyarrow", str(path), "parquet")


class ParquetFile:
    """A Parquet file of features."""

    def __init__(self, path: Path) -> None:
        from pyarrow import parquet

        self.path = path
        try:
            self._file = parquet.ParquetFile(
                path, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True
            )
            facts = self._file.metadata
            groups = [int(facts.row_group(at).num_rows) for at in range(facts.num_row_groups)]
        except Exception as error:  # pyarrow has several kinds of errors for damaged files
            raise DatasetError(
                f"{path} is a damaged Parquet file: {_in_one_line(error)}"
            ) from error
        self.schema: Any = self._file.schema_arrow
        self.rows = sum(groups)
        if min(groups, default=0) < 0 or self.rows > _RATIO * path.stat().st_size:
            raise DatasetError(f"{path} is damaged: it can't have {self.rows:,} rows")

    def has_numbers(self, name: str) -> bool:
        """Whether a column has the type of whole numbers."""
        from pyarrow import types

        return bool(types.is_integer(self.schema.field(name).type))

    def list_columns(self) -> list[str]:
        """Return the columns of which each cell is a list of numbers."""
        from pyarrow import types

        tests = (types.is_list, types.is_large_list, types.is_fixed_size_list)
        return [
            field.name
            for field in self.schema
            if any(test(field.type) for test in tests) and _is_number(field.type.value_type)
        ]

    def facts(self, roles: Mapping[str, str]) -> RowFacts:
        """Read the columns of roles."""
        if not roles:
            return RowFacts()
        read: dict[str, list[Any]] = {role: [] for role in roles}
        for batch in self._batches(_ROWS, list(roles.values())):
            for role, name in roles.items():
                try:
                    read[role] += batch.column(name).to_pylist()
                except UnicodeDecodeError as error:
                    raise DatasetError(f"{self.path}: {name} is no text in UTF-8") from error
        label = roles.get("label", "")
        names = class_names(self.schema).get(label)
        if names is not None:
            try:
                read["label"] = [name_of_class(c, names, self.path, label) for c in read["label"]]
            except SourceError as error:
                raise DatasetError(str(error)) from error
        return row_facts(read, self.path)

    def numbers(self, columns: TableColumns) -> Iterator[Block]:
        """Read values that have a column each; see `FeatureTable`."""
        step = rows_of_block({name: len(own) for name, own in columns.values.items()})
        names = [name for own in columns.values.values() for name in own]
        for batch in self._batches(step, names):
            yield {
                name: np.column_stack([self._column(batch, column) for column in own])
                for name, own in columns.values.items()
            }

    def lists(self, column: str, width: int) -> Iterator[Block]:
        """Read values that are in one column of lists."""
        for batch in self._batches(rows_of_block({"": width}), [column]):
            values = self._no_nulls(batch.column(column), column)
            flat = self._no_nulls(values.flatten(), column).to_numpy(zero_copy_only=False)
            if (
                len(flat) != width * len(values)
                or (values.value_lengths().to_numpy() != width).any()
            ):
                raise DatasetError(
                    f"{self.path}: the lists in {column} have different lengths; expected "
                    f"{width:,} values in each, as in the first"
                )
            yield {"": flat.reshape(len(values), width)}

    def width_of(self, column: str) -> int:
        """Return the length of the first list."""
        for batch in self._batches(1, [column]):
            return len(self._no_nulls(batch.column(column), column)[0])
        return 0

    def _batches(self, rows: int, names: list[str]) -> Iterator[Any]:
        try:
            # One reader for all groups would keep the bytes of every group until its end.
            for group in range(self._file.metadata.num_row_groups):
                yield from self._file.iter_batches(
                    rows, row_groups=[group], columns=names, use_threads=False
                )
        except DatasetError:
            raise
        except Exception as error:  # see above
            raise DatasetError(f"{self.path} can't be read: {_in_one_line(error)}") from error

    def _column(self, batch: Any, name: str) -> NDArray[Any]:
        values: NDArray[Any] = self._no_nulls(batch.column(name), name).to_numpy(
            zero_copy_only=False
        )
        return values

    def _no_nulls(self, values: Any, name: str) -> Any:
        if values.null_count:
            raise DatasetError(
                f"{self.path}: {name} has missing values; fill them, or remove these rows"
            )
        return values


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind))


def read_parquet(path: Path, columns: Mapping[str, str] | None) -> FeatureTable:
    """Open a Parquet file of features: a column for each value, or one column of lists."""
    check_pyarrow(path)
    file = ParquetFile(path)
    lists = file.list_columns()
    column = _list_column(lists, columns, path)
    if column is not None:
        names = [name for name in file.schema.names if name != column]
        roles = find_parts(names, columns, path, file.has_numbers)
        width = file.width_of(column)
        kinds = {file.schema.field(column).type.value_type}
        return FeatureTable(
            path=path,
            files=[path],
            rows=file.rows,
            widths={"": width},
            dtype=_dtype(kinds),
            facts=file.facts(roles),
            blocks=lambda: file.lists(column, width),
            unused=TableColumns(roles, {"": [column]}).unused(file.schema.names),
        )
    found = find_columns(file.schema.names, columns, path, file.has_numbers)
    for name in (name for own in found.values.values() for name in own):
        if not _is_number(file.schema.field(name).type):
            raise DatasetError(
                f"{path}: the column {name!r} has no numbers; say what it is with --columns, as in "
                "label=NAME"
            )
    kinds = {file.schema.field(name).type for own in found.values.values() for name in own}
    widths = {name: len(own) for name, own in found.values.items()}
    return FeatureTable(
        path=path,
        files=[path],
        rows=file.rows,
        widths=widths,
        dtype=_dtype(kinds),
        facts=file.facts(found.roles),
        blocks=lambda: file.numbers(found),
        unused=found.unused(file.schema.names),
        columns=found.names,
    )


def _dtype(kinds: set[Any]) -> str:
    return "float16" if {str(kind) for kind in kinds} == {"halffloat"} else "float32"


def _list_column(lists: list[str], columns: Mapping[str, str] | None, path: Path) -> str | None:
    """Return the column of lists that holds the values; None if each value has a column."""
    wanted = (columns or {}).get(FEATURES)
    if wanted is not None:
        return next((name for name in lists if name.casefold() == wanted.casefold()), None)
    general = [name for name in lists if name.casefold() in GENERAL]
    if general or len(lists) == 1:
        return (general or lists)[0]
    if len(lists) > 1:
        raise DatasetError(
            f"{path} has several columns of lists ({', '.join(lists)}); choose one with --columns "
            "features=NAME"
        )
    return None


class ParquetWriter(AbstractContextManager["ParquetWriter"]):
    """Writes a Parquet file of features in blocks of rows."""

    def __init__(self, path: Path, texts: Sequence[str], values: Sequence[str], dtype: str) -> None:
        import pyarrow
        from pyarrow import parquet

        kind = pyarrow.from_numpy_dtype(np.dtype(dtype))
        self._schema = pyarrow.schema(
            [(name, pyarrow.string()) for name in texts] + [(name, kind) for name in values]
        )
        self._file = path.open("wb")  # a Python file raises OSError, pyarrow raises other errors
        self._writer: Any = parquet.ParquetWriter(
            self._file, self._schema, use_dictionary=list(texts), compression="zstd"
        )

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._writer.close()
        finally:
            self._writer.is_open = False  # otherwise pyarrow writes again in __del__
            self._file.close()

    def add(self, texts: Sequence[Sequence[str | None]], values: NDArray[Any]) -> None:
        """Write rows: columns of b texts each, and values of shape (b, d)."""
        import pyarrow

        columns = [pyarrow.array(list(own), pyarrow.string()) for own in texts]
        columns += [pyarrow.array(column) for column in np.ascontiguousarray(values.T)]
        self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))
