"""Files as PyTorch before version 1.6 wrote them, put together without PyTorch."""

import pickle

import numpy as np

STORAGES = {"float32": "FloatStorage", "int64": "LongStorage"}


def fragment(value):
    """Pickle a plain value, without the frame of a whole pickle."""
    return pickle.dumps(value, 2)[2:-1]


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def storage(key, count, kind="FloatStorage"):
    plain = [fragment(item) for item in ("storage", key, "cpu", count, None)]
    return b"(" + plain[0] + name("torch", kind) + b"".join(plain[1:]) + b"tQ"


def tensor(of, shape, strides, offset=0):
    hooks = name("collections", "OrderedDict") + b")R"
    numbers = b"".join(fragment(value) for value in (offset, shape, strides, False))
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + of + numbers + hooks + b"tR"


def state(tensors):
    """Pickle names and tensors as PyTorch does, with an attribute of the dictionary."""
    items = b"".join(fragment(key) + value for key, value in tensors.items())
    made = name("collections", "OrderedDict") + b")R(" + items + b"u"
    return b"\x80\x02" + made + fragment({"_metadata": {}}) + b"b."


def whole_file(tensors, values):
    """Put the pickles and the values of the storages together; `values` are arrays by key."""
    start = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    content = b"".join(pickle.dumps(item, 2) for item in start)
    content += state(tensors) + pickle.dumps(list(values), 2)
    for array in values.values():
        content += len(array).to_bytes(8, "little") + array.tobytes()
    return content


def torch_file(arrays):
    """Write arrays, each with a storage of its own."""
    tensors, values = {}, {}
    for number, (key, array) in enumerate(arrays.items()):
        values[str(number)] = np.ascontiguousarray(array).reshape(-1)
        strides = tuple(stride // array.itemsize for stride in np.empty_like(array).strides)
        of = storage(str(number), array.size, STORAGES[str(array.dtype)])
        tensors[key] = tensor(of, array.shape, strides)
    return whole_file(tensors, values)
