"""Checks of the arrays that a dataset is made of, see `Dataset.from_arrays`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.dataset.duplicates import (
    check_similarity,
    find_copies,
    least_similarity,
    log_copies,
)
from tlfeatures.dataset.label_values import name_of, text_of
from tlfeatures.dataset.labels import warn_of_names
from tlfeatures.errors import ParameterError
from tlfeatures.features.exchange.open_features import numbered_ids
from tlfeatures.features.exchange.stored_values import digests_of
from tlfeatures.features.exchange.table import check_name
from tlfeatures.features.imported import STATED, VALUES, Imported
from tlfeatures.features.sources.folder_labels import split_from_name
from tlfeatures.features.spec import Spec
from tlfeatures.names import some_of

ARRAYS = "arrays in Python"  # in place of the path of an embeddings file

Column: TypeAlias = ArrayLike | Sequence[Any]


@dataclass(frozen=True)
class CheckedArrays:
    """Arrays of a dataset that fit together, with their copies; see `Dataset`."""

    X: NDArray[np.float32]
    y: NDArray[np.str_]
    groups: NDArray[np.str_] | None
    ids: NDArray[np.str_]
    split: NDArray[np.str_] | None
    embedding: str
    spec: Spec
    file: str
    copies: NDArray[np.int64]
    digests: NDArray[np.uint8]
    near_duplicates: float | None


def check_arrays(
    X: ArrayLike,
    y: Column,
    *,
    ids: Column | None,
    groups: Column | None,
    split: Column | None,
    digests: Column | None,
    embedding: str,
    near_duplicates: float | None,
) -> CheckedArrays:
    """Check and convert the arguments of `Dataset.from_arrays`, and search for copies."""
    check_similarity(near_duplicates)
    check_name(embedding)
    rows = feature_rows(X)
    columns = {"y": y, "ids": ids, "groups": groups, "split": split, "digests": digests}
    for argument, values in columns.items():
        check_same_index(X, values, f"X and {argument}")
        check_same_index(y, values, f"y and {argument}")
        _check_index_of_ids(ids, values, argument)
    named = ids if ids is not None else _index_of(X)
    listed = numbered_ids(len(rows)) if named is None else check_ids(named, len(rows))
    labels = names_of_rows(y, "y", len(rows))
    grouped = None if groups is None else names_of_rows(groups, "groups", len(rows))
    stated = digests_of({embedding: rows}) if digests is None else _digests(digests, len(rows))
    sha256 = np.frombuffer(b"".join(stated), np.uint8).reshape(len(rows), -1)
    spec = Spec.of_imported(Imported(VALUES if digests is None else STATED))
    copies, identical = find_copies(rows, sha256, near_duplicates, spec)
    arrays = CheckedArrays(
        X=rows,
        y=np.array(labels),
        groups=None if grouped is None else np.array(grouped),
        ids=np.array(listed),
        split=None if split is None else _splits(split, len(rows)),
        embedding=embedding,
        spec=spec,
        file=ARRAYS,
        copies=copies,
        digests=sha256,
        near_duplicates=least_similarity(near_duplicates, spec),
    )
    warn_of_names(labels, grouped)
    log_copies(copies, identical, arrays.ids, arrays.y)
    return arrays


def feature_rows(X: ArrayLike) -> NDArray[np.float32]:
    """Return X of shape (n, d) as float32.

    Raises
    ------
    ParameterError
        If it has another shape, or values that are no numbers or not finite.
    """
    if hasattr(X, "toarray"):
        raise ParameterError("X is a sparse matrix; expected a dense array, as X.toarray()")
    if np.ma.is_masked(X):
        raise ParameterError("X has masked values; leave their rows out, or replace the values")
    try:
        rows = np.asarray(X, np.float64 if np.asarray(X).dtype == object else None)
        if rows.dtype.kind not in "fiubUS":  # of complex numbers, only a part would stay
            raise TypeError(f"they are {rows.dtype}")
        with np.errstate(over="ignore"):
            values = rows.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"X has values that are no numbers: {error}") from error
    if values.ndim != 2 or not values.size:
        raise ParameterError(f"X has the shape {values.shape}; expected (images, columns)")
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        value = rows[bad[0]][~np.isfinite(values[bad[0]])][0]
        raise ParameterError(
            f"X has values that are not finite in {len(bad):,} rows, such as {value} in row "
            f"{bad[0]}; leave these rows out, or replace the values"
        )
    return values


def check_ids(ids: Column, count: int) -> list[str]:
    """Return ids as texts.

    Raises
    ------
    ParameterError
        If there aren't `count` different ones.
    """
    texts = [text_of(value) for value in _column(ids, "ids", count)]
    seen: set[str] = set()
    twice = []
    for text in texts:
        if not text or "\0" in text:
            raise ParameterError(f"ids has {text!r}; every row needs an id")
        if text in seen:
            twice.append(text)
        seen.add(text)
    if twice:
        raise ParameterError(
            f"ids has {len(twice):,} ids twice, such as {some_of(map(repr, twice), 3)}; every row "
            "needs an id of its own"
        )
    return texts


def _column(values: Any, argument: str, count: int) -> list[Any]:
    """Return one value for each row."""
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise ParameterError(f"{argument} is {values!r}; expected one value for each row of X")
    shape = getattr(values, "shape", (len(values),))
    if len(shape) != 1:
        raise ParameterError(f"{argument} has the shape {shape}; expected ({count},)")
    if len(values) != count:
        raise ParameterError(
            f"X has {count:,} rows, but {argument} has {len(values):,} values; expected one for "
            "each row"
        )
    tolist = getattr(values, "tolist", None)
    return list(values) if tolist is None else list(tolist())


def names_of_rows(values: Column, argument: str, count: int) -> list[str]:
    """Return the name of each value, as the labels of a file are named.

    Raises
    ------
    ParameterError
        If there aren't `count` values, or one is missing.
    """
    known: dict[tuple[type, Any], str | None] = {}  # 1, 1.0 and True are equal, but not their names
    names = []
    for row, value in enumerate(_column(values, argument, count)):
        if not isinstance(value, Hashable):
            raise ParameterError(
                f"{argument} has {value!r} in row {row}; expected one value for each row of X"
            )
        key = (type(value), value)
        if key not in known:
            known[key] = name_of(value, argument)
        name = known[key]
        if name is None:
            raise ParameterError(
                f"{argument} has no value in row {row}; leave out the rows without one"
            )
        names.append(name)
    return names


def _splits(values: Column, count: int) -> NDArray[np.str_]:
    names = names_of_rows(values, "split", count)
    splits = {name: split_from_name(name) for name in set(names)}
    wrong = [name for name, split in splits.items() if split is None]
    if wrong:
        raise ParameterError(f"split has {wrong[0]!r}; expected train, val or test")
    return np.array([splits[name] for name in names])


def _digests(digests: Column, count: int) -> list[bytes]:
    """Return digests that are given as bytes, as hexadecimal digits, or as an array (n, 32)."""
    if isinstance(digests, np.ndarray) and digests.ndim == 2:
        values: list[Any] = [row.tobytes() for row in digests.astype(np.uint8, copy=False)]
    else:
        values = _column(digests, "digests", count)
    try:
        found = [bytes.fromhex(value) if isinstance(value, str) else value for value in values]
    except ValueError:
        found = []
    if len(found) != count or any(len(value) != 32 for value in found):
        raise ParameterError(
            f"digests has {len(values):,} values; expected a sha256 for each of {count:,} rows, as "
            "32 bytes or 64 hexadecimal digits"
        )
    return found


def _index_of(values: object) -> Any:
    """Return the index of a pandas object, unless it counts rows; None for other objects."""
    index = getattr(values, "index", None)
    if index is None or callable(index) or getattr(index, "step", None) is not None:
        return None
    return index


def check_same_index(X: object, y: object, named: str = "X and y") -> None:
    """Raise `ParameterError` if pandas objects have their rows in different orders."""
    one, other = _index_of(X), _index_of(y)
    if one is not None and other is not None and list(one) != list(other):
        first, _, second = named.partition(" and ")
        raise ParameterError(
            f"the indexes of {named} differ; give them in the same order, as "
            f"{second}.loc[{first}.index]"
        )


def _check_index_of_ids(ids: Column | None, values: object, argument: str) -> None:
    """Refuse a pandas object whose index has the ids in another order."""
    index = _index_of(values)
    if index is None or ids is None:
        return
    own, listed = [text_of(each) for each in index], [text_of(each) for each in list(ids)]  # type: ignore[arg-type]
    if own != listed and sorted(own) == sorted(listed):
        raise ParameterError(
            f"the index of {argument} has the ids in another order than ids; give both in the same "
            f"order, as {argument}.loc[ids]"
        )
