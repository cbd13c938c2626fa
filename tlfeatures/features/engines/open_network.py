"""Opening declared networks, each by its format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tlfeatures.features.backbones.declaration import Declaration
from tlfeatures.features.backbones.declaration_file import DeclarationFile, read_declaration
from tlfeatures.features.engines.declared import DeclaredBackbone
from tlfeatures.features.engines.onnx_network import OnnxNetwork
from tlfeatures.features.spec import Spec


class OpenNetwork(Protocol):
    """A network with what is declared about it, before the size of images is known."""

    @property
    def default_size(self) -> tuple[int, int] | None:
        """Height and width that network or declaration state; None if both leave them open."""
        ...

    def for_size(self, size: tuple[int, int], layers: Sequence[str]) -> DeclaredBackbone:
        """Complete the declaration for images of a size.

        Parameters
        ----------
        size : (int, int)
            Height and width in pixels.
        layers : sequence of str
            Layers wanted, `LAYER` or `LAYER.POOLING`; also layers that aren't declared.

        Raises
        ------
        ParameterError
            If the network takes no images of this size, or a layer can't be an embedding.
        WeightsError, EngineError
            If a layer is missing, the network can't run, or its check vector differs.
        """
        ...


def open_network(backbone: str, weights: str | None) -> OpenNetwork:
    """Open a network by its declaration or its file.

    Parameters
    ----------
    backbone : str
        See `read_declaration`.
    weights : str or None
        Path of the ONNX file, if it isn't in the folder of the declaration.
    """
    declared, path = read_declaration(backbone)
    path = path if weights is None else Path(weights).expanduser()
    return OnnxNetwork(declared, path.resolve())


def reopen_network(spec: Spec, declaration: Declaration, weights: str | None) -> OpenNetwork:
    """Open the ONNX file of a spec again, at the path in the spec or at another path."""
    path = Path(weights or spec.weights).expanduser().resolve()
    return OnnxNetwork(DeclarationFile.of(declaration, spec.weights_sha256), path)
