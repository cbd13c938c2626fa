"""Calibration of an int8 backbone: the ranges of its layers, on a seeded sample of the images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.backbones.onnx_file import OnnxFile
from tlfeatures.features.backbones.quantization import (
    Quantization,
    Ranges,
    calibration_names,
    largest_inputs,
    ranges_of,
)
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.embed import ComputeOptions, Embedder, EmbeddingRun
from tlfeatures.features.engines.load import find_weights
from tlfeatures.features.engines.onnx_int8 import range_names
from tlfeatures.features.images.identify import UNREADABLE, Manifest
from tlfeatures.features.images.read_ahead import ImageToRead, Key
from tlfeatures.features.spec import Spec
from tlfeatures.names import counted

logger = logging.getLogger(__name__)

SAMPLE = 64  # images; with more of them, the ranges hardly change
_BATCH = 8
_SEED = 0


def sample_images(manifest: Manifest) -> Iterator[ImageToRead[str]]:
    """Yield images in random order: the first ones are the sample. Their keys are their ids.

    The order depends on the bytes of the images, not on their names.
    """
    image_of = dict(zip(manifest.digests, manifest.images, strict=True))
    image_of.pop(UNREADABLE, None)
    digests = sorted(image_of)
    for position in sample_order(len(digests)):
        image, digest = image_of[digests[position]], digests[position]
        yield ImageToRead.of(image.id, image, digest)


def sample_order(count: int) -> list[int]:
    """Return the positions of `count` images in random order: the first ones are the sample."""
    order: list[int] = np.random.default_rng(_SEED).permutation(count).tolist()
    return order


def calibrate(
    spec: Spec, images: Iterable[ImageToRead[str]], options: ComputeOptions
) -> Quantization:
    """Measure the ranges of a backbone's layers in float32, on image files.

    Parameters
    ----------
    spec : Spec
        Spec of the int8 backbone.
    images : iterable of ImageToRead
        See `sample_images`. They are read until `SAMPLE` of them could be read.
    options : ComputeOptions

    Returns
    -------
    Quantization

    Raises
    ------
    SourceError
        If no image can be read, or the images leave a layer without a range.
    ParameterError, WeightsError
        If the backbone can't be computed in int8, or its weights can't be had.
    """
    logger.info("calibrating int8 on up to %d of the images", SAMPLE)
    run = calibration_run(spec, images, options)
    try:
        quantization = measure_ranges(spec.find_backbone(), run)
    except SourceError as error:
        if not run.failures:
            raise
        id_, reason = run.failures[0]
        raise SourceError(f"{error}; {id_} can't be read: {reason}") from error
    if run.failures and quantization.images < SAMPLE:
        logger.warning(
            "int8 is calibrated on %s; %s of the sample can't be read",
            counted(quantization.images, "image"),
            counted(len(run.failures), "image"),
        )
    return quantization


def calibration_run(
    spec: Spec, images: Iterable[ImageToRead[Key]], options: ComputeOptions
) -> EmbeddingRun[Key]:
    """Start to embed images by the float32 backbone, with the layers that calibration measures.

    Raises
    ------
    ParameterError, WeightsError
        If the backbone can't be computed in int8, or its weights can't be had.
    """
    float32 = replace(spec.in_float32(), augmentation=None)
    names = _names(float32, options.weights)
    return EmbeddingRun(
        Embedder(float32, names, replace(options, batch_size=_BATCH)), images, SAMPLE
    )


def _names(spec: Spec, weights: str | None) -> list[str]:
    """Name the embeddings that calibration measures."""
    backbone = spec.find_backbone()
    if backbone.network.kernels:
        return calibration_names(backbone)
    opened = find_weights(spec, [], weights)
    if opened is None or not opened.content:
        raise ParameterError(
            f"backbone {backbone.name} has no int8 form: leave out --precision int8"
        )
    return range_names(
        OnnxFile(opened.content, f"the file of backbone {backbone.name}"), backbone.name
    )


def measure_ranges(backbone: Backbone, run: EmbeddingRun[Key]) -> Quantization:
    """Measure the ranges of a backbone's layers on the first `SAMPLE` images of a run.

    Parameters
    ----------
    backbone : Backbone
    run : EmbeddingRun
        See `calibration_run`.

    Returns
    -------
    Quantization

    Raises
    ------
    SourceError
        If there is no image, or the images leave a layer without a range.
    """
    count = 0

    def sampled() -> Iterator[dict[str, NDArray[np.float32]]]:
        nonlocal count
        for batch in run.batches():
            count += len(batch.keys)
            yield batch.images
            if count >= SAMPLE:
                return

    ranges: tuple[Ranges, ...]
    if backbone.network.kernels:
        ranges = (largest_inputs(backbone, sampled()),)
    else:
        ranges = ranges_of(sampled())
    quantization = Quantization(count, _SEED, *ranges)
    _check_ranges(quantization)
    one_colour = sum(few_levels.span == 0 for _, few_levels in run.few_levels)
    if one_colour >= count:
        logger.warning(
            "int8 is calibrated on %d images of one colour each: values of other images are cut "
            "off; calibrate on images like those to be embedded",
            count,
        )
    return quantization


def _check_ranges(quantization: Quantization) -> None:
    if not quantization.images:
        raise SourceError("int8 needs images to measure its ranges on: none can be read")
    without = quantization.layers_without_range()
    if without:
        largest = dict(quantization.largest)[without[0]]
        raise SourceError(
            f"int8 can't be calibrated on these {quantization.images} images: the largest input of "
            f"{', '.join(without[:3])} is {largest}; give other images or weights, or compute in "
            "--precision float32"
        )
