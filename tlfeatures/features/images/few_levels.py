"""Images of which hardly anything is left when they reach the backbone: they are named."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.names import counted, first_of

logger = logging.getLogger(__name__)

FEW = 16  # grey levels: what 16-bit images of a 12-bit camera have without their range
_STEP = 8  # pixels
_NAMED = 3  # images
_NARROW = 64  # from the darkest to the brightest shade; a wider image isn't nearly one colour
_USUAL = (8, 12, 14)  # bits of cameras and of images that were put into 16 bits


@dataclass(frozen=True)
class FewLevels:
    """What is left of an image with few grey levels.

    Attributes
    ----------
    span : int
        From the darkest to the brightest shade of any channel.
    largest : int or None
        Largest value in a file with more than 8 bits a channel, if no range is known for it.
    """

    span: int
    largest: int | None


def few_levels(pixels: NDArray[np.uint8], largest: int | None) -> FewLevels | None:
    """Count the shades of an image as it reaches the backbone; None if there are enough.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, 3)
        The channel with the most shades counts.
    largest : int or None
        See `FewLevels`.
    """
    channels = [pixels[..., channel] for channel in range(pixels.shape[2])]
    # Some pixels tell it of nearly every image, in a tenth of the time.
    if any(len(set(channel[::_STEP, ::_STEP].tobytes())) > FEW for channel in channels):
        return None
    shades = [np.flatnonzero(np.bincount(channel.ravel())) for channel in channels]
    if max(len(found) for found in shades) > FEW:
        return None
    return FewLevels(max(int(found[-1] - found[0]) for found in shades), largest)


def warn_of_few_levels(
    found: Sequence[tuple[str, FewLevels]], option: str = "--value-range {}"
) -> None:
    """Name the images of which few grey levels are left, all in one warning.

    Parameters
    ----------
    found : sequence of (name, FewLevels)
    option : str
        How a range is given; `{}` stands for its numbers.
    """
    if not found:
        return
    what = ("is", "are"), "nearly black or one colour"
    if any(each.span >= _NARROW for _, each in found):
        what = ("has", "have"), f"{FEW} grey levels or fewer"
    names = first_of((name for name, _ in found), _NAMED)
    verb = what[0][len(found) > 1]
    hint = _hint([each.largest for _, each in found if each.largest is not None], option)
    logger.warning("%s %s %s: %s%s", counted(len(found), "image"), verb, what[1], names, hint)


def _hint(largest: list[int], option: str) -> str:
    """Say which range fits the values of images with more than 8 bits, if a usual one does."""
    fitting = [bits for bits in _USUAL if max(largest, default=1 << 16) < 1 << bits]
    if not fitting:
        return ""
    given = option.format(f"0,{(1 << fitting[0]) - 1}")
    return f"; {fitting[0]}-bit data? `{given}`"
