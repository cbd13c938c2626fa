"""Opening declared networks, each by its format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tlfeatures.errors import ParameterError, SpecError
from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.declaration import Declaration
from tlfeatures.features.backbones.declaration_file import DeclarationFile, read_declaration
from tlfeatures.features.backbones.keras_preset import PREFIX
from tlfeatures.features.backbones.named_network import NamedNetwork
from tlfeatures.features.backbones.recipes.published import declaration_of, published_network
from tlfeatures.features.backbones.weights import IMAGENET, RANDOM, checked_source
from tlfeatures.features.engines.declared import DeclaredBackbone
from tlfeatures.features.engines.keras_networks.application import KerasApplication
from tlfeatures.features.engines.keras_networks.file_network import KerasFile
from tlfeatures.features.engines.keras_networks.hub_network import KerasPreset
from tlfeatures.features.engines.onnx_network import OnnxNetwork
from tlfeatures.features.spec import Spec, no_such_backbone


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


def open_network(
    backbone: str, weights: str | None = None, random_state: int | None = None
) -> OpenNetwork:
    """Open a declared network by its name, its declaration or its file.

    Parameters
    ----------
    backbone : str
        A name in the catalogue, `hub:PRESET`, or see `read_declaration`.
    weights : str, optional
        For a name: see `Spec.weights`. For a file: its path, if it isn't in the folder of the
        declaration.
    random_state : int, optional
        Seed of random weights.

    Raises
    ------
    ParameterError
        If there is no such file, the declaration doesn't fit it, or the network has no random
        weights.
    WeightsError
        If the weights can't be obtained, or aren't those that are declared.
    """
    if backbone in NAMED:
        return _open_named(NAMED[backbone], weights or IMAGENET, random_state)
    if backbone.startswith(PREFIX):
        return KerasPreset(weights or backbone)
    declared, path = read_declaration(backbone)
    opener = KerasFile if path.suffix.lower() == ".keras" else OnnxNetwork
    path = path if weights is None else Path(weights).expanduser()
    return opener(declared, path.resolve())


def reopen_network(
    spec: Spec, declaration: Declaration, weights: str | None, random_state: int | None = None
) -> OpenNetwork:
    """Open the network of a spec again, with its weights and its seed if no others are given."""
    if spec.backbone in NAMED:
        seed = spec.random_state if random_state is None else random_state
        return open_network(spec.backbone, weights or spec.weights, seed)
    if declaration.format == "keras_application":
        raise SpecError(no_such_backbone(spec))
    if declaration.format == "keras_hub":
        return KerasPreset(weights or spec.weights)
    declared = DeclarationFile.of(declaration, spec.weights_sha256)
    opener = KerasFile if declaration.format == "keras_file" else OnnxNetwork
    return opener(declared, Path(weights or spec.weights).expanduser().resolve())


def _open_named(network: NamedNetwork, weights: str, random_state: int | None) -> OpenNetwork:
    if network.application is not None:
        return KerasApplication(network, weights, random_state)
    if weights == RANDOM:
        raise ParameterError(f"backbone {network.name} has no random weights: leave out --weights")
    if weights == IMAGENET:
        declared, path = published_network(network)
        return OnnxNetwork(declared, path, IMAGENET)
    path = Path(checked_source(weights)).expanduser().resolve()
    return OnnxNetwork(declaration_of(network), path)
