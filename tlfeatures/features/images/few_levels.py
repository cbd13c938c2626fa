"""Find and report images that reach the backbone with few grey levels, as nearly black ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.names import counted, some_of

logger = logging.getLogger(__name__)

_MAX_LEVELS = 16  # grey levels that 16-bit images of a 12-bit camera have without their range
_SAMPLE_STEP = 8  # pixels
_MAX_NAMES = 3  # images that the warning names
_NARROW_SPAN = 64  # an image with more shades from darkest to brightest isn't nearly one colour
_CAMERA_BITS = (8, 12, 14)  # usual depths of images that are stored with 16 bits


@dataclass(frozen=True)
class FewLevels:
    """Description of an image with few grey levels.

    Attributes
    ----------
    span : int
        Difference of the brightest and the darkest shade, in the channel where it is largest.
    largest : int or None
        Largest value in a file with more than 8 bits a channel and without a range of values.
    """

    span: int
    largest: int | None


def check_grey_levels(pixels: NDArray[np.uint8], largest: int | None) -> FewLevels | None:
    """Check how many grey levels an image has as it reaches the backbone.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, 3), uint8
        The channel with the most levels counts.
    largest : int or None
        See `FewLevels`.

    Returns
    -------
    FewLevels or None
        None if there are more than 16 levels.
    """
    channels = [pixels[..., channel] for channel in range(pixels.shape[2])]
    # For nearly every image, a sample of the pixels is enough, in a tenth of the time.
    samples = (channel[::_SAMPLE_STEP, ::_SAMPLE_STEP] for channel in channels)
    if any(len(set(sample.tobytes())) > _MAX_LEVELS for sample in samples):
        return None
    levels = [np.flatnonzero(np.bincount(channel.ravel())) for channel in channels]
    if max(map(len, levels)) > _MAX_LEVELS:
        return None
    return FewLevels(max(int(shades[-1] - shades[0]) for shades in levels), largest)


def warn_of_few_levels(
    images: Sequence[tuple[str, FewLevels]], option: str = "--value-range {} -o NEW.h5"
) -> None:
    """Log one warning that names the images with few grey levels; none without such images.

    Parameters
    ----------
    images : sequence of (str, FewLevels)
        Names of the images, and their levels.
    option : str
        How a range of values is given, for the message; `{}` stands for its two numbers.
    """
    if not images:
        return
    several = len(images) > 1
    if any(levels.span >= _NARROW_SPAN for _, levels in images):
        problem = f"{'have' if several else 'has'} {_MAX_LEVELS} grey levels or fewer"
    else:
        problem = f"{'are' if several else 'is'} nearly black or one colour"
    names = some_of((name for name, _ in images), _MAX_NAMES)
    hint = _hint([levels.largest for _, levels in images if levels.largest is not None], option)
    logger.warning("%s %s: %s%s", counted(len(images), "image"), problem, names, hint)


def _hint(largest: list[int], option: str) -> str:
    """Suggest a range for images with more than 8 bits, if their values fit a camera's depth."""
    fitting = [bits for bits in _CAMERA_BITS if max(largest, default=1 << 16) < 1 << bits]
    if not fitting:
        return ""
    example = option.format(f"0,{(1 << fitting[0]) - 1}")
    return f"; {fitting[0]}-bit data? `{example}`"
