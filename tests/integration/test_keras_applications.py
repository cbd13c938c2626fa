"""Networks of keras.applications by name: weights, layer names, and what stays as it was.

Promise: a file of weights is where Keras keeps it; without a network one line names what there is.
Promise: a layer has one name however many networks the process has built.
Promise: other weights, another preprocessing or another network of Keras are refused.
Promise: nothing that the user's program has set in Keras or NumPy is changed.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.keras_networks import APPLICATIONS, SMALL, open_application, spec_of
from tlfeatures import Extractor, extract, fit
from tlfeatures.errors import EngineError, ParameterError, SpecError, WeightsError
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.engines.open_network import open_network

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SIZE = (48, 32)
NAME = "mobilenetv3small"

# Ask Keras for the weights of networks: with a file in place that has the wrong content, and
# without it. Says for each network what Keras printed and its errors.
ASK = """
import contextlib, io, json, sys
from pathlib import Path
import keras

def ask(network, size):
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            construct = getattr(keras.applications, network)
            construct(weights="imagenet", include_top=False, input_shape=(size, size, 3))
    except Exception as error:
        return printed.getvalue() + str(error)

said = {}
for network, (size, file) in json.loads(sys.argv[1]).items():
    with_file = ask(network, size)
    Path(file).unlink(missing_ok=True)
    said[network] = [with_file, with_file if "URL fetch" in with_file else ask(network, size)]
print(json.dumps(said))
"""
# What Keras says of a file with the wrong content: most files have a hash, others are opened.
WRONG = ("A local file was found", "file signature not found")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No host can be reached, and nothing was downloaded before; gives Keras's folder."""
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    (tmp_path / "keras" / "models").mkdir(parents=True)
    return tmp_path / "keras"


@pytest.mark.parametrize(
    "names",
    [list(SMALL), pytest.param(list(APPLICATIONS), marks=pytest.mark.long)],
    ids=["small", "all"],
)
def test_files_of_weights_are_those_that_keras_asks_for(names, offline):
    applications = [APPLICATIONS[name] for name in names]
    asked = {}
    for named in applications:
        file = offline / "models" / named.application.file
        file.write_bytes(b"wrong")
        asked[named.application.network] = [named.default_size, str(file)]
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(asked)], capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    for named in applications:
        with_file, without_file = said[named.application.network]
        assert any(text in with_file for text in WRONG), named.name
        assert named.application.url in without_file, named.name


def test_without_a_network_one_line_names_the_backbones_that_there_are(offline):
    (offline / "models" / APPLICATIONS["densenet121"].application.file).write_bytes(b"")
    with pytest.raises(WeightsError) as caught:
        open_network("resnet50").for_size((224, 224), [])
    message = str(caught.value)
    assert "\n" not in message
    for name in ("ResNet50", "vgg16", "efficientnet-lite0", "mobilenetv2", "densenet121"):
        assert name in message


def test_a_damaged_file_of_weights_is_one_line(offline):
    application = APPLICATIONS[NAME].application
    (offline / "models" / application.file).write_bytes(b"wrong")
    with pytest.raises(WeightsError, match="can't be obtained") as caught:
        open_network(NAME).for_size(SIZE, [])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [NAME, pytest.param("nasnetmobile", marks=pytest.mark.long)])
def test_a_second_network_of_the_process_has_the_same_names_and_features(name):
    first = open_application(name, SIZE, ("activation_5",))
    assert open_application(name, SIZE, ("activation_5",)) == first


def test_names_are_those_of_a_process_with_no_other_network():
    program = (
        "import keras, json; network = keras.applications.MobileNetV3Small(weights=None, "
        "include_top=False, input_shape=(48, 32, 3)); "
        "print(json.dumps([layer.name for layer in network.layers]))"
    )
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, env=environment
    )
    names = json.loads(done.stdout.splitlines()[-1])
    open_application(NAME, SIZE)  # so that the next one isn't the first of this process
    layers = tuple(names[position] for position in (1, 4, 40, 90, len(names) - 1))
    outputs = open_application(NAME, SIZE, layers).declaration.outputs
    assert [names[int(output.tensor)] for output in outputs] == list(layers)
    assert [output.layer for output in outputs] == list(layers)


@pytest.fixture(scope="module")
def opened():
    return open_application(NAME, SIZE)


def load(backbone, pool="avg", **changes):
    declaration = replace(backbone.declaration, **changes)
    spec = spec_of(replace(backbone, declaration=declaration), SIZE)
    return load_backbone(spec, [f"{backbone.record.default_layer}.{pool}"], device="cpu")


def test_another_preprocessing_or_network_is_refused(opened):
    load(opened)
    with pytest.raises(WeightsError, match="is not as declared"):
        load(opened, mean=(1.0, 2.0, 3.0))
    with pytest.raises(WeightsError, match="is not as declared"):
        load(opened, colour="BGR")
    with pytest.raises(WeightsError, match="have sha256"):
        load(replace(opened, sha256="0" * 64))


def test_a_file_of_weights_is_read_by_its_hash(opened, tmp_path):
    import keras

    network = keras.applications.MobileNetV3Small(
        weights=None, include_top=False, input_shape=(64, 64, 3)
    )
    path = tmp_path / "x.weights.h5"
    network.save_weights(path)
    backbone = open_application(NAME, SIZE, weights=str(path))
    load(backbone)
    network.set_weights([values * 1.5 for values in network.get_weights()])
    network.save_weights(path)
    with pytest.raises(WeightsError, match="have sha256"):
        load(backbone, pool="max")  # another embedding, so that the file is read again
    path.unlink()
    with pytest.raises(WeightsError, match=r"can't be read .*: give the file with --weights"):
        load(backbone, pool="max")


def test_an_empty_file_of_weights_is_one_line(tmp_path):
    path = tmp_path / "x.weights.h5"
    path.touch()
    with pytest.raises(WeightsError, match="is empty, expected"):
        open_application(NAME, SIZE, weights=str(path))


def test_the_transformer_draws_weights_by_its_seed():
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    rows = [
        Extractor(NAME, size=32, weights="random", random_state=seed).transform([image])
        for seed in (0, 1)
    ]
    assert np.abs(rows[0] - rows[1]).max() > 0


def test_a_layer_that_is_elsewhere_in_this_version_of_keras_is_refused(opened):
    (output,) = opened.declaration.outputs
    moved = replace(output, tensor=str(int(output.tensor) - 1))
    with pytest.raises(EngineError, match=f"where {output.layer} was: use the version"):
        load(opened, outputs=(moved,), check=None)
    with pytest.raises(EngineError, match="was number x: use the version"):
        load(opened, outputs=(replace(output, tensor="x"),), check=None)


def test_weights_of_another_network_and_a_file_for_efficientnet_are_one_line(tmp_path):
    import keras

    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3)]).save_weights(path)
    with pytest.raises(WeightsError, match="doesn't fit the network") as caught:
        open_application(NAME, SIZE, weights=str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(ParameterError, match="use --weights imagenet"):
        open_application("efficientnetb0", SIZE, weights=str(path))


def test_what_the_program_has_set_stays():
    import keras

    config = keras.config
    before = config.floatx(), config.image_data_format(), config.dtype_policy().name
    state = np.random.get_state()[1].copy()
    config.set_image_data_format("channels_first")
    config.set_dtype_policy("mixed_float16")
    try:
        load(open_application(NAME, SIZE))
        assert config.image_data_format() == "channels_first"
        assert config.dtype_policy().name == "mixed_float16"
    finally:
        config.set_image_data_format(before[1])
        config.set_dtype_policy(before[2])
    assert (np.random.get_state()[1] == state).all()


def test_a_backbone_by_name_is_embedded_fitted_and_updated(photos, tmp_path):
    options = {"backbone": NAME, "weights": "random", "size": 32}
    extract(photos, tmp_path / "x.h5", **options)
    extract(photos, tmp_path / "x.h5", layers="re_lu", pools="max")
    with pytest.raises(SpecError, match="weights_sha256"):
        extract(photos, tmp_path / "x.h5", random_state=1)
    result = fit(tmp_path / "x.h5", "logreg", embedding="re_lu.max", model=tmp_path / "m.model")
    assert result.model.spec.declaration.network == "MobileNetV3Small"
