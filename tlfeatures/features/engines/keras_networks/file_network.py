"""Open a user's own `.keras` file: what is declared and what it states become a `Declaration`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tlfeatures.features.backbones.declaration import Declaration, Output
from tlfeatures.features.backbones.declaration_file import DeclarationFile, Wanted
from tlfeatures.features.backbones.onnx_file import read_network
from tlfeatures.features.engines.check_vector import first_values, warn_of_no_check
from tlfeatures.features.engines.declared import DeclaredBackbone
from tlfeatures.features.engines.keras_networks.declare import (
    declare,
    draft_output,
    refuse_effects_of_batch,
)
from tlfeatures.features.engines.keras_networks.declared import verify_check
from tlfeatures.features.engines.keras_networks.load_file import load_keras_file
from tlfeatures.features.engines.keras_start import keras_settings
from tlfeatures.features.engines.network_file import NetworkFile
from tlfeatures.names import unknown_name

_FIRST = 4  # values of a check vector in a message


class KerasFile(NetworkFile):
    """A `.keras` file with what its user declares, before the size of images is known.

    Parameters
    ----------
    declared : DeclarationFile
    path : Path

    Raises
    ------
    ParameterError
        If the declaration doesn't fit the file, or leaves out what is needed.
    WeightsError
        If the file is missing, isn't the declared one, or isn't one that this package loads.
    EngineError
        If Keras can't be started.
    """

    def __init__(self, declared: DeclarationFile, path: Path) -> None:
        super().__init__(declared)
        self._path = path
        self._refuse_missing_mean_or_std()
        if declared.layout not in (None, "NHWC"):
            raise self._error(f"layout is {declared.layout}, a .keras file has NHWC")
        content, self._sha256 = read_network(path, declared.name, declared.sha256, ".keras")
        self._network = load_keras_file(content, str(path))
        self._input = self._network.inputs[0]
        self._sides = self._input.shape[1:3]
        if declared.input not in (None, self._input.name):
            raise self._error(f"input is {declared.input!r}, the file's is {self._input.name!r}")

    def for_size(self, size: tuple[int, int], layers: Sequence[str]) -> DeclaredBackbone:
        """Complete the declaration for images of a size; see `OpenNetwork.for_size`.

        Raises
        ------
        ParameterError
            Also if the features of an image depend on the other images of its batch.
        """
        self._refuse_other_size(size)
        drafts = self._drafts(layers)
        with keras_settings("float32"):
            default = self._declared.default_layer or drafts[0].layer
            facts = self._facts("keras_file", self._input.name, "float32", "NHWC", default)
            declaration = self._checked(declare(self._network, facts, drafts, size))
            refuse_effects_of_batch(self._network, declaration, size)
        return DeclaredBackbone(declaration, str(self._path), self._sha256)

    def _drafts(self, layers: Sequence[str]) -> list[Output]:
        """Find the declared layers, or the last one, and layers that are asked for."""
        names = [layer.name for layer in self._network.layers]
        wanted = list(self._declared.outputs) or [Wanted(names[-1], str(len(names) - 1))]
        known = {item.layer for item in wanted}
        for entry in layers:
            layer = entry.partition(".")[0]
            if layer not in known and layer in names:
                wanted.append(Wanted(layer, str(names.index(layer))))
                known.add(layer)
        return [
            draft_output(item.layer, self._position(item.tensor, names), item.layout, item.prefix)
            for item in wanted
        ]

    def _position(self, tensor: str, names: list[str]) -> int:
        """Find a layer by its name in the file, or by its position."""
        if tensor in names:
            return names.index(tensor)
        if tensor.isdecimal() and int(tensor) < len(names):
            return int(tensor)
        raise unknown_name(f"layer of {self._path.name}", tensor, names)

    def _checked(self, declaration: Declaration) -> Declaration:
        """Verify the user's check vector; without one, say what was computed here."""
        check, own = self._given_check(declaration), declaration.check
        assert own is not None  # which `declare` computes
        if check is None:
            first = first_values(own.first[:_FIRST])
            warn_of_no_check(declaration.name, own.layer, own.size, own.norm, first)
            return declaration
        declaration = replace(declaration, check=check)
        verify_check(self._network, declaration)
        return declaration
