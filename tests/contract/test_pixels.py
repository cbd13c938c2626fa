import numpy as np
import pytest

from tests.contract.backbones import SIZE, AnyBatchContract
from tlfeatures.features.backbones.pixels import PixelBackbone


class TestPixels(AnyBatchContract):
    name = "pixels"

    @pytest.fixture(scope="class")
    @classmethod
    def load(cls):
        return PixelBackbone

    def test_the_mean_is_the_mean_colour(self, load):
        images = np.full((1, *SIZE, 3), (51, 102, 255), np.uint8)
        outputs = load(["mean.none", "grid4.max"]).embed(images)
        assert list(outputs) == ["mean.none", "grid4.max"]
        for rows in outputs.values():
            np.testing.assert_allclose(rows, [[0.2, 0.4, 1.0]], rtol=1e-6)
