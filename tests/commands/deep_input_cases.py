"""Rows of docs/inputs.md about images with more than 8 bits a channel, and nearly black ones."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.commands.input_cases import SIDE, case, encoded, plain, write
from tests.unit.deep_files import (
    png_of_16_bits,
    png_of_few_bits,
    tiff,
    tiff_of,
    tiff_of_12_bits,
    with_sbit,
    with_trns,
)

RANGE = {"value_range": (0, 4095)}


@case("16-bit grey with `--value-range 0,4095`", "embedded", options=RANGE)
def _(folder):
    made = {write(folder, "a/8.png", encoded(Image.new("L", (SIDE, SIDE), 77), "PNG")): plain(77)}
    for value, shade in ((0, 0), (1000, 62), (4095, 255), (60000, 255)):
        image = Image.fromarray(np.full((SIDE, SIDE), value, np.uint16))
        for format_ in ("PNG", "TIFF"):
            name = f"a/{value}.{format_.lower()}"
            made[write(folder, name, encoded(image, format_))] = plain(shade)
    return made


@case("16 bits with a range in the header", "embedded")
def _(folder):
    image = Image.fromarray(np.full((SIDE, SIDE), 1000, np.uint16))
    stated = encoded(image, "TIFF", tiffinfo={281: 4095})
    text = b"P2 16 16 4095 " + b"1000 " * SIDE * SIDE
    return {
        write(folder, "a/stated.tif", stated): plain(62),
        write(folder, "a/12.tif", tiff_of_12_bits(1000)): plain(62),
        write(folder, "a/1.pgm", text): plain(62),
        write(folder, "a/1.png", with_sbit(encoded(image, "PNG"), 12)): plain(62),
    }


@case("16-bit colour", "embedded")
def _(folder):
    values = np.full((SIDE, SIDE, 3), (0, 30000, 65535), np.uint16)
    stated = tiff(values // 16, photometric="rgb", extratags=[(281, 3, 3, (4095,) * 3, True)])
    return {
        write(folder, "a/1.png", png_of_16_bits(values)): plain(0, 117, 255),
        write(folder, "a/2.tif", tiff(values, photometric="rgb")): plain(0, 117, 255),
        write(folder, "a/3.tif", stated): plain(0, 116, 255),
    }


@case("16-bit planes of colour", "embedded")
def _(folder):
    planes = np.repeat(np.array([0, 30000, 65535], np.uint16), SIDE * SIDE).reshape(3, SIDE, SIDE)
    made = {}
    for order in "<>":
        for compression in (None, "zlib"):
            data = tiff(
                planes,
                photometric="rgb",
                planarconfig="separate",
                byteorder=order,
                compression=compression,
            )
            name = f"a/{len(made)}.tif"
            made[write(folder, name, data)] = plain(0, 117, 255)
    return made


@case("planes of grey and alpha, or of uncompressed 16-bit CMYK", "refused")
def _(folder):
    reason = "its channels are stored one after the other, which can't be read of this kind .*"
    grey, cmyk = np.zeros((SIDE, SIDE, 2), np.uint8), np.zeros((SIDE, SIDE, 4), np.uint16)
    return {
        write(folder, "a/1.tif", tiff_of(grey, planes=True, extrasamples=["unassalpha"])): reason,
        write(folder, "a/2.tif", tiff_of(cmyk, planes=True, photometric="separated")): reason,
    }


@case("big-endian and compressed TIFF", "embedded", options=RANGE)
def _(folder):
    made = {}
    for kind in (np.int16, np.uint16, np.int32, np.float32):
        for compression in ("zlib", "lzw", "packbits"):
            data = tiff_of(np.full((SIDE, SIDE), 1000, kind), ">", compression)
            made[write(folder, f"a/{len(made)}.tif", data)] = plain(62)
    return made


@case("big-endian BigTIFF", "refused")
def _(folder):
    data = tiff(np.zeros((SIDE, SIDE), np.uint16), byteorder=">", bigtiff=True)
    return {write(folder, "a/1.tif", data): ".*: a big-endian BigTIFF; save it in little-endian .*"}


@case("16-bit grey where 0 is white", "embedded")
def _(folder):
    values = np.full((SIDE, SIDE), 65535 - 257 * 60, np.uint16)
    packed = tiff(values, photometric="miniswhite", compression="zlib")
    grey = np.full((SIDE, SIDE), 195, np.uint8)
    return {
        write(folder, "a/1.tif", tiff(values, photometric="miniswhite")): plain(60),
        write(folder, "a/2.tif", packed): plain(60),
        write(folder, "a/8.tif", tiff(grey, photometric="miniswhite")): plain(60),
    }


@case("16-bit grey or colour with a transparent value", "embedded")
def _(folder):
    half = np.full((SIDE, SIDE), 257 * 40, np.uint16)
    half[:, : SIDE // 2] = 257 * 40 + 1  # differs in its lower byte alone
    expected = plain(40)
    expected[:, :4] = 255
    grey = with_trns(encoded(Image.fromarray(half), "PNG"), [257 * 40 + 1])
    colours = with_trns(png_of_16_bits(half[..., None].repeat(3, 2)), [257 * 40 + 1] * 3)
    made = {
        write(folder, "a/1.png", grey): expected,
        write(folder, "a/2.png", colours): expected,
    }
    for bits, shade in ((2, 85), (4, 17)):
        drawn = plain(shade)
        drawn[:, :4] = 255
        name = f"a/{bits}.png"
        made[write(folder, name, with_trns(png_of_few_bits(bits, 2, 1), [2]))] = drawn
    return made


UNKNOWN_RANGES = {
    "signed values": np.int16,
    "32-bit integers": np.int32,
    "32-bit integers ": np.uint32,
    "floating-point values": np.float32,
}


def of_unknown_ranges(folder: Path) -> dict[str, tuple[str, np.ndarray]]:
    """Write an image of each kind, and give what it is and its values."""
    made = {}
    for what, kind in UNKNOWN_RANGES.items():
        low = 0 if kind is np.uint32 else -5
        values = np.linspace(low, 900, SIDE * SIDE).reshape(SIDE, SIDE).astype(kind)
        name = f"a/{np.dtype(kind).name}.tif"
        made[write(folder, name, tiff(values))] = what.strip(), values
    return made


@case("signed, 32-bit or floating-point values", "refused")
def _(folder):
    return {
        name: f"{what} from {values.min():g} to 900 have no agreed range; choose one range for all "
        f"images, for example --value-range {values.min():g},900"
        for name, (what, values) in of_unknown_ranges(folder).items()
    }


@case(
    "signed, 32-bit or floating-point values with `--value-range -5,900`",
    "embedded",
    tolerance=1,
    options={"value_range": "-5,900"},
)
def _(folder):
    made = {}
    for name, (_, values) in of_unknown_ranges(folder).items():
        shades = np.floor((values.astype(float) + 5) * 255 / 905)
        small = shades.reshape(8, 2, 8, 2).mean(axis=(1, 3))
        made[name] = np.rint(small).astype(np.uint8)[..., None].repeat(3, axis=2)
    return made


@case("values that are not numbers", "refused", options=RANGE)
def _(folder):
    values = np.zeros((SIDE, SIDE), np.float32)
    values[3, 4] = np.nan
    reason = r"some of its pixels are not numbers \(NaN\); replace them"
    return {write(folder, "a/1.tif", tiff(values)): reason}


@case("16-bit CMYK with `--value-range 0,4095`", "refused", options=RANGE)
def _(folder):
    data = tiff(np.zeros((SIDE, SIDE, 4), np.uint16), photometric="separated")
    reason = "--value-range can't be applied to colours with 16 bits a channel in this kind of .*"
    return {write(folder, "a/1.tif", data): reason}


@case("nearly black or one colour", "embedded")
def _(folder):
    dark = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)
    white = Image.new("RGB", (SIDE, SIDE), "white")
    return {
        write(folder, "a/1.png", encoded(white, "PNG")): plain(255),
        write(folder, "a/2.tif", tiff(dark)): plain(0),
    }
