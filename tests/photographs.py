"""Folders of labelled photographs, cut out of those that scikit-learn and scikit-image carry.

Nothing is downloaded, and the same arguments give the same files. No two crops that these functions
give overlap, so that none is a copy of another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Classes, and the photograph that each is cut out of. They differ much and have detail all over.
PLACES = {
    "galaxies": "hubble_deep_field",
    "grass": "grass",
    "portrait": "astronaut",
    "tissue": "immunohistochemistry",
}
# Small crops of these are often taken for each other. Embedded at 64 pixels, the nearest
# neighbours of 8 in 10 are of their own class.
TEXTURES = {"grass": "grass", "gravel": "gravel"}
TEXTURE_SIDE = 24

# A crop with a smaller mean difference of neighbouring grey values is sky or wall, and looks like
# the next one.
_LEAST_DETAIL = 5.0


@cache
def photograph(name: str) -> NDArray[np.uint8]:
    """Pixels (height, width, 3) of a photograph, by the name that its package gives it."""
    import skimage.data
    from sklearn.datasets import load_sample_image

    if name in ("china", "flower"):
        return load_sample_image(f"{name}.jpg")
    pixels = getattr(skimage.data, name)()
    return np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels


def crops(name: str, side: int, count: int, start: int = 0) -> list[Image.Image]:
    """Square crops from all over a photograph; those from another `start` on are others.

    Raises
    ------
    ValueError
        If the photograph has fewer crops of this size.
    """
    places = _places(name, side)
    if start + count > len(places):
        raise ValueError(f"{name} has {len(places)} crops of {side} pixels, not {start + count}")
    pixels = photograph(name)
    chosen = places[start : start + count]
    return [Image.fromarray(pixels[y : y + side, x : x + side]) for y, x in chosen]


def save_crops(
    folder: Path,
    classes: Mapping[str, str],
    count: int,
    start: int = 0,
    *,
    side: int = 64,
    pixels: int | None = None,
    suffix: str = "jpg",
) -> Path:
    """Write `count` crops of each class into a folder of its name, scaled to so many pixels."""
    for label, name in classes.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number, crop in enumerate(crops(name, side, count, start), start):
            image = crop.resize((pixels, pixels), Image.Resampling.BICUBIC) if pixels else crop
            image.save(folder / label / f"{label}{number:03d}.{suffix}", quality=95)
    return folder


def save_textures(folder: Path, count: int, start: int = 0) -> Path:
    """Write `count` crops of grass and of gravel, 64 pixels wide, hard to tell apart."""
    return save_crops(folder, TEXTURES, count, start, side=TEXTURE_SIDE, pixels=64)


@cache
def _places(name: str, side: int) -> list[tuple[int, int]]:
    """Upper left corners of the tiles that have detail; neighbours are far apart in the list."""
    height, width, _ = photograph(name).shape
    rows, columns = range(0, height - side + 1, side), range(0, width - side + 1, side)
    kept = [(y, x) for y in rows for x in columns if _detail(name, y, x, side) >= _LEAST_DETAIL]
    step = round(0.618 * len(kept))
    while math.gcd(step, len(kept)) > 1:
        step += 1
    return [kept[number * step % len(kept)] for number in range(len(kept))]


def _detail(name: str, y: int, x: int, side: int) -> float:
    grey = photograph(name)[y : y + side, x : x + side].mean(axis=2)
    return float(np.abs(np.diff(grey)).mean() + np.abs(np.diff(grey, axis=0)).mean()) / 2
