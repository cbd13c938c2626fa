"""Check the description that a model file gives of its head, before anything is constructed.

Attack: a crafted description names other types than allowed ones, gives two objects one number, so
that another object is constructed than the one that was checked, or names an array that is a
pickle or larger than memory. Invariant: what is described is what will be constructed, of allowed
types only, and every array is exactly as large as its member of the archive.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from tlfeatures.models.allowed_types import WAYS, object_types, trusted_types


def untrusted_types(schema: Any) -> list[str]:
    """Name the types in a description that a model file may not hold.

    Parameters
    ----------
    schema : JSON data
        skops's `schema.json`.

    Returns
    -------
    list of str
        Sorted; a type that may not be constructed in the described way is named with that way.
    """
    ways, trusted = {**WAYS, "ObjectNode": object_types()}, trusted_types()
    wrong = set()
    for node in _nodes(schema):
        name, way = f"{node.get('__module__')}.{node.get('__class__')}", str(node.get("__loader__"))
        if name not in ways.get(way, ()):
            wrong.add(name if way in ways and name not in trusted else f"{name} (by {way})")
        if way == "RandomGeneratorNode" and _generator(node) != '"PCG64"':
            wrong.add(f"numpy.random.{_generator(node)}")  # older skops calls any name
    return sorted(wrong)


def _generator(node: dict[str, Any]) -> Any:
    return node["content"]["bit_generator"]["content"]["bit_generator"]["content"]


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Return every described object; not recursive, because a file may nest deeply."""
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
    """Describe the first part of a description that skops would never write.

    Parameters
    ----------
    archive : ZipFile
        The model file.
    schema : JSON data
        Its `schema.json`, without untrusted types.

    Returns
    -------
    str or None
        None if what is described is what will be constructed, no array is larger than its member,
        and each array is read once.

    Raises
    ------
    ValueError
        If a member isn't a plain array.
    """
    shapes = _array_shapes(archive)
    forms, form_of = _Forms(), dict[int, int]()
    for node in _nodes(schema):
        number = node.get("__id__")
        if not isinstance(number, int):
            return "an object without a number"
        # skops constructs one object for each number and ignores the other descriptions.
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
    """Read only the header: it may ask for objects, which are pickles, or for too much memory."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with archive.open(info) as member:
        shape, _, dtype = readers[np.lib.format.read_magic(member)](member)
        bytes_left = info.file_size - member.tell()
    size = math.prod(shape)
    if dtype.hasobject or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{info.filename} is no plain array")
    if size * dtype.itemsize != bytes_left:
        raise ValueError(f"{info.filename} holds {bytes_left:,} bytes of {size:,} {dtype}")
    return tuple(shape)


class _Forms:
    """Gives equal numbers to descriptions that are equal except for the numbers of objects."""

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
    """Check whether Tree has columns, one number of classes, one output, and a row of nodes.

    It would read one number of classes for each output, and count the nodes of an array without
    dimensions.
    """
    arguments = node["__reduce__"]["args"]["content"]
    if not isinstance(arguments, list) or len(arguments) != 3:
        return False
    _, classes, outputs = arguments
    if outputs.get("content") != "1" or shapes.get(classes.get("file")) != (1,):
        return False
    nodes = node["content"]["content"].get("nodes", {})
    return len(shapes.get(nodes.get("file"), ())) == 1
