"""The ranges of an int8 backbone, from a seeded sample of the images themselves."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ImageError, SourceError
from tlfeatures.features.backbones.quantization import (
    Quantization,
    calibration_names,
    largest_inputs,
)
from tlfeatures.features.backbones.table import find_backbone
from tlfeatures.features.batches import batched, decode_ahead, readable
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.images.identify import UNREADABLE, Manifest
from tlfeatures.features.plan import Means
from tlfeatures.features.spec import Spec
from tlfeatures.names import counted

logger = logging.getLogger(__name__)

IMAGES = 64  # more widen the ranges by next to nothing
_SEED = 0


def drawn(manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    """Give location and sha256 of images in the order in which a sample takes them.

    Drawn from distinct files in the order of their digests, so that names and folders have no say.
    """
    image_of = dict(zip(manifest.digests, manifest.images, strict=True))
    image_of.pop(UNREADABLE, None)
    digests = sorted(image_of)
    for place in in_order_of_sample(len(digests)):
        yield image_of[digests[place]].location, digests[place]


def in_order_of_sample(count: int) -> list[int]:
    """Give the places of `count` images in the order in which a sample takes them."""
    order: list[int] = np.random.default_rng(_SEED).permutation(count).tolist()
    return order


def calibrate(spec: Spec, files: Iterable[tuple[str, bytes]], means: Means) -> Quantization:
    """Measure the ranges of a backbone's layers in float32.

    Parameters
    ----------
    spec : Spec
        Of the int8 backbone.
    files : iterable of (str, bytes)
        See `drawn`; as many are taken as make `IMAGES` that can be read.
    means : Means

    Raises
    ------
    SourceError
        If none of the images can be read, or they leave a layer without a range.
    """
    logger.info("calibrating int8 on up to %d of the images", IMAGES)
    wanted = ((location, location, digest) for location, digest in files)
    failed: list[tuple[str, ImageError]] = []
    decoded = decode_ahead(
        wanted, spec.size, max_pixels=means.max_pixels, value_range=spec.value_range
    )
    try:
        made = measure_ranges(spec, readable(decoded, failed), means.device)
    except SourceError as error:
        if not failed:
            raise
        location, why = failed[0]
        raise SourceError(f"{error}; {location} can't be read: {why}") from error
    if failed and made.images < IMAGES:
        logger.warning(
            "int8 is calibrated on %s; %s of the sample can't be read",
            counted(made.images, "image"),
            counted(len(failed), "image"),
        )
    return made


def measure_ranges(
    spec: Spec, images: Iterable[tuple[Any, NDArray[np.uint8]]], device: str
) -> Quantization:
    """Measure the ranges of a backbone's layers on images, `IMAGES` of them at most.

    Parameters
    ----------
    spec : Spec
        Of the int8 backbone.
    images : iterable of (key, ndarray of shape (h, w, 3), uint8)
        Of the spec's size.
    device : {"auto", "cpu", "gpu"}

    Raises
    ------
    SourceError
        If there is no image, or the images leave a layer without a range.
    """
    record = find_backbone(spec.backbone)
    backbone = load_backbone(spec.in_float32(), calibration_names(record), device=device)
    used = flat = 0

    def embedded() -> Iterator[dict[str, NDArray[np.float32]]]:
        nonlocal used, flat
        for _, rows, batch in batched(images, 8, one_shape=backbone.one_shape):
            pixels = batch[rows]
            used += len(pixels)
            flat += int((np.ptp(pixels, axis=(1, 2)) == 0).all(axis=1).sum())
            yield {name: value[rows] for name, value in backbone.embed(batch).items()}
            if used >= IMAGES:
                return

    ranges = largest_inputs(record, embedded())
    made = Quantization(used, _SEED, ranges)
    _check_ranges(made)
    if flat == used:
        logger.warning(
            "int8 is calibrated on %d images of one colour each: values of other images are cut "
            "off; calibrate on images like those to be embedded",
            used,
        )
    return made


def _check_ranges(made: Quantization) -> None:
    if not made.images:
        raise SourceError("int8 needs images to measure its ranges on: none can be read")
    without = made.layers_without_range()
    if without:
        largest = dict(made.largest)[without[0]]
        raise SourceError(
            f"int8 can't be calibrated on these {made.images} images: the largest input of "
            f"{', '.join(without[:3])} is {largest}; give other images or weights, or compute in "
            "--precision float32"
        )
