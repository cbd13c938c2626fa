"""Settings of Keras that other projects left behind.

Promise: keras.json is neither read nor written, and no environment variable is left changed.
Promise: embeddings don't depend on what the program has set in Keras, and its settings stay.
Promise: a backend that can't be used is one line, which names the variable.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

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
    keras.config.set_epsilon(0.5)
    keras.config.set_dtype_policy("mixed_float16")
np.savez(sys.argv[2], *[embedded(*kind) for kind in kinds])
config = keras.config
print(config.image_data_format(), config.floatx(), config.epsilon(), config.dtype_policy().name)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Keras's folder, in which a test may put a keras.json."""
    (tmp_path / "keras").mkdir()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
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
    assert said == "channels_last float32 1e-07 float32"
    return folder


def test_what_a_program_has_set_in_keras_changes_nothing(home, defaults, tmp_path):
    said = embed("changed", tmp_path / "changed.npz")
    assert said == "channels_first float64 0.5 mixed_float16"
    default, changed = np.load(defaults / "default.npz"), np.load(tmp_path / "changed.npz")
    for name in default.files:
        np.testing.assert_array_equal(default[name], changed[name])


# Start Keras as an engine does. Says what Keras is then, which variables were changed, and whether
# a file that Keras downloaded before is found.
START = """
import json, os, sys
from pathlib import Path
from tlfeatures.features.engines.keras_start import start_keras

before = dict(os.environ)
start_keras()
import keras

names = {*before, *os.environ}
changed = [name for name in sorted(names) if before.get(name) != os.environ.get(name)]
path = keras.utils.get_file("old.h5", origin="http://127.0.0.1:9/old.h5", cache_subdir="models")
config = keras.config
settings = [config.backend(), config.floatx(), config.epsilon(), config.image_data_format()]
print(json.dumps([settings, changed, Path(path).read_text()]))
"""
DEFAULTS = ["tensorflow", "float32", 1e-7, "channels_last"]


def start(home):
    """What START says, with a file that Keras downloaded before."""
    (home / "models").mkdir(exist_ok=True)
    (home / "models" / "old.h5").write_text("old")
    done = run(sys.executable, "-c", START)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    settings, changed, found = json.loads(done.stdout)
    # TensorFlow's level of messages isn't a setting of Keras
    assert [name for name in changed if name.startswith("KERAS")] == []
    assert found == "old"
    return settings


@pytest.mark.parametrize(
    "content",
    [
        '{"backend": "torch", "floatx": "float16", "image_data_format": "channels_first"}',
        *(
            pytest.param(content, marks=pytest.mark.long)
            for content in (
                '{"backend": "theano", "epsilon": 0.1}',
                '{"floatx": "float7"}',
                '{"floatx": "bfloat16"}',
                '{"image_data_format": "sideways"}',
                '{"backend": ',
            )
        ),
    ],
)
def test_a_keras_json_is_not_read_and_stays(home, content):
    (home / "keras.json").write_text(content)
    assert start(home) == DEFAULTS
    assert (home / "keras.json").read_text() == content


def test_no_keras_json_is_written_and_a_changed_one_in_the_cache_is_not_trusted(home, tmp_path):
    assert start(home) == DEFAULTS
    assert [path.name for path in home.rglob("keras.json")] == []
    [own] = tmp_path.joinpath("cache").rglob("keras.json")
    own.write_text('{"backend": "numpy", "floatx": "float16"}')
    assert start(home) == DEFAULTS


def test_a_folder_in_place_of_keras_json_and_a_cache_that_is_a_file_do_no_harm(home, tmp_path):
    (home / "keras.json").mkdir()
    (tmp_path / "cache").write_text("")
    assert start(home) == DEFAULTS


def test_embeddings_do_not_depend_on_keras_json(home, defaults, photos):
    settings = {"backend": "theano", "image_data_format": "channels_first", "floatx": "float16"}
    (home / "keras.json").write_text(json.dumps(settings))
    verified = run(*EXTRACT[:-1], "verify", defaults / "plain.h5", "--source", photos)
    assert verified.returncode == 0, verified.stdout + verified.stderr


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
