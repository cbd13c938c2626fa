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


def _lzw(data: bytes) -> bytes:
    """LZW of 9-bit codes alone: the table is emptied before it needs longer ones."""
    codes: list[int] = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _packbits(data: bytes) -> bytes:
    parts = (data[start : start + 128] for start in range(0, len(data), 128))
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


_PACKERS = {"zlib": (8, zlib.compress), "lzw": (5, _lzw), "packbits": (32773, _packbits)}
_DEFLATE = 8


def tiff_of(
    values: np.ndarray,
    order: str = "<",
    compression: str | None = None,
    tiled: bool = False,
    planes: bool = False,
    **options,
) -> bytes:
    """(h, w) or (h, w, channels), with sides that 16 divides, in strips or tiles of 16."""
    options = {"photometric": "minisblack", **options, "byteorder": order}
    options |= {"tile": (16, 16)} if tiled else {"rowsperstrip": 16}
    if values.ndim == 3:
        options["planarconfig"] = "separate" if planes else "contig"
    stored = np.ascontiguousarray(values.transpose(2, 0, 1)) if planes else values
    if compression is None:
        return tiff(stored, **options)
    side = 16 if tiled else values.shape[1]
    kind = values.dtype.newbyteorder(order)
    tag, pack = _PACKERS[compression]
    parts = [
        pack(plane[top : top + 16, left : left + side].astype(kind).tobytes())
        for plane in (stored if planes else [values])
        for top in range(0, values.shape[0], 16)
        for left in range(0, values.shape[1], side)
    ]
    buffer = io.BytesIO()
    options |= {"shape": stored.shape, "dtype": kind, "compression": "zlib"}
    tifffile.imwrite(buffer, iter(parts), **options)  # this packs nothing but Deflate itself
    said, meant = (struct.pack(order + "HHIH", 259, 3, 1, each) for each in (_DEFLATE, tag))
    return buffer.getvalue().replace(said, meant)
