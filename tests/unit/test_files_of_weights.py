"""PyTorch's files and pickles of arrays are read as data.

Promise: whatever a pickle names besides arrays is refused in one line, and nothing of it is called;
a tensor that doesn't fit its storage, or that would be larger than memory, is refused too.
"""

import os
import pickle

import numpy as np
import pytest

from tests.torch_files import fragment, name, state, storage, tensor, torch_file, whole_file
from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.recipes.pickled_arrays import read_arrays
from tlfeatures.features.backbones.recipes.torch_file import read_state_dict

KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
ARRAYS = {"a.weight": KERNEL, "a.count": np.array([7], np.int64), "b": KERNEL[0, 0] + 0.5}


def refused(read, content, reason):
    with pytest.raises(WeightsError, match=reason) as caught:
        read(content, "w.bin")
    assert str(caught.value).startswith("w.bin is ")
    assert "\n" not in str(caught.value)


def test_tensors_are_read():
    read = read_state_dict(torch_file(ARRAYS), "w.bin")
    assert list(read) == list(ARRAYS)
    for key, array in ARRAYS.items():
        assert read[key].dtype == array.dtype
        np.testing.assert_array_equal(read[key], array)


def test_tensors_may_share_a_storage_and_have_any_strides():
    of = storage("0", 24)
    tensors = {
        "whole": tensor(of, (2, 12), (12, 1)),
        "turned": tensor(of, (12, 2), (1, 12)),
        "part": tensor(of, (3,), (2,), offset=5),
        "number": tensor(of, (), (), offset=23),
    }
    read = read_state_dict(whole_file(tensors, {"0": KERNEL.reshape(-1)}), "w.bin")
    np.testing.assert_array_equal(read["whole"], KERNEL.reshape(2, 12))
    np.testing.assert_array_equal(read["turned"], KERNEL.reshape(2, 12).T)
    assert read["turned"].flags.c_contiguous
    assert read["part"].tolist() == [5, 7, 9]
    assert read["number"] == 23


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((25,), (1,), 0),
        ((4,), (1,), 21),
        ((2,), (24,), 0),
        ((2**40,), (0,), 0),
        ((2**20, 2**20), (0, 0), 0),
        ((0,), (1,), 0),
        ((4,), (-1,), 10),
        ((-4,), (1,), 0),
        ((4,), (1,), -1),
        ((4,), (1, 1), 0),
        ((True,), (1,), 0),
        ((4.0,), (1,), 0),
        ([4], (1,), 0),
        ((1,) * 9, (1,) * 9, 0),
    ],
)
def test_a_tensor_that_does_not_fit_its_storage_is_refused(shape, strides, offset):
    tensors = {"a": tensor(storage("0", 24), shape, strides, offset)}
    content = whole_file(tensors, {"0": KERNEL.reshape(-1)})
    refused(read_state_dict, content, "not the expected file of weights, or damaged")


def test_a_storage_that_ends_after_the_file_is_refused():
    content = torch_file(ARRAYS)
    refused(read_state_dict, content[:-1], "storage 2 ends after the file")
    huge = content[: -4 * 4 - 8] + (2**62).to_bytes(8, "little") + content[-4 * 4 :]
    refused(read_state_dict, huge, "storage 2 ends after the file")


def calls(called, *arguments):
    """Pickle a call of a function that has a name."""
    return called + b"(" + b"".join(fragment(item) for item in arguments) + b"tR"


# What a pickle names, and a pickle of it that would write the file {path}
HOSTILE = {
    ("builtins", "exec"): ["open({path!r}, 'w')"],
    ("__builtin__", "eval"): ["open({path!r}, 'w')"],
    ("os", "system"): ["touch {path}"],
    ("io", "open"): ["{path}", "w"],
    ("builtins", "getattr"): ["{path}", "upper"],
    ("collections", "OrderedDict.fromkeys"): ["{path}"],
    ("torch", "hub"): [],
}


@pytest.mark.parametrize("named", HOSTILE)
def test_a_pickle_that_names_anything_else_is_refused(named, tmp_path):
    path = str(tmp_path / "touched")
    call = calls(name(*named), *(text.format(path=path) for text in HOSTILE[named]))
    reason = f"a pickle that names {named[0]!r} {named[1]!r}, expected arrays alone"
    whole = torch_file(ARRAYS)
    start = whole[: whole.index(b"ccollections")]  # the pickles before that of the tensors
    for content in (b"\x80\x02" + call + b".", start + call + b"."):
        refused(read_state_dict, content, reason)
    refused(read_arrays, b"\x80\x02" + call + b".", reason)
    assert not os.path.lexists(path)


@pytest.mark.parametrize("attributes", [{"__call__": 1}, (None, {"__call__": 1})])
@pytest.mark.parametrize(
    ("read", "function"),
    [
        (read_state_dict, ("torch._utils", "_rebuild_tensor_v2")),
        (read_arrays, ("numpy.core.multiarray", "_reconstruct")),
        (read_arrays, ("numpy", "dtype")),
    ],
)
def test_what_stands_for_a_function_can_not_be_changed(read, function, attributes):
    refused(read, b"\x80\x02" + name(*function) + fragment(attributes) + b"b.", "attribute")


def test_a_tensor_can_not_be_changed_after_it_was_checked():
    of = storage("0", 24)
    fields = of + b"".join(fragment(value) for value in (0, (4,), (-1,)))  # values before the file
    changed = tensor(of, (4,), (1,)) + b"](" + fields + b"eb"
    content = whole_file({"a": changed}, {"0": KERNEL.reshape(-1)})
    refused(read_state_dict, content, "not the expected file of weights, or damaged")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x02N.", b"PK\x03\x04" + b"\0" * 50, os.urandom(200), torch_file(ARRAYS)[:90]],
)
def test_another_file_is_refused(content):
    refused(read_state_dict, content, "not the expected file of weights, or damaged")
    refused(read_arrays, content, "not the expected file of weights, or damaged")


def test_a_state_has_nothing_but_tensors():
    for value in (
        fragment([1.0]),
        fragment("text"),
        storage("0", 24),
        name("torch", "LongStorage"),
    ):
        content = whole_file({"a": value}, {"0": KERNEL.reshape(-1)})
        refused(read_state_dict, content, "it is not a dictionary of tensors")
    bad = b"(" + fragment("module") + b"NNNNN" + b"tQ"
    refused(read_state_dict, whole_file({"a": bad}, {}), "persistent id")
    assert state({}) in whole_file({}, {})


# ---- pickles of arrays


def old_names(content):
    """Name NumPy's functions as version 1 did."""
    return content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def test_arrays_are_read():
    arrays = {"a": [KERNEL, KERNEL[0]], "b/c": [np.asfortranarray(KERNEL[0, 0])]}
    read = read_arrays(old_names(pickle.dumps(arrays, 3)), "w.bin")
    assert list(read) == ["a", "b/c"]
    for key, values in arrays.items():
        for array, value in zip(read[key], values, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, value)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(3),
        np.zeros(3, np.int32),
        np.zeros(3, ">f4"),
        np.zeros(3, "f4,f4"),
        np.zeros(3, object),
        "text",
        3,
    ],
)
def test_other_values_than_arrays_of_float32_are_refused(value):
    content = old_names(pickle.dumps({"a": [value]}, 3))
    refused(read_arrays, content, "not the expected file of weights, or damaged")


def test_an_array_with_another_number_of_values_is_refused():
    content = old_names(pickle.dumps({"a": [np.zeros(77, np.float32)]}, 3))
    assert content.count(b"K\x4d\x85") == 1  # the shape (77,)
    for shape in (b"K\x4e\x85", b"J\xff\xff\xff\x7f\x85"):
        refused(read_arrays, content.replace(b"K\x4d\x85", shape), "another number of values")
    refused(read_arrays, content.replace(b"K\x4d\x85", b"J\xff\xff\xff\xff\x85"), "whole numbers")
