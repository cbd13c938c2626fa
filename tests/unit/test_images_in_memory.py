"""Arrays and Pillow's images become the same pixels as their files, bit for bit."""

import itertools
import threading

import numpy as np
import pytest
from PIL import Image, ImageOps, ImageSequence

from tlfeatures import Extractor
from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.images import inputs, read_ahead

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (30, 20, 3), np.uint8)
ALPHA = RANDOM.integers(0, 256, (30, 20), np.uint8)
DEEP = RANDOM.integers(0, 2**16, (30, 20), np.uint16)
ROTATED = 274, 6  # the tag of the orientation, and a quarter turn


def extractor(**options):
    return Extractor("pixels", "grid8", "flatten", size=8, **options)


def image_of(mode):
    image = Image.fromarray(RGB)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(ALPHA))
        return image.convert(mode)
    if mode == "P with transparency":
        image = image.quantize(16)
        image.info["transparency"] = 3
        return image
    if mode == "L with transparency":
        image = image.convert("L")
        image.info["transparency"] = int(np.asarray(image)[0, 0])
        return image
    return Image.fromarray(DEEP) if mode == "I;16" else image.convert(mode)


PNG = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "P with transparency", "L with transparency"]


@pytest.mark.parametrize(
    ("mode", "ending"), [*((mode, "png") for mode in PNG), ("CMYK", "tif"), ("LAB", "tif")]
)
def test_an_image_gives_what_its_file_gives(mode, ending, tmp_path):
    image = image_of(mode)
    path = tmp_path / f"image.{ending}"
    image.save(path)
    expected = extractor().transform([path])
    np.testing.assert_array_equal(extractor().transform([image]), expected)
    before = np.asarray(image)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(extractor().transform([opened]), expected)
        opened.load()
        np.testing.assert_array_equal(extractor().transform([opened]), expected)
    np.testing.assert_array_equal(np.asarray(image), before)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_without_an_agreed_range_need_one(mode, tmp_path):
    image = Image.fromarray(DEEP.astype({"I": np.int32, "F": np.float32}[mode]))
    image.save(tmp_path / "image.tif")
    with pytest.raises(ImageError, match=r"image 0: .* no agreed range"):
        extractor().transform([image])
    ranged = extractor(value_range=(0, 40000))
    expected = ranged.transform([tmp_path / "image.tif"])
    np.testing.assert_array_equal(ranged.transform([image]), expected)
    assert expected.std() > 0


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_the_orientation_of_exif_is_heeded(mode, tmp_path):
    image, exif = image_of(mode), Image.Exif()
    exif[ROTATED[0]] = ROTATED[1]
    path = tmp_path / "image.png"
    image.save(path, exif=exif)
    expected = extractor().transform([path])
    assert (extractor().transform([image]) != expected).any()
    with Image.open(path) as opened:
        np.testing.assert_array_equal(extractor().transform([opened]), expected)
        opened.load()
        np.testing.assert_array_equal(extractor().transform([opened, opened]), [*expected] * 2)
        upright = ImageOps.exif_transpose(opened)
    np.testing.assert_array_equal(extractor().transform([upright]), expected)


def test_an_opened_file_keeps_what_pillow_drops(tmp_path):
    """Pillow gives 8 bits of a colour, and not the range that a TIFF states."""
    path = tmp_path / "12 bits.tif"
    black_and_white = {280: 0, 281: 4095}  # by the tags of a TIFF
    Image.fromarray(DEEP // 16).save(path, tiffinfo=black_and_white)
    expected = extractor().transform([path])
    with Image.open(path) as opened:
        np.testing.assert_array_equal(extractor().transform([opened]), expected)
        opened.load()
        np.testing.assert_array_equal(extractor().transform([opened]), expected)


def test_an_image_that_was_changed_after_it_was_opened(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "image.png")
    Image.fromarray(RGB.repeat(8, 0).repeat(8, 1)).save(tmp_path / "image.jpg")
    with Image.open(tmp_path / "image.png") as opened:
        opened.putpixel((3, 3), (0, 0, 0))
        expected = extractor().transform([np.asarray(opened)])
        np.testing.assert_array_equal(extractor().transform([opened]), expected)
    with Image.open(tmp_path / "image.jpg") as opened, Image.open(tmp_path / "image.jpg") as other:
        opened.draft("L", (40, 40))
        other.draft("L", (40, 40))
        expected = extractor().transform([np.asarray(other)])
        np.testing.assert_array_equal(extractor().transform([opened]), expected)


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_an_array_gives_what_its_file_gives(channels, tmp_path):
    array = RANDOM.integers(0, 256, (30, 20, *channels), np.uint8)
    Image.fromarray(array).save(tmp_path / "image.png")
    expected = extractor().transform([tmp_path / "image.png"])
    np.testing.assert_array_equal(extractor().transform([array]), expected)
    np.testing.assert_array_equal(extractor().transform([array.copy(order="F")]), expected)
    if channels:
        np.testing.assert_array_equal(extractor().transform(array[None]), expected)


def test_images_of_all_kinds_in_one_list(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "image.png")
    mixed = [tmp_path / "image.png", RGB, Image.fromarray(RGB), str(tmp_path / "image.png")]
    rows = extractor().transform(mixed)
    np.testing.assert_array_equal(rows, [rows[0]] * 4)
    np.testing.assert_array_equal(extractor().transform(image for image in mixed), rows)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (RGB / 255, r"image 1 is an array of float64.*give \(255 \* image\)\.round\(\)"),
        (DEEP, "image 1 is an array of uint16; expected uint8"),
        (RGB > 9, "image 1 is an array of bool; expected uint8"),
        (RGB[..., :1], r"shape \(30, 20, 1\); for a grey image, give image\[:, :, 0\]"),
        (RGB[..., :2], r"shape \(30, 20, 2\); expected \(h, w\), \(h, w, 3\) or \(h, w, 4\)"),
        (RGB.transpose(2, 0, 1), "for several grey images, give list"),
        (RGB[:0], r"shape \(0, 20, 3\)"),
        (np.ma.masked_less(RGB, 9), r"image 1 is an array of masked pixels; give image\.filled"),
        (None, "image 1 is a NoneType; expected a path, a uint8 array .* or a Pillow image"),
    ],
)
@pytest.mark.parametrize("kind", [list, iter])
def test_what_is_no_image_is_refused(wrong, message, kind):
    with pytest.raises(ParameterError, match=message):
        extractor().transform(kind([RGB, wrong]))


def test_an_image_that_pillow_can_not_load_is_named(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "image.png")
    whole = (tmp_path / "image.png").read_bytes()
    (tmp_path / "image.png").write_bytes(whole[: len(whole) // 2])
    opened = Image.open(tmp_path / "image.png")
    with opened, pytest.raises(ImageError, match="image 1: "):
        extractor().transform([RGB, opened])
    with pytest.raises(ImageError, match="image 1: "):
        extractor().transform([RGB, opened])  # it is closed
    with pytest.raises(ImageError, match="image 0: it has no pixels"):
        extractor().transform([Image.new("RGB", (0, 5))])


# ---- iterators


def test_an_iterator_may_use_its_memory_again(tmp_path):
    frames = [RANDOM.integers(0, 256, (30, 20, 3), np.uint8) for _ in range(40)]

    def film():
        frame = np.empty((30, 20, 3), np.uint8)
        for values in frames:
            frame[:] = values
            yield frame

    np.testing.assert_array_equal(extractor().transform(film()), extractor().transform(frames))


def test_the_frames_of_a_file_are_images_too(tmp_path):
    frames = [Image.fromarray(RGB).rotate(10 * turn) for turn in range(5)]
    frames[0].save(tmp_path / "film.tif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "film.tif") as film:
        rows = extractor().transform(ImageSequence.Iterator(film))
    np.testing.assert_array_equal(rows, extractor().transform(frames))


def test_an_iterator_is_read_bit_by_bit(monkeypatch):
    monkeypatch.setattr(inputs, "_MOST", 4)
    frames = [RANDOM.integers(0, 256, (30, 20, 3), np.uint8) for _ in range(10)]
    lists = list(inputs.images_in_parts(iter(frames)))
    assert list(map(len, lists)) == [4, 4, 2]
    np.testing.assert_array_equal(
        extractor().transform(iter(frames)), extractor().transform(frames)
    )
    monkeypatch.setattr(inputs, "_MOST_BYTES", 2 * 4 * 600)
    lists = list(inputs.images_in_parts(iter(frames)))
    assert list(map(len, lists)) == [2] * 5
    with pytest.raises(ParameterError, match="image 7 is"):
        extractor().transform(itertools.chain(frames[:7], [None]))


def test_images_that_wait_for_a_thread_take_little_memory(monkeypatch):
    """A thread that decodes slowly holds up the copies of further images."""
    monkeypatch.setattr(read_ahead, "_WAITING_BYTES", 3 * 4 * 600)
    go_on, copied = threading.Event(), []
    decode, take = read_ahead.Snapshot.decode, read_ahead.take_snapshot

    def slow(*arguments):
        assert go_on.wait(60)
        return decode(*arguments)

    def count(image):
        copied.append(image)
        if len(copied) == 4:  # three are in memory, and this one waits
            threading.Timer(0.2, go_on.set).start()
        assert len(copied) <= 4 or go_on.is_set()
        return take(image)

    monkeypatch.setattr(read_ahead.Snapshot, "decode", slow)
    monkeypatch.setattr(read_ahead, "take_snapshot", count)
    assert extractor().transform([RGB] * 20).shape[0] == 20
    assert len(copied) == 20


def test_int8_needs_its_images_twice():
    with pytest.raises(ParameterError, match="give a list"):
        Extractor("pixels", size=8, precision="int8").fit(iter([RGB]))


def test_one_object_can_not_be_several_frames(tmp_path):
    """`list(ImageSequence.Iterator(film))` has the same object, at its last frame, each time."""
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    path = tmp_path / "film.png"
    first.save(path, save_all=True, append_images=[second])
    film = Image.open(path)
    with pytest.raises(ParameterError, match="images 0 and 1 are the same Pillow object"):
        extractor().transform(list(ImageSequence.Iterator(film)))
    frames = [frame.copy() for frame in ImageSequence.Iterator(film)]
    np.testing.assert_array_equal(
        extractor().transform(frames), extractor().transform([first, second])
    )
    np.testing.assert_array_equal(*extractor().transform([first, first]))


def test_an_image_whose_file_is_closed_says_what_to_do(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(RGB).save(path)
    with Image.open(path) as closed:
        pass
    with pytest.raises(ImageError, match=r"its file was closed .* call load\(\) first"):
        extractor().transform([closed])
