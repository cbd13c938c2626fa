"""A user's own `.keras` file as a backbone.

Promise: rows are those of the network in Keras; a layer is one pass; the file is found by its hash.
Promise: a hostile file is one clear line; nothing in it is executed, and no other file is read.
"""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.keras_files import LAMBDA, conv, keras_file, layer, network, weights_file
from tests.keras_networks import spec_of
from tlfeatures import extract
from tlfeatures.errors import ParameterError, TlfeaturesError, WeightsError
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.engines.open_network import open_network

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SIZE = (40, 32)
DECLARED = {"colour": "BGR", "mean": [10, 20, 30], "std": [40, 50, 60]}


def declare(path, **entries):
    """Write a declaration beside a .keras file, and return the path of the declaration."""
    data = {"format": "tlfeatures backbone", "version": 1, "name": "small", "file": path.name}
    declaration = path.with_suffix(".json")
    declaration.write_text(json.dumps({**data, **DECLARED, **entries}))
    return str(declaration)


@pytest.fixture(scope="module")
def small():
    """A network of Keras with normalisation, a branch and a vector at its end."""
    import keras

    image = keras.Input((None, None, 3))
    first = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="first")(image)
    second = keras.layers.DepthwiseConv2D(3, padding="same", name="deep")(first)
    second = keras.layers.BatchNormalization()(second)
    total = keras.layers.Add()([first, second])
    vector = keras.layers.GlobalAveragePooling2D(name="features")(total)
    return keras.Model(image, keras.layers.Dense(5, name="head")(vector))


@pytest.fixture
def path(small, tmp_path):
    small.save(tmp_path / "small.keras")
    return tmp_path / "small.keras"


def images(count=3):
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), np.uint8)


def rows_of(declaration, layers, size=SIZE):
    opened = open_network(declaration).for_size(size, layers)
    return load_backbone(spec_of(opened, size), layers, device="cpu").embed(images())


def test_rows_are_those_of_the_network_in_keras(small, path):
    import keras

    layers = ["first", "deep", "features"]
    alone = keras.Model(small.input, [small.get_layer(name).output for name in layers])
    pixels = (images()[..., ::-1] - np.array(DECLARED["mean"])) / DECLARED["std"]
    first, deep, vector = (np.asarray(value) for value in alone.predict(pixels, verbose=0))
    names = ["first.max", "deep.avg", "deep.flatten", "features.none"]
    rows = rows_of(declare(path, outputs={"features": "features"}), names)
    expected = [first.max(axis=(1, 2)), deep.mean(axis=(1, 2)), deep.reshape(3, -1), vector]
    for name, values in zip(names, expected, strict=True):
        np.testing.assert_allclose(rows[name], values, rtol=1e-4, atol=1e-4)


def test_a_batch_of_large_images_is_smaller_though_the_file_takes_any_size(path):
    declaration = declare(path)

    def most(size):
        opened = open_network(declaration).for_size(size, [])
        return load_backbone(spec_of(opened, size), ["head.none"], device="cpu").most

    assert most((2400, 2400)) < most(SIZE)


def test_the_default_layer_is_the_last_one(path):
    opened = open_network(declare(path)).for_size(SIZE, [])
    assert opened.record.default_embedding == "head.none"


def test_a_check_vector_is_compared(path):
    opened = open_network(declare(path)).for_size(SIZE, [])
    own = opened.declaration.check
    check = {"size": list(SIZE), "norm": own.norm, "first": list(own.first)}
    open_network(declare(path, check=check)).for_size(SIZE, [])
    with pytest.raises(WeightsError, match="is not as declared"):
        open_network(declare(path, check=check, colour="RGB")).for_size(SIZE, [])


def test_layers_that_are_always_in_training_mode_are_refused(tmp_path):
    import keras

    image = keras.Input((None, None, 3))
    values = keras.layers.Conv2D(4, 3)(image)
    values = keras.layers.BatchNormalization()(values, training=True)
    keras.Model(image, values).save(tmp_path / "small.keras")
    with pytest.raises(ParameterError, match="without training=True"):
        open_network(declare(tmp_path / "small.keras")).for_size(SIZE, [])


def test_a_layer_that_mixes_the_images_of_a_batch_is_refused(tmp_path):
    import keras

    image = keras.Input((None, None, 3))
    values = keras.layers.Conv2D(4, 3)(keras.layers.UnitNormalization(axis=0)(image))
    keras.Model(image, values).save(tmp_path / "small.keras")
    with pytest.raises(ParameterError, match="other values for an image in a batch"):
        open_network(declare(tmp_path / "small.keras")).for_size(SIZE, [])


def test_layers_that_augment_in_training_leave_the_images_as_they_are(tmp_path):
    import keras

    image = keras.Input((None, None, 3))
    convolution = keras.layers.Conv2D(4, 3)
    plain = keras.Model(image, convolution(image))
    augmented = keras.layers.RandomFlip()(keras.layers.RandomRotation(0.2)(image))
    keras.Model(image, convolution(augmented)).save(tmp_path / "small.keras")
    pixels = (images()[..., ::-1] - np.array(DECLARED["mean"])) / DECLARED["std"]
    expected = np.asarray(plain(pixels)).mean(axis=(1, 2))
    name = f"{convolution.name}.avg"
    rows = rows_of(declare(tmp_path / "small.keras"), [name])
    np.testing.assert_allclose(rows[name], expected, rtol=1e-4, atol=1e-4)


def test_an_embeddings_file_is_updated_and_another_file_is_refused(small, path, photos, tmp_path):
    options = {"size": 32, "backbone": declare(path)}
    extract(photos, tmp_path / "x.h5", **options)
    extract(photos, tmp_path / "x.h5", layers="deep")
    weights = small.get_weights()
    try:
        small.set_weights([weights[0] * 1.01, *weights[1:]])
        small.save(path)
    finally:
        small.set_weights(weights)
    with pytest.raises(WeightsError, match="is not the file of backbone small"):
        extract(photos, tmp_path / "x.h5", layers="first")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"mean": None}, "mean must be 3 numbers"),
        ({"layout": "NCHW"}, "layout is NCHW, a .keras file has NHWC"),
        ({"input": "other"}, "input is 'other'"),
        ({"outputs": {"features": "nowhere"}}, "there is no layer of small.keras 'nowhere'"),
        ({"outputs": {"deep": {"tensor": "deep", "kind": "tokens"}}}, "layer deep of small"),
    ],
)
def test_a_declaration_that_does_not_fit_is_one_line(path, entries, said):
    with pytest.raises(ParameterError, match=said) as caught:
        open_network(declare(path, **entries)).for_size(SIZE, [])
    assert "\n" not in str(caught.value)


def _link_to_secret(file):
    file["layers/conv2d/vars/2"] = h5py.ExternalLink("secret.h5", "/values")


def _values_of_secret(file):
    del file["layers/conv2d/vars/1"]
    shape, external = (4,), [("secret.bin", 0, 16)]
    file.create_dataset("layers/conv2d/vars/1", shape, np.float32, external=external)


HOSTILE = {
    "lambda": network(LAMBDA),
    "lambda in a network": network({**network(LAMBDA), "compile_config": None}),
    "saved model": network(layer("TFSMLayer", filepath="secret")),
    "vocabulary": network(layer("StringLookup", vocabulary="secret.txt")),
    "module": network(layer("Popen", module="subprocess", args=["touch", "executed"])),
    "function": network(
        conv(activation={"class_name": "function", "module": "os", "config": "system"})
    ),
    "download": network(
        conv(
            kernel_initializer={
                "class_name": "function",
                "module": "keras.utils",
                "config": "get_file",
                "registered_name": "get_file",
            }
        )
    ),
    "memory": network(layer("Dense", units=2**40)),
    "depth": network(conv(name=json.loads("[" * 500 + "]" * 500))),
    "other input": {**network(conv()), "config": {"name": "x", "layers": []}},
}


@pytest.mark.parametrize("kind", [*HOSTILE, "link", "values outside", "more members", "no zip"])
def test_a_hostile_file_is_one_line_and_nothing_happens(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    contents = {
        "link": keras_file(network(conv()), {"model.weights.h5": weights_file(_link_to_secret)}),
        "values outside": keras_file(
            network(conv()), {"model.weights.h5": weights_file(_values_of_secret)}
        ),
        "more members": keras_file(network(conv()), {"../executed": b"x"}),
        "no zip": b"PK no zip",
    }
    content = contents.get(kind) or keras_file(HOSTILE[kind])
    (tmp_path / "small.keras").write_bytes(content)
    declaration = declare(tmp_path / "small.keras")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(TlfeaturesError) as caught:
        open_network(declaration).for_size((32, 32), [])
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value).replace("secret.txt", "")
    assert sorted(os.listdir(tmp_path)) == before
    assert not Path("executed").exists()
    assert not Path("../executed").exists()


def test_the_plain_form_of_the_hostile_files_is_loaded(tmp_path):
    (tmp_path / "small.keras").write_bytes(keras_file(network(conv())))
    opened = open_network(declare(tmp_path / "small.keras")).for_size((32, 32), [])
    assert opened.record.default_embedding == "conv.avg"


def test_weights_that_are_missing_are_not_random_ones(tmp_path):
    def without_bias(file):
        del file["layers/conv2d/vars/1"]

    members = {"model.weights.h5": weights_file(without_bias)}
    (tmp_path / "small.keras").write_bytes(keras_file(network(conv()), members))
    with pytest.raises(WeightsError, match="small"):
        open_network(declare(tmp_path / "small.keras"))
