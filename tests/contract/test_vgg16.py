import pytest

from tests.contract.backbones import SIZE, BackboneContract
from tlfeatures.features.backbone import load_backbone
from tlfeatures.features.plan import Settings, make_spec

pytestmark = pytest.mark.integration


class TestVGG16(BackboneContract):
    name = "vgg16"

    @pytest.fixture(autouse=True)
    def _weights(self, weights):
        self.weights = weights

    def load(self, embeddings):
        settings = Settings(weights=self.weights, precision="float32")
        return load_backbone(make_spec(settings, "vgg16", SIZE, embeddings, "cpu"), embeddings)
