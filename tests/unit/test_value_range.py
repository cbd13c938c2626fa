"""Which values become black and white, of images with more than 8 bits a channel."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.fakes import decode
from tests.unit.data import SPEC
from tests.unit.deep_files import png_of_16_bits, tiff, tiff_of, with_sbit, with_trns
from tlfeatures.errors import FormatError, ImageError, ParameterError
from tlfeatures.features.images.decoding import thumbnail
from tlfeatures.features.images.reading import Content
from tlfeatures.features.images.value_range import parse_value_range
from tlfeatures.features.spec import Spec

SIDE = 16
SIZE = (SIDE, SIDE)
RANDOM = np.random.default_rng(0)
VALUES = RANDOM.integers(0, 4096, SIZE).astype(np.uint16)
COLOURS = RANDOM.integers(0, 4096, (*SIZE, 3)).astype(np.uint16)


def encoded(image: Image.Image, format_: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def shades(values, low, high):
    """What is to come of values: 0 to 255."""
    clipped = np.clip(values.astype(float), low, high)
    return np.floor((clipped - low) * 255 / (high - low)).astype(np.uint8)


def grey(data: bytes, **options) -> np.ndarray:
    pixels = decode(data, SIZE, **options)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


# ---- what is asked for


@pytest.mark.parametrize("given", ["0,4095", " 0 , 4095 ", (0, 4095), [0, 4095.0]])
def test_a_range_is_two_numbers(given):
    assert parse_value_range(given) == (0.0, 4095.0)
    assert parse_value_range("-5,900") == (-5.0, 900.0)
    assert parse_value_range("0.25,1e4") == (0.25, 10000.0)
    assert parse_value_range(None) is None


@pytest.mark.parametrize(
    "given",
    ["", "4095", "0,", "0,1,2", "a,b", "5,5", "9,3", "nan,1", "0,inf", "0,1e300", 4095, (1, 0), ()],
)
def test_what_is_no_range_is_one_clear_error(given):
    with pytest.raises(ParameterError, match=r"LO,HI with LO below HI \(0,4095\), got"):
        parse_value_range(given)


def test_a_spec_keeps_it_and_compares_it():
    ranged = replace(SPEC, value_range=(0.0, 4095.0))
    assert Spec.from_dict(json.loads(json.dumps(ranged.to_dict()))) == ranged
    assert Spec.from_dict(SPEC.to_dict()) == SPEC
    assert SPEC.differences(ranged) == [("value_range", None, (0.0, 4095.0))]


@pytest.mark.parametrize(
    "said", ["0,4095", [0], [1, 0], [0, "4095"], [0, True], {}, 7, [0, 10**999]]
)
def test_a_spec_of_another_kind_of_range_is_refused(said):
    with pytest.raises(FormatError, match="value_range"):
        Spec.from_dict({**SPEC.to_dict(), "value_range": said})


# ---- what becomes of the values


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.uint16, np.int16, np.int32, np.uint32, np.float32]),
    st.floats(-1000, 60000, width=32),
    st.floats(0.5, 70000, width=32),
)
def test_values_are_scaled_from_black_to_white(kind, low, width):
    high = low + width
    values = np.linspace(max(low - 50, 0 if kind in (np.uint16, np.uint32) else -2000), 30000, 256)
    values = values.reshape(SIZE).astype(kind)
    assert (grey(tiff(values), value_range=(low, high)) == shades(values, low, high)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 65534), st.integers(1, 65535))
def test_black_is_black_white_is_white_and_the_order_stays(low, width):
    high = min(low + width, 65535)
    values = np.sort(np.append(RANDOM.integers(0, 65536, 253), [low, high, 65535]))
    found = grey(tiff(values.reshape(SIZE).astype(np.uint16)), value_range=(low, high)).ravel()
    assert (np.diff(found.astype(int)) >= 0).all()
    assert (found[values <= low] == 0).all()
    assert (found[values >= high] == 255).all()


def test_without_a_range_16_bits_are_65535_values():
    values = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    pixels = decode(encoded(Image.fromarray(values), "PNG"), (256, 256))[..., 0]
    assert (pixels == values // 257).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "differences"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_a_tiff_however_it_is_stored(order, compression, tile):
    options = {"byteorder": order, "compression": compression, "tile": tile}
    if compression == "differences":
        options |= {"compression": "zlib", "predictor": True}
    found = grey(tiff(VALUES, **options), value_range=(0, 4095))
    assert (found == shades(VALUES, 0, 4095)).all()
    colours = decode(tiff(COLOURS, photometric="rgb", **options), SIZE, value_range=(0, 4095))
    assert (colours == shades(COLOURS, 0, 4095)).all()
    planes = np.ascontiguousarray(COLOURS.transpose(2, 0, 1))
    data = tiff(planes, photometric="rgb", planarconfig="separate", **options)
    if compression is None:
        assert (decode(data, SIZE, value_range=(0, 4095)) == shades(COLOURS, 0, 4095)).all()
    else:
        with pytest.raises(ImageError, match="can't be applied to colours with 16 bits"):
            decode(data, SIZE, value_range=(0, 4095))
    assert (decode(data, SIZE) == COLOURS >> 8).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_any_channels(channels):
    values = RANDOM.integers(0, 4096, (*SIZE, channels)).astype(np.uint16)
    if channels in (2, 4):
        values[..., -1] = 65535
    found = decode(png_of_16_bits(values), SIZE, value_range=(0, 4095))
    wanted = shades(values[..., : 3 if channels > 2 else 1], 0, 4095)
    assert (found == wanted).all()


def test_alpha_has_no_range():
    values = np.full((*SIZE, 4), (4095, 0, 0, 32768), np.uint16)
    found = decode(png_of_16_bits(values), SIZE, value_range=(0, 4095))
    assert np.abs(found.astype(int) - (255, 127, 127)).max() <= 1
    clear = np.full((*SIZE, 2), (0, 0), np.uint16)
    assert (decode(png_of_16_bits(clear), SIZE, value_range=(0, 4095)) == 255).all()


def test_8_bits_stay_as_they_are():
    image = Image.fromarray(RANDOM.integers(0, 256, (*SIZE, 3), np.uint8))
    for format_, options in [("PNG", {}), ("JPEG", {}), ("TIFF", {}), ("WEBP", {}), ("PPM", {})]:
        data = encoded(image, format_, **options)
        assert (decode(data, SIZE, value_range=(0, 4095)) == decode(data, SIZE)).all()
        assert thumbnail(Content(data), 8, (0, 4095)) == thumbnail(Content(data), 8)


def test_an_image_is_turned_upright_with_its_values():
    exif = Image.Exif()
    exif[274] = 6
    image = Image.fromarray(VALUES)
    turned = grey(encoded(image, "PNG", exif=exif), value_range=(0, 4095))
    assert (turned == np.rot90(shades(VALUES, 0, 4095), -1)).all()
    data = tiff(COLOURS, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    found = decode(data, SIZE, value_range=(0, 4095))
    assert (found == np.rot90(shades(COLOURS, 0, 4095), -1)).all()


def test_a_thumbnail_has_the_same_range():
    data = tiff(np.full((64, 64), 4095, np.uint16))
    for value_range, brightness in (((0, 4095), 255), (None, 15)):
        shown = np.asarray(Image.open(io.BytesIO(thumbnail(Content(data), 8, value_range))))
        assert abs(int(shown.max()) - brightness) < 3


# ---- what a header states


def test_largest_and_smallest_sample_of_a_tiff():
    for tags, low, high in [
        ({281: 4095}, 0, 4095),
        ({280: 100, 281: 5000}, 100, 5000),
        ({281: 100}, 0, 65535),  # untrue: there are larger values
        ({280: 50, 281: 50}, 0, 65535),
    ]:
        values = np.clip(VALUES, 100, None)
        data = encoded(Image.fromarray(values), "TIFF", tiffinfo=tags)
        assert (grey(data) == shades(values, low, high)).all()
        assert (grey(data, value_range=(0, 1023)) == shades(values, 0, 1023)).all()


@pytest.mark.parametrize("stated", [(4095,) * 4, (4095,) * 3, (4095,)])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", [False, True])
def test_alpha_has_the_range_that_a_tiff_states(stated, order, planes):
    values = np.random.default_rng(1).integers(0, 4096, (*SIZE, 4)).astype(np.uint16)
    options = {
        "photometric": "rgb",
        "extrasamples": ["unassalpha"],
        "extratags": [(281, 3, len(stated), stated if stated[1:] else stated[0], True)],
    }

    def expected(values, opaque):
        alpha = values[..., 3:] / opaque
        return 255 * (values[..., :3] / 4095 * alpha + 1 - alpha)

    found = decode(tiff_of(values, order, planes=planes, **options), SIZE)
    assert np.abs(found - expected(values, 4095)).max() <= 2
    values[0, 0, 3] = 65535  # untrue of alpha: it has larger values
    found = decode(tiff_of(values, order, planes=planes, **options), SIZE)
    assert np.abs(found - expected(values, 65535)).max() <= 2


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_a_stated_range_of_colours_with_a_fourth_channel(order, compression):
    values = np.dstack([COLOURS, VALUES])
    tags = [(281, 3, 4, (4095,) * 4, True)]
    options = {"photometric": "rgb", "extrasamples": ["unspecified"], "extratags": tags}
    data = tiff_of(values, order, compression, **options)
    assert (decode(data, SIZE) == shades(COLOURS, 0, 4095)).all()
    assert (decode(data, SIZE, value_range=(0, 1023)) == shades(COLOURS, 0, 1023)).all()


@pytest.mark.parametrize("value_range", [None, (0, 1023)])
def test_a_stated_range_that_can_t_be_applied_is_refused(value_range):
    tags = [(281, 3, 4, (4095,) * 4, True)]
    for compression in (None, "zlib"):
        values = np.zeros((*SIZE, 4), np.uint16)
        data = tiff_of(values, "<", compression, photometric="separated", extratags=tags)
        with pytest.raises(ImageError, match=r"can't be applied to colours with 16 bits .* a PNG"):
            decode(data, SIZE, value_range=value_range)


@pytest.mark.parametrize("tag", [281, 341])
def test_unsigned_values_of_8_bits_go_to_255_whatever_is_stated(tag):
    values = (VALUES % 64).astype(np.uint8)
    data = tiff(values, extratags=[(tag, 3, 1, 63, True)])
    assert (grey(data) == values).all()


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_a_stated_range_is_enough_for_values_of_any_kind(kind):
    values = np.linspace(-5, 900, 256).reshape(SIZE).astype(kind)
    tags = [(340, 12, 1, -5.0, True), (341, 12, 1, 900.0, True)]
    assert (grey(tiff(values, extratags=tags)) == shades(values, -5, 900)).all()


@pytest.mark.parametrize("largest", [1023, 4095, 60000, 65535])
def test_maxval_of_a_pgm(largest):
    values = RANDOM.integers(0, largest + 1, SIZE)
    text = f"P2 {SIDE} {SIDE} {largest} " + " ".join(map(str, values.ravel()))
    raw = f"P5 {SIDE} {SIDE} {largest} ".encode() + values.astype(">u2").tobytes()
    for data in (text.encode(), raw):
        assert np.abs(grey(data) - values * 255 / largest).max() <= 1
        found = grey(data, value_range=(0, 1023)).astype(int)
        assert np.abs(found - shades(values, 0, 1023)).max() <= 1


def test_colours_of_a_ppm_have_the_range_of_their_maxval_alone():
    values = COLOURS.astype(">u2")
    data = f"P6 {SIDE} {SIDE} 4095 ".encode() + values.tobytes()
    assert np.abs(decode(data, SIZE) - COLOURS.astype(float) * 255 / 4095).max() <= 1
    with pytest.raises(ImageError, match="can't be applied to colours"):
        decode(data, SIZE, value_range=(0, 1023))


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_significant_bits_of_a_png(bits):
    """As they are, or as they should be: scaled to all 16 bits by any of the usual ways."""
    values = RANDOM.integers(0, 1 << bits, SIZE)
    values[0, :2] = 0, (1 << bits) - 1
    unscaled = with_sbit(encoded(Image.fromarray(values.astype(np.uint16)), "PNG"), bits)
    assert (grey(unscaled) == shades(values, 0, (1 << bits) - 1)).all()
    replicated = values << (16 - bits) | values >> (2 * bits - 16)
    linear = np.rint(values * 65535 / ((1 << bits) - 1)).astype(int)
    for scaled in (values << (16 - bits), replicated, linear):
        data = with_sbit(encoded(Image.fromarray(scaled.astype(np.uint16)), "PNG"), bits)
        assert (grey(data) == scaled // 257).all()
        dark = scaled // 8 >> (16 - bits) << (16 - bits)
        data = with_sbit(encoded(Image.fromarray(dark.astype(np.uint16)), "PNG"), bits)
        assert (grey(data) == dark // 257).all()


def test_significant_bits_of_a_png_s_colours():
    data = with_sbit(png_of_16_bits(COLOURS), 12, 12, 12)
    assert (decode(data, SIZE) == shades(COLOURS, 0, 4095)).all()


def test_jpeg_2000_of_16_bits_keeps_its_range():
    image = Image.fromarray((VALUES * 16).astype(np.uint16))
    data = encoded(image, "JPEG2000", irreversible=False)
    assert (grey(data) == shades(VALUES * 16, 0, 65535)).all()
    assert (grey(data, value_range=(0, 30000)) == shades(VALUES * 16, 0, 30000)).all()


def test_a_transparent_value_is_compared_before_it_is_scaled():
    data = with_trns(encoded(Image.fromarray(VALUES), "PNG"), [int(VALUES[3, 4])])
    expected = shades(VALUES, 0, 4095)
    expected[VALUES[3, 4] == VALUES] = 255
    assert (grey(data, value_range=(0, 4095)) == expected).all()


# ---- what has no range


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[-5, 900]], np.int16), r"signed values from -5 to 900 .*--value-range -5,900"),
        (np.array([[0, 70000]], np.int32), r"32-bit integers from 0 to 70000 .* 0,70000"),
        (np.array([[0, 200]], np.uint32), r"32-bit integers from 0 to 200 .* 0,200"),
        (np.array([[0, 2**32 - 1]], np.uint32), r"32-bit integers from 0 to 4294967295 have"),
        (np.array([[-3, 5]], np.int32), r"32-bit integers from -3 to 5"),
        (np.array([[0, 0.5]], np.float32), r"floating-point values from 0 to 0.5 .* 0,0.5"),
        (np.array([[7, 7]], np.float32), r"floating-point values from 7 to 7 .* LO,HI"),
        (np.array([[0, math.inf]], np.float32), r"floating-point values from 0 to inf .* LO,HI"),
        (np.array([[0, math.nan]], np.float32), r"not numbers \(NaN\)"),
    ],
)
def test_values_without_an_agreed_range_are_refused_with_what_mends_it(values, reason):
    with pytest.raises(ImageError, match=reason) as raised:
        decode(tiff(values), SIZE)
    said = str(raised.value)
    if "-value-range" in said and "LO" not in said:
        found = grey(tiff(values), value_range=parse_value_range(said.split()[-1]))
        assert (found.min(), found.max()) == (0, 255)


def test_signed_bytes_are_signed():
    values = np.arange(-128, 128).reshape(SIZE).astype(np.int8)
    with pytest.raises(ImageError, match=r"signed values from -128 to 127 .* -128,127"):
        decode(tiff(values), SIZE)
    found = grey(tiff(values), value_range=(-128, 127))
    assert (found == np.arange(256).reshape(SIZE)).all()
    positive = np.abs(values.astype(int) // 2).astype(np.int8)
    assert (grey(tiff(positive)) == positive).all()
    unsigned = VALUES.astype(np.uint8)
    assert (grey(tiff(unsigned)) == unsigned).all()


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.uint64])
def test_a_tiff_of_rare_pixels_is_said_to_be_one(kind):
    with pytest.raises(ImageError, match="a TIFF that is damaged or has a rare kind of pixels"):
        decode(tiff(VALUES.astype(kind)), SIZE)


def test_infinite_values_are_clipped_to_a_range():
    values = np.full(SIZE, math.inf, np.float32)
    values[:, :8] = -math.inf
    found = grey(tiff(values), value_range=(0, 1))
    assert (found[:, :8] == 0).all()
    assert (found[:, 8:] == 255).all()


def test_signed_values_without_negative_ones_are_16_bits():
    values = np.linspace(0, 32767, 256).reshape(SIZE).astype(np.int16)
    assert (grey(tiff(values)) == values.astype(int) // 257).all()
