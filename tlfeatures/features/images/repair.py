"""Image files whose pixels are whole although something else in them is damaged or missing.

PNG: chunks beside the pixels (texts, profiles) may be damaged or too long. They are left out. Those
that the pixels need have checksums, of which Pillow checks some.

JPEG: the end marker may be missing. Decoders ask for it, as they read more bytes than they need.
With an end marker behind filler bits, all pixels come out, whatever the filler is, if none of their
bits are missing; a decoder that misses bits takes them from the filler, and other filler gives
other pixels.
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
_CHANGES_PIXELS = b"tRNS"
_CHECKED = (b"eXIf", b"sBIT")  # which way up, and which bits count: kept if they are undamaged
_ORIENTED = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")  # texts that say which way up
_LONGEST = 2**20  # bytes of such a text; Pillow refuses longer ones


def is_png(start: bytes) -> bool:
    """Whether a file that starts with these bytes is a PNG."""
    return start.startswith(_PNG)


def is_jpeg(start: bytes) -> bool:
    """Whether a file that starts with these bytes is a JPEG."""
    return start.startswith(_JPEG)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Give kind, content and the whole bytes of each chunk, up to the last that can be told."""
    position = len(_PNG)
    while position + 8 <= len(data) and data[position + 4 : position + 8].isalpha():
        kind = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        yield kind, data[position + 8 : end - 4], data[position:end]
        position = end


def damaged_chunk(file: BinaryIO) -> str | None:
    """Name the first chunk of a PNG which its pixels need, and whose checksum is wrong.

    Parameters
    ----------
    file : binary file
        At its start. It is read in blocks, up to the end of the PNG.

    Returns
    -------
    str or None
        None if there is none; a chunk of which the end is missing isn't judged.
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
    """Leave out all chunks that the pixels don't need; None if there are none of these."""
    kept = [_PNG]
    kept += [chunk for kind, content, chunk in png_chunks(data) if _needed(kind, content, chunk)]
    made = b"".join(kept)
    return made if len(made) < len(data) else None


def _needed(kind: bytes, content: bytes, chunk: bytes) -> bool:
    if kind[:1].isupper() or kind == _CHANGES_PIXELS:
        return True
    if zlib.crc32(kind + content) != int.from_bytes(chunk[-4:], "big"):
        return False
    return kind in _CHECKED or (content.startswith(_ORIENTED) and _is_short(kind, content))


def _is_short(kind: bytes, content: bytes) -> bool:
    text = content.partition(b"\0")[2]
    if kind == b"zTXt":
        unpacker = zlib.decompressobj()
        try:
            unpacker.decompress(text[1:], _LONGEST)
        except zlib.error:
            return False
        return not unpacker.unconsumed_tail
    compressed = kind == b"iTXt" and not text.startswith(b"\0")
    return not compressed and len(content) <= _LONGEST


# ---- JPEG

MAX_SCANS = 100  # of a JPEG, as in libtiff; progressive ones have about 10

_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # of a segment; not of a restart
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_SOLE, _END, _INTERVAL, SCAN = (0x01, 0xD8), 0xD9, 0xDD, 0xDA  # _SOLE: without a content
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

# Filler bits: any two of them differ early. None is a byte of ones, which would begin a marker.
_FILLERS = (b"\x55" * 254, b"\xaa" * 254, bytes(range(1, 255)), bytes(range(254, 0, -1)))


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Give marker, content and end of each segment up to the end marker, without coded pixels."""
    position = 0
    while (found := _MARKER.search(data, position)) and found[1][0] != _END:
        marker, start = found[1][0], found.end()
        length = 0 if marker in _SOLE else int.from_bytes(data[start : start + 2], "big")
        position = start + length
        yield marker, data[start + 2 : position], position


def ended_jpegs(data: bytes) -> list[bytes]:
    """Give the tails that end a JPEG whose end marker is missing, each with other filler.

    If no bit of a pixel is missing, the pixels are the same with each.

    Returns
    -------
    list of bytes
        What is to follow the bytes of the file, without half a marker at their end (see
        `without_half_marker`); empty if whole scans are missing, or the end marker isn't.
    """
    exact: dict[int, set[int]] = {}
    restarts, last = False, 0
    for marker, content, end in jpeg_segments(data):
        if marker in _FRAMES and len(content) > 6:
            exact = {component: set() for component in content[6 : 6 + 3 * content[5] : 3]}
        elif marker == _INTERVAL:
            restarts = any(content)
        elif marker == SCAN:
            _note(exact, content)
            last = end
    whole = bool(exact) and all(len(known) == 64 for known in exact.values())
    if not whole or data.find(b"\xff\xd9", last) >= 0:
        return []
    numbers = [found[1][0] & 7 for found in _RESTART.finditer(data, last)] if restarts else []
    following = (numbers[-1] + 1) if numbers else 0
    return [_tail(filler, following if restarts else None) for filler in _FILLERS]


def without_half_marker(data: bytes) -> bytes:
    """Leave out the first half of a marker, or of a byte of ones, that a cut left at the end."""
    return data.rstrip(b"\xff")


def _note(exact: dict[int, set[int]], scan: bytes) -> None:
    """Note the coefficients that a scan brings to their last bit, by component."""
    count = scan[0] if scan else 0
    if len(scan) < 4 + 2 * count:  # the header itself was cut
        exact.clear()
        return
    first, final, bits = scan[1 + 2 * count : 4 + 2 * count]
    for component in scan[1 : 1 + 2 * count : 2]:
        if bits & 15 == 0:
            exact.setdefault(component, set()).update(range(first, final + 1))


def _tail(filler: bytes, restart: int | None) -> bytes:
    """Filler and the end marker; with restart markers in it where the decoder looks for these."""
    if restart is None:
        return filler + b"\xff\xd9"
    marked = (filler + bytes([0xFF, 0xD0 + (restart + number) % 8]) for number in range(16))
    return b"".join(marked) + filler + b"\xff\xd9"
