"""The COCO Camera Traps format: COCO's JSON whose images state sequence and location.

Images of one location belong together, as they show the same background; where the location isn't
known, those of one sequence do, and an image with neither is alone. See
https://lila.science/coco-camera-traps
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlfeatures.features.sources.tables.cells import as_cell

# `group` is the column that is read; the others can be chosen by --columns group=seq_id.
COLUMNS = ("group", "seq_id", "location")


def is_of_cameras(images: Sequence[Mapping[str, Any]]) -> bool:
    """Whether COCO's images are of camera traps."""
    return any("seq_id" in image or "location" in image for image in images)


def cells_of_camera(image: Mapping[str, Any]) -> list[str]:
    """Return the cells of `COLUMNS` for an image."""
    sequence, location = as_cell(image.get("seq_id")), as_cell(image.get("location"))
    if location:
        return [f"location {location}", sequence, location]
    if sequence:
        return [f"sequence {sequence}", sequence, location]
    return [as_cell(image["file_name"]), sequence, location]
