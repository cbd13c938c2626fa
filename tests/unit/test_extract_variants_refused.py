"""Variants that are refused: other ones than the file's, wrong settings, damaged ones."""

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from tests.fakes import rows_of
from tests.unit.data import SPEC, TURNED, extract_pixels
from tlfeatures.cli import main
from tlfeatures.errors import FormatError, ParameterError, SpecError
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.images.augment import Augmentation
from tlfeatures.features.images.identify import scan
from tlfeatures.features.sources.open_source import open_source


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"augment": 1}, "not 1 variant "),
        ({"augment": 3}, "not 3 variants"),
        ({"augment": 0}, "not "),
        ({"augment_spec": "rotation=31"}, r"not 2 variants \(rotation=31\)"),
        ({"augment": 2, "augment_spec": TURNED.replace("seed=3", "seed=4")}, "not .*seed=4"),
    ],
)
def test_other_variants_are_refused_and_nothing_is_lost(photos, file, options, named):
    extract_pixels(photos, file, augment=2, augment_spec=TURNED)
    before = file.read_bytes()
    with pytest.raises(SpecError, match=rf"2 variants \(.*\), {named}.*--augment.* -o") as caught:
        extract_pixels(photos, file, **options)
    assert "seed=3" in str(caught.value)
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*.partial"))


def test_a_spec_alone_is_told_by_its_own_option(photos, file):
    extract_pixels(photos, file, augment=2)
    with pytest.raises(SpecError, match=r"leave out .*--augment-spec"):
        extract_pixels(photos, file, augment_spec=TURNED)


@pytest.mark.parametrize("nothing", ["", {}, "seed=1", {"rotation": 0}])
def test_a_spec_that_changes_nothing_is_refused(photos, file, nothing):
    with pytest.raises(ParameterError, match="changes nothing"):
        extract_pixels(photos, file, augment=2, augment_spec=nothing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment_spec": TURNED}, "--augment N"),
        ({"augment": 1001}, "0 to 1000"),
        ({"augment": -1}, "0 to 1000"),
        ({"augment": 2, "augment_spec": "turn=3"}, "there are: "),
        ({"augment": 2.0}, "whole number"),
    ],
)
def test_wrong_settings_are_one_error_and_make_no_file(photos, file, options, message):
    with pytest.raises(ParameterError, match=message):
        extract_pixels(photos, file, **options)
    assert not file.exists()


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--augment-spec", TURNED], "--augment N"),
        (["--augment", "2", "--augment-spec", "turn=3"], "there are: "),
        (["--augment", "2", "--augment-spec", "rotation=200"], "0 to 180"),
        (["--augment", "2000"], "0 to 1000"),
        (["--augment", "-1"], "--augment"),
        (["--augment", "two"], "--augment"),
    ],
)
def test_the_command_line_refuses_in_one_line(photos, file, options, message):
    result = invoke("extract", photos, "-o", file, "--backbone", "pixels", *options)
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output
    assert not file.exists()


# ---- damaged files


def with_places(photos, file):
    spec = replace(SPEC, augmentation=Augmentation(2))
    create(file, Contents(scan(open_source(photos)), spec, {"grid8.avg": 3}, "float32"))


def virtual(file, group, name):
    layout = h5py.VirtualLayout((24, 2, 3), np.float32)
    layout[:] = h5py.VirtualSource(str(file), "x", (24, 2, 3))
    group.create_virtual_dataset(name, layout)


DAMAGE = {
    "missing": lambda group, name, other: None,
    "fewer images": lambda group, name, other: group.create_dataset(name, (23, 2, 3), "f4"),
    "fewer variants": lambda group, name, other: group.create_dataset(name, (24, 1, 3), "f4"),
    "more variants": lambda group, name, other: group.create_dataset(name, (24, 3, 3), "f4"),
    "another width": lambda group, name, other: group.create_dataset(name, (24, 2, 4), "f4"),
    "a table": lambda group, name, other: group.create_dataset(name, (24, 6), "f4"),
    "a scalar": lambda group, name, other: group.create_dataset(name, (), "f4"),
    "half precision": lambda group, name, other: group.create_dataset(name, (24, 2, 3), "f2"),
    "double precision": lambda group, name, other: group.create_dataset(name, (24, 2, 3), "f8"),
    "whole numbers": lambda group, name, other: group.create_dataset(name, (24, 2, 3), "i4"),
    "text": lambda group, name, other: group.create_dataset(name, (24, 2, 3), h5py.string_dtype()),
    "a group": lambda group, name, other: group.create_group(name),
    "soft": lambda group, name, other: group.__setitem__(name, h5py.SoftLink("/digest")),
    "external": lambda group, name, other: group.__setitem__(
        name, h5py.ExternalLink(str(other), "x")
    ),
    "virtual": lambda group, name, other: virtual(other, group, name),
    "external storage": lambda group, name, other: group.create_dataset(
        name, (24, 2, 3), "f4", external=[(str(other), 0, 24 * 24)]
    ),
}


@pytest.fixture
def other(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as made:
        made["x"] = np.ones((24, 2, 3), np.float32)
    return tmp_path / "other.h5"


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_variants_are_refused(photos, file, other, kind):
    with_places(photos, file)
    with h5py.File(file, "r+") as opened:
        del opened["variants/grid8.avg"]
        DAMAGE[kind](opened["variants"], "grid8.avg", other)
    with pytest.raises(FormatError, match=r"photos\.h5.*variants/grid8\.avg"):
        read_header(file)
    with pytest.raises(FormatError, match=r"variants/grid8\.avg"):
        extract_pixels(photos, file)


@pytest.mark.parametrize("kind", ["missing", "a table", "soft", "external"])
def test_a_damaged_group_of_variants_is_refused(photos, file, other, kind):
    with_places(photos, file)
    with h5py.File(file, "r+") as opened:
        del opened["variants"]
        DAMAGE[kind](opened, "variants", other)
    with pytest.raises(FormatError, match=r"photos\.h5"):
        read_header(file)


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        *((1, "variants/grid8.avg"), (3, "variants/grid8.avg")),
        *((0, "augmentation"), ("two", "augmentation"), (2.5, "augmentation")),
    ],
)
def test_a_spec_that_says_other_variants_than_there_are_is_refused(photos, file, variants, said):
    with_places(photos, file)
    with h5py.File(file, "r+") as opened:
        spec = json.loads(opened.attrs["spec"])
        spec["augmentation"]["variants"] = variants
        opened.attrs["spec"] = json.dumps(spec)
    with pytest.raises(FormatError, match=rf"photos\.h5.*{said}"):
        read_header(file)


def test_variants_that_the_spec_knows_nothing_of_are_left_alone(photos, file):
    extract_pixels(photos, file)
    with h5py.File(file, "r+") as opened:
        opened.create_dataset("variants/grid8.avg", (24, 2, 3), "f4")
        opened["done"][3] = False
    result = extract_pixels(photos, file)
    assert (result.computed, result.reused, result.variants) == (1, 23, 0)
    _, rows = rows_of(file)
    assert set(rows) == {"grid8.avg", "properties"}
    assert rows["grid8.avg"].shape == (24, 3)
    with h5py.File(file) as opened:
        assert not opened["variants/grid8.avg"][:].any()


def test_nothing_is_written_through_a_link_out_of_the_file(photos, file, other):
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    extract_pixels(photos, file)
    with h5py.File(other, "r+") as made:
        del made["x"]
        made["x"] = np.arange(75, dtype=np.float32).reshape(25, 3)
    before = other.read_bytes()
    with h5py.File(file, "r+") as opened:
        opened["variants/grid8.avg"] = h5py.ExternalLink(str(other), "x")
        opened["done"][[b"copy" in id_ for id_ in opened["ids"][:]].index(True)] = False
    result = extract_pixels(photos, file)
    assert (result.computed, result.reused) == (0, 25)  # the copy's row is its twin's
    assert read_header(file).done.all()
    assert other.read_bytes() == before
