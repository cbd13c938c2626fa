"""Encoders of images in keras_hub's presets: DINOv2, CLIP, SigLIP and ViT.

`hub:PRESET` is a preset by its name, which keras_hub downloads, or a folder with one. An encoder's
layers are tokens or vectors. A preset takes images of one size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.declaration import Declaration
from tlfeatures.features.engines.declared import DeclaredBackbone
from tlfeatures.features.engines.keras_networks.application_weights import weights_sha256
from tlfeatures.features.engines.keras_networks.declare import declare, draft_named
from tlfeatures.features.engines.keras_networks.layers import canonical_names
from tlfeatures.features.engines.keras_networks.load_preset import (
    load_preset,
    located,
    preprocessing_of,
)
from tlfeatures.features.engines.keras_start import keras_settings


class KerasPreset:
    """The encoder of images of a preset.

    Parameters
    ----------
    preset : str
        Its name at a hub, or the path of a folder, without or with `hub:`.

    Raises
    ------
    EngineError
        If keras_hub isn't installed.
    WeightsError
        If the preset can't be obtained, or isn't one that this package loads.
    """

    def __init__(self, preset: str) -> None:
        self._preset = located(preset)
        self._network = load_preset(self._preset)
        self._name = "hub-" + re.sub(r"[^A-Za-z0-9_-]+", "-", Path(self._preset).name)[:50]

    @property
    def default_size(self) -> tuple[int, int]:
        """Height and width of the images that the preset takes, in pixels."""
        height, width = self._network.inputs[0].shape[1:3]
        return height, width

    def for_size(self, size: tuple[int, int], layers: Sequence[str]) -> DeclaredBackbone:
        """Complete the declaration for images of a size; see `OpenNetwork.for_size`.

        Raises
        ------
        ParameterError
            If the preset takes other images, or has no such layer.
        """
        if size != self.default_size:
            height, width = self.default_size
            raise ParameterError(
                f"backbone {self._name} takes images of {height} x {width} (height x width), got "
                f"size {size[0]},{size[1]}"
            )
        with keras_settings("float32"):
            facts = self._facts()
            drafts = draft_named(self._network, self._name, [facts.default_layer, *layers])
            declaration = declare(self._network, facts, drafts, size, self._patches)
            sha256 = weights_sha256(self._network)
        return DeclaredBackbone(declaration, self._preset, sha256)

    @property
    def _patches(self) -> int:
        height, width = self.default_size
        side = self._network.patch_size
        sides = side if isinstance(side, list | tuple) else (side, side)
        return int(height // sides[0]) * int(width // sides[1])

    def _facts(self) -> Declaration:
        mean, std = preprocessing_of(self._preset)
        return Declaration(
            name=self._name,
            format="keras_hub",
            network=type(self._network).__name__,
            input="",
            numbers="float32",
            layout="NHWC",
            colour="RGB",
            mean=mean,
            std=std,
            outputs=(),
            default_layer=canonical_names(self._network)[-1],
            check=None,
            near_duplicate=None,
            source=f"preset {Path(self._preset).name[:100]} of keras_hub",
            licence="not stated by keras_hub",
        )
