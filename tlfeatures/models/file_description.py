"""Checks of the description of a head in a model file, before the head is constructed.

Attack: a crafted description contains types that are not allowed, gives two objects the same
number, so that another object is constructed than the checked one, or contains an array that is a
pickle or larger than memory. Invariant: the described objects are constructed, and no others; they
have allowed types, and every array is exactly as large as its member of the archive.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from tlfeatures.models.allowed_types import WAYS, object_types, trusted_types


def untrusted_types(schema: Any) -> list[str]:
    """Return the types in a description that a model file may not contain.

    Parameters
    ----------
    schema : JSON data
        skops's `schema.json`.

    Returns
    -------
    list of str
        Sorted names. A type that is allowed, but not constructed in this way, is listed with the
        way.
    """
    ways, trusted = {**WAYS, "ObjectNode": object_types()}, trusted_types()
    wrong = set()
    for node in _nodes(schema):
        name, way = f"{node.get('__module__')}.{node.get('__class__')}", str(node.get("__loader__"))
        if name not in ways.get(way, ()):
            wrong.add(name if way in ways and name not in trusted else f"{name} (by {way})")
        if way == "RandomGeneratorNode" and _generator(node) != '"PCG64"':
            wrong.add(f"numpy.random.{_generator(node)}")  # older versions of skops call any name
    return sorted(wrong)


def _generator(node: dict[str, Any]) -> Any:
    return node["content"]["bit_generator"]["content"]["bit_generator"]["content"]


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every described object. Without recursion, because a file may be nested deeply."""
    waiting = [schema]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if {"__loader__", "__class__", "__module__", "__id__"} & set(item):
                yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def forged_part(archive: zipfile.ZipFile, schema: Any) -> str | None:
    """Return the first part of a description that skops would never write, in words.

    Parameters
    ----------
    archive : ZipFile
        The model file.
    schema : JSON data
        `schema.json` of the file, without untrusted types.

    Returns
    -------
    str or None
        None if exactly the described objects will be constructed, no array is larger than its
        member, and each array is read once.

    Raises
    ------
    ValueError
        If a member is not an array of numbers or texts, or has another size than its header says.
    """
    shapes = _array_shapes(archive)
    forms, form_of = _Forms(), dict[int, int]()
    for node in _nodes(schema):
        number = node.get("__id__")
        if not isinstance(number, int):
            return "an object without a number"
        # skops constructs one object for each number, and ignores other descriptions of the number.
        form = forms.of(node)
        if form_of.setdefault(number, form) != form:
            return f"two objects with the number {number}"
        if "file" in node and (node["file"] != f"{number}.npy" or node["file"] not in shapes):
            return f"an array in {node['file']!r}"
        if node["__loader__"] == "TreeNode" and not _is_tree_of_classifier(node, shapes):
            return "a tree of another kind than classifiers have"
    return None


def _array_shapes(archive: zipfile.ZipFile) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array by its member of the archive."""
    return {
        info.filename: _array_shape(archive, info)
        for info in archive.infolist()
        if info.filename.endswith(".npy")
    }


def _array_shape(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[int, ...]:
    """Read only the header, because the array may be a pickle or too large for the memory."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with archive.open(info) as member:
        shape, _, dtype = readers[np.lib.format.read_magic(member)](member)
        bytes_left = info.file_size - member.tell()
    size = math.prod(shape)
    if dtype.hasobject or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{info.filename} is not an array of numbers or texts")
    if size * dtype.itemsize != bytes_left:
        raise ValueError(f"{info.filename} has {bytes_left:,} bytes for {size:,} {dtype}")
    return tuple(shape)


class _Forms:
    """Gives each description a number; those that differ only in object numbers get the same."""

    def __init__(self) -> None:
        self._forms: dict[Any, int] = {}
        self._numbers: dict[int, int] = {}  # by the id of a part of the description

    def of(self, item: Any) -> int:
        if not isinstance(item, dict | list):
            return self._number((type(item), item))
        if id(item) not in self._numbers:
            self._numbers[id(item)] = self._number(tuple(self._parts(item)))
        return self._numbers[id(item)]

    def _parts(self, item: Any) -> Iterator[Any]:
        yield type(item)
        if isinstance(item, list):
            yield from map(self.of, item)
            return
        names = {"__id__", "file", "protocol", "_skops_version"} if "__loader__" in item else set()
        yield from ((name, self.of(part)) for name, part in item.items() if name not in names)

    def _number(self, form: Any) -> int:
        return self._forms.setdefault(form, len(self._forms))


def _is_tree_of_classifier(node: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> bool:
    """Check whether the arguments of a Tree are those of a tree with one output.

    Compiled code reads a number of classes for each output, so there must be exactly one of each.
    The nodes must be an array of one dimension.
    """
    arguments = node["__reduce__"]["args"]["content"]
    if not isinstance(arguments, list) or len(arguments) != 3:
        return False
    _, classes, outputs = arguments
    if outputs.get("content") != "1" or shapes.get(classes.get("file")) != (1,):
        return False
    nodes = node["content"]["content"].get("nodes", {})
    return len(shapes.get(nodes.get("file"), ())) == 1
