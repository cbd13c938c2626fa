"""Files of PyTorch weights, read without PyTorch.

The format is that of `torch.save` before version 1.6: five pickles (a magic number, the version of
the format, facts of the machine, the tensors, the keys of the storages), then for each key the
number of values, as an integer of 8 bytes, and the values. A tensor refers to a storage by its key,
with offset, shape and strides.
"""

from __future__ import annotations

import collections
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlfeatures.features.backbones.recipes.restricted_pickle import (
    DataUnpickler,
    damaged,
    whole_numbers,
)

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_state_dict(content: bytes, origin: str) -> dict[str, NDArray[Any]]:
    """Read the tensors of a model's state.

    Parameters
    ----------
    content : bytes
    origin : str
        Name of the file, for messages.

    Returns
    -------
    dict of name to ndarray
        float32 or int64, in C order.

    Raises
    ------
    WeightsError
        If it is another file, a damaged one, or one that names anything besides tensors.
    """
    reader = DataUnpickler(content, _NAMES, origin, _storage)
    start = reader.read(), reader.read()
    if start != (_MAGIC, _VERSION):
        raise damaged(origin, "it is not in the format of PyTorch before 1.6")
    reader.read()  # facts of the machine
    tensors, keys = reader.read(), reader.read()
    try:
        values = _values(reader.rest(), keys, _types(tensors))
        return {str(name): _array(tensor, values) for name, tensor in tensors.items()}
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise damaged(origin, error) from error


class _Storage(NamedTuple):
    """What a persistent id states: type of the values, and key."""

    dtype: str
    key: str


class _Tensor(NamedTuple):
    """What a tensor is; a tuple, as a pickle could set the fields of a frozen dataclass."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Rebuild:
    """Stands for `torch._utils._rebuild_tensor_v2`."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> _Tensor:
        storage, offset, shape, strides = arguments[:4]
        if type(storage) is not _Storage:
            raise ValueError("a tensor has no storage")
        (offset,) = whole_numbers((offset,), "an offset")
        shape, strides = whole_numbers(shape, "a shape"), whole_numbers(strides, "strides")
        if len(shape) != len(strides):
            raise ValueError(f"a tensor has the shape {shape} and the strides {strides}")
        return _Tensor(storage, offset, shape, strides)


_NAMES = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


def _storage(pid: Any) -> _Storage:
    if type(pid) is not tuple or len(pid) != 6 or pid[0] != "storage" or pid[5] is not None:
        raise ValueError("a persistent id is not that of a storage")
    dtype, key = pid[1], pid[2]
    if dtype not in ("<f4", "<i8") or type(key) is not str:
        raise ValueError("a storage has an unknown type or key")
    return _Storage(dtype, key)


def _types(tensors: Any) -> dict[str, str]:
    """Give the type of the values of each storage, by key."""
    if not isinstance(tensors, dict) or any(type(t) is not _Tensor for t in tensors.values()):
        raise ValueError("it is not a dictionary of tensors")
    return {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}


def _values(content: bytes, keys: Any, types: dict[str, str]) -> dict[str, NDArray[Any]]:
    """Read the values of the storages, which follow each other in the order of the keys."""
    values, start = {}, 0
    for key in keys:
        dtype = np.dtype(types[key])
        count = int.from_bytes(content[start : start + 8], "little")
        end = start + 8 + count * dtype.itemsize
        if end > len(content):
            raise ValueError(f"storage {key[:20]} ends after the file")
        values[key] = np.frombuffer(content, dtype, count, start + 8)
        start = end
    return values


def _array(tensor: _Tensor, values: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Give a tensor as an array of its own."""
    storage = values[tensor.storage.key]
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((length - 1) * stride for length, stride in steps)
    # A tensor with strides of 0 could be larger than memory, though its storage is small.
    if 0 in tensor.shape or last >= len(storage) or math.prod(tensor.shape) > len(storage):
        raise ValueError(f"a tensor of shape {tensor.shape} doesn't fit its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides)
    return np.ascontiguousarray(view)
