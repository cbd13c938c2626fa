"""Folders by path and by URL: a file is there whole or not at all, and errors are one line."""

import os
import sys
from pathlib import Path

import pytest

from tests.fakes import rows_of, write_image
from tlfeatures import extract
from tlfeatures.errors import ImageError, ParameterError, SourceError, StoreError
from tlfeatures.features.images.identify import UNREADABLE, identify
from tlfeatures.features.sources.folders import FolderSource
from tlfeatures.features.sources.locations import (
    Folder,
    absolute_location,
    is_url,
    list_url,
    read_url,
)
from tlfeatures.features.sources.records import ImageRecord


@pytest.fixture
def memory():
    import fsspec

    system = fsspec.filesystem("memory")
    yield system
    for path in system.ls("/", detail=False):
        system.rm(path, recursive=True)


@pytest.fixture(params=["path", "memory"])
def folder(request, tmp_path, memory):
    folder = Folder(str(tmp_path / "ä b") if request.param == "path" else "memory://ä b")
    folder.create()
    return folder


def put(folder, name, data):
    with folder.writing(name) as path:
        path.write_bytes(data)


def test_a_file_that_is_made_is_there_and_is_read(folder):
    put(folder, "x.h5", b"abc")
    assert folder.exists
    assert folder.sizes() == {"x.h5": 3}
    with folder.reading("x.h5") as path:
        assert path.read_bytes() == b"abc"
    put(folder, "x.h5", b"longer")
    assert folder.sizes() == {"x.h5": 6}


def test_a_file_appears_at_the_end_and_not_before(folder):
    put(folder, "x.h5", b"old")
    with folder.writing("x.h5") as path:
        path.write_bytes(b"half")
        with folder.reading("x.h5") as there:
            assert there.read_bytes() == b"old"
    assert folder.sizes() == {"x.h5": 4}


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt])
def test_an_error_while_a_file_is_made_leaves_nothing(folder, error):
    def make():
        with folder.writing("x.h5") as path:
            path.write_bytes(b"half")
            raise error("the disk is full")

    with pytest.raises(error):
        make()
    assert folder.sizes() == {}


def test_what_is_removed_is_gone_and_what_is_gone_already_is_no_error(folder):
    for name in "abc":
        put(folder, name, name.encode())
    folder.remove(["a", "nowhere"])
    assert set(folder.sizes()) == {"b", "c"}
    folder.remove(["b", "c"])
    folder.remove(["b", "c"])
    assert folder.sizes() == {}


def test_a_local_folder_goes_with_its_last_file(tmp_path):
    folder = Folder(str(tmp_path / "x"))
    assert (folder.exists, folder.sizes()) == (False, {})
    folder.create()
    folder.create()
    put(folder, "a", b"a")
    (tmp_path / "x" / "b").write_text("a user's own")
    folder.remove(["a"])
    assert folder.exists
    folder.remove(["b"])
    assert not folder.exists


def test_a_file_that_is_not_there_is_no_crash(tmp_path, memory):
    with Folder(str(tmp_path)).reading("x") as path:  # who reads it finds out
        assert not path.exists()
    nowhere = Folder("memory://nowhere").reading("x")
    with pytest.raises(StoreError, match=r"^memory://nowhere can't be read: \S"), nowhere:
        pass
    assert Folder("memory://nowhere").sizes() == {}


def test_links_and_folders_are_no_files_of_a_folder(tmp_path):
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert Folder(str(tmp_path)).sizes() == {"real": 1}


def test_what_the_system_refuses_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"file can't be created: File exists"):
        Folder(str(tmp_path / "file")).create()
    with pytest.raises(StoreError, match=r"file can't be listed: Not a directory"):
        Folder(str(tmp_path / "file")).sizes()
    with pytest.raises(StoreError, match=r"below can't be created: Not a directory"):
        Folder(str(tmp_path / "file" / "below")).create()
    (tmp_path / "x.h5").mkdir()
    with pytest.raises(StoreError, match=r"can't be written: Is a directory"):
        put(Folder(str(tmp_path)), "x.h5", b"x")
    with pytest.raises(StoreError, match=r"can't be removed: "):
        Folder(str(tmp_path)).remove(["x.h5"])
    assert {path.name for path in tmp_path.iterdir()} == {"file", "x.h5"}


def test_a_location_as_other_machines_understand_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_location("a/../b") == str(tmp_path / "b")
    assert absolute_location(Path("b/")) == str(tmp_path / "b")
    assert absolute_location(f"file://{tmp_path}/b/") == str(tmp_path / "b")
    assert absolute_location("s3://bucket/b/") == "s3://bucket/b"
    assert [is_url(each) for each in ("s3://x", "a/b", "a:/b", Path("a"))] == [True] + [False] * 3


# ---- images at a URL


def test_names_below_a_url_are_sorted_and_hidden_ones_left_out(memory):
    for name in ("b/2.png", "a/z ä.png", "a/10.png", ".git/x.png", "a/.hidden.png", "top.png"):
        memory.pipe_file(f"/photos/{name}", b"x")
    memory.pipe_file("/photos2/no.png", b"x")
    expected = ["a/10.png", "a/z ä.png", "b/2.png", "top.png"]
    assert list(list_url("memory://photos")) == expected
    assert [image.id for image in FolderSource("memory://photos/").images()] == expected
    for url in ("memory://nowhere", "memory://photos/top.png"):
        with pytest.raises(ParameterError, match="has no files, or is none"):
            list(list_url(url))


def test_an_image_at_a_url_is_read_or_has_a_reason(memory):
    memory.pipe_file("/photos/a/x.png", b"abc")
    assert read_url("memory://photos/a/x.png") == b"abc"
    with pytest.raises(ImageError) as refused:
        read_url("memory://photos/a/y.png")
    assert str(refused.value)
    assert identify(ImageRecord("a/y.png", "memory://photos", "a/y.png")) == (UNREADABLE, (0, 0))


def test_images_at_a_url_give_what_those_in_a_folder_give(memory, tmp_path):
    for number in range(6):
        path = tmp_path / "photos" / "ab"[number % 2] / f"ü {number}.png"
        write_image(path, number)
        memory.pipe_file(f"/photos/{path.relative_to(tmp_path / 'photos')}", path.read_bytes())
    extract(tmp_path / "photos", tmp_path / "here.h5", backbone="pixels")
    extract("memory://photos", tmp_path / "there.h5", backbone="pixels")
    here, there = rows_of(tmp_path / "here.h5"), rows_of(tmp_path / "there.h5")
    assert here[0] == there[0]
    assert (here[1]["grid8.avg"] == there[1]["grid8.avg"]).all()


def test_a_url_that_cannot_be_listed_is_one_line(memory, monkeypatch):
    def find(*_, **__):
        raise PermissionError(13, "Access\nDenied")

    monkeypatch.setattr(type(memory), "find", find)
    with pytest.raises(SourceError, match=r"^memory://photos can't be listed: Access Denied$"):
        list(list_url("memory://photos"))


@pytest.mark.parametrize("url", ["s3://bucket/photos", "nonsense://photos"])
def test_a_kind_of_url_that_nothing_here_reads_is_one_line(url, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    for use in (
        lambda: list(list_url(url)),
        lambda: extract(url, tmp_path / "x.h5", backbone="pixels"),
        lambda: Folder(url).sizes(),
    ):
        with pytest.raises(ParameterError, match=rf"^{url} can't be used: ") as refused:
            use()
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "x.h5").exists()


def test_a_url_without_fsspec_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ParameterError, match=r"pip install 'tlfeatures\[urls\]'"):
        list(list_url("s3://bucket/photos"))


def test_a_name_that_fsspec_would_take_for_another_file_is_left_out(caplog):
    import fsspec

    system = fsspec.filesystem("memory")
    for name in ("x.png", "x::file:", "y.png"):
        system.pipe_file(f"/chained/{name}", b"x")
    assert list(list_url("memory://chained")) == ["x.png", "y.png"]
    assert "1 files of memory://chained are left out" in caplog.text
