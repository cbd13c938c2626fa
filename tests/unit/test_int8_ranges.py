"""Ranges of an int8 backbone are measured on images, or it is an error."""

import hashlib
from dataclasses import replace

import joblib
import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tests.fakes import Constant, write_image
from tlfeatures import Extractor, extract
from tlfeatures.errors import EngineError, ImageError, ParameterError, SourceError
from tlfeatures.features.backbones.quantization import calibration_names, largest_inputs
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.features.calibrate import SAMPLE, calibrate
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.engines.choose import ENGINES
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.settings import Settings, make_spec


class Loaded(Constant):
    """Remembers how many images it was asked for."""

    def __init__(self, names, spec, value):
        super().__init__(names, value)
        self.one_shape, self.spec, self.images = False, spec, 0

    def embed(self, images):
        self.images += len(images)
        return super().embed(images)


@pytest.fixture
def engine(monkeypatch):
    """A double of OpenVINO whose values are 3; `engine.append(value)` changes them."""
    values, loaded = [3.0], []

    def load(spec, names, device, weights, threads):
        loaded.append(Loaded(names, spec, values[-1]))
        return loaded[-1]

    own = replace(ENGINES["openvino"], load=load, package="json")
    monkeypatch.setitem(ENGINES, "openvino", own)
    return values, loaded


@pytest.fixture
def extractor():
    return Extractor(size=32, weights="random", precision="int8", random_state=1)


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 20, 24, 3), np.uint8)


# ---- the transformer


def test_an_int8_extractor_measures_ranges_and_embeds_with_them(engine, extractor):
    _, loaded = engine
    made = extractor.fit(images(5))
    assert made is extractor
    assert (made.quantization_.images, made.quantization_.layers_without_range()) == (5, [])
    assert loaded[-1].spec.precision == "float32"
    assert extractor.transform(images(3)).shape == (3, 512)
    assert loaded[-1].spec.precision == "int8"
    assert loaded[-1].spec.quantization == made.quantization_


def test_one_that_is_not_fitted_refuses(engine, extractor):
    for each in (extractor, clone(extractor.fit(images(2)))):
        fresh = each if not hasattr(each, "quantization_") else clone(each)
        with pytest.raises(NotFittedError, match=r"precision int8 is not fitted yet: fit\(X\)"):
            fresh.transform(images(2))
    assert Extractor("pixels", "grid4", size=16).transform(images(2)).shape == (2, 48 // 16)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (None, ParameterError, r"int8 needs images: fit\(X\)"),
        ([], ParameterError, "got none"),
        (np.empty((0, 20, 20, 3), np.uint8), ParameterError, "got none"),
        ("x.jpg", ParameterError, "expected a sequence"),
        (["no/such.jpg"], ImageError, r"no/such\.jpg"),
    ],
)
def test_one_without_images_is_not_fitted(engine, extractor, given, error, message):
    with pytest.raises(error, match=message):
        extractor.fit(given)
    assert not hasattr(extractor, "quantization_")


def test_the_sample_is_bounded_and_drawn_by_a_seed(engine, extractor):
    _, loaded = engine
    first = extractor.fit(images(SAMPLE + 40)).quantization_
    assert (first.images, loaded[-1].images) == (SAMPLE, SAMPLE)
    assert clone(extractor).fit(images(SAMPLE + 40)).quantization_ == first


def test_it_is_a_step_of_a_pipeline_and_keeps_its_ranges(engine, extractor, tmp_path):
    X, y = images(8), np.array(["a", "b"] * 4)
    model = make_pipeline(extractor, LogisticRegression()).fit(X, y)
    assert model.predict(X).shape == (8,)
    joblib.dump(extractor, tmp_path / "x")
    assert joblib.load(tmp_path / "x").quantization_ == extractor.quantization_
    assert extractor.__sklearn_tags__().requires_fit
    assert not Extractor().__sklearn_tags__().requires_fit


def test_a_backbone_without_weights_has_no_int8():
    with pytest.raises(ParameterError, match="pixels has no weights"):
        Extractor("pixels", precision="int8").fit(images(2))


def test_images_that_leave_a_layer_without_a_range_are_an_error(engine, extractor):
    engine[0].append(0.0)
    with pytest.raises(SourceError, match=r"largest input of block1_conv2.* is 0\.0"):
        extractor.fit(images(3))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_ranges_that_are_no_numbers_are_an_error(engine, extractor, value):
    engine[0].append(value)
    with pytest.raises(EngineError, match=r"values of block1_conv1\.max that aren't finite"):
        extractor.fit(images(3))


def test_images_of_one_colour_are_said(engine, extractor, caplog):
    colours = np.full((4, 20, 24, 3), 7, np.uint8)
    colours[1:3, ..., 1] = 200
    extractor.fit(colours)
    assert "int8 is calibrated on 4 images of one colour each" in caplog.text
    caplog.clear()
    extractor.fit(np.concatenate([colours, images(1)]))
    assert "one colour" not in caplog.text


# ---- every way that calibrates


def test_no_way_computes_int8_without_ranges(engine):
    settings = Settings(weights="random", precision="int8")
    spec = make_spec(settings, "vgg16", (32, 32), ["block5_pool.avg"], "cpu")
    with pytest.raises(ParameterError, match="int8 backbone needs ranges"):
        load_backbone(spec, ["block5_pool.avg"])


INT8 = {"weights": "random", "size": 32, "precision": "int8"}


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_a_folder_of_which_nothing_can_be_read_is_an_error(engine, tmp_path, names):
    for name in names:
        path = tmp_path / "photos" / name / "bad.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + name.encode() * 50)
    with pytest.raises(SourceError, match=r"none can be read; .*bad\.png can't be read: ."):
        extract(tmp_path / "photos", tmp_path / "x.h5", **INT8)
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"text"])
def test_a_sample_of_which_nothing_can_be_read_is_an_error(engine, tmp_path, content):
    """As on a worker of a cluster, which gets a part of the images to calibrate on."""
    settings = Settings(weights="random", precision="int8")
    spec = make_spec(settings, "vgg16", (32, 32), ["block5_pool.avg"], "cpu")
    files = []
    for number in range(3):
        path = tmp_path / f"bad{number}.png"
        path.write_bytes(content)
        files.append(ImageToRead(path.name, path, hashlib.sha256(content).digest()))
    with pytest.raises(SourceError, match=r"int8 needs images .*bad0\.png can't be read: ."):
        calibrate(spec, files, ComputeOptions("cpu", "auto", 10**6))
    with pytest.raises(SourceError, match="int8 needs images"):
        calibrate(spec, [], ComputeOptions("cpu", "auto", 10**6))


def test_fewer_images_than_a_sample_are_counted_and_said(engine, tmp_path, caplog):
    for number in range(5):
        write_image(tmp_path / "photos" / "a" / f"{number}.png", number)
    (tmp_path / "photos" / "a" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    extract(tmp_path / "photos", tmp_path / "x.h5", **INT8)
    assert read_header(tmp_path / "x.h5").spec.quantization.images == 5
    assert "int8 is calibrated on 5 images; 1 image of the sample can't be read" in caplog.text


def test_extract_names_images_of_one_colour(engine, tmp_path, caplog):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (number * 50, 9, 9)).save(tmp_path / "photos" / f"{number}.png")
    extract(tmp_path / "photos", tmp_path / "x.h5", **INT8)
    assert "int8 is calibrated on 3 images of one colour each" in caplog.text


def test_a_value_that_is_no_number_is_not_passed_over():
    names = [f"{layer}.max" for layer in ("block1_conv1",)]
    layers = [layer for layer, _ in largest_inputs(VGG16, [])]
    assert len(layers) == 12
    ones = Constant([f"{layer}.max" for layer in _before()]).embed(np.zeros((2, 8, 8, 3)))
    for place in (0, 1):
        broken = {name: value.copy() for name, value in ones.items()}
        broken[names[0]][place, 3] = np.nan
        assert np.isnan(dict(largest_inputs(VGG16, [ones, broken, ones]))["block1_conv2"])


def _before():
    return [name.removesuffix(".max") for name in calibration_names(VGG16)]
