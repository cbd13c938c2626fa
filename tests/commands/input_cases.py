"""Kinds of input files and what becomes of them; `test_inputs.py` goes through all of them."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 16  # of the images and of what is embedded: nothing is resampled
CORNERS = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]]

Expected = dict[str, Any]  # id -> the 8 x 8 colours that are embedded, or the reason of a refusal


@dataclass(frozen=True)
class Case:
    """`make` fills a folder, and gives what is to come of each file that is listed."""

    make: Callable[[Path], Expected]
    outcome: str
    tolerance: int = 0  # of colours
    options: dict[str, Any] = field(default_factory=dict)
    as_nobody: bool = False


CASES: dict[str, Case] = {}


def case(words: str, outcome: str, **how: Any) -> Callable[[Any], Any]:
    def register(make: Callable[[Path], Expected]) -> Callable[[Path], Expected]:
        CASES[words] = Case(make, outcome, **how)
        return make

    return register


def quarters() -> np.ndarray:
    """Red, green, blue and white, as the 8 x 8 colours that are embedded."""
    return np.array(CORNERS, np.uint8).repeat(4, axis=0).repeat(4, axis=1)


def picture() -> Image.Image:
    return Image.fromarray(quarters().repeat(2, axis=0).repeat(2, axis=1))


def plain(*colour: int) -> np.ndarray:
    return np.full((8, 8, 3), colour, np.uint8)


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def write(folder: Path, name: str | bytes, data: bytes) -> str:
    path = folder / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return os.fsdecode(name)
