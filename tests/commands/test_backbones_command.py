"""`tlfeatures backbones` and `list_backbones`: what there is, and what of it is on this machine."""

import json
import re

import h5py
import joblib
import pytest
from click.testing import CliRunner

from tlfeatures import list_backbones
from tlfeatures.cli import main
from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.engines import speeds
from tlfeatures.features.engines.choose import ENGINES
from tlfeatures.features.engines.speeds import Speed, Workload
from tlfeatures.machine import find_processor

pytestmark = pytest.mark.usefixtures("cache")  # nothing is on this machine

KEYS = {
    *(
        "name",
        "title",
        "layer",
        "width",
        "default_size",
        "smallest",
        "parameters",
        "licence",
        "source",
    ),
    *("weights_from", "weights", "weights_here", "rates", "images_per_second"),
    *("accuracy", "near_duplicate"),
}
VGG16_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"


def run(*arguments):
    result = CliRunner().invoke(main, ["backbones", *arguments])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def all_facts():
    return json.loads(run("--json"))["backbones"]


def facts_of(name):
    (facts,) = (item for item in all_facts() if item["name"] == name)
    return facts


def row_of(name):
    (row,) = (line for line in run().splitlines() if re.match(rf"{re.escape(name)} {{2}}", line))
    return row.split()


def write_weights(path):
    """A complete HDF5 file; the tensors in it are checked when they are loaded."""
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["values"] = range(1000)


def test_json_has_every_backbone_with_all_facts():
    listed = all_facts()
    assert sorted(facts["name"] for facts in listed) == sorted([*BACKBONES, *NAMED])
    for facts in listed:
        assert set(facts) == KEYS
        assert facts["width"] > 0
        assert facts["default_size"] >= facts["smallest"]
        if facts["weights_from"] != "none":
            assert facts["parameters"] > 100_000
            assert facts["licence"]
            assert facts["source"]


def test_the_python_function_gives_the_same():
    assert [facts.to_dict() for facts in list_backbones()] == all_facts()


def test_vgg16_is_first_and_has_its_known_size():
    first = list_backbones()[0]
    assert (first.name, first.width, first.parameters) == ("vgg16", 512, 14_714_688)


def test_the_text_fits_into_80_columns_and_names_every_backbone():
    text = run()
    assert max(map(len, text.splitlines())) <= 80
    for name in (*BACKBONES, *NAMED):
        assert row_of(name)[0] == name
    for option in ("FILE.onnx", "FILE.keras", "DECLARATION.json"):
        assert option in text


def test_every_licence_and_source_is_in_the_text():
    text = " ".join(run().split())
    for facts in list_backbones():
        assert facts.licence in text
        assert facts.source in text or facts.weights_from == "Keras"


def test_without_files_the_weights_are_to_be_downloaded(cache):
    assert facts_of("vgg16")["weights"] is None
    assert not facts_of("vgg16")["weights_here"]
    assert "get" in row_of("vgg16")
    assert not cache.exists()  # the command writes nothing


def test_pixels_need_no_weights():
    facts = facts_of("pixels")
    assert (facts["weights_from"], facts["weights_here"]) == ("none", True)


@pytest.mark.parametrize(
    "place", ["keras/models/" + VGG16_FILE, "cache/tlfeatures/vgg16_imagenet_notop.h5"]
)
def test_weights_are_found_in_both_caches(place, tmp_path):
    write_weights(tmp_path / place)
    facts = facts_of("vgg16")
    assert facts["weights_here"]
    assert facts["weights"]["path"] == str(tmp_path / place)
    assert facts["weights"]["bytes"] == (tmp_path / place).stat().st_size
    assert "here" in row_of("vgg16")


@pytest.mark.parametrize("name", [name for name, network in NAMED.items() if network.application])
def test_weights_of_keras_are_found_in_its_folder(name, tmp_path):
    write_weights(tmp_path / "keras" / "models" / NAMED[name].application.file)
    assert facts_of(name)["weights_here"]
    assert [facts["name"] for facts in all_facts() if facts["weights"]] == [name]


def test_a_file_that_was_cut_off_is_named(cache):
    path = cache / "vgg16_imagenet_notop.h5"
    write_weights(path)
    path.write_bytes(path.read_bytes()[:-1000])
    facts = facts_of("vgg16")
    assert not facts["weights_here"]
    assert "truncated" in facts["weights"]["damage"]
    assert "damaged" in row_of("vgg16")
    assert f"vgg16: {path} can't be used" in run()


def test_a_complete_file_is_taken_before_a_damaged_one(cache, tmp_path):
    damaged = tmp_path / "keras" / "models" / VGG16_FILE
    damaged.parent.mkdir(parents=True)
    damaged.write_text("text")
    write_weights(cache / "vgg16_imagenet_notop.h5")
    facts = facts_of("vgg16")
    assert facts["weights_here"]
    assert facts["weights"]["path"] == str(cache / "vgg16_imagenet_notop.h5")


@pytest.mark.parametrize("name", [name for name, network in NAMED.items() if network.recipe])
def test_an_onnx_file_with_another_hash_is_damaged(name, cache):
    cache.mkdir(parents=True)
    (cache / f"{name}.onnx").write_bytes(b"not this network")
    facts = facts_of(name)
    assert not facts["weights_here"]
    assert "sha256" in facts["weights"]["damage"]


def keep(size, layer, **rates):
    """Keep speeds of VGG16 on this machine, by engines that compute in float32."""
    here = find_processor().model, joblib.cpu_count()
    workload = Workload(*here, "vgg16", "00", size, size, layer)
    measured = {(engine, "float32"): Speed(rate, 1.0) for engine, rate in rates.items()}
    speeds.keep(workload, measured, ENGINES)


def test_the_fastest_engine_at_the_default_size_is_listed():
    keep(224, "block5_pool", keras=4.0, ncnn=15.25)
    keep(64, "block5_pool", ncnn=150.0)
    keep(224, "block1_pool", ncnn=99.0)
    facts = facts_of("vgg16")
    assert facts["images_per_second"] == 15.25
    assert [rate["images_per_second"] for rate in facts["rates"]] == [150.0, 99.0, 15.25, 4.0]
    assert "15.2" in row_of("vgg16")
    assert facts_of("pixels")["images_per_second"] is None


@pytest.mark.parametrize("content", [b"", b"[", b"[1]", b"\xff\xfe", b'{"entries": [1, {}]}'])
def test_damaged_speeds_are_none(content, cache):
    cache.mkdir(parents=True)
    (cache / "engine_speeds.json").write_bytes(content)
    assert facts_of("vgg16")["rates"] == []
