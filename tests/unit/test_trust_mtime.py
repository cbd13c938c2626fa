"""With `trust_mtime`, an image of the same size and modification time is not read again."""

import os
import time
from pathlib import Path

import h5py
import pytest

from tests.fakes import age, write_image
from tests.unit.data import extract_pixels
from tlfeatures import extract
from tlfeatures.features.file.reader import read_header


@pytest.fixture
def reads(monkeypatch):
    """Names of the image files that were read, in order."""
    read, real = [], os.open

    def opened(path, *how, **more):
        if Path(path).suffix in (".png", ".jpg"):
            read.append(Path(path).name)
        return real(path, *how, **more)

    monkeypatch.setattr(os, "open", opened)
    return read


def trusting(photos, file, reads):
    """What a run that trusts reads, and what it computes."""
    reads.clear()
    result = extract(photos, file, trust_mtime=True)
    assert result.images == result.computed + result.reused + len(result.failed)
    return sorted(reads), result.computed


def test_images_of_the_same_size_and_time_are_read_only_without_trust(photos, file, reads):
    extract_pixels(photos, file)
    before = file.read_bytes()
    assert trusting(photos, file, reads) == ([], 0)
    extract_pixels(photos, file)
    assert len(reads) == 24
    assert file.read_bytes() == before


def test_a_first_run_that_trusts_reads_everything(photos, file, reads):
    assert extract_pixels(photos, file, trust_mtime=True).computed == 24
    assert len(set(reads)) == 24


def replace_bytes(path, **times):
    """Other bytes, of the same size unless they are longer; the time is kept unless given."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1  # a bit of the last chunks: the file is another one, whatever decodes of it
    path.write_bytes(bytes(data) + times.get("more", b""))
    time = times.get("time", before.st_mtime_ns)
    os.utime(path, ns=(time, time))


def test_bytes_that_keep_size_and_time_are_taken_for_unchanged_only_with_trust(photos, file, reads):
    extract_pixels(photos, file)
    replace_bytes(photos / "red" / "red05.png")
    before = read_header(file).digests
    assert trusting(photos, file, reads) == ([], 0)
    assert read_header(file).digests == before
    extract_pixels(photos, file)
    assert read_header(file).digests != before


def test_a_changed_size_or_time_is_read(photos, file, reads):
    extract_pixels(photos, file)
    names = ["red03.png", "red04.png", "red05.png"]
    paths = [photos / "red" / name for name in names]
    was = [path.stat().st_mtime_ns for path in paths]
    replace_bytes(paths[0], more=b"x")
    replace_bytes(paths[1], time=was[1] + 1)
    replace_bytes(paths[2], time=was[2] - 10**12)  # a clock that was set back
    before = read_header(file).digests
    read, _ = trusting(photos, file, reads)
    assert set(read) == set(names)
    assert sum(a != b for a, b in zip(before, read_header(file).digests, strict=True)) == 3
    assert trusting(photos, file, reads)[1] == 0


@pytest.mark.parametrize("seconds", [1, -3600])
def test_a_time_just_now_or_in_the_future_is_never_believed(
    photos, file, reads, seconds, monkeypatch
):
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)  # however long a busy machine takes
    age(photos / "red" / "red03.png", seconds)
    extract_pixels(photos, file)
    row = read_header(file).ids.index("red/red03.png")
    assert read_header(file).stamps[row] == (0, 0)
    age(photos / "red" / "red03.png", seconds)
    assert trusting(photos, file, reads) == (["red03.png"], 0)


def test_a_time_that_lies_in_the_future_now_is_not_believed(photos, file, reads, monkeypatch):
    extract_pixels(photos, file)
    then = time.time_ns() - 2 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: then)
    read, computed = trusting(photos, file, reads)
    assert (len(read), computed) == (24, 0)


def test_images_that_were_touched_are_read_once_more(photos, file, reads):
    extract_pixels(photos, file)
    before = file.stat().st_ino
    for path in photos.glob("red/*"):
        age(path, 60)
    read, computed = trusting(photos, file, reads)
    assert (len(read), computed) == (12, 0)
    assert trusting(photos, file, reads) == ([], 0)
    for path in photos.glob("blue/*"):
        age(path, 50)
    extract_pixels(photos, file)  # reads all and keeps their times, too
    assert trusting(photos, file, reads) == ([], 0)
    assert file.stat().st_ino == before


def test_trust_goes_along_with_new_moved_and_unreadable_images(photos, file, reads):
    (photos / "red" / "text.jpg").write_text("no image at all")
    age(photos / "red" / "text.jpg")
    extract_pixels(photos, file)
    write_image(photos / "red" / "new.png", 5)
    (photos / "red" / "red03.png").rename(photos / "blue" / "moved.png")
    read, computed = trusting(photos, file, reads)
    assert set(read) == {"new.png", "moved.png", "text.jpg"}  # an unfinished one is tried again
    assert computed == 1
    assert set(trusting(photos, file, reads)[0]) == {"text.jpg"}
    assert extract(photos, file).computed == 0


def test_a_mistaken_trust_is_found_where_the_image_is_read_after_all(photos, file, reads):
    image = photos / "red" / "red05.png"
    pixels = image.read_bytes()
    image.write_bytes(pixels + b"x")  # what follows a PNG's end counts as bytes, not as pixels
    age(image)
    extract_pixels(photos, file)
    before = image.stat().st_mtime_ns
    image.write_bytes(pixels + b"y")
    os.utime(image, ns=(before, before))
    result = extract_pixels(photos, file, layers=["grid4"], pools=["max"], trust_mtime=True)
    assert [(each["id"], "changed" in each["reason"]) for each in result.failed] == [
        ("red/red05.png", True)
    ]
    reads.clear()
    assert extract(photos, file, trust_mtime=True).computed == 1
    assert set(reads) == {"red05.png"}  # no longer trusted


def test_stamps_of_a_file_that_can_not_be_written_stay_as_they_are(photos, file, monkeypatch):
    extract_pixels(photos, file)
    age(photos / "red" / "red03.png", 60)
    before = file.read_bytes()

    real = h5py.File

    def refuse(path, mode, **options):
        if mode != "r":
            raise PermissionError(13, "Permission denied")
        return real(path, mode, **options)

    monkeypatch.setattr(h5py, "File", refuse)
    assert extract(photos, file).reused == 24
    assert file.read_bytes() == before
