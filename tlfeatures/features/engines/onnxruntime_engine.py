"""Declared ONNX networks by ONNX Runtime, on a CPU, in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.declaration import Declaration, Output
from tlfeatures.features.backbones.onnx_file import OnnxFile
from tlfeatures.features.backbones.record import Preprocessing
from tlfeatures.features.backbones.tensors import Weights
from tlfeatures.features.engines.check_vector import Floats, check_image, compare_check
from tlfeatures.features.engines.engine import BATCH_SIZE
from tlfeatures.features.engines.onnx_session import in_short, session
from tlfeatures.features.spec import Spec


class OnnxRuntimeBackbone:
    """A declared network; each thread embeds one image. Rows are the same bits in any batch.

    Parameters
    ----------
    spec, names, device, weights, threads
        See `Engine.load`. It computes on the CPU.

    Raises
    ------
    WeightsError
        If the file isn't one that this package loads, or its check vector differs.
    EngineError
        If ONNX Runtime can't load the network.
    """

    one_shape = False
    most = BATCH_SIZE

    def __init__(
        self, spec: Spec, names: Sequence[str], device: str, weights: Weights, threads: int | None
    ) -> None:
        import joblib

        declaration = spec.declaration
        assert declaration is not None  # of a spec that names this engine
        file = OnnxFile(weights.content, f"the file of backbone {declaration.name}")
        verify_check(file, declaration)
        parts = [name.rpartition(".") for name in names]
        self._parts = [(layer, pool) for layer, _, pool in parts]
        self._names = names
        self._outputs = {layer: declaration.output(layer) for layer, _ in self._parts}
        tensors = [output.tensor for output in self._outputs.values()]
        self._network = OneImage(file, declaration, tensors, spec.size)
        self._pool = ThreadPoolExecutor(threads or joblib.cpu_count())

    def embed(self, images: NDArray[np.uint8]) -> dict[str, Floats]:
        """Embed a batch of shape (b, h, w, 3); see `LoadedBackbone`."""
        rows = list(self._pool.map(self._row, images))
        return {
            name: np.stack([row[number] for row in rows]) for number, name in enumerate(self._names)
        }

    def _row(self, image: NDArray[np.uint8]) -> list[Floats]:
        tensors = self._network.run(image)
        features = {}
        for layer, output in self._outputs.items():
            features[layer] = channels_last(tensors[output.tensor][0], output.layout)
            if features[layer].shape != output.shape:
                raise EngineError(
                    f"layer {layer} has the shape {features[layer].shape}, expected "
                    f"{output.shape}: the network's shapes depend on the image"
                )
        prefixes = {layer: output.prefix for layer, output in self._outputs.items()}
        return [pooled(features[layer], pool, prefixes[layer]) for layer, pool in self._parts]


class OneImage:
    """A network that computes some tensors for one image at a time.

    Parameters
    ----------
    file : OnnxFile
    declaration : Declaration
        Its outputs aren't used.
    tensors : sequence of str
    size : (int, int)
        Height and width of the image, in pixels.
    """

    def __init__(
        self,
        file: OnnxFile,
        declaration: Declaration,
        tensors: Sequence[str],
        size: tuple[int, int],
    ) -> None:
        self._title = f"backbone {declaration.name}"
        self._tensors = list(dict.fromkeys(tensors))
        self._input, self._layout = declaration.input, declaration.layout
        self._preprocessing = declaration.preprocessing
        self._numbers = np.uint8 if declaration.numbers == "uint8" else np.float32
        model = file.with_outputs(self._tensors, declaration.layout, size)
        try:
            self._session = session(model, threads=1)
        except Exception as error:  # the runtime has its own classes, which promise nothing
            raise EngineError(
                f"ONNX Runtime can't load {self._title} for images of {size[0]} x {size[1]}: "
                f"{in_short(error)}"
            ) from error

    def run(self, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Give the tensors of an image of shape (h, w, 3), RGB, each with its batch axis."""
        pixels = prepared(image, self._preprocessing, self._numbers)
        pixels = pixels if self._layout == "NHWC" else pixels.transpose(2, 0, 1)
        try:
            results = self._session.run(
                self._tensors, {self._input: np.ascontiguousarray(pixels[None])}
            )
        except Exception as error:  # as above; a lack of memory stays in its text
            raise EngineError(f"ONNX Runtime failed at {self._title}: {in_short(error)}") from error
        return dict(zip(self._tensors, results, strict=True))


def prepared(
    image: NDArray[np.uint8], preprocessing: Preprocessing, numbers: type[np.generic]
) -> NDArray[Any]:
    """Apply the preprocessing of the backbone's record to an RGB image of shape (h, w, 3)."""
    ordered = image[..., ::-1] if preprocessing.channels == "BGR" else image
    if numbers is np.uint8:
        return ordered
    pixels = ordered.astype(np.float32)
    for step, values in preprocessing.steps(rgb=False):
        operation = np.subtract if step == "subtract" else np.divide
        operation(pixels, np.array(values, np.float32), out=pixels)
    return pixels


def channels_last(features: NDArray[Any], layout: str | None) -> Floats:
    """Give a vector (d,), tokens (t, d), or a feature map as (h, w, channels), in float32."""
    if layout == "NCHW" and features.ndim == 3:
        features = features.transpose(1, 2, 0)
    return np.asarray(features, np.float32)


def pooled(features: Floats, pool: str, prefix: int = 0) -> Floats:
    """Pool (h, w, channels) or (tokens, d), or take a vector as it is: (d,).

    The first `prefix` tokens are left out of the mean and the maximum.
    """
    axes = tuple(range(features.ndim - 1))
    if pool == "cls":
        return np.asarray(features[0])
    if pool == "avg":
        return np.asarray(features[prefix:].mean(axis=axes))
    if pool == "max":
        return np.asarray(features[prefix:].max(axis=axes))
    return features.reshape(-1)


def verify_check(file: OnnxFile, declaration: Declaration) -> None:
    """Compare the features of the check image with those of the declaration, if it has some.

    Raises
    ------
    WeightsError
        If they differ.
    """
    check = declaration.check
    if check is None:
        return
    output = declaration.output(check.layer)
    network = OneImage(file, declaration, [output.tensor], check.size)
    row = features_of(network.run(check_image(check.size)), output)
    compare_check(row, check, declaration.name)


def features_of(tensors: Mapping[str, NDArray[Any]], output: Output) -> Floats:
    """Return the features for a check vector, in the default pooling of their layer."""
    features = channels_last(tensors[output.tensor][0], output.layout)
    return pooled(features, output.default_pool, output.prefix)
