"""Image files that Pillow doesn't write: more than 8 bits a channel, planes, few bits, chunks."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import tifffile

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(rows: bytes, width: int, bits: int, kind: int, height: int | None = None) -> bytes:
    """Rows as they are stored, each with its filter.

    Kind 0 is grey, 2 RGB, 4 grey with alpha, 6 RGBA.
    """
    header = struct.pack(">IIBBBBB", width, height or width, bits, kind, 0, 0, 0)
    start = _SIGNATURE + png_chunk(b"IHDR", header)
    return start + png_chunk(b"IDAT", zlib.compress(rows, 1)) + png_chunk(b"IEND", b"")


def png_of_16_bits(values: np.ndarray) -> bytes:
    """(h, w, channels) of 1 to 4 channels."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(rows, width, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], height)


def png_of_few_bits(bits: int, left: int, right: int, side: int = 16) -> bytes:
    """Grey of 2 or 4 bits: a left and a right half."""
    row = np.repeat([left, right], side // 2)
    packed = np.zeros(side * bits // 8, np.uint8)
    for column, value in enumerate(row):
        packed[column * bits // 8] |= value << (8 - bits - column * bits % 8)
    return png((b"\0" + packed.tobytes()) * side, side, bits, 0)


def before_pixels(data: bytes, chunk: bytes) -> bytes:
    """Put a chunk into a PNG."""
    at = data.index(b"IDAT") - 4
    return data[:at] + chunk + data[at:]


def with_trns(data: bytes, values: Sequence[int]) -> bytes:
    """Say which grey or colour of a PNG is transparent."""
    return before_pixels(data, png_chunk(b"tRNS", struct.pack(f">{len(values)}H", *values)))


def with_sbit(data: bytes, *bits: int) -> bytes:
    """Say how many bits of a PNG's values count."""
    return before_pixels(data, png_chunk(b"sBIT", bytes(bits)))


def tiff(values: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **{"photometric": "minisblack", **options})
    return buffer.getvalue()


def tiff_of_12_bits(value: int, side: int = 16) -> bytes:
    """One grey of 12 bits a sample, packed."""
    pair = struct.pack(">I", value << 20 | value << 8)[:3]
    pixels = pair * (side * side // 2)
    tags = [
        (256, 3, 1, side),
        (257, 3, 1, side),
        (258, 3, 1, 12),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 3, 1, side),
        (279, 4, 1, len(pixels)),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    return start + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)
