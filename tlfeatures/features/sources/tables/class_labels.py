"""The labels that Hugging Face's datasets store as numbers in Parquet, with names in the schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tlfeatures.errors import SourceError

_OBJECTS = "objects"


def class_names(schema: Any) -> dict[str, list[str]]:
    """Return the names of the classes of each column that Hugging Face's datasets store as numbers.

    Parameters
    ----------
    schema : pyarrow.Schema

    Returns
    -------
    dict of column to list of str
        The column `objects.KEY` has the classes of the boxes in a column `objects`.
    """
    stored = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(stored)["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    if not isinstance(features, dict):
        return {}
    objects = _inside_list(features.get(_OBJECTS))
    inner = objects if isinstance(objects, dict) else {}
    named = features | {f"{_OBJECTS}.{key}": _inside_list(kind) for key, kind in inner.items()}
    return {
        name: list(map(str, feature["names"]))
        for name, feature in named.items()
        if isinstance(feature, dict)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
    }


def _inside_list(feature: Any) -> Any:
    """Return the type of the values in a list; other types are returned as they are."""
    if isinstance(feature, list):
        return feature[0] if feature else None
    is_list = isinstance(feature, dict) and "feature" in feature
    return feature["feature"] if is_list else feature


def name_of_class(value: Any, names: Sequence[str], location: object, column: str) -> Any:
    """Return the name of a class for its number. Texts are returned as they are.

    Parameters
    ----------
    value : object
        Negative numbers, None and NaN mean that there is no label. A float may be a whole number,
        because pandas stores whole numbers so where others are missing.
    names : sequence of str
    location : path or URL
        The file, for messages.
    column : str

    Raises
    ------
    SourceError
        If there is no class of this number.
    """
    if value is None or value != value or isinstance(value, str):  # NaN isn't equal to itself
        return value
    is_whole = isinstance(value, int | float) and float(value).is_integer()
    if not is_whole or value >= len(names):
        raise SourceError(
            f"{location} has the class {value!r} in the column {column}, and names of "
            f"{len(names)} classes"
        )
    return None if value < 0 else names[int(value)]
