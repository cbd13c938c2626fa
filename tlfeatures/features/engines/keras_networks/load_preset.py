"""Load the encoder of images of a preset of keras_hub, and read how its images are prepared."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlfeatures.errors import EngineError, WeightsError
from tlfeatures.features.backbones.keras_preset import (
    FAMILIES,
    PREFIX,
    WEIGHTS_FILE,
    check_preset_folder,
)
from tlfeatures.features.engines.keras_networks.application_weights import load_all_weights
from tlfeatures.features.engines.keras_start import keras_settings, start_keras
from tlfeatures.features.engines.onnx_session import in_short

if TYPE_CHECKING:
    import keras

Colours = tuple[float, float, float]


def located(preset: str) -> str:
    """Return the absolute path of a folder, or the name of a preset at a hub."""
    name = preset.removeprefix(PREFIX)
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


def load_preset(preset: str) -> keras.Model:
    """Load the encoder of images of a preset, in float32.

    Raises
    ------
    EngineError
        If keras_hub isn't installed, or Keras can't be started.
    WeightsError
        If the preset can't be obtained, or isn't one that this package loads.
    """
    folder = Path(preset)
    if folder.is_dir():
        check_preset_folder(folder)
    start_keras()
    hub = _keras_hub()
    with keras_settings("float32"):
        own = folder.is_dir()
        backbone = _obtain(hub.models.Backbone, preset, load_weights=not own)
        if own:
            load_all_weights(backbone, folder / WEIGHTS_FILE, f"the preset {preset}")
    network = getattr(backbone, "vision_encoder", backbone)
    family = type(network).__module__.split(".")
    if not set(FAMILIES) & set(family) or len(getattr(network, "inputs", [])) != 1:
        raise WeightsError(
            f"the preset {preset} is a {type(backbone).__name__}, expected a network of "
            f"{', '.join(FAMILIES)}"
        )
    return network


def _keras_hub() -> Any:
    try:
        import keras_hub
    except ImportError as error:
        raise EngineError("keras_hub is not installed: pip install 'tlfeatures[hub]'") from error
    return keras_hub


def _obtain(kind: Any, preset: str, **options: bool) -> Any:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return kind.from_preset(preset, **options)
    except Exception as error:  # of its hubs, of the network, of Keras
        raise WeightsError(
            f"the preset {preset} can't be obtained: {in_short(error)}; keras_hub takes names such "
            "as dinov2_small from its hub, and folders: --backbone hub:FOLDER"
        ) from error


def preprocessing_of(preset: str) -> tuple[Colours, Colours]:
    """Return mean and standard deviation, of the converter of images that a preset has."""
    converter = _obtain(_keras_hub().layers.ImageConverter, preset)
    scale = np.broadcast_to(1.0 if converter.scale is None else converter.scale, 3).astype(float)
    offset = np.broadcast_to(0.0 if converter.offset is None else converter.offset, 3)
    mean, std = -offset.astype(float) / scale, 1 / scale
    return _three(mean), _three(std)


def _three(values: Any) -> Colours:
    first, second, third = (float(f"{value:.9g}") for value in values)
    return first, second, third
