"""Promises that only other processes can test: readers beside a writer, full disks, users.

Promise: a full disk is one line; a read-only file stays as it is; unreadable images are named and
skipped, with exit code 3; readers don't wait for a writer, and two writers don't meet.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.fakes import assert_same, rows_of, write_image
from tests.integration.piped import COMMAND, Program, run
from tests.nobody import as_nobody, open_folder
from tlfeatures import describe, extract
from tlfeatures.cli import main
from tlfeatures.features.file.lock import partial_path
from tlfeatures.features.file.reader import read_header


@pytest.fixture
def file(tmp_path):
    return tmp_path / "photos.h5"


def assert_one_line(result, code=1):
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1


def assert_whole(photos, file, **settings):
    """The file has what a run gives that nothing cut off."""
    whole = file.with_name("whole.h5")
    extract(photos, whole, backbone="pixels", **settings)
    assert_same(file, rows_of(whole))


def test_a_reader_is_not_blocked_by_a_writer(photos, file):
    seen = []

    script = "import sys, h5py; print(h5py.File(sys.argv[1], 'r')['done'][:].sum())"

    def progress(done, total):  # while the writer has it open, as somebody else's script would
        seen.append((int(run(script, file).stdout), done))
        assert read_header(file).done.sum() == done

    extract(photos, file, backbone="pixels", size=16, batch_size=5, progress=progress)
    assert [counted for counted, _ in seen] == [done for _, done in seen] == [5, 10, 15, 20, 24]


LOCK = ".photos.h5.lock"
FULL_DISK = """
import resource, sys
from tlfeatures.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
main(sys.argv[2:])
"""


def on_a_full_disk(limit, *arguments):
    return run(FULL_DISK, limit, *arguments)


def test_a_full_disk_is_one_line_and_leaves_no_file(photos, file):
    result = on_a_full_disk(
        9000, "extract", photos, "-o", file, "--backbone", "pixels", "--size", "16"
    )
    assert_one_line(result)
    assert "File too large" in result.stderr
    assert {path.name for path in file.parent.iterdir()} == {"photos"}


def test_a_full_disk_loses_nothing_of_what_was_there(photos, file):
    extract(photos, file, backbone="pixels", size=16)
    before = file.read_bytes()
    arguments = ["extract", photos, "-o", file, "--pool", "flatten"]
    result = on_a_full_disk(len(before), *arguments)
    assert result.returncode == 1
    assert "make room" in result.stderr
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*.tmp"))


def test_a_disk_without_room_for_more_images_keeps_the_file(photos, file):
    extract(photos, file, backbone="pixels", size=16)
    before = file.read_bytes()
    for seed in range(40):
        write_image(photos / "red" / f"new{seed}.png", seed)
    result = on_a_full_disk(len(before), "extract", photos, "-o", file)
    assert_one_line(result)
    assert "make room" in result.stderr
    assert file.read_bytes() == before
    assert {path.name for path in file.parent.iterdir()} == {"photos", "photos.h5", LOCK}
    assert extract(photos, file).computed == 40


# Nothing can be written from the n-th call of a method of the writer on. Space is reserved, but
# where blocks are copied on writing, by a quota, or on a failing disk, that isn't all.
FULL_LATER = """
import resource, sys
from tlfeatures.features.file.writer import Writer
name, left = sys.argv[1], int(sys.argv[2])
real = getattr(Writer, name)
def full(self, *values):
    global left
    left -= 1
    if left < 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    return real(self, *values)
setattr(Writer, name, full)
from tlfeatures.cli import main
main(sys.argv[3:])
"""


@pytest.mark.parametrize("pool", ["avg", "flatten"])  # few bytes wait in HDF5, many do not
@pytest.mark.parametrize(
    ("method", "calls", "safe"), [("write", 0, 0), ("write", 2, 10), ("fail", 0, 24)]
)
def test_a_disk_that_fills_up_keeps_every_finished_batch(photos, file, method, calls, safe, pool):
    (photos / "red" / "text.jpg").write_text("text")
    options = ["--backbone", "pixels", "--size", 160, "--pool", pool, "--batch-size", 5]
    result = run(FULL_LATER, method, calls, "extract", photos, "-o", file, *options)
    assert_one_line(result)
    assert f"{file} can't be written: File too large. {safe} rows are safe" in result.stderr
    assert describe(file)["done"] == safe
    assert extract(photos, file, batch_size=5).computed == 24 - safe
    assert_whole(photos, file, size=160, pools=pool)


@pytest.mark.parametrize(
    ("method", "calls", "left"),
    [("carry", 0, None), ("write", 0, 24), ("write", 2, 34), ("fail", 0, 36)],
)
def test_a_disk_that_fills_up_while_images_are_added(photos, file, method, calls, left):
    extract(photos, file, backbone="pixels", size=16)
    before = file.read_bytes()
    for seed in range(12):
        write_image(photos / "red" / f"new{seed}.png", seed)
    (photos / "red" / "text.jpg").write_text("text")
    arguments = ["extract", photos, "-o", file, "--batch-size", 5]
    result = run(FULL_LATER, method, calls, *arguments)
    assert_one_line(result)
    assert "can't be written: File too large" in result.stderr
    assert file.read_bytes() == before
    beside = partial_path(file)
    assert (describe(beside)["done"] if beside.exists() else None) == left
    assert not list(file.parent.glob(".*.new"))
    assert extract(photos, file, batch_size=5).computed == 36 - (left or 24)
    assert_whole(photos, file, size=16)


@pytest.fixture
def folder(photos):
    """A folder with images that any user can come to."""
    with open_folder() as base:
        shutil.copytree(photos, base / "photos").chmod(0o755)
        yield base


def test_a_folder_that_is_read_only_is_one_line(folder):
    folder.chmod(0o555)
    arguments = ["extract", folder / "photos", "-o", folder / "x.h5", "--backbone", "pixels"]
    result = as_nobody(*arguments, run=run)
    assert_one_line(result)
    assert f"can't write beside {folder / 'x.h5'}: Permission denied" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["photos"]


@pytest.mark.parametrize("cut_off", [False, True])
def test_a_file_that_is_read_only_stays_as_it_is(folder, cut_off):
    source, file = folder / "photos", folder / "x.h5"
    arguments = ["extract", source, "-o", file, "--backbone", "pixels", "--batch-size", 5]
    if cut_off:
        run(FULL_LATER, "write", 2, *arguments)
    else:
        run(COMMAND, *arguments)
        write_image(source / "red" / "new.png", 1)
    (folder / ".x.h5.lock").unlink()
    file.chmod(0o444)
    folder.chmod(0o777)
    before = file.read_bytes()
    result = as_nobody(*arguments, run=run)
    assert_one_line(result)
    assert f"{file} is read-only" in result.stderr
    assert file.read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {"photos", "x.h5", ".x.h5.lock"}
    assert as_nobody("info", file, run=run).returncode == 0


def test_a_file_that_is_read_only_and_complete_needs_nothing(folder):
    arguments = ["extract", folder / "photos", "-o", folder / "x.h5", "--backbone", "pixels"]
    run(COMMAND, *arguments)
    (folder / ".x.h5.lock").unlink()
    (folder / "x.h5").chmod(0o444)
    folder.chmod(0o777)
    result = as_nobody(*arguments, run=run)
    assert (result.returncode, result.stderr) == (0, "")
    assert "0 computed, 24 reused" in result.stdout


# What is named first vanishes once the images are listed, before any of them is decoded: the table
# of backbones has nothing that is called then.
VANISHING = """
import os, sys
from tlfeatures.cli import main
from tlfeatures.features import extract
gone, real = sys.argv[1], extract.scan
def scan(*arguments):
    manifest = real(*arguments)
    os.rename(gone, gone + ".gone")
    return manifest
extract.scan = scan
main(sys.argv[2:])
"""
# The same once some batches are written.
VANISHING_LATER = """
import os, sys
from dataclasses import replace
from tlfeatures.cli import main
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.backbones.pixels import PixelBackbone
gone, batches = sys.argv[1], int(sys.argv[2])
class Double(PixelBackbone):
    def embed(self, images):
        global batches
        if batches == 0:
            os.rename(gone, gone + ".gone")
        batches -= 1
        return super().embed(images)
BACKBONES["pixels"] = replace(BACKBONES["pixels"], load=Double)
main(sys.argv[3:])
"""


def test_an_image_that_vanishes_is_named_and_the_others_are_embedded(photos, file):
    gone = photos / "red" / "red03.png"
    arguments = ["extract", photos, "-o", file, "--backbone", "pixels", "--size", 16]
    result = run(VANISHING, gone, *arguments)
    assert result.returncode == 3
    assert result.stderr == "can't read red/red03.png: No such file or directory\n"
    facts = describe(file)
    assert (facts["done"], facts["waiting"]) == (23, 0)
    assert [failure["id"] for failure in facts["failed"]] == ["red/red03.png"]
    Path(f"{gone}.gone").rename(gone)
    assert extract(photos, file).computed == 1


def test_a_folder_that_vanishes_before_any_image_is_read(photos, file):
    arguments = ["extract", photos, "-o", file, "--backbone", "pixels", "--size", 16]
    result = run(VANISHING, photos, *arguments)
    assert_one_line(result)
    assert "no image can be read" in result.stderr
    assert not file.exists()
    result = run(COMMAND, *arguments)
    assert_one_line(result, 2)
    assert not file.exists()


@pytest.mark.slow
def test_a_folder_that_vanishes_keeps_what_is_in_the_file(tmp_path, file):
    photos = tmp_path / "photos"
    for number in range(110):
        write_image(photos / "ab"[number % 2] / f"{number}.png", number)
    # So large that no more than 85 are decoded ahead, however fast the threads are.
    arguments = ["extract", photos, "-o", file, "--backbone", "pixels", "--size", 512]
    arguments += ["--batch-size", 4]
    result = run(VANISHING_LATER, photos, 2, *arguments)
    assert result.returncode == 3
    facts = describe(file)
    assert facts["done"] >= 8
    assert facts["failed"]
    assert facts["done"] + len(facts["failed"]) == 110
    before = file.read_bytes()
    assert_one_line(run(COMMAND, *arguments), 2)
    photos.mkdir()  # as where a disk is mounted no more
    assert_one_line(run(COMMAND, *arguments))
    assert file.read_bytes() == before
    photos.rmdir()
    Path(f"{photos}.gone").rename(photos)
    assert extract(photos, file, batch_size=4).computed == 110 - facts["done"]
    assert_whole(photos, file, size=512)


WAITING = """
import sys
from dataclasses import replace
from tlfeatures.cli import main
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.backbones.pixels import PixelBackbone
class Double(PixelBackbone):
    def embed(self, images):
        print("embedding", flush=True)
        sys.stdin.readline()
        return super().embed(images)
BACKBONES["pixels"] = replace(BACKBONES["pixels"], load=Double)
main(sys.argv[1:])
"""


@pytest.mark.parametrize("adding", [False, True])
def test_a_second_extract_is_refused_with_the_pid_of_the_first(photos, file, adding, monkeypatch):
    if adding:
        extract(photos, file, backbone="pixels", size=16)
        write_image(photos / "red" / "new.png", 1)
    options = ["--backbone", "pixels", "--size", "16"]
    first = Program(WAITING, "extract", photos, "-o", file, *options)
    try:
        assert first.stdout.readline() == b"embedding\n"
        link = file.with_name("link.h5")
        link.symlink_to(file.name)
        others = [file, link, file.name, f"photos/../{file.name}"]
        monkeypatch.chdir(file.parent)
        for other in [*others, *others]:  # a refused one leaves the pid as it is
            result = CliRunner().invoke(main, ["extract", str(photos), "-o", str(other), *options])
            assert result.exit_code == 1
            assert len(result.output.splitlines()) == 1
            assert f"is being written by another process (pid {first.pid})" in result.stderr
    finally:
        _, said = first.communicate(b"\n" * 100)
    assert (first.returncode, said) == (0, b"")
    assert describe(file)["done"] == (25 if adding else 24)
    assert_whole(photos, file, size=16)


def test_info_of_a_link_names_the_unfinished_update(photos, file):
    extract(photos, file, backbone="pixels", size=16)
    write_image(photos / "red" / "new.png", 1)
    run(FULL_LATER, "write", 0, "extract", photos, "-o", file)
    (photos.parent / "elsewhere").mkdir()
    link = photos.parent / "elsewhere" / "link.h5"
    link.symlink_to(file)
    assert describe(link)["unfinished_update"] == str(partial_path(file))


def test_the_same_folder_by_another_path_computes_nothing(photos, file, monkeypatch):
    extract(photos, file, backbone="pixels", size=16)
    before = file.read_bytes()
    (photos.parent / "link").symlink_to("photos")
    monkeypatch.chdir(photos.parent)
    paths = ["photos", "photos/", "./photos", "photos/../photos", "link", "link/"]
    for source in [*paths, f"{photos}/", photos.parent / "link", photos / "red" / ".."]:
        result = extract(source, file)
        assert (result.computed, result.reused, result.removed) == (0, 24, 0)
    monkeypatch.chdir(photos)
    assert extract(".", file).computed == 0
    assert file.read_bytes() == before


@pytest.mark.parametrize("moment", [0, 10**8, 4 * 10**9], ids=["1970", "1973", "2096"])
def test_a_clock_that_went_elsewhere_computes_nothing_and_loses_nothing(photos, file, moment):
    extract(photos, file, backbone="pixels", size=16)
    before = rows_of(file)[1]["grid8.avg"]
    for path in [*photos.glob("*/*"), *photos.glob("*"), photos, file]:
        os.utime(path, (moment, moment))
    result = extract(photos, file)
    assert (result.computed, result.reused) == (0, 24)
    np.testing.assert_array_equal(rows_of(file)[1]["grid8.avg"], before)
    changed = photos / "red" / "red00.png"
    write_image(changed, 7)
    os.utime(changed, (moment - 100, moment - 100))  # written before the file, says its time
    assert extract(photos, file).computed == 1
    assert_whole(photos, file, size=16)


def test_an_unfinished_update_of_another_time_is_taken_up(photos, file):
    extract(photos, file, backbone="pixels", size=16)
    for seed in range(12):
        write_image(photos / "red" / f"new{seed}.png", seed)
    for moment in (0, 4 * 10**9):
        run(FULL_LATER, "write", 1, "extract", photos, "-o", file, "--batch-size", 4)
        os.utime(partial_path(file), (moment, moment))
    result = extract(photos, file, batch_size=4)
    assert (result.computed, result.reused) == (4, 32)
    assert not partial_path(file).exists()
