"""Images and folders that can't be read are named, and lose nothing."""

import os
from pathlib import Path

import pytest

from tests.fakes import refuse_loading
from tests.unit.data import extract_pixels, rows_by_id
from tlfeatures.errors import SourceError
from tlfeatures.features.file.reader import read_header


def test_unreadable_images_are_named_recorded_and_tried_again(photos, file, monkeypatch):
    whole = (photos / "red" / "red03.png").read_bytes()
    (photos / "red" / "red03.png").write_bytes(whole[:80])
    (photos / "blue" / "text.jpg").write_text("no image at all")
    result = extract_pixels(photos, file)
    assert [failure["id"] for failure in result.failed] == ["blue/text.jpg", "red/red03.png"]
    assert (result.images, result.computed) == (25, 23)
    header = read_header(file)
    assert set(header.failures) == {"blue/text.jpg", "red/red03.png"}
    assert len(rows_by_id(file)) == 23
    (photos / "red" / "red03.png").write_bytes(whole)
    mended = extract_pixels(photos, file)
    assert (mended.computed, [f["id"] for f in mended.failed]) == (1, ["blue/text.jpg"])
    refuse_loading(monkeypatch)
    assert [f["id"] for f in extract_pixels(photos, file).failed] == ["blue/text.jpg"]


def test_no_file_is_made_when_nothing_can_be_read(tmp_path, file):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "1.jpg").write_text("text")
    with pytest.raises(SourceError, match=r"a/1.jpg \(not an image"):
        extract_pixels(tmp_path / "photos", file)
    assert not file.exists()


def unreadable(monkeypatch, *names):
    """Reading these files fails, as it does without permission; tests run as root."""
    real = os.open

    def opened(path, *how, **more):
        if Path(path).name in names:
            raise PermissionError(13, "Permission denied")
        return real(path, *how, **more)

    monkeypatch.setattr(os, "open", opened)


def test_images_that_can_not_be_read_now_keep_their_embeddings(photos, file, monkeypatch, caplog):
    extract_pixels(photos, file)
    before = rows_by_id(file)
    unreadable(monkeypatch, "red00.png", "blue03.png")
    result = extract_pixels(photos, file)
    assert (result.reused, result.failed) == (24, [])
    assert "2 images can't be read now" in caplog.text
    assert rows_by_id(file).keys() == before.keys()


def test_images_without_a_digest_are_not_one_image(photos, file, monkeypatch):
    with monkeypatch.context() as patch:
        unreadable(patch, "red00.png", "blue03.png")
        first = extract_pixels(photos, file)
    assert [failure["reason"] for failure in first.failed] == ["Permission denied"] * 2
    assert extract_pixels(photos, file).computed == 2
    rows = rows_by_id(file)
    assert (rows["red/red00.png"] != rows["blue/blue03.png"]).any()


def test_a_folder_that_can_not_be_listed_is_an_error(photos, file, monkeypatch):
    extract_pixels(photos, file)
    real = os.scandir

    def scandir(path):
        if Path(path).name == "red":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SourceError, match="red can't be listed: Permission denied"):
        extract_pixels(photos, file)
    assert len(rows_by_id(file)) == 24
