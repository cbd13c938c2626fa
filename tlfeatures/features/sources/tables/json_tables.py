"""Tables in JSON: one object a line, or a list of objects.

An object may have several boxes in a key `objects`, as Hugging Face's `metadata.jsonl` has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tlfeatures.errors import SourceError
from tlfeatures.features.sources.tables.cells import RawTable, table_of_records
from tlfeatures.features.sources.tables.coco import is_coco, read_coco
from tlfeatures.features.sources.tables.label_studio import is_export, records_of_export
from tlfeatures.names import counted

OBJECTS = "objects"
_NAMES_OF_LABELS = ("categories", "category", "labels", "label")

Records = list[tuple[int, dict[str, Any]]]


def read_json(path: str, text: str, lines: bool) -> RawTable:
    """Read a table in JSON.

    Parameters
    ----------
    path : str
        Name of the table, for messages.
    text : str
    lines : bool
        Whether each line is an object; otherwise they are a list, or in COCO's format.

    Raises
    ------
    SourceError
        If it is no JSON, or in another format.
    """
    if lines:
        return table_with_boxes(path, [*_objects_of_lines(path, text)], "line")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} can't be read as JSON: {error}") from error
    if is_coco(content):
        return read_coco(path, content)
    is_list = isinstance(content, list)
    if not is_list or not all(isinstance(each, dict) for each in content):
        raise SourceError(
            f"{path} has a JSON {'list of other values' if is_list else 'object'}; expected a list "
            "of objects, or the keys images, annotations and categories as in COCO's format"
        )
    if is_export(content):
        records, notes = records_of_export(content)
        return table_of_records(records, notes)
    return table_with_boxes(path, [*enumerate(content, 1)], "record")


def _objects_of_lines(path: str, text: str) -> Iterable[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SourceError(
                f"{path} can't be read as JSON lines: line {number}: {error}"
            ) from error
        if not isinstance(value, dict):
            raise SourceError(f"{path}: line {number} is no JSON object, such as {{...}}")
        yield number, value


def table_with_boxes(path: str, records: Records, unit: str) -> RawTable:
    """Create a table of records, with a row for each box in a key `objects`.

    Raises
    ------
    SourceError
        If a record doesn't have as many labels as boxes.
    """
    if not any(isinstance(record.get(OBJECTS), dict | list) for _, record in records):
        return table_of_records(records, unit=unit)
    rows: Records = []
    empty = 0
    for number, record in records:
        boxes = _boxes_of(path, number, unit, record.get(OBJECTS))
        rest = {key: value for key, value in record.items() if key != OBJECTS}
        rows += [(number, rest | box) for box in boxes]
        empty += not boxes
    notes = (f"{counted(empty, 'image')} without boxes left out",) if empty else ()
    return table_of_records(rows, notes, unit)


def _boxes_of(path: str, number: int, unit: str, objects: Any) -> list[dict[str, Any]]:
    """Return `bbox` and `label` of each object, which are listed one by one or key by key."""
    if isinstance(objects, list):
        named = [name for name in _NAMES_OF_LABELS if any(name in each for each in objects)]
        key = named[0] if named else None
        return [{"bbox": each.get("bbox"), **_label(each.get(key), key)} for each in objects]
    values = objects or {}
    boxes = values.get("bbox") or []
    key = next((name for name in _NAMES_OF_LABELS if name in values), None)
    labels = values[key] if key else [None] * len(boxes)
    if len(labels) != len(boxes):
        raise SourceError(
            f"{path}: {unit} {number} has {counted(len(boxes), 'bounding box')} and "
            f"{counted(len(labels), 'label')} in {OBJECTS!r}; expected a label for each box"
        )
    return [{"bbox": box, **_label(label, key)} for box, label in zip(boxes, labels, strict=True)]


def _label(value: Any, key: str | None) -> dict[str, Any]:
    return {} if key is None else {"label": value}
