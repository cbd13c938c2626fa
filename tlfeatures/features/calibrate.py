"""The ranges of an int8 backbone, from a seeded sample of the images themselves."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from tlfeatures.features.backbone import load_backbone
from tlfeatures.features.batches import batched, decode_ahead, readable
from tlfeatures.features.images import UNREADABLE, Manifest
from tlfeatures.features.plan import Means
from tlfeatures.features.quantization import Quantization, calibration_names, measured
from tlfeatures.features.spec import Spec

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
    for place in np.random.default_rng(_SEED).permutation(len(digests)):
        yield image_of[digests[place]].location, digests[place]


def calibrate(spec: Spec, files: Iterable[tuple[str, bytes]], means: Means) -> Quantization:
    """Measure the ranges of a backbone's layers in float32.

    Parameters
    ----------
    spec : Spec
        Of the int8 backbone.
    files : iterable of (str, bytes)
        See `drawn`; as many are taken as make `IMAGES` that can be read.
    means : Means
    """
    logger.info("calibrating int8 on up to %d of the images", IMAGES)
    wanted = ((digest, location, digest) for location, digest in files)
    names = calibration_names()
    backbone = load_backbone(spec.in_float32(), names, device=means.device)
    used = 0

    def embedded() -> Iterator[dict[str, NDArray[np.float32]]]:
        nonlocal used
        decoded = decode_ahead(
            wanted, spec.size, max_pixels=means.max_pixels, value_range=spec.value_range
        )
        images = readable(decoded, [])
        for keys, rows, batch in batched(images, 8, one_shape=backbone.one_shape):
            used += len(keys)
            yield {name: value[rows] for name, value in backbone.embed(batch).items()}
            if used >= IMAGES:
                return

    ranges = measured(embedded())
    return Quantization(used, _SEED, ranges)
