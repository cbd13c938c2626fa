"""Sharded files: what a crafted one says is not believed, and what is not there is not done.

Our own reader opens no file but shards beside the sharded file; what must not be opened is a pipe
here, at which HDF5 would wait for ever.
"""

import os
import shutil
import signal
import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pytest

from tests.fakes import rows_of
from tlfeatures import describe, extract, load_dataset, merge, verify
from tlfeatures.errors import FormatError, StoreError
from tlfeatures.features.file import checks
from tlfeatures.features.file.reader import open_embeddings, read_header

SETTINGS = {"backbone": "pixels", "size": 16, "layers": ["grid4"], "pools": ["flatten"]}
TABLE = "embeddings/grid4.flatten"


@pytest.fixture(scope="module")
def made(_photos, client, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    extract(_photos, folder / "x.h5", cluster=client, batch_size=3, **SETTINGS)
    extract(_photos, folder / "here.h5", batch_size=3, **SETTINGS)
    return folder


@pytest.fixture
def file(made, tmp_path):
    """A sharded file, and its shards beside it."""
    shutil.copytree(made / "x.h5.shards", tmp_path / "x.h5.shards")
    return shutil.copy(made / "x.h5", tmp_path / "x.h5")


@pytest.fixture(autouse=True)
def _alarm():
    signal.alarm(240)  # a pipe that is opened ends here
    yield
    signal.alarm(0)


def shard_of(file, number=0):
    return file.parent / "x.h5.shards" / read_header(file).shards.names[number]


def replaced(opened, name, values):
    del opened[name]
    opened[name] = values


def assert_refused(file):
    """By all that reads a file, in one clear line, and in little memory."""
    before = file.read_bytes()
    tracemalloc.start()
    for read in (rows_of, load_dataset, lambda path: merge(path, path.with_name("merged.h5"))):
        with pytest.raises((FormatError, StoreError)) as refused:
            read(file)
        assert "\n" not in str(refused.value)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20
    assert file.read_bytes() == before
    assert not file.with_name("merged.h5").exists()


FOLDERS = {
    "up": "../x.h5.shards",
    "absolute": "/etc/x.h5.shards",
    "below": "a/x.h5.shards",
    "another name": "x.h5.other",
    "up alone": "..",
    "empty": "",
    "number": 7,
    "list": ["x.h5.shards"],
    "bytes": np.bytes_(b"x\0/x.h5.shards"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_not_beside_the_file_is_refused(name, file):
    with h5py.File(file, "r+") as opened:
        opened.attrs["shards"] = FOLDERS[name]
    assert_refused(file)


NAMES = ["../" * 3 + "etc/passwd", "/" + "0" * 63 + ".h5", "0" * 63 + "/.h5", "0" * 65 + ".h"]
NAMES += ["A" * 64 + ".h5", "0" * 64 + "\n.h", "", "ü" * 33]


@pytest.mark.parametrize("name", NAMES)
def test_a_shard_of_another_name_is_refused(name, file):
    with h5py.File(file, "r+") as opened:
        names = opened["shards/name"][:]
        names[0] = name.encode()
        opened["shards/name"][:] = names
    assert_refused(file)


DAMAGE = {
    "a shard out of range": lambda f: f["place"].__setitem__((0, 0), 99),
    "a negative shard": lambda f: f["place"].__setitem__((0, 0), -2),
    "a row out of range": lambda f: f["place"].__setitem__((0, 1), 10**9),
    "a negative row": lambda f: f["place"].__setitem__((0, 1), -1),
    "the largest row": lambda f: f["place"].__setitem__((0, 1), 2**63 - 1),
    "another image's row": lambda f: f["place"].__setitem__((0, 1), 1),
    "no place": lambda f: f.__delitem__("place"),
    "no shards": lambda f: f.__delitem__("shards"),
    "no folder": lambda f: f.attrs.__delitem__("shards"),
    "no sizes": lambda f: f.__delitem__("shards/size"),
    "no digests": lambda f: f.__delitem__("shards/sha256"),
    "no names": lambda f: f.__delitem__("shards/name"),
    "no table": lambda f: f.__delitem__(TABLE),
    "a size below nothing": lambda f: f["shards/size"].__setitem__(0, -1),
    "sizes of two kinds": lambda f: replaced(f, "shards/size", np.ones((2, 2), np.int64)),
    "too few places": lambda f: replaced(f, "place", np.zeros((3, 2), np.int64)),
    "places that are no numbers": lambda f: replaced(f, "place", np.zeros((24, 2))),
    "names without an end": lambda f: replaced(f, "shards/name", ["x"]),
    "another image's digest": lambda f: f["digest"].__setitem__(0, 7),
    "a done row that is nowhere": lambda f: replaced(f, "done", np.ones(25, bool)),
    "another width": lambda f: mapped(f, (24, 49)),
    "a huge width": lambda f: mapped(f, (24, 2**40)),
    "huge in both": lambda f: mapped(f, (2**40, 2**20)),
    "half the digits": lambda f: mapped(f, (24, 48), "f2"),
    "no properties": lambda f: f.__delitem__("properties"),
    "fewer properties": lambda f: mapped(f, (24, 75), table="properties"),
    "properties of fewer images": lambda f: mapped(f, (23, 76), table="properties"),
    "half the digits of properties": lambda f: mapped(f, (24, 76), "f2", table="properties"),
    "a link for properties": lambda f: linked(f, "properties"),
    "another version": lambda f: f.attrs.__setitem__("format_version", 5),
    "a link for places": lambda f: linked(f, "place"),
    "a link for shards": lambda f: linked(f, "shards"),
}


def mapped(opened, shape, dtype="f4", target="/etc/passwd", table=TABLE):
    del opened[table]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[:] = h5py.VirtualSource(str(target), table, shape)
    opened.create_virtual_dataset(table, layout)


def linked(opened, name):
    del opened[name]
    opened[name] = h5py.ExternalLink("/etc/passwd", name)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_says_what_cannot_be_is_refused(name, file):
    with h5py.File(file, "r+") as opened:
        DAMAGE[name](opened)
    assert_refused(file)


def test_what_a_mapping_names_is_never_read(file, made, tmp_path):
    """HDF5 would follow it: to another file, or to a pipe at which it waits."""
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "pipe", "/etc/passwd", made / "here.h5"):
        with h5py.File(file, "r+") as opened:
            mapped(opened, (24, 48), target=target)
            mapped(opened, (24, 76), target=target, table="properties")
        found = rows_of(file)
        expected = rows_of(made / "here.h5")
        for name, values in expected[1].items():
            np.testing.assert_array_equal(found[1][name], values)
        assert describe(file)["done"] == 24
        assert verify(file).ok


@pytest.mark.parametrize("table", [TABLE, "place"])
def test_a_mapping_without_an_end_is_refused_before_hdf5_opens_what_it_names(table, file, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    layout = h5py.VirtualLayout((24, 48), "f4", maxshape=(None, 48))
    source = h5py.VirtualSource(tmp_path / "pipe", TABLE, (24, 48), maxshape=(None, 48))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    with h5py.File(file, "r+", libver="latest") as opened:
        del opened[table]
        opened.create_virtual_dataset(table, layout)
    assert_refused(file)


def test_many_images_in_one_row_promise_no_more_than_shards_could_hold(file, monkeypatch):
    """Places and digests that are all the same take no room in a file."""
    monkeypatch.setattr(checks, "SMALL_SHARDED", 2**20)
    count = 100_000
    with h5py.File(file, "r+") as opened:
        same = {name: opened[name][0] for name in ("ids", "digest", "stat", "done", "place")}
        same["reason"] = opened["reason"][0]
        for name, value in same.items():
            values = np.broadcast_to(value, (count, *np.shape(value)))
            replaced(opened, name, values)
        mapped(opened, (count, 48))
        mapped(opened, (count, 76), table="properties")
    with pytest.raises(FormatError, match=r"promises 49,600,000 bytes in shards of"):
        read_header(file)


# ---- shards


SHARDS = {
    "other images": lambda f: f["digest"].__setitem__(slice(None), 9),
    "rows that aren't done": lambda f: f["done"].__setitem__(slice(None), False),
    "another width": lambda f: replaced(f, TABLE, np.zeros((len(f["ids"]), 4), "f4")),
    "another type": lambda f: replaced(f, TABLE, np.zeros((len(f["ids"]), 48), "f2")),
    "another spec": lambda f: f.attrs.__setitem__(
        "spec", f.attrs["spec"].replace('"grid"', '"x"').replace("16", "17")
    ),
    "no embedding": lambda f: f.__delitem__(TABLE),
    "a link for a table": lambda f: linked(f, TABLE),
    "a mapping for a table": lambda f: mapped(f, (len(f["ids"]), 48)),
    "another version": lambda f: f.attrs.__setitem__("format_version", 9),
    "another format": lambda f: f.attrs.__setitem__("format", "x"),
    "no checksums": lambda f: f.__delitem__("checksums"),
    "no properties": lambda f: f.__delitem__("properties"),
    "fewer properties": lambda f: replaced(f, "properties", np.zeros((len(f["ids"]), 75), "f4")),
}


@pytest.mark.parametrize("name", SHARDS)
def test_a_shard_that_is_not_what_its_receipt_says_is_refused(name, file):
    shard = shard_of(file)
    with h5py.File(shard, "r+") as opened:
        SHARDS[name](opened)
    with h5py.File(file, "r+") as opened:  # whoever crafts a shard crafts its size, too
        opened["shards/size"][0] = shard.stat().st_size
    assert_refused(file)


def test_a_shard_that_is_sharded_itself_is_refused(file, tmp_path):
    shard = shard_of(file)
    shutil.copy(file, shard)  # and so on without an end
    with h5py.File(file, "r+") as opened:
        opened["shards/size"][0] = shard.stat().st_size
    assert_refused(file)


def test_bytes_that_are_no_file_of_ours_are_refused(file):
    shard = shard_of(file)
    shard.write_bytes(os.urandom(shard.stat().st_size))
    assert_refused(file)


def test_two_shards_in_each_others_place_are_refused(file):
    first, second = shard_of(file), shard_of(file, 1)
    kept = first.read_bytes()
    shutil.copy(second, first)
    second.write_bytes(kept)
    assert first.stat().st_size == second.stat().st_size
    assert_refused(file)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "gone", "short"])
def test_what_is_no_file_of_that_length_is_a_shard_that_is_gone(kind, file, photos, client, caplog):
    shard = shard_of(file)
    expected, count = rows_of(file), int((read_header(file).shards.place[:, 0] == 0).sum())
    moved = shard.with_name("elsewhere.h5")
    shard.rename(moved)
    {
        "link": lambda: shard.symlink_to(moved),
        "folder": shard.mkdir,
        "pipe": lambda: os.mkfifo(shard),
        "gone": lambda: None,
        "short": lambda: shard.write_bytes(moved.read_bytes()[:-1]),
    }[kind]()
    facts = describe(file)
    assert (facts["done"], facts["waiting"]) == (24 - count, count)
    assert "1 of the 8 shards of" in caplog.text
    assert len(load_dataset(file).X) == 24 - count
    if kind != "folder":  # a user's own folder isn't removed
        assert extract(photos, file, cluster=client, batch_size=3).computed == count
        found = rows_of(file)
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1]["grid4.flatten"], expected[1]["grid4.flatten"])
        assert read_header(file).shards is not None
        assert not any(path.is_symlink() for path in shard.parent.iterdir())


def test_a_shard_that_goes_while_the_file_is_open_is_one_line(file):
    with open_embeddings(file) as reader:
        shard_of(file).unlink()
        with pytest.raises(StoreError, match=r"is missing, or has another size than .*: run"):
            reader.read("grid4.flatten")


def test_damage_in_a_shard_is_found_by_verify_and_mended(file, photos, client):
    expected, shard = rows_of(file), shard_of(file, 2)
    with h5py.File(shard, "r+") as opened:
        opened[TABLE][1, 5] += 1
    found = verify(file, mend=True)
    assert not found.ok
    assert {finding.kind for finding in found.findings} == {"checksum", "shard"}
    assert found.mended == 3  # the shard is made anew
    assert extract(photos, file, cluster=client, batch_size=3).computed == 3
    np.testing.assert_array_equal(rows_of(file)[1]["grid4.flatten"], expected[1]["grid4.flatten"])
    assert verify(file).ok


# ---- where it is


def test_the_folder_may_be_a_link_as_to_a_larger_disk(file, made, photos, client, tmp_path):
    larger = tmp_path / "larger" / "disk"
    larger.parent.mkdir()
    shutil.move(file.parent / "x.h5.shards", larger)
    (file.parent / "x.h5.shards").symlink_to(larger)
    np.testing.assert_array_equal(
        rows_of(file)[1]["grid4.flatten"], rows_of(made / "here.h5")[1]["grid4.flatten"]
    )
    assert extract(photos, file, cluster=client).computed == 0
    shard_of(file).unlink()
    assert extract(photos, file, cluster=client, batch_size=3).computed == 3
    merge(file)
    assert not any(larger.iterdir())


def test_file_and_folder_move_together(file, made, tmp_path):
    (tmp_path / "new place").mkdir()
    for path in (file, file.parent / "x.h5.shards"):
        shutil.move(path, tmp_path / "new place")
    moved = tmp_path / "new place" / "x.h5"
    assert describe(moved)["done"] == 24
    np.testing.assert_array_equal(
        rows_of(moved)[1]["grid4.flatten"], rows_of(made / "here.h5")[1]["grid4.flatten"]
    )


def test_without_its_folder_nothing_is_done_and_all_is_computed_again(
    file, made, photos, client, caplog
):
    shutil.rmtree(file.parent / "x.h5.shards")
    assert describe(file)["done"] == 0
    assert "8 of the 8 shards of" in caplog.text
    assert "24 rows: if the file was moved, move its folder of shards, too" in caplog.text
    assert extract(photos, file, cluster=client, batch_size=3).computed == 24
    np.testing.assert_array_equal(
        rows_of(file)[1]["grid4.flatten"], rows_of(made / "here.h5")[1]["grid4.flatten"]
    )


OTHER_PROGRAM = """
import os, sys, h5py, numpy
for folder in sys.argv[3:]:
    os.chdir(folder)
    with h5py.File(sys.argv[1]) as one, h5py.File(sys.argv[2]) as other:
        for name in one["embeddings"]:
            here, there = one["embeddings"][name], other["embeddings"][name]
            assert here.is_virtual
            numpy.testing.assert_array_equal(here[:], there[:])
            numpy.testing.assert_array_equal(here[5], there[5])
        assert one["ids"][:].tolist() == other["ids"][:].tolist()
"""


def test_other_programs_read_it_by_hdf5_alone_from_any_folder(file, made, tmp_path):
    files = [file, made / "here.h5"]
    command = [sys.executable, "-c", OTHER_PROGRAM, *files, tmp_path, made, "/"]
    subprocess.run(command, check=True)
