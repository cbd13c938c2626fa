"""Tables in Parquet files. Only the columns that may have a role are read.

Labels that Hugging Face's datasets store as numbers get their names, which the schema has.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.locations import is_url, read_url
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.features.sources.tables.cells import RawTable
from tlfeatures.features.sources.tables.json_tables import OBJECTS, table_with_boxes

if TYPE_CHECKING:
    from pyarrow import Schema
    from pyarrow.parquet import ParquetFile

_BATCH = 16_384  # rows


def has_paths(location: str) -> bool:
    """Whether a Parquet file is a table of paths: none of its columns has bytes of images."""
    import pyarrow

    with _open(location) as file:
        types = [field.type for field in file.schema_arrow]
    nested = [
        type_.field(place).type
        for type_ in types
        if pyarrow.types.is_struct(type_)
        for place in range(type_.num_fields)
    ]
    return not any(map(_is_bytes, [*types, *nested]))


def read_parquet(location: str, may_be_wanted: Callable[[str], bool]) -> RawTable:
    """Read the columns of a Parquet file that may have a role.

    Parameters
    ----------
    location : path or URL
    may_be_wanted : callable (name) -> bool
        Whether a column of this name may have a role.

    Raises
    ------
    ParameterError
        If pyarrow isn't installed.
    SourceError
        If the file can't be read.
    """
    try:
        with _open(location) as file:
            schema = file.schema_arrow
            read = [name for name in schema.names if name == OBJECTS or may_be_wanted(name)]
            classes = class_names(schema)
            records: list[tuple[int, dict[str, Any]]] = []
            for batch in file.iter_batches(_BATCH, columns=read):
                rows = enumerate(batch.to_pylist(), len(records) + 1)
                records += [(number, _named(record, classes)) for number, record in rows]
    except OSError as error:  # pyarrow's errors of files are OSErrors, too
        raise SourceError(f"{location} can't be read as Parquet: {error}") from error
    table = table_with_boxes(location, records, "record")
    unread = tuple(normalize_name(name) for name in schema.names if name not in read)
    header = table.header if records else [normalize_name(name) for name in read]
    return replace(table, header=header, unread=unread)


def class_names(schema: Schema) -> dict[str, list[str]]:
    """Return the names of the classes of each column that Hugging Face's datasets store as numbers.

    Parameters
    ----------
    schema : pyarrow.Schema
    """
    stored = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(stored)["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {
        name: list(map(str, feature["names"]))
        for name, feature in (features.items() if isinstance(features, dict) else ())
        if isinstance(feature, dict)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
    }


def _named(record: dict[str, Any], classes: dict[str, list[str]]) -> dict[str, Any]:
    for column, names in classes.items():
        number = record.get(column)
        if isinstance(number, int) and 0 <= number < len(names):
            record[column] = names[number]
        elif column in record:
            record[column] = None  # -1 is no label
    return record


def _is_bytes(type_: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_binary(type_) or pyarrow.types.is_large_binary(type_))


def _open(location: str) -> ParquetFile:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ParameterError(
            f"{location} is a Parquet file, and pyarrow is not installed: "
            "pip install 'tlfeatures[parquet]'"
        ) from error
    try:
        return ParquetFile(io.BytesIO(read_url(location)) if is_url(location) else location)
    except (OSError, ArrowException) as error:
        raise SourceError(f"{location} can't be read as Parquet: {error}") from error
