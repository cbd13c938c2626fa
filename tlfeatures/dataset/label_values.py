"""Labels and groups that are given as Python objects: mappings, pandas Series, arrays and lists.

A value is converted to a name. Texts, bytes, whole numbers, True and False are converted with
`str`. A float that is a whole number is converted without decimals: 3.0 becomes "3", because pandas
stores whole numbers as floats if a value is missing. Other floats raise an error, because they are
measurements and not classes. None, NaN, pandas' NA and empty texts mean that there is no label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.sources.spelling import normalize_name


class SeriesOfValues(Protocol):
    """A pandas Series, or another object with an index and items."""

    @property
    def index(self) -> Any:
        """Ids of the images."""

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Return the ids with their values."""


ById: TypeAlias = Mapping[Any, Any] | SeriesOfValues
Values: TypeAlias = ById | Sequence[Any] | NDArray[Any]


def by_id(values: Values, ids: Sequence[str], argument: str, source: str) -> ById:
    """Return labels or groups as a mapping or Series with ids.

    Parameters
    ----------
    values : mapping, Series, array or sequence
        Labels or groups. A Series needs the ids as its index.
    ids : sequence of n str
        Ids of the images, in the order of the values of an array.
    argument : {"labels", "groups"}
        Name of the argument, for messages.
    source : str
        Source of the images, for messages.

    Raises
    ------
    ParameterError
        If the values have another type, do not have one dimension, or an array does not have one
        value for each image.
    """
    kind = type(values).__name__
    if getattr(values, "ndim", 1) != 1:
        shape = getattr(values, "shape", ())
        raise ParameterError(
            f"{argument} is of type {kind} and shape {shape}; expected one column, with one value "
            'for each image, as `table.set_index("id")["label"]` of a pandas DataFrame'
        )
    if _has_ids(values):
        if _counts_rows(values):
            raise ParameterError(
                f"the index of {argument} counts rows, so that the ids of its values are unknown; "
                'give the ids as the index, as in `table.set_index("id")["label"]`, or give '
                "`to_numpy()` of a Series in the order of the file's ids"
            )
        return values
    unordered = isinstance(values, str | bytes | set | frozenset)
    if unordered or not (hasattr(values, "__len__") and hasattr(values, "__iter__")):
        raise ParameterError(
            f"{argument} is of type {kind}; expected the path of a table, a mapping of "
            "id to value, a pandas Series with the ids as its index, or an array or list"
        )
    listed = list(cast("Sequence[Any]", values))
    if len(listed) != len(ids):
        raise ParameterError(
            f"{argument} has {len(listed):,} values for {len(ids):,} images of {source}; expected "
            f"one for each image in the order of their ids, from {ids[0]!r} to {ids[-1]!r} "
            "(`tlfeatures.embedded_ids` lists the ids of an embeddings file), or a "
            "mapping of id to value"
        )
    return dict(zip(ids, listed, strict=True))


def _has_ids(values: Any) -> TypeGuard[ById]:
    if isinstance(values, Mapping):
        return True
    index = getattr(values, "index", None)
    # The index of a list is a method.
    return index is not None and not callable(index) and hasattr(values, "items")


def _counts_rows(values: ById) -> bool:
    """Whether an index is pandas's default one; rows of a table may be in any order."""
    index = getattr(values, "index", None)
    return getattr(index, "start", None) == 0 and getattr(index, "step", None) == 1


def name_of(value: Any, argument: str) -> str | None:
    """Convert a value to a name in normal form; None if the value means that there is no label.

    Parameters
    ----------
    value : object
    argument : {"labels", "groups"}
        Name of the argument, for messages.

    Raises
    ------
    DatasetError
        If the value is a number with decimals, or a list or array.
    """
    if isinstance(value, str | bytes):
        return normalize_name(text_of(value)) or None
    if hasattr(value, "__len__"):
        raise DatasetError(f"{argument} has the value {value!r}; expected one name for each image")
    if value is None or str(value) == "<NA>" or value != value:  # NaN isn't equal to itself
        return None
    if isinstance(value, float | np.floating):
        value = _whole(value, argument)
    return normalize_name(str(value)) or None


def _whole(value: float | np.floating[Any], argument: str) -> int:
    if not float(value).is_integer():
        raise DatasetError(
            f"{argument} has the value {value}; expected names or whole numbers; replace the "
            "numbers by names of classes or ranges"
        )
    return int(value)


def text_of(value: Any) -> str:
    """Return a value as text. Bytes are decoded as UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
