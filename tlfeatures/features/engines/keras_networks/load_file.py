"""Load a user's own `.keras` file, in Keras's safe mode, once `check_keras_file` has passed it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.keras_file import check_keras_file
from tlfeatures.features.engines.keras_networks.application_weights import (
    load_all_weights,
    private_file,
)
from tlfeatures.features.engines.keras_start import keras_settings, start_keras
from tlfeatures.features.engines.onnx_session import in_short

if TYPE_CHECKING:
    import keras

_CHANNELS = 3
_NUMBERS = ("float32", "float16", "bfloat16")


def load_keras_file(content: bytes, title: str) -> keras.Model:
    """Load a network from the bytes of a `.keras` file, in float32.

    Parameters
    ----------
    content : bytes
    title : str
        What the file is, for messages.

    Raises
    ------
    WeightsError
        If `check_keras_file` refuses the file, Keras can't load it, or the network takes something
        else than RGB images.
    EngineError
        If Keras can't be started.
    """
    check_keras_file(content, title)
    start_keras()
    import keras

    with (
        keras_settings("float32"),
        private_file(content, "network.keras") as path,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # an error follows if the warning matters
        try:
            network = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras has many for a network that doesn't fit its weights
            raise WeightsError(f"Keras can't load {title}: {in_short(error)}") from error
        load_all_weights(network, path, title)
    _check_input(network, title)
    return network


def _check_input(network: Any, title: str) -> None:
    try:
        inputs = network.inputs or []
    except (AttributeError, ValueError):  # of a network without layers
        inputs = []
    shapes = [tuple(tensor.shape) for tensor in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][3] != _CHANNELS:
        raise WeightsError(
            f"{title} takes inputs of the shapes {shapes}, expected one of (images, height, width, "
            f"{_CHANNELS})"
        )
    if shapes[0][0] is not None or inputs[0].dtype not in _NUMBERS:
        raise WeightsError(
            f"{title} takes {shapes[0][0] or 'any number of'} images of {inputs[0].dtype}, "
            "expected any number of images of float32"
        )
