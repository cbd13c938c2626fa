import numpy as np

from tests.contract.backbones import SIZE, BackboneContract
from tlfeatures.features.backbone import load_backbone
from tlfeatures.features.plan import Settings, make_spec


class TestPixels(BackboneContract):
    name = "pixels"

    def load(self, embeddings):
        return load_backbone(make_spec(Settings(), "pixels", SIZE, embeddings, "cpu"), embeddings)

    def test_the_mean_is_the_mean_colour(self):
        images = np.full((1, *SIZE, 3), (51, 102, 255), np.uint8)
        outputs = self.load(["mean.none", "grid4.max"]).embed(images)
        for rows in outputs.values():
            np.testing.assert_allclose(rows, [[0.2, 0.4, 1.0]], rtol=1e-6)
