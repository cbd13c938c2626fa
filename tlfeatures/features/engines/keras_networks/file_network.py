"""Open a user's own `.keras` file: what is declared and what it states become a `Declaration`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.declaration import CheckVector, Declaration, Output
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
from tlfeatures.names import unknown_name

_FIRST = 4  # values of a check vector in a message


class KerasFile:
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
        self._declared, self._path = declared, path
        if None in (declared.mean, declared.std):
            raise self._error(
                "mean and std are needed, on the scale 0 to 255 (mean 0, 0, 0 and std 1, 1, 1 if "
                "the network takes the values as they are)"
            )
        if declared.layout not in (None, "NHWC"):
            raise self._error(f"layout is {declared.layout}, a .keras file has NHWC")
        content, self._sha256 = read_network(path, declared.name, declared.sha256, ".keras")
        self._network = load_keras_file(content, str(path))
        self._input = self._network.inputs[0]
        if declared.input not in (None, self._input.name):
            raise self._error(f"input is {declared.input!r}, the file's is {self._input.name!r}")

    @property
    def default_size(self) -> tuple[int, int] | None:
        """Height and width that file or declaration state; None if both leave them open."""
        height, width = self._input.shape[1:3]
        declared = self._declared.size
        if height is None or width is None:
            return declared
        if declared not in (None, (height, width)):
            raise self._error(f"size is {declared}, the file takes {(height, width)}")
        return height, width

    def for_size(self, size: tuple[int, int], layers: Sequence[str]) -> DeclaredBackbone:
        """Complete the declaration for images of a size; see `OpenNetwork.for_size`.

        Parameters
        ----------
        size : (int, int)
            Height and width in pixels.
        layers : sequence of str
            Layers wanted, `LAYER` or `LAYER.POOLING`; also layers that aren't declared.

        Raises
        ------
        ParameterError
            If the network takes no images of this size, a layer is missing or can't be an
            embedding, or the features of an image depend on the other images of its batch.
        WeightsError, EngineError
            If the network can't run, or its check vector differs.
        """
        if not self._takes(size):
            height, width = self._input.shape[1:3]
            raise ParameterError(
                f"backbone {self._declared.name} takes images of {height or 'any'} x "
                f"{width or 'any'} (height x width), got size {size[0]},{size[1]}"
            )
        drafts = self._drafts(layers)
        with keras_settings("float32"):
            facts = self._facts(self._declared.default_layer or drafts[0].layer)
            declaration = self._checked(declare(self._network, facts, drafts, size))
            refuse_effects_of_batch(self._network, declaration, size)
        return DeclaredBackbone(declaration, str(self._path), self._sha256)

    def _takes(self, size: tuple[int, int]) -> bool:
        sides = self._input.shape[1:3]
        return all(own in (None, given) for own, given in zip(sides, size, strict=True))

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

    def _facts(self, default_layer: str) -> Declaration:
        declared = self._declared
        return Declaration(
            name=declared.name,
            format="keras_file",
            network="",
            input=self._input.name,
            numbers="float32",
            layout="NHWC",
            colour=declared.colour,
            mean=declared.mean,
            std=declared.std,
            outputs=(),
            default_layer=default_layer,
            check=None,
            near_duplicate=declared.near_duplicate,
            source=declared.source,
            licence=declared.licence,
        )

    def _checked(self, declaration: Declaration) -> Declaration:
        """Verify the user's check vector; without one, say what was computed here."""
        given, own = self._declared.check, declaration.check
        assert own is not None  # which `declare` computes
        if given is None:
            first = first_values(own.first[:_FIRST])
            warn_of_no_check(declaration.name, own.layer, own.size, own.norm, first)
            return declaration
        layer = given.layer or declaration.default_layer
        if layer not in {output.layer for output in declaration.outputs}:
            raise self._error(f"check: there is no layer {layer} in outputs")
        check = replace(given, layer=layer, size=self._check_size(given))
        declaration = replace(declaration, check=check)
        verify_check(self._network, declaration)
        return declaration

    def _check_size(self, given: CheckVector) -> tuple[int, int]:
        size = self.default_size if 0 in given.size else given.size
        if size is None:
            raise self._error("check: size is missing, and the file leaves it open")
        if not self._takes(size):
            raise self._error(f"check: size is {size}, which the file doesn't take")
        return size

    def _error(self, reason: str) -> ParameterError:
        return ParameterError(f"the declaration of backbone {self._declared.name}: {reason}")
