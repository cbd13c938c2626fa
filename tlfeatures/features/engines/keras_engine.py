"""Backbones by Keras, with TensorFlow, PyTorch or JAX below it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError, ParameterError
from tlfeatures.features.backbones.network import FLATTEN, Network
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.table import find_backbone
from tlfeatures.features.backbones.tensors import Weights
from tlfeatures.features.engines.engine import BATCH_SIZE, fitting_count
from tlfeatures.features.engines.keras_networks.layers import pooled, preprocessed
from tlfeatures.features.engines.keras_start import keras_settings, start_keras
from tlfeatures.features.spec import Spec

if TYPE_CHECKING:
    import keras

DTYPE_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
_GPU_BATCH = 256


class KerasBackbone:
    """A Keras model whose outputs are the wanted embeddings, by name.

    Parameters
    ----------
    model : keras.Model
    device : str or None
        Keras's name of the device, such as `gpu:0`; None leaves the choice to Keras.
    most : int
        Number of images of a batch.
    """

    one_shape = True

    def __init__(self, model: keras.Model, device: str | None, most: int) -> None:
        self._model = model
        self._device = device
        self.most = most

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Embed a batch of shape (b, h, w, 3); see `LoadedBackbone`."""
        with on_device(self._device):
            outputs: Mapping[str, Any] = self._model.predict_on_batch(images)
        return {name: np.asarray(rows, np.float32) for name, rows in outputs.items()}


def load(
    spec: Spec, names: Sequence[str], device: str, weights: Weights, threads: int | None
) -> KerasBackbone:
    """Build the backbone of a spec, with its outputs pooled, and give it its weights.

    Raises
    ------
    EngineError
        If Keras can't be started, or has no such network.
    ParameterError
        If Keras sees no GPU, where one is asked for.
    """
    start_with_threads(threads)
    import keras

    backbone = find_backbone(spec.backbone)
    place = keras_device(device)
    with on_device(place), keras_settings(DTYPE_POLICIES[spec.precision]):
        image = keras.Input((*spec.size, 3), dtype="uint8", name="image")
        pixels = preprocessed(keras.ops.cast(image, "float32"), backbone.preprocessing)
        network = _application(backbone)(
            weights=None, include_top=weights.top_sha256 is not None, input_tensor=pixels
        )
        for layer, (kernel, bias) in weights.tensors.items():
            network.get_layer(layer).set_weights([kernel, bias])
        outputs = {name: _output(network, backbone.network, name) for name in names}
        model = keras.Model(image, outputs)
    return KerasBackbone(model, place, images_of_batch(place, backbone.largest_map(spec.size)))


def _application(backbone: Backbone) -> Any:
    import keras

    application = getattr(keras.applications, backbone.keras_application or "", None)
    if application is None:
        raise EngineError(f"this version of Keras has no network {backbone.keras_application}")
    return application


def _output(network: keras.Model, description: Network, name: str) -> Any:
    layer, _, pool = name.rpartition(".")
    own_name = f"embedding_{layer}_{pool}"  # other than those of the network's own layers
    if layer == FLATTEN:  # which Keras has only with the dense layers
        layer = description.last_map
    return pooled(network.get_layer(layer).output, pool, own_name)


def start_with_threads(threads: int | None) -> None:
    """Start Keras, with so many threads on a CPU if it starts now."""
    if threads is not None:  # TensorFlow's; the others have OMP_NUM_THREADS, which Dask sets
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    start_keras()


def images_of_batch(place: str | None, largest_map: int) -> int:
    """Choose the number of images of a batch.

    Parameters
    ----------
    place : str or None
        See `keras_device`.
    largest_map : int
        Number of values of the largest feature map of one image.
    """
    on_gpu = place != "cpu:0" and gpu_has_bfloat16() is not None
    return _GPU_BATCH if on_gpu else fitting_count(largest_map, BATCH_SIZE)


def keras_device(device: str) -> str | None:
    """Return Keras's name of a device, such as `gpu:0`; None leaves the choice to Keras.

    Raises
    ------
    ParameterError
        If Keras sees no GPU, where one is asked for.
    """
    if device == "auto":
        return None  # Keras's own choice: a GPU if it sees one
    if device == "gpu" and gpu_has_bfloat16() is None:
        import keras

        raise ParameterError(f"{keras.config.backend()} sees no GPU; use --device cpu")
    return f"{device}:0"


def on_device(device: str | None) -> contextlib.AbstractContextManager[Any]:
    """Give the context of a device, see `keras_device`."""
    import keras

    return keras.device(device) if device else contextlib.nullcontext()


def gpu_has_bfloat16() -> bool | None:
    """Whether the GPU that Keras sees multiplies bfloat16 itself; None where it sees none."""
    start_keras()
    import keras

    capability = _CAPABILITIES[keras.config.backend()]()
    return None if capability is None else bool(capability >= (8, 0))


# Keras's own list of devices knows neither PyTorch nor what a device can do.


def _tensorflow_capability() -> tuple[int, ...] | None:
    """Give the compute capability of the first GPU; (0, 0) if unknown, None without a GPU."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    return tuple(details.get("compute_capability", (0, 0)))


def _torch_capability() -> tuple[int, ...] | None:
    import torch

    return tuple(torch.cuda.get_device_capability()) if torch.cuda.is_available() else None


def _jax_capability() -> tuple[int, ...] | None:
    import jax

    device = jax.devices()[0]  # of the fastest kind
    if device.platform == "cpu":
        return None
    capability = str(getattr(device, "compute_capability", "0.0"))
    return tuple(int(part) for part in capability.split(".") if part.isdigit())


_CAPABILITIES = {
    "tensorflow": _tensorflow_capability,
    "torch": _torch_capability,
    "jax": _jax_capability,
}
