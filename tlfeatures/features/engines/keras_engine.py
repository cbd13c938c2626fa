"""VGG16 by Keras, with TensorFlow, PyTorch or JAX as its backend."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.weights import Weights
from tlfeatures.features.engines.engine import BATCH_SIZE, fitting_batch
from tlfeatures.features.engines.keras_start import keras_settings, start_keras
from tlfeatures.features.spec import Spec

if TYPE_CHECKING:
    import keras


_DTYPE_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


class KerasBackbone:
    """VGG16 in Keras, with every wanted layer as an output of one model."""

    def __init__(self, model: keras.Model, device: str | None, size: tuple[int, int]) -> None:
        self._model = model
        self._device = device
        on_gpu = device != "cpu:0" and gpu_has_bfloat16() is not None
        self.most = 256 if on_gpu else fitting_batch(size, BATCH_SIZE)

    one_shape = True

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Embed a batch of shape (b, h, w, 3); see `Backbone`."""
        with _on(self._device):
            outputs: Mapping[str, Any] = self._model.predict_on_batch(images)
        return {name: np.asarray(rows, np.float32) for name, rows in outputs.items()}


def load_vgg16(
    spec: Spec, names: Sequence[str], device: str, weights: Weights, threads: int | None
) -> KerasBackbone:
    """Build the model, with its outputs pooled, on a device of Keras's choice or the given one."""
    if threads is not None:  # TensorFlow's; the others have OMP_NUM_THREADS, which Dask sets
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    start_keras()
    import keras

    place = _keras_device(device)
    with _on(place), keras_settings(_DTYPE_POLICIES[spec.precision]):
        image = keras.Input((*spec.size, 3), dtype="uint8", name="image")
        pixels = keras.applications.vgg16.preprocess_input(keras.ops.cast(image, "float32"))
        vgg16 = keras.applications.VGG16(
            weights=None, include_top=weights.top_sha256 is not None, input_tensor=pixels
        )
        for layer, (kernel, bias) in weights.tensors.items():
            vgg16.get_layer(layer).set_weights([kernel, bias])
        outputs = {name: _keras_output(vgg16, name) for name in names}
        return KerasBackbone(keras.Model(image, outputs), place, spec.size)


def _keras_output(vgg16: keras.Model, name: str) -> Any:
    """Pool in float32 whatever the precision of the layer: the sums are long."""
    import keras

    layer, _, pool = name.rpartition(".")
    named = f"embedding_{layer}_{pool}"  # VGG16 with its top has a layer called flatten
    layer = "block5_pool" if layer == "flatten" else layer
    poolings = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
        "none": keras.layers.Flatten,  # of a vector: the vector
    }
    return poolings[pool](dtype="float32", name=named)(vgg16.get_layer(layer).output)


def _keras_device(device: str) -> str | None:
    if device == "auto":
        return None  # Keras's own choice: a GPU if it sees one
    if device == "gpu" and gpu_has_bfloat16() is None:
        import keras

        raise ParameterError(f"{keras.config.backend()} sees no GPU; use --device cpu")
    return f"{device}:0"


def _on(device: str | None) -> contextlib.AbstractContextManager[Any]:
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
    """Compute capability of the first GPU; (0, 0) if it isn't known, None without one."""
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

    device = jax.devices()[0]  # the fastest kind that there is
    if device.platform == "cpu":
        return None
    said = str(getattr(device, "compute_capability", "0.0"))
    return tuple(int(part) for part in said.split(".") if part.isdigit())


_CAPABILITIES = {
    "tensorflow": _tensorflow_capability,
    "torch": _torch_capability,
    "jax": _jax_capability,
}
