"""What a client lets workers do before they embed: identify images, choose an engine, calibrate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import islice

from tlfeatures.errors import SourceError, StoppedError
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.calibrate import SAMPLE, sample_images
from tlfeatures.features.cluster.client import Workers, call_once
from tlfeatures.features.cluster.worker import (
    calibrate_on_worker,
    choose_engine_on_worker,
    identify_images,
    why_unreadable,
)
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.engines.choose import Request
from tlfeatures.features.images.identify import UNREADABLE, Identities, Manifest
from tlfeatures.features.plan import Plan
from tlfeatures.features.sources.protocol import Source

logger = logging.getLogger(__name__)

_IMAGES = 256  # images that one call identifies
_CANDIDATES = 8 * SAMPLE  # images that are sent for calibration, as some may be unreadable


def identify_on(
    workers: Workers,
    source: Source,
    identities: Identities,
    stop: Callable[[], bool],
) -> Manifest:
    """List a source in this process, and let the workers read and identify its images.

    Raises
    ------
    SourceError
        If no worker can read any image.
    StoppedError
        If `stop` returned true.
    """
    images = list(source.images())
    logger.info("the workers identify %d images", len(images))
    parts = [images[start : start + _IMAGES] for start in range(0, len(images), _IMAGES)]
    orders = ([(image, identities.get(image.id)) for image in part] for part in parts)
    results = {
        order[0][0].id: result
        for order, result in workers.map_unordered(identify_images, orders, stop=stop)
    }
    if len(results) < len(parts):
        raise StoppedError("Stopped while the images were being read, nothing is lost")
    identified = [pair for part in parts for pair in results[part[0].id]]
    if identified and all(digest == UNREADABLE for digest, _ in identified):
        reason = call_once(workers, why_unreadable, images[0])
        raise SourceError(
            f"no worker can read any image of {source.location} "
            f"({images[0].id}: {reason}): give a folder that all machines share under this path, "
            "or a URL, as in s3://bucket/photos"
        )
    digests = [digest for digest, _ in identified]
    return Manifest(images, digests, [stamp for _, stamp in identified])


def choose_engine_on(workers: Workers, request: Request) -> tuple[str, str]:
    """Choose engine and precision on a worker: by what is installed and was measured there."""
    resources = workers.resources(request.device)
    return call_once(workers, choose_engine_on_worker, request, resources)


def calibrate_on(workers: Workers, plan: Plan, options: ComputeOptions) -> Quantization:
    """Calibrate an int8 backbone on a worker, which has the engine and sees the images."""
    arguments = (plan.spec, list(islice(sample_images(plan.manifest), _CANDIDATES)), options)
    return call_once(workers, calibrate_on_worker, arguments, workers.resources(options.device))
