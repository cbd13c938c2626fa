"""What a source lists: records of images, the box of an image, and images inside of other files."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from tlfeatures.errors import ImageError
from tlfeatures.features.sources.locations import is_url

_BOX = "#box="  # between the id of an image and its box


@dataclass(frozen=True, slots=True)
class Box:
    """A part of an image, in pixels of the upright image.

    The numbers may have fractions; the part has all pixels that the box touches.

    Attributes
    ----------
    x, y : float
        Left and upper edge.
    width, height : float
        Both above 0.

    Raises
    ------
    ValueError
        If a number isn't finite, or width or height isn't above 0.
    """

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.x, self.y, self.width, self.height))):
            raise ValueError(f"a box has the numbers {self}, which are not all finite")
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"a box has the width and height {self}, which must be above 0")

    def __str__(self) -> str:
        """Write the box as in an id: `10,20,80,90`."""
        numbers = (self.x, self.y, self.width, self.height)
        return ",".join(f"{number:.10g}" for number in numbers)

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom of the part in an image of this size.

        What is outside of the image is cut off.

        Raises
        ------
        ImageError
            If the whole box is outside.
        """
        left, top = max(0, math.floor(self.x)), max(0, math.floor(self.y))
        right = min(width, math.ceil(self.x + self.width))
        bottom = min(height, math.ceil(self.y + self.height))
        if left >= right or top >= bottom:
            raise ImageError(
                f"the box {self} (x, y, width, height) is outside of its image, which has "
                f"{width} x {height} pixels"
            )
        return left, top, right, bottom


class Container(Protocol):
    """A file with images inside, such as an archive. It can be pickled, by its path alone."""

    @property
    def path(self) -> str:
        """Path or URL of the file."""
        ...

    def read(self, name: str) -> bytes:
        """Read an image by its name in the container; threads may call this at the same time.

        Raises
        ------
        ImageError
            If it can't be read; the message is the reason.
        """
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """An image in a container."""

    container: Container
    name: str

    def __str__(self) -> str:
        """Write the path of the container and the name, as in `photos.zip/a.jpg`."""
        return f"{self.container.path}/{self.name}"

    def read(self) -> bytes:
        """Read its bytes; see `Container.read`."""
        return self.container.read(self.name)


ImageLocation: TypeAlias = str | Path | Member
"""Where the bytes of an image are: a path, a URL or a member of a container."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image of a source.

    It stores no `Path` object, as those would take most of the memory that many images take.

    Attributes
    ----------
    id : str
        Its name in every file and table: its POSIX path relative to the source. The id of a part
        of an image has the box at its end, as in `a.jpg#box=10,20,80,90`.
    place : str or Container
        Path or URL of the folder, or the container that has the image.
    name : str
        Its path relative to the place, as the file system writes it, or its name in the container.
    box : Box or None
        The part of the image that is embedded; None for all of it.
    """

    id: str
    place: str | Container
    name: str
    box: Box | None = None

    @property
    def place_path(self) -> str:
        """Path or URL of the folder or the container."""
        return self.place if isinstance(self.place, str) else self.place.path

    @property
    def location(self) -> str | Member:
        """Path or URL of the file, or the member of a container."""
        if not isinstance(self.place, str):
            return Member(self.place, self.name)
        return f"{self.place}{'/' if is_url(self.place) else os.sep}{self.name}"


def id_with_box(id_: str, box: Box | None) -> str:
    """Return the id of a part of an image, as in `a.jpg#box=10,20,80,90`."""
    return id_ if box is None else f"{id_}{_BOX}{box}"


def id_without_box(id_: str) -> str:
    """Return the id of the image that a part is of."""
    return id_.partition(_BOX)[0]
