"""COCO's JSON. The format of camera traps extends it.

The keys are `images` (id, file_name), `annotations` (image_id, category_id, bbox as x, y, width
and height in pixels) and `categories` (id, name). See https://cocodataset.org/#format-data

- Each box is a row. Where an image has boxes, its annotations without one are left out, as they are
  about the image as a whole. An image whose annotations have no box is one row.
- Crowds (`iscrowd`) are left out. An annotation with polygons alone has the box around them.
- Images without annotations are left out, unless the file has no annotations at all.
- A box or an image with several categories has no label.
- Categories with the same name are the same class, which a warning says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, TypeAlias

from tlfeatures.errors import SourceError
from tlfeatures.features.sources.tables.camera_traps import COLUMNS, cells_of_camera, is_of_cameras
from tlfeatures.features.sources.tables.cells import RawTable, as_cell

_BOX_COLUMNS = ["x", "y", "width", "height"]

# What is counted, and the sentence that follows the count.
_CROWD = "annotations of crowds are left out"
_UNBOXED = "annotations without a box, of images that have boxes, are left out"
_MASKED = "annotations whose only outline is a mask are left out"
_ALIKE = "categories have the name of another one, and count as the same class"
_BARE = "images without annotations are left out"
_SEVERAL = "images or boxes have several categories, and therefore no label"

_BoxCells: TypeAlias = tuple[str, ...]  # x, y, width, height; empty for a whole image
_WHOLE: _BoxCells = ("", "", "", "")


def is_coco(content: Any) -> bool:
    """Whether JSON lists images as COCO does."""
    images = content.get("images") if isinstance(content, dict) else None
    return isinstance(images, list) and all(
        isinstance(image, dict) and {"id", "file_name"} <= image.keys() for image in images
    )


def read_coco(path: str, content: Mapping[str, Any]) -> RawTable:
    """Create the table of COCO's JSON.

    Parameters
    ----------
    path : str
        Name of the file, for messages.
    content : mapping

    Returns
    -------
    RawTable
        With the columns id, label, x, y, width and height; files of camera traps also have group,
        seq_id and location. Its rows have the numbers of their images.

    Raises
    ------
    SourceError
        If an annotation belongs to no image, or has no known category.
    """
    images: list[dict[str, Any]] = content["images"]
    left_out: Counter[str] = Counter()
    annotated = _categories_of_boxes(path, content, left_out)
    cameras = is_of_cameras(images)
    rows: list[tuple[int, list[str]]] = []
    for number, image in enumerate(images, 1):
        boxes = annotated.get(image["id"], {} if annotated else {_WHOLE: set()})
        left_out[_BARE] += not boxes
        if any(boxes.keys() - {_WHOLE}):
            left_out[_UNBOXED] += boxes.pop(_WHOLE, None) is not None
        more = cells_of_camera(image) if cameras else []
        for box, names in boxes.items():
            left_out[_SEVERAL] += len(names) > 1
            label = min(names) if len(names) == 1 else ""
            rows.append((number, [as_cell(image["file_name"]), label, *box, *more]))
    header = ["id", "label", *_BOX_COLUMNS, *(COLUMNS if cameras else ())]
    notes = tuple(f"{count:,} {what}" for what, count in left_out.items() if count)
    return RawTable(header, rows, "image", notes)


def _categories_of_boxes(
    path: str, content: Mapping[str, Any], left_out: Counter[str]
) -> dict[Any, dict[_BoxCells, set[str]]]:
    """Return the names of the categories of each box of each image, by the id of the image."""
    names = {each["id"]: as_cell(each["name"]) for each in content.get("categories") or []}
    left_out[_ALIKE] = len(names) - len(set(names.values()))
    ids = {image["id"] for image in content["images"]}
    found: defaultdict[Any, dict[_BoxCells, set[str]]] = defaultdict(dict)
    for number, annotation in enumerate(content.get("annotations") or [], 1):
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if image not in ids or category not in names:
            what = "image_id" if image not in ids else "category_id"
            raise SourceError(
                f"{path}: annotation {number} has the {what} {annotation.get(what)!r}, which is "
                f"none of the {'images' if image not in ids else 'categories'}"
            )
        outline = annotation.get("bbox") or _around(annotation.get("segmentation"))
        if annotation.get("iscrowd"):
            left_out[_CROWD] += 1
        elif not outline and annotation.get("segmentation"):
            left_out[_MASKED] += 1
        else:
            box = tuple(map(as_cell, outline)) if outline else _WHOLE
            found[image].setdefault(box, set()).add(names[category])
    return dict(found)


def _around(polygons: Any) -> list[float]:
    """Return the box around polygons, which are lists of x and y in turn; [] around others."""
    if not isinstance(polygons, list) or not all(polygons):
        return []
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)] if xs else []
