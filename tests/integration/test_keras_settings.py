"""Settings of Keras that other projects left behind.

Promise: embeddings don't depend on keras.json or on what the program has set in Keras.
Promise: a backend that can't be used is one line, which names the file or the variable.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.integration

EXTRACT = (sys.executable, "-m", "tlfeatures", "extract")
OPTIONS = ("--size", "32", "--weights", "random", "--engine", "keras", "--precision", "float32")

# Embed images by Keras with its defaults, and again after a program has changed them.
PROGRAM = """
import sys
import keras, numpy as np
from tlfeatures import Extractor, extract

images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)

settings = dict(size=32, weights="random", engine="keras")

def embedded(pool, precision):
    return Extractor(pools=pool, precision=precision, **settings).fit_transform(images)

kinds = [("flatten", "float32"), ("avg", "bfloat16")]
if sys.argv[1] == "default":
    extract(sys.argv[3], sys.argv[4], precision="float32", **settings)
else:
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("mixed_float16")
np.savez(sys.argv[2], *[embedded(*kind) for kind in kinds])
print(keras.config.image_data_format(), keras.config.floatx(), keras.config.dtype_policy().name)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Keras's folder, in which a test may put a keras.json."""
    (tmp_path / "keras").mkdir()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return tmp_path / "keras"


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def embed(state, *paths):
    """What PROGRAM says of Keras's settings."""
    done = run(sys.executable, "-c", PROGRAM, state, *paths)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def defaults(_photos, tmp_path_factory):
    """What Keras's defaults give: embeddings in default.npz, and a file of photos in plain.h5."""
    folder = tmp_path_factory.mktemp("defaults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(folder))
        patch.delenv("KERAS_BACKEND", raising=False)
        said = embed("default", folder / "default.npz", _photos, folder / "plain.h5")
    assert said == "channels_last float32 float32"
    return folder


def test_what_a_program_has_set_in_keras_changes_nothing(home, defaults, tmp_path):
    said = embed("changed", tmp_path / "changed.npz")
    assert said == "channels_first float64 mixed_float16"
    default, changed = np.load(defaults / "default.npz"), np.load(tmp_path / "changed.npz")
    for name in default.files:
        np.testing.assert_array_equal(default[name], changed[name])


@pytest.mark.parametrize(
    "settings",
    [
        {"image_data_format": "channels_first", "floatx": "float16"},
        pytest.param({"floatx": "float64"}, marks=pytest.mark.long),
    ],
    ids=json.dumps,
)
def test_settings_of_keras_json_change_nothing(home, defaults, photos, settings):
    (home / "keras.json").write_text(json.dumps(settings))
    verified = run(*EXTRACT[:-1], "verify", defaults / "plain.h5", "--source", photos)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backend": "theano"}, "theano"),
        pytest.param({"backend": "absent_backend"}, "absent_backend", marks=pytest.mark.long),
        ({"floatx": "float7"}, ""),
        ({"floatx": "bfloat16"}, "bfloat16"),
        pytest.param({"image_data_format": "sideways"}, "", marks=pytest.mark.long),
    ],
    ids=json.dumps,
)
def test_a_keras_json_that_keras_refuses_is_named(home, photos, tmp_path, settings, said):
    (home / "keras.json").write_text(json.dumps(settings))
    done = run(*EXTRACT, photos, "-o", tmp_path / "x.h5", *OPTIONS)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (1, "", 1), done.stderr
    assert lines[0].startswith("Error: Keras can't be imported")
    assert str(home / "keras.json") in lines[0]
    assert "set KERAS_HOME" in lines[0]
    assert said in lines[0]
    assert not (tmp_path / "x.h5").exists()


def test_a_folder_in_place_of_keras_json_is_named(home, photos, tmp_path):
    (home / "keras.json").mkdir()
    done = run(*EXTRACT, photos, "-o", tmp_path / "x.h5", *OPTIONS)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert str(home / "keras.json") in done.stderr
    assert "set KERAS_HOME" in done.stderr


@pytest.mark.parametrize(
    "backend",
    [
        "torch",  # supported, but it can't be imported here
        "theano",  # none that Keras knows
        "numpy",  # Keras imports it, but it isn't supported
        *(pytest.param(name, marks=pytest.mark.long) for name in ("jax", "openvino")),
    ],
)
def test_a_backend_of_the_environment_that_cannot_be_used_is_named(
    home, photos, tmp_path, monkeypatch, backend
):
    # A package that can't be imported, on machines that have it, too.
    (tmp_path / "absent").mkdir()
    for name in ("torch", "jax"):
        (tmp_path / "absent" / f"{name}.py").write_text(f"raise ImportError('no {name} here')")
    paths = [str(tmp_path / "absent"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("KERAS_BACKEND", backend)
    done = run(*EXTRACT, photos, "-o", tmp_path / "x.h5", *OPTIONS)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (1, "", 1), done.stderr
    assert f"KERAS_BACKEND={backend}" in lines[0]
    assert "set KERAS_BACKEND=tensorflow" in lines[0]
