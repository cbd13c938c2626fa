"""Backbones as ONNX: from pixels to the same rows."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from tests.unit.exported import assert_exported_alike, both, model_of, random_vgg16, vgg16_rows
from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.features.backbones.weights import load_weights
from tlfeatures.features.engines.onnx_graph import Graph
from tlfeatures.models.export.backbone import add_backbone

GRIDS = [f"{layer}.{pool}" for layer in ("grid4", "grid8") for pool in ("avg", "max", "flatten")]


@pytest.mark.parametrize("embedding", [*GRIDS, "mean.none"])
def test_colours_of_each_layer_and_pooling(embedding, tmp_path):
    assert_exported_alike(model_of("lda", embedding=embedding), tmp_path)


@pytest.mark.parametrize("count", [1, 5, 33])
def test_any_number_of_images(count, tmp_path):
    table, labels, expected, named = both(model_of("logreg", 3), tmp_path, count)
    assert table.shape == (count, 3)
    assert labels == named
    np.testing.assert_allclose(table, expected, atol=1e-4)


@pytest.fixture(scope="module")
def vgg16():
    return random_vgg16((32, 40))


def test_the_first_convolution_written_out(vgg16):
    """Blue before red, means subtracted, then zeros around, a product, rectified."""
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 40, 3), np.uint8)
    kernel, bias = load_weights(VGG16, "random").tensors["block1_conv1"]
    centred = images[..., ::-1].astype(float) - [103.939, 116.779, 123.68]
    padded = np.pad(centred, [(0, 0), (1, 1), (1, 1), (0, 0)])
    windows = sliding_window_view(padded, (3, 3), axis=(1, 2))
    features = np.maximum(np.einsum("nyxchw,hwco->nyxo", windows, kernel) + bias, 0)
    for pool, expected in (
        ("flatten", features.reshape(2, -1)),
        ("avg", features.mean(axis=(1, 2))),
        ("max", features.max(axis=(1, 2))),
    ):
        found = vgg16_rows(vgg16, f"block1_conv1.{pool}", images)
        np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_the_graph_ends_at_the_layer(vgg16):
    images = np.zeros((1, 32, 40, 3), np.uint8)
    for embedding, width in {
        "block1_pool.flatten": 16 * 20 * 64,
        "block3_conv2.max": 256,
        "flatten.none": 512,
    }.items():
        assert vgg16_rows(vgg16, embedding, images).shape == (1, width)


def test_other_weights_are_refused(vgg16):
    with pytest.raises(WeightsError, match="expected 00"):
        add_backbone(Graph(), "x", replace(vgg16, weights_sha256="00"), "block1_conv1.avg")
