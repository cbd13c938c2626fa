"""Tables in Parquet files. Only the columns that may have a role are read.

Labels that Hugging Face's datasets store as numbers get their names, which the schema has.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tlfeatures.errors import SourceError
from tlfeatures.features.sources.containers.parquet_rows import (
    image_leaves,
    one_line,
    open_parquet,
)
from tlfeatures.features.sources.containers.parts import open_parts
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.features.sources.tables.cells import RawTable
from tlfeatures.features.sources.tables.json_tables import OBJECTS, table_with_boxes

_BATCH = 16_384  # rows


def read_parquet(location: str, may_be_wanted: Callable[[str], bool]) -> RawTable:
    """Read the columns of a Parquet file that may have a role; those with bytes have none.

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
    with open_parts(location) as parts:
        file = open_parquet(parts)
        schema = file.schema_arrow
        possible = [name for name in schema.names if name not in image_leaves(schema)]
        read = [name for name in possible if name == OBJECTS or may_be_wanted(name)]
        classes = class_names(schema)
        records: list[tuple[int, dict[str, Any]]] = []
        try:
            for batch in file.iter_batches(_BATCH, columns=read):
                rows = enumerate(batch.to_pylist(), len(records) + 1)
                records += [(number, _named(record, classes)) for number, record in rows]
        except Exception as error:  # pyarrow has several kinds of errors for damaged files
            raise SourceError(f"{location} can't be read as Parquet: {one_line(error)}") from error
    table = table_with_boxes(location, records, "record")
    unread = tuple(normalize_name(name) for name in schema.names if name not in read)
    header = table.header if records else [normalize_name(name) for name in read]
    return replace(table, header=header, unread=unread)


def class_names(schema: Any) -> dict[str, list[str]]:
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
