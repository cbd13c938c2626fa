"""The check vector: features of a fixed image, which reveal a network that isn't as declared."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.declaration import CheckVector

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # frameworks agree to 1e-5, another colour order not to 1e-1

Floats = NDArray[np.float32]


@functools.lru_cache(maxsize=2)
def check_image(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Give the image of check vectors: red grows to the right, green down, blue is a chessboard.

    At the pixel of row y and column x, red is 255 x // (w - 1), green 255 y // (h - 1), and blue
    255 where y // 8 + x // 8 is odd, else 0; a side of one pixel counts as w - 1 = 1.

    Parameters
    ----------
    size : (int, int)
        Height h and width w, in pixels.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        RGB, read-only.
    """
    height, width = size
    y, x = np.mgrid[:height, :width]
    red, green = 255 * x // max(width - 1, 1), 255 * y // max(height - 1, 1)
    image = np.stack([red, green, 255 * ((y // 8 + x // 8) % 2)], axis=-1).astype(np.uint8)
    image.setflags(write=False)
    return image


def compare_check(row: Floats, check: CheckVector, name: str) -> None:
    """Compare a row of features, (d,), with a check vector.

    Raises
    ------
    WeightsError
        If they differ.
    """
    norm, first = float(np.linalg.norm(row)), row[: len(check.first)]
    typical = check.norm / math.sqrt(len(row))
    limit = TOLERANCE * np.maximum(np.abs(check.first[: len(row)]), typical)
    near = len(first) == len(check.first) and bool((np.abs(first - check.first) <= limit).all())
    if not near or not abs(norm - check.norm) <= TOLERANCE * check.norm:
        raise WeightsError(
            f"backbone {name} is not as declared: its check image gives norm {norm:.6g} and first "
            f"{first_values(first[:3])}, expected {check.norm:.6g} and "
            f"{first_values(check.first[:3])}; are file, colour, mean, std and output right?"
        )


def first_values(values: Sequence[float] | Floats) -> str:
    """Write numbers for a message or a declaration: `[0.1, 2.5]`."""
    return f"[{', '.join(f'{value:.6g}' for value in values)}]"


@functools.lru_cache  # once in a process: clones of a cross-validation open the file many times
def warn_of_no_check(name: str, layer: str, size: tuple[int, int], norm: float, first: str) -> None:
    """Say that a declared network has no check vector, and which one was computed here.

    Raises
    ------
    WeightsError
        If it has values that aren't finite.
    """
    if not math.isfinite(norm):
        raise WeightsError(
            f"layer {layer} of backbone {name} has values that aren't finite numbers (NaN or "
            "infinity) for the check image: choose another layer, or mend the network"
        )
    logger.warning(
        "backbone %s has no check vector, so wrong colours, mean or std would not be noticed; here "
        'it is "check": {"layer": "%s", "size": [%d, %d], "norm": %.6g, "first": %s}: add it if '
        "the framework that trained the network gives the same",
        *(name, layer, *size, norm, first),
    )
