"""VGG16 keeps the contract of backbones whatever computes it; with random weights, so anywhere."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

from tests.contract.backbones import (
    SIZE,
    AnyBatchContract,
    BackboneContract,
    all_embeddings,
    random_images,
)
from tests.fakes import VGG16_ENGINES
from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.settings import Settings, make_spec


def load_vgg16(names, engine):
    settings = Settings(weights="random", engine=engine, precision="float32", random_state=1)
    return load_backbone(make_spec(settings, "vgg16", SIZE, names, "cpu"), names)


@cache
def outputs_of_keras():
    return load_vgg16(list(all_embeddings("vgg16")), "keras").embed(random_images(3))


class TestKeras(BackboneContract):
    name = "vgg16"

    @pytest.fixture(scope="class", params=["keras"])
    @classmethod
    def load(cls, request):
        return partial(load_vgg16, engine=request.param)

    def test_other_batch_shapes_may_give_other_bits(self, backbone):
        assert backbone.one_shape

    def test_a_network_that_keras_lacks_is_an_error_of_the_engine(self, monkeypatch):
        other = replace(VGG16, keras_application="NoSuchNet")
        monkeypatch.setitem(BACKBONES, "vgg16", other)
        with pytest.raises(EngineError, match="this version of Keras has no network NoSuchNet"):
            load_vgg16(["block1_conv1.avg"], "keras")


class TestOthers(AnyBatchContract):
    name = "vgg16"

    @pytest.fixture(scope="class", params=sorted(set(VGG16_ENGINES) - {"keras"}))
    @classmethod
    def load(cls, request):
        return partial(load_vgg16, engine=request.param)

    def test_it_computes_what_keras_does(self, outputs):
        for name, rows in outputs.items():
            reference = outputs_of_keras()[name]
            scale = np.abs(reference).max()
            np.testing.assert_allclose(rows / scale, reference / scale, atol=2e-5)
