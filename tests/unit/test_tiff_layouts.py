"""TIFF files however their pixels lie in them: byte order, compression, strips, tiles, planes."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from tests.fakes import decode
from tests.unit.deep_files import tiff, tiff_of
from tlfeatures.errors import ImageError
from tlfeatures.features.images.decoding import thumbnail
from tlfeatures.features.images.reading import Content

SIZE = (32, 48)
SHARES = np.random.default_rng(0).random((*SIZE, 4))
COMPRESSIONS = [None, "zlib", "lzw", "packbits"]
RANGES = {
    "u1": (0, 255),
    "i1": (-128, 127),
    "u2": (0, 60000),
    "i2": (-1000, 1000),
    "u4": (0, 10**6),
    "i4": (-(10**5), 10**5),
    "f4": (-1, 1),
}


def values_of(kind: str, channels: int | None = None) -> np.ndarray:
    low, high = RANGES[kind]
    shares = SHARES[..., 0] if channels is None else SHARES[..., :channels]
    return (shares * (high - low) + low).astype(kind)


def shades(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.floor((values.astype(float) - low) * 255 / (high - low))


def is_near(pixels: np.ndarray, expected: np.ndarray, tolerance: int = 2) -> bool:
    return bool(np.abs(pixels.astype(float) - expected).max() <= tolerance)


@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("tiled", [False, True])
def test_grey_of_any_type(kind, order, compression, tiled):
    data = tiff_of(values_of(kind), order, compression, tiled)
    if (kind, order) == ("u4", ">"):  # Pillow has no name for it
        with pytest.raises(ImageError, match="a TIFF that is damaged or has a rare kind of pixels"):
            decode(data, SIZE, value_range=RANGES[kind])
        return
    found = decode(data, SIZE, value_range=RANGES[kind])
    assert (found == shades(values_of(kind), *RANGES[kind])[..., None]).all()


@pytest.mark.parametrize("kind", ["u2", "f4"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_grey_where_0_is_white(kind, compression):
    data = tiff_of(values_of(kind), "<", compression, photometric="miniswhite")
    expected = 255 - shades(values_of(kind), *RANGES[kind])[..., None]
    assert is_near(decode(data, SIZE, value_range=RANGES[kind]), expected)


def over_white(values: np.ndarray) -> np.ndarray:
    shares = values / np.iinfo(values.dtype).max
    return 255 * (shares[..., :-1] * shares[..., -1:] + 1 - shares[..., -1:])


def from_cmyk(values: np.ndarray) -> np.ndarray:
    shares = values / np.iinfo(values.dtype).max
    return 255 * (1 - shares[..., :3]) * (1 - shares[..., 3:])


COLOURS = {
    "RGB": (3, {"photometric": "rgb"}, lambda values: 255 * (values / np.iinfo(values.dtype).max)),
    "RGBA": (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, over_white),
    "CMYK": (4, {"photometric": "separated"}, from_cmyk),
}


@pytest.mark.parametrize("mode", COLOURS)
@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("planes", [False, True])
def test_colours(mode, kind, order, compression, tiled, planes):
    channels, options, expected = COLOURS[mode]
    values = values_of(kind, channels)
    data = tiff_of(values, order, compression, tiled, planes, **options)
    if (mode, kind, compression, planes) == ("CMYK", "u2", None, True):
        with pytest.raises(ImageError, match="its channels are stored one after the other"):
            decode(data, SIZE)
        return
    assert is_near(decode(data, SIZE), expected(values), 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tiled", [False, True])
def test_planes_with_alpha_have_a_range(order, tiled):
    values = values_of("u2", 4)
    values[..., :3] //= 16
    values[..., 3] = 65535
    options = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    data = tiff_of(values, order, None, tiled, True, **options)
    expected = np.clip(shades(values[..., :3], 0, 3000), 0, 255)
    assert is_near(decode(data, SIZE, value_range=(0, 3000)), expected)


@pytest.mark.parametrize("alpha", ["assocalpha", "unassalpha"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_planes_of_grey_and_alpha_are_refused_with_what_mends_it(alpha, order, compression):
    data = tiff_of(values_of("u1", 2), order, compression, planes=True, extrasamples=[alpha])
    for attempt in (lambda: decode(data, SIZE), lambda: thumbnail(Content(data), 16)):
        with pytest.raises(ImageError, match=r"one after the other.*side by side, or as a PNG"):
            attempt()


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_planes_of_colours_that_are_multiplied_with_alpha(kind):
    values = values_of(kind, 4)
    values[..., 3] = np.maximum(values[..., 3], np.iinfo(kind).max // 2)
    values[..., :3] = np.minimum(values[..., :3], values[..., 3:])
    options = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    shares = values / np.iinfo(kind).max
    expected = 255 * (shares[..., :3] + 1 - shares[..., 3:])
    assert is_near(decode(tiff_of(values, ">", "zlib", planes=True, **options), SIZE), expected, 3)
    assert is_near(decode(tiff_of(values, ">", None, **options), SIZE), expected, 3)
    with pytest.raises(ImageError, match="one after the other"):
        decode(tiff_of(values, ">", None, planes=True, **options), SIZE)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("extra", [["unspecified"] * 2, ["unassalpha", "unspecified"]])
def test_further_planes_are_left_out_or_refused(compression, extra):
    values = np.dstack([values_of("u1", 3), values_of("u1", 2)])
    options = {"photometric": "rgb", "extrasamples": extra}
    data = tiff_of(values, "<", compression, planes=True, **options)
    if compression is not None and extra[0] == "unspecified":
        assert (decode(data, SIZE) == values[..., :3]).all()
        return
    with pytest.raises(ImageError, match=r"one after the other|rare kind of pixels"):
        decode(data, SIZE)


@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_one_plane_is_as_good_as_no_planes(kind, order, photometric):
    stored = tiff_of(values_of(kind), order, photometric=photometric)
    samples = struct.pack(order + "HHIH", 277, 3, 1, 1)
    assert stored.count(samples) == 1
    at = stored.index(samples)
    later = stored.index(struct.pack(order + "H", 282), at)  # a tag that nothing needs
    tags = stored[at:later] + struct.pack(order + "HHIHH", 284, 3, 1, 2, 0)
    planes = stored[:at] + tags + stored[at + len(tags) :]
    assert same(planes, stored, RANGES[kind])


def same(first: bytes, second: bytes, value_range: tuple[float, float]) -> bool:
    """Whether both are the same picture, or both are of a kind that Pillow doesn't read."""
    found = []
    for data in (first, second):
        try:
            found.append(decode(data, SIZE, value_range=value_range).tolist())
        except ImageError as error:
            found.append(str(error))
    return found[0] == found[1]


def test_the_file_of_a_rare_layout_is_the_same_picture():
    values = values_of("i2")
    swapped = tiff(values, byteorder=">", compression="zlib")
    plain = tiff(values, byteorder="<")
    assert thumbnail(Content(swapped), 20, (-1000, 1000)) == thumbnail(
        Content(plain), 20, (-1000, 1000)
    )


# ---- grey that is multiplied with alpha, and palettes


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("tiled", [False, True])
def test_grey_that_is_multiplied_with_alpha(order, compression, tiled):
    values = values_of("u1", 2)
    values[..., 0] = np.minimum(values[..., 0], values[..., 1])
    data = tiff_of(values, order, compression, tiled, extrasamples=["assocalpha"])
    expected = values[..., :1] + 255.0 - values[..., 1:]
    assert is_near(decode(data, SIZE), expected)
    assert thumbnail(Content(data), 16)


@pytest.mark.parametrize("scale", [1, 256, 257])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_palette_of_8_bits_is_as_bright_as_one_of_16(scale, order, compression):
    colours = np.random.default_rng(1).integers(0, 256, (3, 256)).astype("u2")
    indices = values_of("u1")
    data = tiff(
        indices,
        photometric="palette",
        colormap=colours * scale,
        byteorder=order,
        compression=compression,
    )
    assert (decode(data, SIZE) == colours.T[indices]).all()
    seen = np.asarray(Image.open(io.BytesIO(thumbnail(Content(data), 16))))
    assert seen.mean() == pytest.approx(colours.T[indices].mean(), abs=20)


@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_8_bits_with_alpha(scale):
    colours = np.random.default_rng(1).integers(0, 256, (3, 256)).astype("u2")
    values = values_of("u1", 2)
    stored = [int(value) * scale for value in colours.ravel()]
    tags = [(320, 3, len(stored), stored, True)]
    grey = tiff_of(values, extrasamples=["unassalpha"], extratags=tags)
    said, meant = (struct.pack("<HHIHH", 262, 3, 1, kind, 0) for kind in (1, 3))
    assert grey.count(said) == 1
    expected = over_white(np.dstack([colours.T[values[..., 0]], values[..., 1]]).astype("u1"))
    assert is_near(decode(grey.replace(said, meant), SIZE), expected)


def test_a_palette_of_8_bits_is_turned_upright():
    colours = np.random.default_rng(1).integers(0, 256, (3, 256)).astype("u2")
    indices = values_of("u1")
    options = {"photometric": "palette", "colormap": colours}
    turned = tiff(indices, extratags=[(274, 3, 1, 3, True)], **options)
    assert (decode(turned, SIZE) == colours.T[indices][::-1, ::-1]).all()


def test_a_palette_with_one_value_of_16_bits_is_of_16_bits():
    colours = np.full((3, 256), 200, "u2")
    colours[0, 255] = 256
    data = tiff(values_of("u1"), photometric="palette", colormap=colours)
    assert decode(data, SIZE).max() <= 1


# ---- BigTIFF


@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "f4"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_big_tiff_is_read_or_named_as_what_it_is(kind, compression):
    values = values_of(kind)
    data = tiff_of(values, "<", compression, bigtiff=True)
    found = decode(data, SIZE, value_range=RANGES[kind])
    assert (found == shades(values, *RANGES[kind])[..., None]).all()
    with pytest.raises(ImageError, match="a big-endian BigTIFF; save it in little-endian byte"):
        decode(tiff_of(values, ">", compression, bigtiff=True), SIZE, value_range=RANGES[kind])
