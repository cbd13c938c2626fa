"""Comparison of an ONNX file with its model, on the same images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import SourceError
from tlfeatures.features.batches import choose_batch_size, fill_batches
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.engines.onnx_session import session
from tlfeatures.features.images.flattening import Decoded
from tlfeatures.features.images.read_ahead import Decoding, ImageToRead, Key, read_ahead
from tlfeatures.features.images.value_range import ValueRange
from tlfeatures.models.export.backbone import only_spec
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.input_images import NamedImage
from tlfeatures.models.joined_predictions import join_predictions
from tlfeatures.models.labelling import Labeller
from tlfeatures.models.predictions import Predictions

LARGEST_DIFFERENCE = 1e-3  # of a probability; another convolution sums in another order

_TURNS, _TIMED = 3, 64  # number of timed turns, images in a turn


@dataclass(frozen=True)
class Check:
    """Differences between an ONNX file and the model's own `predict` in float32.

    Attributes
    ----------
    images : int
        Number of images that both could read.
    largest_difference : float
        Largest difference of a probability.
    labels_differ : int
        Number of images with different labels.
    passed : bool
        Whether no probability differs by more than 0.001.
    onnx_images_per_second, own_images_per_second : float
        From image files to probabilities; medians of alternating turns, after warming up.
    own_precision : str
        Precision of the model's own forward pass: float32, also if the spec has another precision.
    failed : dict of path to str
        Reason for each image that could not be read.
    """

    images: int
    largest_difference: float
    labels_differ: int
    passed: bool
    onnx_images_per_second: float
    own_images_per_second: float
    own_precision: str
    failed: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready plain data."""
        return asdict(self)


def check_export(
    graph: bytes,
    model: FittedHead,
    images: Sequence[NamedImage],
    weights: str | None = None,
) -> Check:
    """Run an ONNX file and the model that it was exported from on the same images.

    Parameters
    ----------
    graph : bytes
        The ONNX file.
    model : FittedHead
    images : sequence of ImageToRead
        At least one image; their keys are their names.
    weights : str, optional
        File of the backbone's weights, if it is not the file in the model.

    Raises
    ------
    SourceError
        If no image can be read.
    """
    spec = only_spec(model)
    labeller = Labeller(replace(model, spec=spec.in_float32()), ComputeOptions(weights=weights))
    predictions = join_predictions(list(labeller.label(images)))
    failed = {predictions.paths[row]: error for row, error in predictions.unreadable.items()}
    read = predictions[predictions.codes >= 0]
    if not read:
        raise SourceError(f"none of {len(predictions)} images can be read: {predictions[0].error}")
    runtime = session(graph)
    readable = [images[row] for row in np.flatnonzero(predictions.codes >= 0).tolist()]
    shades = spec.value_range
    gap, labels_differ = _differences(read, *run_graph(runtime, readable, spec.size, shades))
    # Whole batches: `predict` pads the last batch, which would take time.
    timed = readable[: min(_TIMED, 1 << len(readable).bit_length() - 1)]
    onnx_speed, own_speed = _speeds(
        len(timed),
        lambda: run_graph(runtime, timed, spec.size, shades),
        lambda: list(labeller.label(timed, few_levels=[])),
    )
    return Check(
        images=len(read),
        largest_difference=gap,
        labels_differ=labels_differ,
        passed=gap <= LARGEST_DIFFERENCE,
        onnx_images_per_second=onnx_speed,
        own_images_per_second=own_speed,
        own_precision="float32",
        failed=failed,
    )


def run_graph(
    runtime: Any,
    images: Sequence[ImageToRead[Key]],
    size: tuple[int, int],
    value_range: ValueRange | None = None,
) -> tuple[NDArray[np.float32], list[str]]:
    """Run an exported graph on images, which are decoded as by `predict`.

    Parameters
    ----------
    runtime : onnxruntime.InferenceSession
    images : sequence of ImageToRead
        Readable images.
    size : (int, int)
        Height and width in pixels.
    value_range : (float, float), optional
        See `decode_content`.

    Returns
    -------
    probabilities : ndarray of shape (n, k), float32
    labels : list of str
    """
    decoded = read_ahead(images, Decoding(size, value_range=value_range))
    pixels = ((key, image.pixels) for key, image in decoded if isinstance(image, Decoded))
    tables, labels = [], []
    batch_size = choose_batch_size(len(images), "auto")
    for *_, batch in fill_batches(pixels, batch_size, one_shape=False):
        table, names = runtime.run(None, {"images": batch})
        tables.append(table)
        labels += names.tolist()
    return np.concatenate(tables), labels


def _differences(
    own: Predictions, table: NDArray[np.float32], labels: Sequence[str]
) -> tuple[float, int]:
    differ = int((own.labels != np.array(labels, object)).sum())
    return float(np.abs(table - own.probabilities).max()), differ


def _speeds(count: int, *works: Callable[[], object]) -> list[float]:
    """Return images per second. Turns alternate, because the machine's speed may change."""
    seconds: list[list[float]] = [[] for _ in works]
    for work in works:  # the first call compiles for this number of images
        work()
    for _ in range(_TURNS):
        for work, times in zip(works, seconds, strict=True):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return [count / statistics.median(times) for times in seconds]
