import io
import os
import time

import numpy as np
import pytest
from PIL import Image

from tests.conftest import age, write_image
from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.images import UNKNOWN, UNREADABLE, decode, find_images, scan, thumbnail

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


def assert_quarters(pixels: np.ndarray, tolerance: int = 3) -> None:
    assert pixels.dtype == np.uint8
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]].reshape(2, 2, 3)
    assert np.abs(corners.astype(int) - CORNERS).max() <= tolerance


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM"])
def test_formats_give_the_same_pixels(format_):
    options = {"lossless": True} if format_ == "WEBP" else {}
    assert_quarters(decode(encoded(quarters(), format_, **options), SIZE))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = quarters()
    if orientation > 1:
        stored = stored.transpose(undo[orientation])
    exif = Image.Exif()
    exif[274] = orientation
    assert_quarters(decode(encoded(stored, "PNG", exif=exif), SIZE))


def test_cmyk_jpeg_has_its_colours():
    data = encoded(quarters().convert("CMYK"), "JPEG", quality=95)
    assert_quarters(decode(data, SIZE), tolerance=12)


def test_palette_with_transparency_lies_on_white():
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.paste(1, (0, 0, 8, 16))
    pixels = decode(encoded(image, "PNG", transparency=0), SIZE)
    assert pixels[0, 0].tolist() == [200, 0, 0]
    assert pixels[0, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_lies_on_white(mode):
    image = Image.new(mode, (16, 16), 0)
    assert (decode(encoded(image), SIZE) == 255).all()


def test_half_transparent_black_is_grey():
    pixels = decode(encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 128))), SIZE)
    assert (pixels == 127).all()


@pytest.mark.parametrize("value", [0, 256, 30000, 65535])
@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(value, format_):
    image = Image.fromarray(np.full((16, 16), value, np.uint16))
    assert (decode(encoded(image, format_), SIZE) == value // 257).all()


def test_grey_and_1_bit_become_rgb():
    assert (decode(encoded(Image.new("L", (16, 16), 77)), SIZE) == 77).all()
    assert (decode(encoded(Image.new("1", (16, 16), 1)), SIZE) == 255).all()


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, SIZE)[0, 0].tolist() == [255, 0, 0]


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
    assert opened(thumbnail(encoded(wide, "JPEG"), 96)).size == (96, 48)
    assert opened(thumbnail(encoded(wide), 96)).size == (96, 48)
    assert opened(thumbnail(encoded(quarters()), 96)).size == (32, 32)


def test_a_thumbnail_is_upright_and_lies_on_white():
    exif = Image.Exif()
    exif[274] = 6
    upright = opened(thumbnail(encoded(Image.new("RGB", (300, 150)), "JPEG", exif=exif), 96))
    assert upright.size == (48, 96)
    clear = opened(thumbnail(encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 0))), 96))
    assert np.asarray(clear.convert("RGB")).min() > 250


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"text", "not an image")])
def test_what_has_no_thumbnail_is_named(data, reason):
    with pytest.raises(ImageError, match=reason):
        thumbnail(data, 96)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just some text", "not an image"),
        (encoded(quarters(), "JPEG")[:-200], "truncated"),
        (encoded(quarters(), "PNG")[:60], "truncated"),
        (encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "floating-point"),
        (encoded(Image.fromarray(np.full((4, 4), 70000, np.int32)), "TIFF"), "32-bit"),
    ],
)
def test_what_is_no_image_is_named(data, reason):
    with pytest.raises(ImageError, match=f"(?i){reason}"):
        decode(data, SIZE)


@pytest.mark.parametrize("seed", range(24))
def test_damaged_files_decode_or_say_why(seed):
    random = np.random.default_rng(seed)
    formats = ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]
    data = bytearray(encoded(quarters(), formats[seed % len(formats)]))
    for position in random.integers(0, len(data), 8):
        data[position] = random.integers(0, 256)
    try:
        shape, reason = decode(bytes(data), SIZE).shape, "none"
    except ImageError as error:
        shape, reason = (8, 8, 3), str(error)
    assert shape == (8, 8, 3)
    assert len(reason.splitlines()) == 1


def test_find_images_lists_by_id_and_leaves_out_hidden(tmp_path):
    for name in ("b/2.png", "b/1.JPG", "a/x y.png", "a/é.png", ".hidden/1.png", "a/.1.png"):
        write_image(tmp_path / name, 0)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    assert [image.id for image in find_images(tmp_path)] == [
        "a/x y.png",
        "a/é.png",
        "b/1.JPG",
        "b/2.png",
    ]


def test_find_images_survives_a_link_to_its_own_folder(tmp_path):
    write_image(tmp_path / "a" / "1.png", 0)
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert [image.id for image in find_images(tmp_path)] == ["a/1.png"]


def test_names_that_are_no_utf8_get_an_id(tmp_path):
    name = os.fsdecode(b"\xff1.png")
    try:
        write_image(tmp_path / name, 0)
    except OSError:
        pytest.skip("this file system takes no such name")
    manifest = scan(tmp_path)
    assert manifest.ids == ["\\udcff1.png"]
    assert manifest.digests[0] != UNREADABLE


def test_a_stamp_is_of_a_file_that_can_not_change_without_its_showing(tmp_path):
    for name, seconds in (("1", 3), ("2", 1), ("3", -60), ("4", time.time() + 9)):
        write_image(tmp_path / "a" / f"{name}.png", 0)
        age(tmp_path / "a" / f"{name}.png", seconds)
    (tmp_path / "a" / "5.png").symlink_to("nowhere")
    manifest = scan(tmp_path)
    found = (tmp_path / "a" / "1.png").stat()
    assert manifest.stamps == [(found.st_size, found.st_mtime_ns), *[UNKNOWN] * 4]
    assert [each == UNREADABLE for each in manifest.digests] == [False] * 4 + [True]


def test_a_missing_folder_is_wrong_usage(tmp_path):
    with pytest.raises(ParameterError, match="does not exist"):
        find_images(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(ParameterError, match="is a file"):
        find_images(tmp_path / "file")
