"""What a client asks of workers before they embed: identify images, choose an engine, calibrate."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from itertools import islice

from tlfeatures.errors import SourceError, StoppedError
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.calibrate import SAMPLE
from tlfeatures.features.cluster.client import Cluster, ThisProcess
from tlfeatures.features.cluster.orders import CalibrationOrder, EngineOrder, IdentifyOrder
from tlfeatures.features.cluster.worker import (
    calibrate_here,
    choose_engine_here,
    identify_images,
    why_unreadable,
)
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.engines.choose import choose_engine
from tlfeatures.features.images.identify import UNREADABLE, Known, Manifest
from tlfeatures.features.run import Callbacks, Measure
from tlfeatures.features.settings import Choose
from tlfeatures.features.sources.folders import ImageFile, list_images
from tlfeatures.features.sources.locations import absolute_location
from tlfeatures.features.spec import Spec

logger = logging.getLogger(__name__)

_IMAGES = 256  # that a call identifies
_CANDIDATES = 8 * SAMPLE  # sent to be calibrated on, as some may be unreadable


def identify_on(
    cluster: Cluster | ThisProcess,
    source: str | os.PathLike[str],
    known: Known | None,
    callbacks: Callbacks,
) -> Manifest:
    """List a folder here, and let the workers read and identify its images.

    Raises
    ------
    SourceError
        If no worker can read any image.
    StoppedError
    """
    images = list(list_images(absolute_location(source)))
    logger.info("the workers identify %d images", len(images))
    starts = range(0, len(images), _IMAGES)
    orders = (_identify_order(images[start : start + _IMAGES], known or {}) for start in starts)
    results = {
        order.images[0].id: result
        for order, result in cluster.each(identify_images, orders, stop=callbacks.stop)
    }
    if len(results) < len(starts):
        raise StoppedError("Stopped while the images were being read, nothing is lost")
    identified = [pair for start in starts for pair in results[images[start].id]]
    if identified and all(digest == UNREADABLE for digest, _ in identified):
        why = cluster.first(why_unreadable, images[0])
        raise SourceError(
            f"no worker can read any image of {absolute_location(source)} "
            f"({images[0].id}: {why}): give a folder that all machines share under this path, or a "
            "URL, as in s3://bucket/photos"
        )
    digests = [digest for digest, _ in identified]
    return Manifest(images, digests, [stamp for _, stamp in identified])


def _identify_order(images: list[ImageFile], known: Known) -> IdentifyOrder:
    return IdentifyOrder(
        images, {image.id: known[image.id] for image in images if image.id in known}
    )


def choose_engine_on(cluster: Cluster | ThisProcess) -> Choose:
    """Give a function that lets a worker choose engine and precision.

    The worker computes, and has what is installed there.
    """

    def choose(
        engine: str | None,
        precision: str | None,
        device: str,
        size: tuple[int, int],
        old: Spec | None = None,
    ) -> tuple[str, str]:
        if old is not None:  # the file decides
            return choose_engine(engine, precision, device, size, old)
        order = EngineOrder(engine, precision, device, size)
        return cluster.first(choose_engine_here, order, cluster.resources(device))

    return choose


def calibrate_on(cluster: Cluster | ThisProcess) -> Measure:
    """Give a function that lets a worker calibrate: it has the engine, and sees the images."""

    def measure(
        spec: Spec, files: Iterable[tuple[str, bytes]], options: ComputeOptions
    ) -> Quantization:
        order = CalibrationOrder(spec, list(islice(files, _CANDIDATES)), options)
        return cluster.first(calibrate_here, order, cluster.resources(options.device))

    return measure
