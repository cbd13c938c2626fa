"""Exports of Label Studio: JSON, JSON-MIN, CSV and TSV, with choices or rectangles.

Rectangles are in percent of the image as a browser shows it, that is, turned upright. A rotated
rectangle is replaced by the smallest upright one around it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from typing import Any

from tlfeatures.features.sources.tables.cells import RawTable, as_cell

_RECTANGLES = "rectanglelabels"
_CHOICES = "choices"
_BOX_HEADER = ["label", "x", "y", "width", "height"]


def is_export(content: list[dict[str, Any]]) -> bool:
    """Whether a list of objects is the full JSON export: tasks with annotations."""
    first = content[0] if content else {}
    return isinstance(first.get("data"), dict) and bool({"annotations", "completions"} & set(first))


def records_of_export(
    content: list[dict[str, Any]],
) -> tuple[list[tuple[int, dict[str, Any]]], tuple[str, ...]]:
    """Return the tasks of a full export as JSON-MIN has them, and what was left out."""
    records: list[tuple[int, dict[str, Any]]] = []
    left_out: Counter[str] = Counter()
    for number, task in enumerate(content, 1):
        annotations = task.get("annotations") or task.get("completions") or []
        kept = [each for each in annotations if not each.get("was_cancelled")]
        left_out["without annotations"] += not kept
        left_out["annotated several times, and listed as often"] += len(kept) > 1
        for annotation in kept:
            results = annotation.get("result") or []
            left_out["with results other than choices and rectangles, which are left out"] += any(
                result.get("type") not in (_RECTANGLES, _CHOICES) for result in results
            )
            records.append((number, {**task["data"], "label": _label_of(results)}))
    notes = tuple(f"{count:,} tasks {what}" for what, count in left_out.items() if count)
    return records, notes


def _label_of(results: list[dict[str, Any]]) -> Any:
    """Return the choice of an image, or the list of its rectangles."""
    regions = [
        {**_sizes(result), **result["value"]}
        for result in results
        if result.get("type") == _RECTANGLES
    ]
    if regions:
        return regions
    chosen = [
        choice
        for result in results
        if result.get("type") == _CHOICES
        for choice in result["value"].get(_CHOICES, [])
    ]
    return chosen[0] if len(chosen) == 1 else chosen or None


def _sizes(result: dict[str, Any]) -> dict[str, Any]:
    names = ("original_width", "original_height", "image_rotation")
    return {name: result[name] for name in names if name in result}


# ---- rectangles and choices in cells


def has_regions(text: str) -> bool:
    """Whether the text of a table has rectangles or several choices of Label Studio."""
    return f'"{_RECTANGLES}"' in text or f'"{_CHOICES}"' in text


def with_regions(table: RawTable) -> RawTable:
    """Give each rectangle in the cells of a table a row of its own.

    The cells of rows without rectangles are empty where those of a box would be. Several choices
    for one image are no label.
    """
    columns = [
        place
        for place in range(len(table.header))
        if any(_is_list_of(_RECTANGLES, cells[place]) for _, cells in table.rows)
    ]
    if not columns:
        return _with_choices(table)
    kept = [
        place
        for place, name in enumerate(table.header)
        if place not in columns and name.casefold() not in _BOX_HEADER
    ]
    rows: list[tuple[int, list[str]]] = []
    left_out: Counter[str] = Counter()
    for number, cells in table.rows:
        regions = [region for place in columns for region in _regions(cells[place])]
        own = [_box_cells(region) for region in regions if _RECTANGLES in region]
        left_out["images without rectangles are left out"] += not own
        left_out["regions that are no rectangles are left out"] += len(regions) - len(own)
        left_out["rectangles are rotated; the upright ones around them are taken"] += sum(
            bool(region.get("rotation")) for region in regions if _RECTANGLES in region
        )
        rows += [(number, [cells[place] for place in kept] + box) for box in own]
    notes = tuple(f"{count:,} {what}" for what, count in left_out.items() if count)
    header = [table.header[place] for place in kept] + _BOX_HEADER
    return replace(table, header=header, rows=rows, notes=table.notes + notes)


def _with_choices(table: RawTable) -> RawTable:
    """Empty the cells that have several choices, and count them."""
    labels = [name.casefold() == "label" for name in table.header]
    rows = [
        (
            number,
            ["" if _is_choices(*pair) else pair[0] for pair in zip(cells, labels, strict=True)],
        )
        for number, cells in table.rows
    ]
    several = sum(own != new for (_, own), (_, new) in zip(table.rows, rows, strict=True))
    note = f"{several:,} images have several choices, and therefore no label"
    return replace(table, rows=rows, notes=table.notes + (note,) * bool(several))


def _is_list_of(key: str, cell: str) -> bool:
    return cell.startswith("[{") and f'"{key}"' in cell


def _is_choices(cell: str, of_export: bool) -> bool:
    """Whether a cell has several choices, as JSON-MIN or as `records_of_export` writes them."""
    if cell.startswith(("{", "[{")):
        return f'"{_CHOICES}"' in cell
    return of_export and cell.startswith('["')


def _regions(cell: str) -> list[dict[str, Any]]:
    if not cell.startswith("[{"):
        return []
    try:
        regions = json.loads(cell)
    except ValueError:
        return []
    return [region for region in regions if isinstance(region, dict)]


def _box_cells(region: dict[str, Any]) -> list[str]:
    """Return the cells of label, x, y, width and height, in pixels.

    A cell that can't be computed says why: it is no number, so that the box is reported as invalid.
    """
    names = region.get(_RECTANGLES) or []
    label = as_cell(names[0]) if len(names) == 1 else ""
    across, high = region.get("original_width"), region.get("original_height")
    if not isinstance(across, int | float) or not isinstance(high, int | float):
        return [label, "percent of an unknown size", "", "", ""]
    if region.get("image_rotation"):
        return [label, "the image was rotated in Label Studio", "", "", ""]
    x, y, width, height = (
        float(region[name]) * side / 100
        for name, side in zip(_BOX_HEADER[1:], (across, high) * 2, strict=True)
    )
    # Rotation is clockwise, in degrees, around the upper left corner.
    angle = math.radians(float(region.get("rotation") or 0))
    along = width * math.cos(angle), width * math.sin(angle)
    down = -height * math.sin(angle), height * math.cos(angle)
    xs = (x, x + along[0], x + down[0], x + along[0] + down[0])
    ys = (y, y + along[1], y + down[1], y + along[1] + down[1])
    box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    # Without rounding, 0.3 % of 1000 pixels would be a bit more than 3, and the box a pixel wider.
    return [label, *(as_cell(round(number, 6)) for number in box)]
