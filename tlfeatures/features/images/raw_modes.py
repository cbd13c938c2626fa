"""Change how Pillow reads the pixels of an opened image, by its names for their layout ("RGB;16B").

That gives the lower bytes of 16-bit colours, and TIFF files that Pillow reads wrongly by itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from PIL import Image, TiffImagePlugin
from PIL.ExifTags import Base as TiffTag

from tlfeatures.errors import ImageError


def rawmode_of(image: Image.Image) -> str:
    """Return Pillow's name for the layout of the pixels in the file; "" if it has none."""
    tiles = getattr(image, "tile", None)
    return _rawmode_of_tile(tiles[0]) if tiles else ""


def _rawmode_of_tile(tile: Any) -> str:
    arguments = tile[3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


# Pillow cuts colours of 16 bits to 8: it takes the byte that is the upper one in the order of the
# file. With the name of the other order, it takes the lower one.
_COLOURS = re.compile("((?:RGB[AX]?|[RGBA]);16)([BLN])")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def rawmode_of_lower_bytes(rawmode: str) -> str | None:
    """Return the name that gives the lower bytes of 16-bit colours; None if there is none."""
    if rawmode == "LA;16B":
        return "RGBA"  # the four bytes of grey and alpha
    match = _COLOURS.fullmatch(rawmode)
    return match and match[1] + _OTHER_ORDER[match[2]]


def change_rawmodes(image: Image.Image, change: Callable[[str], str]) -> None:
    """Let Pillow read the pixels of an opened image in another layout.

    Parameters
    ----------
    image : Image
        No pixel of it is decoded yet.
    change : callable
        Returns the new name of the layout for the old one.
    """
    tiles = []
    for tile in getattr(image, "tile", []):
        arguments = tile[3]
        if isinstance(arguments, tuple):
            arguments = (change(arguments[0]), *arguments[1:])
        else:
            arguments = change(arguments)
        create_tile = getattr(type(tile), "_make", tuple)  # a named tuple, since Pillow 11
        tiles.append(create_tile((*tile[:3], arguments)))
    image.tile = tiles  # type: ignore[attr-defined]


# ---- TIFF

SEPARATE_PLANES = 2  # the value of TIFF's PlanarConfiguration for channels one after the other

_RAWMODE_OF_PLANES = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "CMYK"}  # by Pillow's mode
_UNREADABLE_PLANES = (
    "its channels are stored one after the other, which can't be read of this kind of TIFF; save "
    "it with the channels of each pixel side by side, or as a PNG"
)

# libtiff gives values in the machine's order. Pillow knows this of unsigned 16 bits alone.
_LIBTIFF_RAWMODES = {
    "I;16S": "I;16NS",
    "I;16BS": "I;16NS",
    "I;32S": "I;32NS",
    "I;32BS": "I;32NS",
    "F;32F": "F;32NF",
    "F;32BF": "F;32NF",
}


def tiff_tags(image: Image.Image) -> Any:
    """Return a mapping of the tags of an opened TIFF, by the numbers in Pillow's `ExifTags.Base`.

    It is empty for an image of another format.
    """
    return getattr(image, "tag_v2", {})


def correct_tiff(image: Image.Image) -> None:
    """Let Pillow read an opened TIFF as it is stored, where Pillow's own reading is wrong.

    Raises
    ------
    ImageError
        If its channels are stored as planes that Pillow can't read.
    """
    tiles, tags = getattr(image, "tile", []), tiff_tags(image)
    if tiles and tiles[0][0] == "libtiff":
        change_rawmodes(image, lambda rawmode: _LIBTIFF_RAWMODES.get(rawmode, rawmode))
    if tags.get(TiffTag.PlanarConfiguration) == SEPARATE_PLANES:
        _correct_planes(image, tags, tiles)


def _correct_planes(image: Image.Image, tags: Any, tiles: list[Any]) -> None:
    """Change the layout's name to one whose letters name the planes, as Pillow reads them."""
    bands = len(image.getbands())
    bits = tags.get(TiffTag.BitsPerSample, (1,))
    rawmode = _RAWMODE_OF_PLANES.get(image.mode, "")
    # Pillow puts planes without a known order into wrong channels, but leaves out unspecified ones.
    has_others = (
        any(tags.get(TiffTag.ExtraSamples, ())) and tags.get(TiffTag.SamplesPerPixel, bands) > bands
    )
    if bands > 1 and (has_others or not rawmode):
        raise ImageError(_UNREADABLE_PLANES)
    if any(tile[0] != "raw" for tile in tiles):
        return
    if bands == 1:
        change_rawmodes(image, lambda _: _rawmode_of_one_plane(tags, bits))
        return
    is_deep = bits[0] == 16
    in_order = all(_rawmode_of_tile(tile) in rawmode for tile in tiles)
    if not in_order or (is_deep and rawmode == "CMYK"):
        raise ImageError(_UNREADABLE_PLANES)
    if is_deep:
        byte_order = "B" if tags.prefix == b"MM" else "L"
        change_rawmodes(image, lambda name: f"{name};16{byte_order}")


def _rawmode_of_one_plane(tags: Any, bits: tuple[int, ...]) -> str:
    if tags.get(TiffTag.SamplesPerPixel, 1) != 1:
        raise ImageError(_UNREADABLE_PLANES)
    photometric = tags.get(TiffTag.PhotometricInterpretation, 0)
    sample_format, fill_order = tags.get(TiffTag.SampleFormat, (1,)), tags.get(TiffTag.FillOrder, 1)
    layout = (tags.prefix, photometric, sample_format, fill_order, bits[:1], ())
    return TiffImagePlugin.OPEN_INFO[layout][1]
