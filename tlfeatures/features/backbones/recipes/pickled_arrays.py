"""A pickle of NumPy arrays, read as data: a dictionary of name to a list of float32 arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.features.backbones.recipes.restricted_pickle import (
    DataUnpickler,
    damaged,
    whole_numbers,
)


def read_arrays(content: bytes, origin: str) -> dict[str, list[NDArray[np.float32]]]:
    """Read the arrays of a pickled dictionary.

    Parameters
    ----------
    content : bytes
    origin : str
        Name of the file, for messages.

    Raises
    ------
    WeightsError
        If it is another pickle, a damaged one, or one that names anything besides arrays.
    """
    data = DataUnpickler(content, _NAMES, origin).read()
    try:
        return {str(name): [_array(item) for item in items] for name, items in data.items()}
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise damaged(origin, error) from error


class _Pickled:
    """Stands for an array or a type of numbers, of which a pickle gives the state afterwards."""

    __slots__ = ("state",)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Pickled):
    __slots__ = ()


class _Type(_Pickled):
    __slots__ = ()


class _NewArray:
    """Stands for NumPy's function that makes an empty array."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> _Array:
        return _Array()


class _NewType:
    """Stands for `numpy.dtype`; only float32 has a state that is read."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> _Type:
        if arguments[:1] != ("f4",):
            raise ValueError("it has other numbers than float32")
        return _Type()


_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _NewArray(),
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): _NewType(),
}


def _array(item: Any) -> NDArray[np.float32]:
    if type(item) is not _Array:
        raise ValueError("it has something else than arrays")
    version, shape, kind, column_order, content = item.state
    shape = whole_numbers(shape, "a shape")
    if version != 1 or type(kind) is not _Type or kind.state[1] != "<":
        raise ValueError("it has an array of an unknown kind")
    if type(content) is not bytes or math.prod(shape) * 4 != len(content):
        raise ValueError(f"an array of shape {shape} has another number of values")
    values = np.frombuffer(content, "<f4")
    return np.ascontiguousarray(values.reshape(shape, order="F" if column_order else "C"))
