"""The box of a row of a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tlfeatures.errors import SourceError
from tlfeatures.features.sources.records import Box
from tlfeatures.features.sources.tables.roles import BOX_ROLES, CORNER_ROLES

_BETWEEN_NUMBERS = re.compile(r"\s*[,;\s]\s*")


def box_of(cells: Sequence[str], places: Mapping[str, int]) -> Box | None:
    """Return the box of a row; None if the table has no boxes, or the row's cells are empty.

    Parameters
    ----------
    cells : sequence of str
    places : mapping of role to int
        Positions of the columns, from `choose_columns`.

    Raises
    ------
    ValueError
        If the cells are no box; the message is the reason.
    """
    if "bbox" in places:
        written = _BETWEEN_NUMBERS.split(cells[places["bbox"]].strip(" []()"))
        expected = 4
    else:
        roles = BOX_ROLES if "x" in places else CORNER_ROLES
        written = [cells[places[role]].strip() for role in roles if role in places]
        expected = len(written)
    if not any(written):
        return None
    if len(written) != expected:
        raise ValueError(f"a box needs 4 numbers, and the cell has {len(written)}")
    x, y, width, height = (_number(text) for text in written)
    if "xmin" in places:
        width, height = width - x, height - y
    return Box(x, y, width, height)


def _number(text: str) -> float:
    try:
        return float(text.replace(",", "."))  # Excel may write a decimal comma
    except ValueError as error:
        raise ValueError(f"{text!r} is no number") from error


def check_pixels(path: str, boxes: Iterable[Box]) -> None:
    """Raise `SourceError` if the boxes look like fractions of their images instead of pixels."""
    numbers = [number for box in boxes for number in (box.x, box.y, box.width, box.height)]
    if numbers and max(numbers) <= 1 and not all(number.is_integer() for number in numbers):
        raise SourceError(
            f"the boxes of {path} look like fractions of the images, as no number is above 1; "
            "expected pixels: multiply x and width by the width of the image, and y and height by "
            "its height"
        )
