"""Engines are timed on the user's images, by a scripted clock and engines of scripted speed.

Promise: the engine that finishes the work first is taken, if its rows are close to float32.
Promise: what was measured is kept for this machine, and a damaged record of it is ignored.
Promise: small work measures nothing.
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata

import joblib
import numpy as np
import pytest

from tests.unit.test_engines import Machine
from tlfeatures import extract
from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.network import Network
from tlfeatures.features.backbones.record import Backbone, Preprocessing
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.backbones.tensors import random_tensors
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.features.backbones.weights import weights_sha256
from tlfeatures.features.backbones.weights_file import write_keras_file
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.engines import speeds
from tlfeatures.features.engines.choose import ENGINES, Request, choose_engine
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.measure_engines import choose_measured
from tlfeatures.features.spec import Spec

NAMES = ("only.avg", "only.max")
NETWORK = Network({"only": (3, 3, 3, 4)})
AVX512 = Machine(cpu="avx512_bf16")
LARGE = 100_000  # images
SIDE = 96  # pixels: ncnn is taken without measuring, unless bfloat16 is known to be exact


@dataclass
class Scripted:
    """What an engine does in a precision."""

    rate: float
    load: float = 1.0
    error: float = 0.0  # added to the first column of the last row of a batch
    fails: bool = False


class Machinery:
    """A clock, and engines that move it."""

    def __init__(self, scripts):
        self.now, self.scripts, self.loaded = 0.0, scripts, []

    def clock(self):
        return self.now

    def load(self, spec, names, device, weights, threads):
        script = self.scripts[spec.engine, spec.precision]
        self.loaded.append((spec.engine, spec.precision))
        self.now += script.load
        if script.fails:
            raise EngineError("it is broken here")
        return ScriptedBackbone(self, script, names)


class ScriptedBackbone:
    one_shape, most = False, 32

    def __init__(self, machinery, script, names):
        self.machinery, self.script, self.names = machinery, script, names

    def embed(self, images):
        self.machinery.now += len(images) / self.script.rate
        rows = images.reshape(len(images), -1)[:, :4].astype(np.float32) + 1
        rows[-1, 0] += self.script.error
        return dict.fromkeys(self.names, rows)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(speeds, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "engine_speeds.json"


@pytest.fixture
def backbone(monkeypatch):
    """A small network, whose rows in bfloat16 nobody has compared."""
    record = Backbone(
        name="small",
        title="Small",
        default_layer="only",
        preprocessing=Preprocessing(),
        smallest=1,
        shapes=NETWORK.shapes,
        near_duplicate=None,
        network=NETWORK,
        keras_application="VGG16",
    )
    monkeypatch.setitem(BACKBONES, "small", record)
    return record


@pytest.fixture
def weights(backbone, tmp_path):
    path = tmp_path / "small.h5"
    write_keras_file(path, random_tensors(NETWORK, top=False, seed=3))
    return str(path)


@pytest.fixture
def machine(monkeypatch, cache):
    """Give a machine of two cores whose engines are scripted."""
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)

    def make(**scripts):
        by_way = {tuple(name.split("_")): script for name, script in scripts.items()}
        machinery = Machinery(by_way)
        for name, engine in list(ENGINES.items()):
            package = "json" if name in {each for each, _ in by_way} else f"no_such_{name}"
            changed = replace(engine, load=machinery.load, package=package)
            monkeypatch.setitem(ENGINES, name, changed)
        return machinery

    return make


def spec_of(weights, size=(SIDE, SIDE), **changes):
    sha256, _ = weights_sha256(BACKBONES["small"], weights)
    return replace(Spec("small", size, "float32", weights, sha256, engine="none"), **changes)


def images(seed=0):
    generator = np.random.default_rng(seed)
    while True:
        yield ImageToRead(None, generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8))


def choose(machinery, spec, count=LARGE, *, seed=0, hardware=AVX512, **asked):
    request = Request(spec, NAMES, "cpu", **asked)
    return choose_measured(
        request,
        images(seed),
        count,
        ComputeOptions(),
        hardware=hardware,
        clock=machinery.clock,
    )


def test_the_fastest_is_taken_and_the_reason_is_said(machine, weights, caplog):
    caplog.set_level("INFO")
    machinery = machine(
        ncnn_float32=Scripted(10),
        openvino_float32=Scripted(25),
        openvino_bfloat16=Scripted(20),
        keras_float32=Scripted(8),
        keras_bfloat16=Scripted(16),
    )
    assert choose(machinery, spec_of(weights)) == ("openvino", "float32")
    said = caplog.messages[-1]
    assert said.startswith("openvino float32 is taken: 25 images/s here; ")
    assert "ncnn float32 10" in said
    assert "keras bfloat16 16" in said
    assert set(machinery.loaded) == set(machinery.scripts)


def test_a_fast_precision_is_refused_if_a_single_row_is_too_far_from_float32(
    machine, weights, caplog
):
    caplog.set_level("INFO")
    scripts = {"ncnn_float32": Scripted(10), "openvino_float32": Scripted(5)}
    far = machine(**scripts, openvino_bfloat16=Scripted(50, error=60))
    assert choose(far, spec_of(weights)) == ("ncnn", "float32")
    assert "openvino bfloat16 50 (but a cosine to float32 of 0.9" in caplog.messages[-1]
    near = machine(**scripts, openvino_bfloat16=Scripted(50, error=0.5))
    assert choose(near, spec_of(weights, size=(100, 100))) == ("openvino", "bfloat16")


def test_rows_that_are_no_numbers_are_far_from_float32(machine, weights):
    scripts = {"ncnn_float32": Scripted(10), "openvino_float32": Scripted(5)}
    machinery = machine(**scripts, openvino_bfloat16=Scripted(50, error=float("nan")))
    assert choose(machinery, spec_of(weights)) == ("ncnn", "float32")


def test_random_weights_are_no_evidence_for_a_precision(machine, backbone):
    machinery = machine(
        ncnn_float32=Scripted(10), openvino_float32=Scripted(20), openvino_bfloat16=Scripted(50)
    )
    spec = spec_of("random", random_state=0)
    assert choose(machinery, spec) == ("openvino", "float32")
    assert ("openvino", "bfloat16") not in machinery.loaded


def test_a_precision_that_is_asked_for_needs_no_evidence(machine, weights):
    machinery = machine(
        ncnn_float32=Scripted(90),
        openvino_float32=Scripted(90),
        openvino_bfloat16=Scripted(10, error=60),
        keras_float32=Scripted(90),
        keras_bfloat16=Scripted(30, error=60),
    )
    assert choose(machinery, spec_of(weights), precision="bfloat16") == ("keras", "bfloat16")
    assert {precision for _, precision in machinery.loaded} == {"bfloat16"}


def test_an_engine_that_is_asked_for_is_measured_alone(machine, weights):
    machinery = machine(
        ncnn_float32=Scripted(90), keras_float32=Scripted(9), keras_bfloat16=Scripted(20)
    )
    assert choose(machinery, spec_of(weights), engine="keras") == ("keras", "bfloat16")
    assert {engine for engine, _ in machinery.loaded} == {"keras"}


def test_a_network_known_to_be_exact_in_bfloat16_is_compared_all_the_same(
    machine, backbone, weights, monkeypatch
):
    sha256, _ = weights_sha256(backbone, weights)
    record = replace(
        backbone, name="squeezenet1-1", published=replace(VGG16.published, sha256=sha256)
    )
    monkeypatch.setitem(BACKBONES, "squeezenet1-1", record)
    scripts = {"ncnn_float32": Scripted(10), "openvino_float32": Scripted(9)}
    machinery = machine(**scripts, openvino_bfloat16=Scripted(50, error=60))
    spec = spec_of(weights, backbone="squeezenet1-1")
    request = Request(spec, NAMES, "cpu")
    assert choose_engine(request, hardware=AVX512) == ("openvino", "bfloat16")
    assert choose(machinery, spec) == ("ncnn", "float32")
    assert choose_engine(request, hardware=AVX512) == ("openvino", "bfloat16")


def test_small_work_measures_nothing(machine, weights):
    machinery = machine(ncnn_float32=Scripted(10), openvino_float32=Scripted(1000))
    hardware = Machine()
    assert choose(machinery, spec_of(weights), 200, hardware=hardware) == ("ncnn", "float32")
    assert machinery.loaded == []


def test_one_possible_engine_is_not_measured(machine, weights):
    machinery = machine(ncnn_float32=Scripted(10))
    assert choose(machinery, spec_of(weights), hardware=Machine()) == ("ncnn", "float32")
    assert machinery.loaded == []


def test_nothing_is_measured_where_a_gpu_computes(machine, weights):
    machinery = machine(
        ncnn_float32=Scripted(10), keras_float32=Scripted(20), keras_bfloat16=Scripted(20)
    )
    assert choose(machinery, spec_of(weights), hardware=Machine(gpu=True))[0] == "keras"
    assert machinery.loaded == []


@pytest.mark.parametrize("count", [1000, 2000, 5000, 20_000, LARGE])
def test_measuring_costs_a_small_part_of_the_work(machine, weights, count):
    scripts = {
        "ncnn_float32": Scripted(15),
        "openvino_float32": Scripted(8),
        "openvino_bfloat16": Scripted(15),
        "keras_float32": Scripted(7, load=6),
        "keras_bfloat16": Scripted(10),
    }
    machinery = machine(**scripts)
    assert choose(machinery, spec_of(weights), count) == ("ncnn", "float32")
    cost = machinery.now - 1  # the load of ncnn, which the work needs
    assert cost <= 0.15 * count / 15 + 2 * 16 / 15
    if count == LARGE:
        assert len(machinery.loaded) == len(scripts)


def test_the_time_to_start_an_engine_counts(machine, weights):
    machinery = machine(ncnn_float32=Scripted(10), keras_float32=Scripted(12, load=60))
    spec = spec_of(weights)
    hardware = Machine()
    assert choose(machinery, spec, hardware=hardware) == ("keras", "float32")
    request = Request(spec, NAMES, "cpu")
    assert choose_engine(request, 100_000, hardware) == ("keras", "float32")
    assert choose_engine(request, 1000, hardware) == ("ncnn", "float32")


def test_an_engine_that_fails_is_left_out(machine, weights, caplog):
    caplog.set_level("INFO")
    machinery = machine(ncnn_float32=Scripted(10), openvino_float32=Scripted(30, fails=True))
    assert choose(machinery, spec_of(weights), hardware=Machine()) == ("ncnn", "float32")
    assert "engine openvino in float32 is left out, as it fails: it is broken" in caplog.text


def test_images_that_can_not_be_read_are_passed_over(machine, weights, tmp_path):
    machinery = machine(ncnn_float32=Scripted(10), openvino_float32=Scripted(30))
    request = Request(spec_of(weights), NAMES, "cpu")
    options = {"options": ComputeOptions(), "hardware": Machine(), "clock": machinery.clock}
    missing = [ImageToRead(None, tmp_path / "missing.png")] * 3
    some = [*missing, *(image for image, _ in zip(images(), range(5), strict=False))]
    assert choose_measured(request, missing, LARGE, **options) == ("ncnn", "float32")
    assert machinery.loaded == []
    assert choose_measured(request, some, LARGE, **options) == ("openvino", "float32")


# ---- what is kept


TWO = {"ncnn_float32": Scripted(10), "openvino_float32": Scripted(30)}


def test_what_was_measured_is_kept_for_later_runs(machine, weights, cache):
    assert choose(machine(**TWO), spec_of(weights), hardware=Machine()) == ("openvino", "float32")
    later = machine(**TWO)
    for count in (10, LARGE):  # also where the work is small
        chosen = choose(later, spec_of(weights), count, hardware=Machine())
        assert chosen == ("openvino", "float32")
    request = Request(spec_of(weights), NAMES, "cpu")
    assert choose_engine(request, hardware=Machine()) == ("openvino", "float32")
    assert later.loaded == []


@pytest.mark.parametrize("changed", ["size", "layer", "weights", "cores", "version"])
def test_another_workload_is_measured_again(
    machine, weights, cache, monkeypatch, changed, tmp_path
):
    spec, names = spec_of(weights), NAMES
    choose(machine(**TWO), spec, hardware=Machine())
    later = machine(**TWO)
    if changed == "size":
        spec = replace(spec, size=(128, 128))
    elif changed == "layer":
        names = ("flatten.none",)
    elif changed == "weights":
        other = tmp_path / "other.h5"
        write_keras_file(other, random_tensors(NETWORK, top=False, seed=4))
        spec = spec_of(str(other))
    elif changed == "cores":
        monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    else:
        monkeypatch.setattr(metadata, "version", lambda package: "1000.0")
    request = Request(spec, names, "cpu")
    assert choose_engine(request, hardware=Machine()) == ("ncnn", "float32")
    choose_measured(
        request, images(), LARGE, ComputeOptions(), hardware=Machine(), clock=later.clock
    )
    assert set(later.loaded) == set(later.scripts)


def test_a_new_engine_is_measured_beside_what_is_known(machine, weights, cache):
    choose(machine(**TWO), spec_of(weights), hardware=Machine())
    three = machine(**TWO, keras_float32=Scripted(90))
    assert choose(three, spec_of(weights), hardware=Machine()) == ("keras", "float32")
    assert ("ncnn", "float32") not in three.loaded


def test_a_busier_machine_changes_no_order(machine, weights, cache):
    """What is measured later, beside other work, is compared with what was kept before."""
    choose(machine(**TWO), spec_of(weights), hardware=Machine())
    slow = {"ncnn_float32": Scripted(1), "openvino_float32": Scripted(3)}
    three = machine(**slow, keras_float32=Scripted(2))
    assert choose(three, spec_of(weights), hardware=Machine()) == ("openvino", "float32")
    assert ("keras", "float32") in three.loaded
    four = machine(**slow, keras_float32=Scripted(2))
    assert choose(four, spec_of(weights), hardware=Machine()) == ("openvino", "float32")
    assert four.loaded == []


def test_nothing_is_measured_again_where_the_rest_costs_too_much(
    machine, backbone, weights, monkeypatch
):
    sha256, _ = weights_sha256(backbone, weights)
    published = replace(VGG16.published, sha256=sha256)
    record = replace(backbone, name="squeezenet1-1", published=published)
    monkeypatch.setitem(BACKBONES, "squeezenet1-1", record)
    scripts = {"openvino_bfloat16": Scripted(50), "ncnn_float32": Scripted(10)}
    scripts |= {"openvino_float32": Scripted(20), "keras_float32": Scripted(9)}
    spec = spec_of(weights, backbone="squeezenet1-1")
    first = machine(**scripts)
    assert choose(first, spec, 2000) == ("openvino", "bfloat16")
    assert set(first.loaded) == set(first.scripts) - {("keras", "float32")}
    later = machine(**scripts)
    assert choose(later, spec, 2000) == ("openvino", "bfloat16")
    assert later.loaded == []


def test_rows_in_bfloat16_of_an_unknown_network_are_asked_of_new_images_again(
    machine, weights, cache
):
    scripts = {"ncnn_float32": Scripted(10), "openvino_float32": Scripted(9)}
    near = machine(**scripts, openvino_bfloat16=Scripted(50))
    spec = spec_of(weights)
    assert choose(near, spec) == ("openvino", "bfloat16")
    request = Request(spec, NAMES, "cpu")
    assert choose_engine(request, hardware=AVX512) == ("ncnn", "float32")  # it sees no images
    far = machine(**scripts, openvino_bfloat16=Scripted(50, error=60))
    assert choose(far, spec, seed=1) == ("ncnn", "float32")
    again = machine(**scripts, openvino_bfloat16=Scripted(50))
    assert choose(again, spec, seed=2) == ("ncnn", "float32")
    assert again.loaded == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "\0",
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace("30.0", "NaN").replace("10.0", "-1.0"),
        lambda text: text.replace("30.0", '"fast"').replace("10.0", "null"),
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: json.dumps({**json.loads(text), "entries": [3, None, {}, {"engine": "x"}]}),
        lambda text: text.replace('"height": 96', '"height": [96]'),
    ],
)
def test_a_damaged_record_of_speeds_is_ignored(machine, weights, cache, damage):
    choose(machine(**TWO), spec_of(weights), hardware=Machine())
    cache.write_text(damage(cache.read_text()))
    later = machine(**TWO)
    request = Request(spec_of(weights), NAMES, "cpu")
    assert choose_engine(request, hardware=Machine()) == ("ncnn", "float32")
    assert choose(later, spec_of(weights), hardware=Machine()) == ("openvino", "float32")
    assert later.loaded
    assert choose_engine(request, hardware=Machine()) == ("openvino", "float32")


def test_speeds_that_can_not_be_kept_are_no_error(machine, weights, cache):
    cache.parent.write_text("a file where the folder should be")
    assert choose(machine(**TWO), spec_of(weights), hardware=Machine()) == ("openvino", "float32")


# ---- in a run


@pytest.mark.slow
def test_extract_measures_for_a_new_file_and_goes_on_with_its_engine(
    machine, weights, photos, tmp_path, monkeypatch
):
    """Variants count as images; a file keeps its engine, whatever is faster later."""
    file = tmp_path / "x.h5"
    options = {"backbone": "small", "weights": weights, "size": 8, "augment": 100}
    use_clock(monkeypatch, machine(ncnn_float32=Scripted(30), openvino_float32=Scripted(10)))
    assert extract(photos, tmp_path / "y.h5", **options | {"augment": 1}).engine == "openvino"
    assert extract(photos, file, **options).engine == "ncnn"
    later = machine(ncnn_float32=Scripted(10), openvino_float32=Scripted(30))
    use_clock(monkeypatch, later)
    assert extract(photos, file, pools=["max"]).engine == "ncnn"
    assert read_header(file).spec.engine == "ncnn"
    assert set(later.loaded) == {("ncnn", "float32")}


def use_clock(monkeypatch, machinery):
    """Let `extract` measure by this clock."""
    measured = partial(choose_measured, clock=machinery.clock)
    monkeypatch.setattr("tlfeatures.features.extract.choose_measured", measured)
