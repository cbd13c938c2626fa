"""The named backbones besides `vgg16` and `pixels`: `NAMED`, by name.

It has facts alone: no weights and no NumPy are loaded.
"""

from __future__ import annotations

from tlfeatures.features.backbones.named_network import NamedNetwork
from tlfeatures.features.backbones.recipes.networks import RECIPES

KERAS_APPLICATIONS: tuple[NamedNetwork, ...] = ()

NAMED: dict[str, NamedNetwork] = {
    network.name: network for network in (*RECIPES, *KERAS_APPLICATIONS)
}
