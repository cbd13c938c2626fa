"""What a record says about a backbone, and that a record is all that engines need."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.network import Network
from tlfeatures.features.backbones.record import Backbone, Preprocessing
from tlfeatures.features.backbones.table import BACKBONES, embedding_widths
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.features.engines.choose import ENGINES
from tlfeatures.features.engines.load import find_weights, load_backbone
from tlfeatures.features.settings import Settings, make_spec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NETWORK = Network(
    kernels={"first": (3, 3, 3, 4), "second": (3, 3, 4, 6)},
    pools={"first": "first_pool", "second": "second_pool"},
)


@pytest.fixture(params=["RGB", "BGR"])
def small(request, monkeypatch):
    """A record of a small network with every step of preprocessing, in the table."""
    record = Backbone(
        name="small",
        title="Small",
        default_layer="second_pool",
        preprocessing=Preprocessing(channels=request.param, divisor=255, mean=MEAN, std=STD),
        smallest=4,
        shapes=NETWORK.shapes,
        near_duplicate=0.4,
        network=NETWORK,
    )
    monkeypatch.setitem(BACKBONES, "small", record)
    return record


def spec_of(engine, names):
    settings = Settings(weights="random", random_state=1, engine=engine, precision="float32")
    return make_spec(settings, "small", (12, 10), names, "cpu")


def convolved(images, kernel, bias):
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    windows = sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.maximum(np.einsum("nyxchw,hwco->nyxo", windows, kernel) + bias, 0)


def halved(features):
    n, h, w, c = features.shape
    return features.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


@pytest.mark.parametrize("engine", ["openvino", "ncnn"])
def test_a_network_is_computed_as_its_record_describes_it(small, engine):
    names = ["first.avg", "second.flatten"]
    spec = spec_of(engine, names)
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 10, 3), np.uint8)
    tensors = find_weights(spec, names).tensors
    ordered = images[..., ::-1] if small.preprocessing.channels == "BGR" else images
    first = convolved((ordered / 255 - MEAN) / STD, *tensors["first"])
    second = convolved(halved(first), *tensors["second"])
    rows = load_backbone(spec, names).embed(images)
    np.testing.assert_allclose(rows["first.avg"], first.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rows["second.flatten"], second.reshape(3, -1), rtol=1e-4, atol=1e-5)


def test_an_engine_refuses_a_backbone_that_it_does_not_load(small):
    names = ["first.avg"]
    with pytest.raises(ParameterError, match="keras can't load the backbone small; there are: ope"):
        load_backbone(spec_of("keras", names), names)


def test_keras_loads_no_backbone_whose_weights_could_not_be_found():
    assert ENGINES["keras"].loads(VGG16)
    assert not ENGINES["keras"].loads(replace(VGG16, network=Network()))


def test_specs_describe_the_preprocessing_in_words(small):
    texts = {name: record.preprocessing.describe() for name, record in BACKBONES.items()}
    order = "BGR, " if small.preprocessing.channels == "BGR" else ""
    assert texts == {
        "vgg16": "caffe: BGR, mean 103.939 116.779 123.68 subtracted",
        "pixels": "divided by 255",
        "small": f"{order}divided by 255, mean 0.485 0.456 0.406 subtracted, "
        "divided by 0.229 0.224 0.225",
    }
    assert Preprocessing().describe() == "none"


@pytest.mark.parametrize("name", BACKBONES)
def test_every_record_is_complete(name):
    record = BACKBONES[name]
    widths = embedding_widths(record, [record.default_layer], ["avg"], (224, 224))
    assert record.default_embedding in [*widths, None]
    assert record.name == name
    assert record.trained == any(engine.loads(record) for engine in ENGINES.values())
    assert record.trained == (record.published is not None)
    shapes = record.shapes((record.smallest, record.smallest))
    assert all(min(shape) >= 1 for shape in shapes.values())
    assert 0 < record.near_duplicate <= 1


def test_layers_are_listed_for_help_texts():
    listed = {name: record.layers_in_words() for name, record in BACKBONES.items()}
    assert listed == {
        "vgg16": "block1_conv1 to block5_pool, flatten, fc1, fc2 or predictions",
        "pixels": "grid4 to grid8 or mean",
    }
