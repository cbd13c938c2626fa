"""VGG16 keeps the contract of backbones whatever computes it; with random weights, so anywhere."""

import numpy as np
import pytest

from tests.contract.backbones import SIZE, BackboneContract, random_images
from tlfeatures.features.backbone import load_backbone
from tlfeatures.features.engines import ENGINES
from tlfeatures.features.plan import Settings, make_spec


class TestVGG16(BackboneContract):
    name = "vgg16"
    engine = "keras"

    @pytest.fixture(scope="class", params=list(ENGINES), autouse=True)
    @classmethod
    def _engine(cls, request):
        cls.engine = request.param

    def load(self, embeddings, engine=None, precision="float32"):
        engine = engine or self.engine
        settings = Settings(weights="random", engine=engine, precision=precision, random_state=1)
        return load_backbone(make_spec(settings, "vgg16", SIZE, embeddings, "cpu"), embeddings)

    def test_it_computes_what_keras_does(self, outputs):
        reference = self.load(list(outputs), "keras").embed(random_images(3))
        for name, rows in outputs.items():
            scale = np.abs(reference[name]).max()
            np.testing.assert_allclose(rows / scale, reference[name] / scale, atol=2e-5)

    def test_rows_are_the_same_bits_whatever_the_batch_where_its_shape_does_not_matter(self):
        names = ["block2_conv1.flatten", "block5_pool.avg", "block4_pool.max"]
        backbone = self.load(names)
        if backbone.one_shape:
            return
        images = random_images(19)
        whole = backbone.embed(images)
        for rows in ([3], [18, 0], list(range(2, 19)), list(range(18, -1, -1))):
            part = backbone.embed(images[rows])
            for name in names:
                np.testing.assert_array_equal(part[name], whole[name][rows])
