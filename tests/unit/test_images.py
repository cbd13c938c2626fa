"""Image files become pixels and thumbnails, and are found in a folder."""

import io
import os
import time
import unicodedata

import numpy as np
import pytest
from PIL import Image

from tests.fakes import decode, write_image
from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.images.decoding import thumbnail
from tlfeatures.features.images.identify import UNKNOWN, UNREADABLE, scan
from tlfeatures.features.images.reading import Content, digest
from tlfeatures.features.sources.folders import FolderSource
from tlfeatures.features.sources.open_source import open_source
from tlfeatures.reports.page.thumbnails import thumbnails

SIZE = (8, 8)
CORNERS = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]]


def encoded(image: Image.Image, format_: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def quarters() -> Image.Image:
    """Red, green, blue and white quarters of 16 pixels."""
    pixels = np.array(CORNERS, np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    return Image.fromarray(pixels)


def test_alpha_lies_on_white():
    image = Image.new("RGBA", (16, 16), 0)
    assert (decode(encoded(image), SIZE) == 255).all()


def test_half_transparent_black_is_grey():
    pixels = decode(encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 128))), SIZE)
    assert (pixels == 127).all()


def test_grey_becomes_rgb():
    assert (decode(encoded(Image.new("L", (16, 16), 77)), SIZE) == 77).all()


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_is_resized_as_if_it_were_rgb(mode):
    values = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    image = Image.fromarray(values).convert(mode)
    expected = np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BILINEAR))
    assert (decode(encoded(image), SIZE) == expected).all()


def test_size_is_height_then_width():
    assert decode(encoded(quarters()), (6, 9)).shape == (6, 9, 3)


def test_resizing_is_pillows_antialiased_bilinear():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    expected = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR))
    assert (decode(encoded(image), SIZE) == expected).all()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_a_thumbnail_keeps_its_shape_and_is_never_enlarged():
    wide = Image.new("RGB", (300, 150), "red")
    assert opened(thumbnail(Content(encoded(wide, "JPEG")), 96)).size == (96, 48)
    assert opened(thumbnail(Content(encoded(wide)), 96)).size == (96, 48)
    assert opened(thumbnail(Content(encoded(quarters())), 96)).size == (32, 32)


def test_a_thumbnail_is_upright_and_lies_on_white():
    exif = Image.Exif()
    exif[274] = 6
    upright = opened(
        thumbnail(Content(encoded(Image.new("RGB", (300, 150)), "JPEG", exif=exif)), 96)
    )
    assert upright.size == (48, 96)
    clear = opened(thumbnail(Content(encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 0)))), 96))
    assert np.asarray(clear.convert("RGB")).min() > 250


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"text", "not an image")])
def test_what_has_no_thumbnail_is_named(content, reason):
    with pytest.raises(ImageError, match=reason):
        thumbnail(Content(content), 96)


def test_a_folder_lists_by_id_and_leaves_out_hidden(tmp_path):
    for name in ("b/2.png", "b/1.JPG", "a/x y.png", "a/é.png", ".hidden/1.png", "a/.1.png"):
        write_image(tmp_path / name, 0)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    assert [image.id for image in FolderSource(tmp_path).images()] == [
        "a/x y.png",
        "a/é.png",
        "b/1.JPG",
        "b/2.png",
    ]


def test_a_stamp_is_of_a_file_that_can_not_change_without_its_showing(tmp_path, monkeypatch):
    """That is, of one that is two seconds old by a clock that is believed."""
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    times = (now - 2 * 10**9, now - 2 * 10**9 + 1000, now + 60 * 10**9, -9 * 10**9)
    for number, changed in enumerate(times, start=1):
        write_image(tmp_path / "a" / f"{number}.png", 0)
        os.utime(tmp_path / "a" / f"{number}.png", ns=(changed, changed))
    (tmp_path / "a" / "5.png").symlink_to("nowhere")
    manifest = scan(open_source(tmp_path))
    found = (tmp_path / "a" / "1.png").stat()
    assert manifest.stamps == [(found.st_size, found.st_mtime_ns), *[UNKNOWN] * 4]
    assert [each == UNREADABLE for each in manifest.digests] == [False] * 4 + [True]


def test_a_missing_folder_is_wrong_usage(tmp_path):
    with pytest.raises(ParameterError, match="does not exist"):
        list(FolderSource(tmp_path / "nowhere").images())
    (tmp_path / "file").touch()
    with pytest.raises(ParameterError, match="is a file"):
        list(FolderSource(tmp_path / "file").images())


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("wanted", ["NFC", "NFD"])
def test_a_thumbnail_is_found_where_a_copy_writes_its_name_in_another_form(
    tmp_path, on_disk, wanted
):
    name = unicodedata.normalize(on_disk, "é/é.png")
    write_image(tmp_path / name, 1)
    id_ = unicodedata.normalize(wanted, name)
    data = (tmp_path / name).read_bytes()
    assert set(thumbnails(FolderSource(tmp_path), [id_], {id_: digest(data)})) == {id_}
    assert thumbnails(FolderSource(tmp_path), [id_], {id_: digest(b"other")}) == {}
