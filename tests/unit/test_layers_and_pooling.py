"""Layers that name their own pooling, and how an added layer is pooled."""

import json
from functools import partial

import pytest
from click.testing import CliRunner

from tests.fakes import Constant
from tests.unit.data import extract_pixels
from tlfeatures import extract
from tlfeatures.cli import main
from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.record import Backbone, Preprocessing
from tlfeatures.features.backbones.table import BACKBONES


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_layer_that_names_its_pooling_is_pooled_in_no_other_way(photos, file):
    command = ["extract", photos, "-o", file, "--backbone", "pixels", "--size", 16, "--json"]
    layers = ["--layer", "grid8.flatten", "--layer", "grid4", "--pool", "avg"]
    made = json.loads(invoke(*command, *layers).stdout)
    assert made["embeddings"] == {"grid8.flatten": 192, "grid4.avg": 3}
    assert json.loads(invoke(*command, *layers).stdout)["computed"] == 0


@pytest.mark.parametrize(
    ("layers", "pools", "expected"),
    [
        (["grid8.flatten", "grid8.max"], [], {"grid8.flatten", "grid8.max"}),
        (["grid8.flatten"], ["max"], {"grid8.flatten"}),
        (["grid8.flatten", "grid8"], ["flatten"], {"grid8.flatten"}),
        (["mean.none", "grid4"], [], {"mean.none", "grid4.avg"}),
        ("grid4.max", [], {"grid4.max"}),
    ],
)
def test_pooling_by_layer(photos, file, layers, pools, expected):
    assert set(extract_pixels(photos, file, layers=layers, pools=pools).embeddings) == expected


def test_a_layer_that_names_its_pooling_is_added_alone(photos, file):
    extract_pixels(photos, file, layers=["grid8.flatten", "grid4.max"])
    added = extract_pixels(photos, file, layers=["grid4.avg"]).embeddings
    assert set(added) == {"grid8.flatten", "grid4.max", "grid4.avg"}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("grid8.flat", "no pooling 'flat'; there are: flatten"),
        ("grid8.none", "pool it by avg or max"),
        ("grid8.avg.max", "no pooling 'avg.max'"),
        ("grid9.avg", "no layer of pixels 'grid9'; there are: grid"),
        (".avg", "no layer of pixels ''"),
    ],
)
def test_a_wrong_pooling_of_a_layer_names_the_right_ones(photos, file, layer, message):
    with pytest.raises(ParameterError, match=message):
        extract_pixels(photos, file, layers=[layer])
    assert not file.exists()


def test_layers_with_and_without_their_own_pooling_are_made_once(photos, file):
    asked = {"layers": ["grid4", "grid8", "grid8.flatten"]}
    made = extract_pixels(photos, file, **asked)
    assert set(made.embeddings) == {"grid4.avg", "grid8.avg", "grid8.flatten"}
    again = extract_pixels(photos, file, **asked)
    assert (again.computed, again.embeddings) == (0, made.embeddings)


@pytest.fixture
def maps(monkeypatch):
    """A backbone `maps`, whose layers `a`, `b` and `c` are feature maps, and `fc` a vector."""
    shapes = {"a": (2, 2, 3), "b": (2, 2, 3), "c": (2, 2, 3), "fc": (5,)}
    load = partial(Constant, backbone="maps")
    maps = Backbone(
        name="maps",
        title="maps",
        default_layer="a",
        preprocessing=Preprocessing(),
        smallest=1,
        shapes=lambda size: shapes,
        near_duplicate=0.4,
        load=load,
    )
    monkeypatch.setitem(BACKBONES, "maps", maps)


@pytest.mark.parametrize(
    ("there", "pooling"),
    [
        (["a.max", "b.max", "b.flatten", "fc.none"], "max"),
        (["a.flatten", "b.avg", "b.flatten"], "flatten"),
        (["a.max", "b.flatten"], "avg"),  # as in a new file
        (["fc.none"], "avg"),
    ],
)
def test_a_new_layer_is_pooled_as_all_layers_of_the_file_are(photos, file, maps, there, pooling):
    extract_pixels(photos, file, backbone="maps", layers=there)
    added = extract(photos, file, layers=["c"]).embeddings
    assert set(added) == {*there, f"c.{pooling}"}
