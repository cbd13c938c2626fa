"""Engines with the real weights on photographs: precision, cuts, and what a model takes along.

Promise: `--precision int8` is calibrated on 64 of the images, and points the same way as float32.
Promise: a run that was cut off and goes on gives the same bits; `verify` embeds some again.
Promise: a file names the engine that made it, and another one is refused by name.
Promise: a full disk is one line that says what to do.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import VGG16_ENGINES
from tests.integration.conftest import link_all
from tests.photographs import PLACES, save_crops
from tlfeatures import Extractor, Model, extract, fit, load_dataset, verify
from tlfeatures.errors import SpecError, StoppedError
from tlfeatures.features.file.reader import read_header
from tlfeatures.models.export.export import export

pytestmark = pytest.mark.integration
SIZE = 64
COUNTS = {"crops": (18, 20), "reference": (50, 55)}  # of each class, without the new ones and with


@pytest.fixture(scope="module")
def images(form, request, tmp_path_factory) -> Path:
    """Over 64 photographs in classes, and some more of each in the folder `new` beside them."""
    folder = tmp_path_factory.mktemp("engines")
    count, most = COUNTS[form]
    if form == "crops":
        save_crops(folder / "new", PLACES, most - count, count)
        return save_crops(folder / "images", PLACES, count)
    for label in sorted((request.getfixturevalue("data") / "intel").iterdir()):
        paths = sorted(label.iterdir())
        link_all(paths[:count], folder / "images" / label.name)
        link_all(paths[count:most], folder / "new" / label.name)
    return folder / "images"


def rows_of(file, name="block5_pool.flatten"):
    return load_dataset(file, name, near_duplicates=None).X


def cosines(one, other):
    one, other = one.astype(float), other.astype(float)
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.fixture(scope="module")
def int8(images, weights, tmp_path_factory):
    file = tmp_path_factory.mktemp("int8") / "x.h5"
    extract(images, file, weights=weights, size=SIZE, precision="int8", pools=["avg", "flatten"])
    return file


@pytest.mark.slow
def test_int8_points_the_same_way_for_every_image(images, weights, int8, tmp_path):
    whole = {"weights": weights, "size": SIZE, "pools": ["avg", "flatten"]}
    extract(images, tmp_path / "x.h5", engine="openvino", precision="float32", **whole)
    for pool in ("avg", "flatten"):
        name = f"block5_pool.{pool}"
        found = cosines(rows_of(int8, name), rows_of(tmp_path / "x.h5", name))
        print(f"{pool}: smallest cosine of int8 to float32 {found.min():.5f}")
        assert 0.98 <= found.min() < 1
        assert found.mean() >= 0.999


@pytest.mark.slow
def test_ranges_stay_when_images_are_added_and_travel_with_a_model(
    images, weights, int8, tmp_path, form
):
    file = shutil.copy(int8, tmp_path / "x.h5")
    before, ranges = rows_of(file), read_header(file).spec.quantization
    assert (ranges.images, ranges.random_state, len(ranges.largest)) == (64, 0, 12)
    more = tmp_path / "more"
    shutil.copytree(images, more)
    shutil.copytree(images.parent / "new", more, dirs_exist_ok=True)
    assert extract(more, file).computed == {"crops": 8, "reference": 10}[form]
    assert read_header(file).spec.quantization == ranges
    ids = load_dataset(file).ids.tolist()
    old = [ids.index(id_) for id_ in load_dataset(int8).ids]
    np.testing.assert_array_equal(rows_of(file)[old], before)

    fit(file, ["logreg"], embedding="block5_pool.flatten", cv=2, model=tmp_path / "m.model")
    model = Model.load(tmp_path / "m.model")
    assert model.spec.quantization == ranges
    table = [list(each.probabilities.values()) for each in model.predict([more])]
    np.testing.assert_array_equal(table, model.predict_proba(rows_of(file)))
    exported = export(model, tmp_path / "m.onnx", check=[images.parent / "new"])
    assert (exported.precision, exported.model_precision) == ("float32", "int8")
    assert exported.check.largest_difference < 1e-4


@pytest.mark.slow
def test_the_sample_does_not_depend_on_names_and_folders(images, weights, int8, tmp_path):
    for number, path in enumerate(sorted(images.glob("*/*"), reverse=True)):
        target = tmp_path / "other" / "ab"[number % 2] / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    extract(tmp_path / "other", tmp_path / "x.h5", weights=weights, size=SIZE, precision="int8")
    assert read_header(tmp_path / "x.h5").spec.quantization == read_header(int8).spec.quantization


def test_another_engine_is_refused_by_name(images, int8):
    with pytest.raises(SpecError, match="engine openvino, not keras") as refused:
        extract(images, int8, engine="keras", precision="float32")
    assert "--engine" in str(refused.value)


# ---- runs that are cut off

CUT_BATCH, CUT_IMAGES = 4, 10  # two batches leave two images, which alone are another shape


@pytest.fixture(scope="module")
def few(images, tmp_path_factory) -> Path:
    paths = sorted(images.glob("*/*"))
    folder = tmp_path_factory.mktemp("few")
    for path in paths[:: len(paths) // CUT_IMAGES][:CUT_IMAGES]:
        link_all([path], folder / path.parent.name)
    return folder


@pytest.fixture(scope="module", params=VGG16_ENGINES)
def uncut(request, few, weights, tmp_path_factory):
    """An embeddings file that nothing cut off, and the options that made it."""
    options = {"weights": weights, "size": (65, 71), "engine": request.param}
    options |= {"batch_size": CUT_BATCH, "pools": ["flatten"], "precision": "float32"}
    file = tmp_path_factory.mktemp("uncut") / "x.h5"
    extract(few, file, **options)
    return file, options


@pytest.mark.parametrize("batches", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.slow
def test_a_run_that_goes_on_gives_the_bits_of_one_that_nothing_cut_off(
    few, uncut, tmp_path, batches
):
    whole, options = uncut
    asked = []

    def stop():
        asked.append(True)
        return len(asked) > batches

    done = batches * CUT_BATCH
    with pytest.raises(StoppedError, match=f"after {done} of {CUT_IMAGES}"):
        extract(few, tmp_path / "x.h5", stop=stop, **options)
    assert extract(few, tmp_path / "x.h5", **options).computed == CUT_IMAGES - done
    np.testing.assert_array_equal(rows_of(tmp_path / "x.h5"), rows_of(whole))


def test_verify_embeds_some_again_and_finds_the_same(few, uncut):
    verified = verify(uncut[0], few, sample=4)
    assert verified.ok
    assert verified.smallest_cosine > 0.99999


@pytest.mark.slow
def test_no_room_for_what_ncnn_reads_is_one_line_that_says_what_to_do(few, weights, tmp_path):
    limited = """
import resource, sys
from tlfeatures.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
main(sys.argv[1:])
"""
    command = [sys.executable, "-c", limited, "extract", str(few), "-o", str(tmp_path / "x.h5")]
    command += ["--weights", weights, "--size", str(SIZE), "--engine", "ncnn"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert "59 MB can't be written" in result.stderr
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.slow
def test_an_int8_extractor_points_the_same_way_as_float32(images, weights):
    """It is fitted on the images themselves, by the engine itself."""
    paths = sorted(images.glob("*/*"))[:24]
    given = {"size": SIZE, "weights": str(weights), "engine": "openvino", "device": "cpu"}
    exact = Extractor(precision="float32", **given).transform(paths)
    rounded = Extractor(precision="int8", **given).fit(paths).transform(paths)
    found = cosines(rounded, exact)
    assert 0.98 <= found.min() < 1
