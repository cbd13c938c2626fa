"""Presets of keras_hub as backbones: `make test-hub` installs keras_hub and runs them.

Promise: features are those of the encoder with the preset's own scaling; tokens of the patches are
averaged without those before them.
Promise: a folder that isn't such a preset is one clear line, and nothing in it is executed.
"""

import json

import numpy as np
import pytest

from tests.keras_networks import spec_of
from tlfeatures import extract
from tlfeatures.errors import ParameterError, WeightsError
from tlfeatures.features.engines.keras_start import start_keras
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.engines.open_network import open_network

SIDE = 32
SIZES = {"patch_size": 8, "hidden_dim": 16, "num_layers": 2, "num_heads": 2}
SIZES |= {"intermediate_dim": 32, "image_shape": (SIDE, SIDE, 3)}
TEXT = {"vocabulary_size": 50, "embedding_dim": 16, "hidden_dim": 16, "num_layers": 1}
TEXT |= {"num_heads": 2, "intermediate_dim": 32, "max_sequence_length": 8}
SCALE, OFFSET = [0.017, 0.0175, 0.0174], [-2.1, -2.0, -1.8]


def make_dinov2(models):
    options = {"num_register_tokens": 2, "position_embedding_shape": (SIDE, SIDE, 3)}
    return models.DINOV2Backbone(**SIZES, **options)


def make_clip(models):
    return models.CLIPBackbone(models.CLIPVisionEncoder(**SIZES), models.CLIPTextEncoder(**TEXT), 8)


def make_siglip(models):
    vision, text = models.SigLIPVisionEncoder(**SIZES), models.SigLIPTextEncoder(**TEXT)
    return models.SigLIPBackbone(vision, text)


FAMILIES = {
    "dinov2": (make_dinov2, "DINOV2ImageConverter", 3),
    "clip": (make_clip, "CLIPImageConverter", 1),
    "siglip": (make_siglip, "SigLIPImageConverter", 0),
}


@pytest.fixture(scope="module", params=FAMILIES)
def preset(request, tmp_path_factory):
    """A preset with random weights in a folder; its encoder; the tokens before the patches."""
    start_keras()
    import keras_hub

    make, converter, prefix = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    network = make(keras_hub.models)
    network.save_to_preset(str(folder))
    options = {"image_size": (SIDE, SIDE), "scale": SCALE, "offset": OFFSET}
    getattr(keras_hub.layers, converter)(**options).save_to_preset(str(folder))
    network = keras_hub.models.Backbone.from_preset(str(folder))
    return folder, getattr(network, "vision_encoder", network), prefix


def images():
    return np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)


def deep(encoder):
    """Name a layer of one output at the end of an encoder, not a pooled one."""
    single = [layer.name for layer in encoder.layers if not isinstance(layer.output, list)]
    return single[-2] if encoder.outputs[0].ndim == 2 else single[-1]


def test_features_are_those_of_the_encoder(preset):
    import keras

    folder, encoder, prefix = preset
    opened = open_network(f"hub:{folder}").for_size((SIDE, SIDE), [deep(encoder)])
    names = [opened.record.default_embedding]
    tokens = next(item for item in opened.declaration.outputs if item.layout == "tokens")
    assert tokens.prefix == prefix
    names += [f"{tokens.layer}.{pool}" for pool in ("avg", "max")]
    rows = load_backbone(spec_of(opened, (SIDE, SIDE)), names, device="cpu").embed(images())
    inner = keras.Model(
        encoder.inputs[0], [encoder.get_layer(tokens.layer).output, encoder.outputs[0]]
    )
    pixels = images() * np.float32(SCALE) + np.float32(OFFSET)
    maps, last = (np.asarray(value) for value in inner.predict(pixels, verbose=0))
    last = last if last.ndim == 2 else last[:, 0]
    expected = [last, maps[:, prefix:].mean(axis=1), maps[:, prefix:].max(axis=1)]
    for name, values in zip(names, expected, strict=True):
        np.testing.assert_allclose(rows[name], values, rtol=1e-4, atol=1e-4)


def test_a_preset_is_embedded_and_updated(preset, photos, tmp_path):
    folder, encoder, _ = preset
    extract(photos, tmp_path / "x.h5", backbone=f"hub:{folder}")
    extract(photos, tmp_path / "x.h5", layers=deep(encoder))
    with pytest.raises(ParameterError, match="takes images of 32 x 32"):
        extract(photos, tmp_path / "y.h5", backbone=f"hub:{folder}", size=48)


def write_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def copy(preset, tmp_path):
    for path in preset[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"module": "subprocess", "class_name": "Popen"}, "subprocess.Popen"),
        ({"module": "keras.layers", "class_name": "Lambda"}, "keras.layers.Lambda"),
        ({"registered_name": "evil>Backbone"}, "has the object"),
        ({"config": {"layers": [{"class_name": "Lambda", "config": {}}]}}, "None.Lambda"),
    ],
)
def test_other_objects_are_refused(copy, changes, said):
    write_config(copy, **changes)
    with pytest.raises(WeightsError, match=said) as caught:
        open_network(f"hub:{copy}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "image_converter.json", "model.weights.h5"])
def test_a_missing_or_damaged_file_is_refused(copy, name):
    (copy / name).write_bytes(b"{")
    with pytest.raises(WeightsError, match=name.replace(".", "[.]")):
        open_network(f"hub:{copy}")
    (copy / name).unlink()
    with pytest.raises(WeightsError, match="is missing"):
        open_network(f"hub:{copy}")


def test_without_a_network_a_preset_by_name_is_one_line(monkeypatch):
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="can't be obtained") as caught:
        open_network("hub:dinov2_small")
    assert "\n" not in str(caught.value)
