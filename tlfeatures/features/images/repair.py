"""Repair image files whose pixels are complete, although something else is damaged or missing.

PNG: chunks that the pixels don't need (texts, profiles) may be damaged or too long. They are left
out. Chunks that the pixels need have checksums, of which Pillow checks some.

JPEG: the end marker may be missing. Decoders need it, as they read more bytes than the pixels have.
With filler bits and an end marker appended, a file without a missing bit has the same pixels for
every filler; a decoder that misses bits takes them from the filler, and another filler gives other
pixels.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

# ---- PNG

_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_BLOCK = 2**20  # bytes
_TRANSPARENCY = b"tRNS"
_KEPT_IF_VALID = (b"eXIf", b"sBIT")  # orientation and significant bits
_ORIENTATION_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_MAX_TEXT = 2**20  # bytes of such a text; Pillow refuses longer ones


def is_png(start: bytes) -> bool:
    """Whether a file that starts with these bytes is a PNG."""
    return start.startswith(_PNG)


def is_jpeg(start: bytes) -> bool:
    """Whether a file that starts with these bytes is a JPEG."""
    return start.startswith(_JPEG)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield kind, content and all bytes of each chunk, up to the last that can be recognized."""
    position = len(_PNG)
    while position + 8 <= len(data) and data[position + 4 : position + 8].isalpha():
        kind = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        yield kind, data[position + 8 : end - 4], data[position:end]
        position = end


def damaged_chunk(file: BinaryIO) -> str | None:
    """Find the first chunk of a PNG that the pixels need, and whose checksum is wrong.

    Parameters
    ----------
    file : binary file
        It is read in blocks, up to the end of the PNG.

    Returns
    -------
    str or None
        Kind of the chunk. None if there is none; a chunk whose end is missing isn't checked.
    """
    file.seek(len(_PNG))
    while len(head := file.read(8)) == 8 and head[4:].isalpha():
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind not in _CRITICAL:
            file.seek(length + 4, os.SEEK_CUR)
            continue
        checksum = _checksum(file, length, zlib.crc32(kind))
        stored = file.read(4)
        if len(stored) == 4 and checksum != int.from_bytes(stored, "big"):
            return kind.decode("ascii")
        if kind == b"IEND":
            break
    return None


def _checksum(file: BinaryIO, length: int, checksum: int) -> int:
    """Continue a checksum with the next bytes of a file."""
    while length > 0 and (block := file.read(min(length, _BLOCK))):
        checksum = zlib.crc32(block, checksum)
        length -= len(block)
    return checksum


def png_without_extras(data: bytes) -> bytes | None:
    """Return a PNG without the chunks that the pixels don't need; None if it has none of these."""
    chunks = (chunk for kind, content, chunk in png_chunks(data) if _needed(kind, content, chunk))
    needed = b"".join([_PNG, *chunks])
    return needed if len(needed) < len(data) else None


def _needed(kind: bytes, content: bytes, chunk: bytes) -> bool:
    if kind[:1].isupper() or kind == _TRANSPARENCY:
        return True
    if zlib.crc32(kind + content) != int.from_bytes(chunk[-4:], "big"):
        return False
    return kind in _KEPT_IF_VALID or (
        content.startswith(_ORIENTATION_TEXTS) and _is_short(kind, content)
    )


def _is_short(kind: bytes, content: bytes) -> bool:
    text = content.partition(b"\0")[2]
    if kind == b"zTXt":
        unpacker = zlib.decompressobj()
        try:
            unpacker.decompress(text[1:], _MAX_TEXT)
        except zlib.error:
            return False
        return not unpacker.unconsumed_tail
    compressed = kind == b"iTXt" and not text.startswith(b"\0")
    return not compressed and len(content) <= _MAX_TEXT


# ---- JPEG

MAX_SCANS = 100  # of a JPEG, as in libtiff; progressive JPEGs have about 10

_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # of a segment; not of a restart
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
SCAN, _END, _RESTART_INTERVAL = 0xDA, 0xD9, 0xDD
_WITHOUT_CONTENT = (0x01, 0xD8)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END_MARKER = b"\xff\xd9"

# Filler: any two differ in their first bits. None has a byte of ones, which would begin a marker.
_FILLERS = (b"\x55" * 254, b"\xaa" * 254, bytes(range(1, 255)), bytes(range(254, 0, -1)))


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield marker, content and end of each segment up to the end marker, without coded pixels."""
    position = 0
    while (match := _MARKER.search(data, position)) and match[1][0] != _END:
        marker, start = match[1][0], match.end()
        length = 0 if marker in _WITHOUT_CONTENT else int.from_bytes(data[start : start + 2], "big")
        position = start + length
        yield marker, data[start + 2 : position], position


def ended_jpegs(data: bytes) -> list[bytes]:
    """Return the tails that complete a JPEG without an end marker, with one filler each.

    If no bit of a pixel is missing, the pixels are the same with all of them.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    list of bytes
        What is to be appended to the file, after bytes of ones at its end were removed; empty if
        whole scans are missing, or the file has an end marker.
    """
    exact: dict[int, set[int]] = {}  # coefficients of each component that are complete
    has_restarts, last_scan = False, 0
    for marker, content, end in jpeg_segments(data):
        if marker in _FRAMES and len(content) > 6:
            exact = {component: set() for component in content[6 : 6 + 3 * content[5] : 3]}
        elif marker == _RESTART_INTERVAL:
            has_restarts = any(content)
        elif marker == SCAN:
            _add_exact(exact, content)
            last_scan = end
    complete = bool(exact) and all(len(numbers) == 64 for numbers in exact.values())
    if not complete or data.find(_END_MARKER, last_scan) >= 0:
        return []
    if not has_restarts:
        return [filler + _END_MARKER for filler in _FILLERS]
    numbers = [match[1][0] & 7 for match in _RESTART.finditer(data, last_scan)]
    following = numbers[-1] + 1 if numbers else 0
    return [_tail_with_restarts(filler, following) for filler in _FILLERS]


def _add_exact(exact: dict[int, set[int]], scan: bytes) -> None:
    """Add the numbers of the coefficients that a scan completes, by component."""
    count = scan[0] if scan else 0
    if len(scan) < 4 + 2 * count:  # the header itself is cut
        exact.clear()
        return
    first, final, bits = scan[1 + 2 * count : 4 + 2 * count]
    for component in scan[1 : 1 + 2 * count : 2]:
        if bits & 15 == 0:
            exact.setdefault(component, set()).update(range(first, final + 1))


def _tail_with_restarts(filler: bytes, following: int) -> bytes:
    """Return filler with restart markers from the number `following` on, and the end marker."""
    marked = (filler + bytes([0xFF, 0xD0 + (following + number) % 8]) for number in range(16))
    return b"".join(marked) + filler + _END_MARKER
