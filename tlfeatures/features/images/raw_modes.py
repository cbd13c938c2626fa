"""How pixels lie in a file, by Pillow's names for it; and TIFF files where Pillow errs in it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from PIL import Image, TiffImagePlugin

from tlfeatures.errors import ImageError


def rawmode_of(image: Image.Image) -> str:
    """Give Pillow's name of how pixels lie in the file; an empty text where it has none."""
    tiles = getattr(image, "tile", None)
    return rawmode_of_tile(tiles[0]) if tiles else ""


def rawmode_of_tile(tile: Any) -> str:
    """Give the same for one part of the pixels."""
    arguments = tile[3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


# Pillow cuts colours of 16 bits to 8: it takes the byte that is the upper one in the order of the
# file. Asked for the other order, it takes the lower one.
_COLOURS = re.compile("((?:RGB[AX]?|[RGBA]);16)([BLN])")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def rawmode_of_lower_bytes(rawmode: str) -> str | None:
    """Name what gives the lower bytes of 16-bit colours; None where there is no such name."""
    if rawmode == "LA;16B":
        return "RGBA"  # grey and alpha as four bytes, which are all that there is
    found = _COLOURS.fullmatch(rawmode)
    return found and found[1] + _OTHER_ORDER[found[2]]


def change_rawmodes(image: Image.Image, change: Callable[[str], str]) -> None:
    """Let Pillow read the pixels of an opened image, of which none is decoded yet, as others."""
    tiles = getattr(image, "tile", [])
    changed = []
    for tile in tiles:
        arguments = tile[3]
        if isinstance(arguments, tuple):
            arguments = (change(arguments[0]), *arguments[1:])
        else:
            arguments = change(arguments)
        make = getattr(type(tile), "_make", tuple)  # a named tuple, since Pillow 11
        changed.append(make((*tile[:3], arguments)))
    image.tile = changed  # type: ignore[attr-defined]


# ---- TIFF

_BITS, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _PLANES = 258, 262, 266, 277, 284
_EXTRA, _FORMAT = 338, 339
_SEPARATE = 2
_PLANES_OF = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "CMYK"}  # by Pillow's mode
_NO_PLANES = (
    "its channels are stored one after the other, which can't be read of this kind of TIFF; save "
    "it with the channels of each pixel side by side, or as a PNG"
)

# libtiff gives values in the machine's order. Pillow knows that of unsigned 16 bits alone.
_OF_LIBTIFF = {
    "I;16S": "I;16NS",
    "I;16BS": "I;16NS",
    "I;32S": "I;32NS",
    "I;32BS": "I;32NS",
    "F;32F": "F;32NF",
    "F;32BF": "F;32NF",
}


def correct_tiff(image: Image.Image) -> None:
    """Let Pillow read an opened TIFF as it is stored, where it takes it for something else.

    Raises
    ------
    ImageError
        If its channels are stored as planes, and Pillow can't read them.
    """
    tiles, tags = getattr(image, "tile", []), getattr(image, "tag_v2", {})
    if tiles and tiles[0][0] == "libtiff":
        change_rawmodes(image, lambda rawmode: _OF_LIBTIFF.get(rawmode, rawmode))
    if tags.get(_PLANES) == _SEPARATE:
        _correct_planes(image, tags, tiles)


def _correct_planes(image: Image.Image, tags: Any, tiles: list[Any]) -> None:
    """Pillow takes the first letter of a rawmode for that of a plane."""
    bands, bits = len(image.getbands()), tags.get(_BITS, (1,))
    known = _PLANES_OF.get(image.mode, "")
    # Planes without a known order are put into wrong channels; only unspecified ones are left out.
    more = any(tags.get(_EXTRA, ())) and tags.get(_SAMPLES, bands) > bands
    if bands > 1 and (more or not known):
        raise ImageError(_NO_PLANES)
    if any(tile[0] != "raw" for tile in tiles):
        return
    if bands == 1:
        change_rawmodes(image, lambda _: _of_one_plane(tags, bits))
        return
    deep = bits[0] == 16
    if not all(rawmode_of_tile(tile) in known for tile in tiles) or (deep and known == "CMYK"):
        raise ImageError(_NO_PLANES)
    if deep:
        order = "B" if tags.prefix == b"MM" else "L"
        change_rawmodes(image, lambda rawmode: f"{rawmode};16{order}")


def _of_one_plane(tags: Any, bits: tuple[int, ...]) -> str:
    if tags.get(_SAMPLES, 1) != 1:
        raise ImageError(_NO_PLANES)
    photometric, order = tags.get(_PHOTOMETRIC, 0), tags.get(_FILL_ORDER, 1)
    kind = (tags.prefix, photometric, tags.get(_FORMAT, (1,)), order, bits[:1], ())
    return TiffImagePlugin.OPEN_INFO[kind][1]
