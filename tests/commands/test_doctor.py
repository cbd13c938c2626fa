"""`tlfeatures doctor`: ten lines about this machine, whatever is missing or broken."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner

import tlfeatures
from tests.fakes import VGG16_ENGINES, Constant
from tests.nobody import as_nobody, open_folder
from tlfeatures import doctor, machine
from tlfeatures.cli import main
from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.tensors import random_tensors
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.features.backbones.weights_file import write_keras_file
from tlfeatures.features.engines import keras_engine, onnx_session
from tlfeatures.features.engines.choose import ENGINES
from tlfeatures.terminal.doctor_text import render_diagnosis

LABELS = [
    *("versions", "CPU", "threads", "GPU", "engines", "Keras", "speed", "weights", "disk"),
    "faster",
]
KEYS = {
    *("versions", "engines", "rates", "processor", "cores", "gpu", "keras", "weights", "disk"),
    *("advice", "unknown"),
}


@pytest.fixture(autouse=True)
def _machine(cache, monkeypatch):
    """Nothing is on this machine, and the backend of Keras is the default one."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


@pytest.fixture
def scripted_engines(cache, monkeypatch):
    """Engines of VGG16 that give ones; the list of what was loaded. The weights are random ones."""
    cache.mkdir(parents=True)
    tensors = random_tensors(VGG16.network, top=False, seed=0)
    write_keras_file(cache / "vgg16_imagenet_notop.h5", tensors)
    loaded = []

    def load(spec, names, device, weights, threads):
        loaded.append((spec.engine, spec.precision))
        return Constant(names)

    for name in VGG16_ENGINES:
        monkeypatch.setitem(ENGINES, name, replace(ENGINES[name], load=load, package="json"))
    return loaded


def run_measuring():
    result = CliRunner().invoke(main, ["doctor", "--measure", "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def run(*arguments):
    result = CliRunner().invoke(main, ["doctor", *arguments])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def lines():
    """The ten lines, by their labels."""
    pairs = [line.partition(" ") for line in run().splitlines()]
    assert [label for label, _, _ in pairs] == LABELS
    return {label: text.strip() for label, _, text in pairs}


def test_ten_lines_say_what_is_installed(cache):
    found = lines()
    assert f"tlfeatures {tlfeatures.__version__}" in found["versions"]
    for name, engine in ENGINES.items():
        assert name in found["engines"]
        assert ("is not installed" in found["engines"]) or engine.installed
    assert "none on this machine" in found["weights"]
    assert str(cache) in found["disk"]
    assert not cache.exists()  # the command writes nothing


def test_a_machine_on_which_nothing_is_faster_has_a_line_that_says_so():
    text = render_diagnosis(replace(doctor(), advice=()))
    assert text.splitlines()[-1] == "faster    nothing that is known"


def test_json_has_all_parts():
    facts = json.loads(run("--json"))
    assert set(facts) == KEYS
    assert facts["unknown"] == {}
    assert all(facts[part] is not None for part in KEYS)
    assert set(facts["engines"]) == set(ENGINES)
    assert 1 <= facts["cores"]["usable"] <= facts["cores"]["installed"]
    assert facts["versions"]["Python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_python_function_gives_the_same():
    ours, theirs = doctor().to_dict(), json.loads(run("--json"))
    for facts in (ours, theirs):
        del facts["disk"]["free"]
    assert json.loads(json.dumps(ours)) == theirs


def test_weights_are_named_with_their_folder(cache):
    cache.mkdir(parents=True)
    with h5py.File(cache / "vgg16_imagenet_notop.h5", "w") as file:
        file["values"] = range(1000)
    assert lines()["weights"] == f"vgg16 (0 MB) in {cache}"
    (cache / "vgg16_imagenet_notop.h5").write_text("text")
    assert "vgg16 (damaged: " in lines()["weights"]


def test_an_engine_that_is_missing_is_named_with_its_remedy(monkeypatch):
    missing = replace(ENGINES["openvino"], package="not_installed")
    monkeypatch.setitem(ENGINES, "openvino", missing)
    found = json.loads(run("--json"))["engines"]
    assert found["openvino"]["version"] is None
    remedy = "openvino is not installed (pip install 'tlfeatures[openvino]')"
    assert remedy in lines()["engines"]


def test_a_cache_that_can_not_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "can't be written" in lines()["disk"]
    assert "none on this machine" in lines()["weights"]


@pytest.mark.parametrize("mode", [0o555, 0o500])  # read-only; closed to others than its owner
@pytest.mark.slow
def test_a_home_that_can_not_be_written_is_no_failure(mode, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    with open_folder() as home:
        home.chmod(mode)
        monkeypatch.setenv("HOME", str(home))
        result = as_nobody("doctor")
    assert (result.returncode, result.stderr) == (0, "")
    assert [line.split()[0] for line in result.stdout.splitlines()] == LABELS
    assert "free for /tmp/.cache/tlfeatures" in result.stdout


def test_limits_of_threads_are_named(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    text = lines()["threads"]
    assert text.startswith(f"1 of {os.cpu_count()} cores")
    assert "OMP_NUM_THREADS=1" in text
    assert "LOKY_MAX_CPU_COUNT=1" in text


def test_a_part_that_can_not_be_found_has_the_reason(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "many")
    assert lines()["threads"].startswith("can't be found out: ")
    facts = json.loads(run("--json"))
    assert facts["cores"] is None
    assert "many" in facts["unknown"]["cores"]
    assert facts["processor"] is not None


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("theano", "not supported: set KERAS_BACKEND=tensorflow"),
        ("tensorflow", "computes on tensorflow (set by KERAS_BACKEND)"),
    ],
)
def test_the_backend_of_keras_is_named(backend, words, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    assert words in lines()["Keras"]


@pytest.mark.slow
def test_measured_speeds_are_kept_and_listed(scripted_engines):
    before = lines()["speed"]
    assert before == "not measured yet: tlfeatures doctor --measure"
    result = CliRunner().invoke(main, ["doctor", "--measure", "--json"])
    assert result.exit_code == 0
    assert "Measuring the engines" in result.stderr
    facts = json.loads(result.stdout)
    assert "measuring" not in facts["unknown"]
    ways = {(rate["engine"], rate["precision"]) for rate in facts["rates"]["vgg16"]}
    assert ways >= {("ncnn", "float32"), ("openvino", "float32")}
    assert {tuple(rate["size"]) for rate in facts["rates"]["vgg16"]} == {(224, 224)}
    rates = [rate["images_per_second"] for rate in facts["rates"]["vgg16"]]
    assert rates == sorted(rates, reverse=True)
    assert re.match(r"images/s measured here: vgg16 \(224x224\) \w+ \w+ \d", lines()["speed"])


def test_every_engine_is_measured_again(scripted_engines, cache):
    run_measuring()
    file = cache / "engine_speeds.json"
    kept = json.loads(file.read_text())
    for entry in kept["entries"]:
        entry["speed"]["images_per_second"] = 0.125
    file.write_text(json.dumps(kept))
    assert {rate.images_per_second for rate in doctor().rates["vgg16"]} == {0.125}
    rates = [rate["images_per_second"] for rate in run_measuring()["rates"]["vgg16"]]
    assert len(rates) == len(kept["entries"])
    assert 0.125 not in rates


def test_without_weights_nothing_is_measured_or_downloaded(scripted_engines, cache):
    (cache / "vgg16_imagenet_notop.h5").unlink()
    assert "weights of VGG16 are not on this machine" in run_measuring()["unknown"]["measuring"]
    assert scripted_engines == []


def test_an_engine_that_fails_leaves_the_others(scripted_engines, monkeypatch):
    def fail(spec, names, device, weights, threads):
        raise EngineError("it is broken here")

    monkeypatch.setitem(ENGINES, "keras", replace(ENGINES["keras"], load=fail))
    engines = {rate["engine"] for rate in run_measuring()["rates"]["vgg16"]}
    assert engines >= {"ncnn", "openvino"}
    assert "keras" not in engines


def test_damaged_measurements_are_none(cache):
    cache.mkdir(parents=True)
    (cache / "engine_speeds.json").write_text('{"entries": [')
    assert lines()["speed"].startswith("not measured yet")


def test_a_gpu_is_named_with_the_engines_that_see_it(monkeypatch):
    monkeypatch.setattr(machine, "_DRIVERS", {os.devnull: "NVIDIA"})
    monkeypatch.setattr(keras_engine, "gpu_has_bfloat16", lambda: None)
    assert lines()["GPU"] == "a driver of NVIDIA; no engine can use it"
    assert "tensorflow[and-cuda]" in lines()["faster"]
    monkeypatch.setattr(keras_engine, "gpu_has_bfloat16", lambda: True)
    assert lines()["GPU"] == "a driver of NVIDIA; used by keras"
    monkeypatch.setattr(onnx_session, "has_cuda", lambda: True)
    assert lines()["GPU"] == "a driver of NVIDIA; used by keras and onnxruntime"


def test_broken_libraries_are_reported_and_not_fatal(tmp_path):
    """NumPy and h5py that can't be imported: the parts that need them say so."""
    for name in ("numpy", "h5py"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('its library is missing')")
    packages = [str(tmp_path), str(Path(tlfeatures.__file__).parents[1])]
    result = subprocess.run(
        [sys.executable, "-m", "tlfeatures", "doctor"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(packages)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    found = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert list(found) == LABELS
    assert found["engines"] == "can't be found out: its library is missing"
    assert "NumPy" in found["versions"]
