"""The named backbones besides `vgg16` and `pixels`: `NAMED`, by name.

It has facts alone: no weights and no NumPy are loaded.
"""

from __future__ import annotations

from tlfeatures.features.backbones.keras_applications import KERAS_APPLICATIONS
from tlfeatures.features.backbones.named_network import NamedNetwork
from tlfeatures.features.backbones.recipes.networks import RECIPES

NAMED: dict[str, NamedNetwork] = {
    network.name: network for network in (*RECIPES, *KERAS_APPLICATIONS)
}
