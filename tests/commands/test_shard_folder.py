"""Which shards are removed: those that no file needs, and none where that can't be told."""

import json
import logging
import shutil

import h5py
import numpy as np
import pytest

from tests.fakes import assert_same, assert_tidy, rows_of, shards_of, write_image
from tlfeatures import describe, extract, merge
from tlfeatures.errors import StoreError
from tlfeatures.features.cluster import worker as shards
from tlfeatures.features.file import shard_folder
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.file.writer import Writer

SETTINGS = {"backbone": "pixels", "size": 16, "layers": ["grid4"], "pools": ["flatten"]}


@pytest.fixture(scope="module")
def made(_photos, client, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    extract(_photos, folder / "x.h5", cluster=client, batch_size=3, **SETTINGS)
    return folder


@pytest.fixture
def file(made, tmp_path):
    """A sharded file with its shards beside it."""
    shutil.copytree(made / "x.h5.shards", tmp_path / "x.h5.shards")
    return shutil.copy(made / "x.h5", tmp_path / "x.h5")


# ---- files beside

DAMAGE = {
    "cut off": lambda data: data[: len(data) // 2],
    "its first bytes are gone": lambda data: b"\0" * 64 + data[64:],
    "empty": lambda data: b"",
    "another version": None,
    "no spec": None,
}


def damage(path, kind):
    if DAMAGE[kind] is not None:
        path.write_bytes(DAMAGE[kind](path.read_bytes()))
        return
    with h5py.File(path, "r+") as opened:
        if kind == "another version":
            opened.attrs["format_version"] = 99
        else:
            del opened.attrs["spec"]


ANEW = [(kind, "extract anew") for kind in DAMAGE]


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *((kind, "merge") for kind in DAMAGE),
        ANEW[0],
        *(pytest.param(*case, marks=pytest.mark.long) for case in ANEW[1:]),
    ],
)
@pytest.mark.slow
def test_beside_a_file_that_can_t_be_read_no_shard_is_removed(
    kind, how, file, photos, client, caplog
):
    copy = shutil.copy(file, file.with_name("copy.h5"))
    before, expected = shards_of(file), rows_of(file)
    damage(copy, kind)
    if how == "merge":
        merge(file)
    else:
        for path in photos.glob("*/*"):  # other images, the same pixels
            path.write_bytes(path.read_bytes() + b"\0")
        expected[1]["properties"][:, 0] += 1  # the size of the file
        extract(photos, file, cluster=client, batch_size=3, prune=True)
    assert set(before) <= set(shards_of(file))
    said = [record.getMessage() for record in caplog.records if "kept" in record.getMessage()]
    assert len(said) == 1
    assert "copy.h5" in said[0]
    assert "\n" not in said[0]
    assert_same(file, expected)
    copy.unlink()
    if how == "merge":  # with that file out of the way, the next command tidies up
        merge(file)
        assert shards_of(file) == []
    else:
        extract(photos, file, cluster=client)
        assert_tidy(file)


def test_files_of_other_programs_keep_no_shards(file):
    with h5py.File(file.with_name("weights.h5"), "w") as other:
        other["layer"] = np.zeros(3)
    file.with_name("notes.txt").write_text("x")
    file.with_name("folder.h5").mkdir()
    merge(file)
    assert shards_of(file) == []


def test_a_copy_that_can_be_read_keeps_its_shards(file):
    copy = shutil.copy(file, file.with_name("copy.h5"))
    expected, before = rows_of(copy), shards_of(file)
    merge(file)
    assert shards_of(file) == before
    assert_same(copy, expected)


# ---- a merge that was killed


@pytest.mark.parametrize("how", ["merge", "extract"])
@pytest.mark.parametrize("removed", [0, 1])
def test_what_a_killed_merge_left_is_removed_by_the_next_command(
    how, removed, file, photos, monkeypatch
):
    expected = rows_of(file)
    with monkeypatch.context() as patch:
        patch.setattr(shard_folder, "remove_shards", lambda *given: None)  # killed just before
        merge(file)
    for name in shards_of(file)[:removed]:
        (file.parent / "x.h5.shards" / name).unlink()
    (file.parent / "x.h5.shards" / f".{'a' * 64}.h5.17-00000000-000000.new").touch()
    if how == "merge":
        assert merge(file).shards == 0
    else:
        assert extract(photos, file).computed == 0
    assert shards_of(file) == []
    assert not (file.parent / "x.h5.shards").exists()
    assert_same(file, expected)


@pytest.mark.parametrize("how", ["merge", "extract"])
def test_shards_with_rows_that_the_file_lacks_stay(how, file, photos, tmp_path, client):
    """As a run on a cluster made them that was cut off before it put them into the file."""
    (tmp_path / "more").mkdir()
    shutil.copytree(photos, tmp_path / "more" / "photos")
    write_image(tmp_path / "more" / "photos" / "red" / "new.png", 1)
    extract(tmp_path / "more" / "photos", tmp_path / "more" / "y.h5", cluster=client, **SETTINGS)
    merge(file)
    shutil.copytree(tmp_path / "more" / "y.h5.shards", tmp_path / "x.h5.shards")
    before = shards_of(file)
    if how == "merge":
        merge(file)
    else:
        extract(photos, file)
    (new,) = [name for name in before if name in shards_of(file)]
    assert len(read_header(tmp_path / "x.h5.shards" / new).ids) >= 1


def test_of_a_copy_the_orphans_are_rows_and_stay(file, monkeypatch):
    copy = shutil.copy(file, file.with_name("copy.h5"))
    expected = rows_of(copy)
    with monkeypatch.context() as patch:
        patch.setattr(shard_folder, "remove_shards", lambda *given: None)
        merge(file)
    merge(file)
    assert_same(copy, expected)


# ---- shards put into a file


def test_shards_stay_where_the_file_lacks_one_of_their_rows(photos, tmp_path, client, monkeypatch):
    file, folder = tmp_path / "x.h5", tmp_path / "elsewhere"
    real = Writer.carry

    def forget(self, *arguments):  # as where a shard is no more what it was
        if forget.left:
            real(self, *arguments)
        forget.left = False

    forget.left = True
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "carry", forget)
        with pytest.raises(StoreError, match=r"lacks \d+ rows .* nothing is removed; run the same"):
            extract(photos, file, cluster=client, shards=folder, batch_size=3, **SETTINGS)
    (own,) = folder.iterdir()
    before = sorted(path.name for path in own.iterdir())
    assert len(before) > 1
    extract(photos, file, cluster=client, shards=folder, batch_size=3, **SETTINGS)
    assert describe(file)["done"] == 24
    assert not own.exists()


# ---- shards of another version


def relabel(path, versions):
    with h5py.File(path, "r+") as opened:
        provenance = json.loads(opened.attrs["provenance"])
        opened.attrs["provenance"] = json.dumps({**provenance, "versions": versions})


@pytest.mark.parametrize(
    "versions",
    [
        {"tlfeatures": "0.0.9", "numpy": "2"},
        {"numpy": "2"},
        None,
        *(pytest.param(versions, marks=pytest.mark.long) for versions in ({}, "0.1.0")),
    ],
    ids=str,
)
def test_shards_of_another_version_are_made_again(
    versions, file, photos, client, monkeypatch, tmp_path
):
    expected = rows_of(file)
    file.unlink()  # as of a run that was cut off before it made the file
    old = shards_of(file)
    for name in old[1:]:
        relabel(tmp_path / "x.h5.shards" / name, versions)
    images = len(read_header(tmp_path / "x.h5.shards" / old[0]).ids)
    result = extract(photos, file, cluster=client, batch_size=3, **SETTINGS)
    assert (result.computed, result.reused) == (24 - images, images)
    assert_same(file, expected)
    for name in shards_of(file):
        header = read_header(tmp_path / "x.h5.shards" / name)
        assert header.provenance["versions"]["tlfeatures"] == shards.__version__


def test_a_finished_file_of_another_version_computes_nothing_again(file, photos, client):
    relabel(file, {"tlfeatures": "0.0.9"})
    assert extract(photos, file, cluster=client).computed == 0


def test_nothing_is_said_where_nothing_would_be_removed(file, photos, client, caplog):
    damage(shutil.copy(file, file.with_name("copy.h5")), "cut off")
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        extract(photos, file, cluster=client)
    assert caplog.text == ""
