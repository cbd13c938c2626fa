"""Where the files in a zip archive are, and how their bytes are read."""

from __future__ import annotations

import bz2
import contextlib
import zipfile
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from tlfeatures.errors import ImageError, SourceError
from tlfeatures.features.sources.containers.names import LARGEST, Members
from tlfeatures.features.sources.containers.parts import Parts, PartsStream

_DIRECTORY = 128 * 2**20  # bytes of the largest list of files, of over a million files
_BLOCK = 2**16
_HEADER = 30  # bytes of a file's header before its name
_SLACK = 512  # bytes that are enough for the name and more in a file's header
_ENCRYPTED, _UTF8 = 0x1, 0x800  # flags
_METHODS = {
    zipfile.ZIP_STORED: "no compression",
    zipfile.ZIP_DEFLATED: "deflate",
    zipfile.ZIP_BZIP2: "bzip2",
    zipfile.ZIP_LZMA: "LZMA",
    9: "Deflate64",
    93: "Zstandard",
    95: "XZ",
    99: "encryption",
}


class ZipEntry(NamedTuple):
    """One file in a zip archive.

    Attributes
    ----------
    offset : int
        Position of its header in the archive.
    packed, size : int
        Number of bytes in the archive, and of the file.
    checksum : int
        CRC-32 of the file.
    method, flags : int
        As in the archive's directory.
    """

    offset: int
    packed: int
    size: int
    checksum: int
    method: int
    flags: int

    def read(self, parts: Parts) -> bytes:
        """Read the file; see `Entry.read`."""
        if self.size > LARGEST:
            raise ImageError(
                f"it has {self.size:,} bytes, and an image in an archive may have {LARGEST:,}: "
                "unpack the archive and give the folder"
            )
        data = self._unpack(self._packed_bytes(parts, self.packed), self.size + 1)
        if len(data) != self.size or zlib.crc32(data) != self.checksum:
            raise ImageError("it is damaged in the archive: its checksum is wrong")
        return data

    def start(self, parts: Parts, count: int) -> bytes:
        """Read the first bytes of the file; see `Entry.start`."""
        return self._unpack(self._packed_bytes(parts, min(self.packed, 2**16)), count)[:count]

    def _packed_bytes(self, parts: Parts, count: int) -> bytes:
        if self.flags & _ENCRYPTED:
            raise ImageError("it is encrypted: unpack the archive and give the folder")
        block = parts.read(self.offset, _HEADER + _SLACK + count)
        if block[:4] != b"PK\3\4" or len(block) < _HEADER:
            raise ImageError("it is damaged in the archive: its header is missing")
        lengths = (int.from_bytes(block[at : at + 2], "little") for at in (26, 28))
        begin = _HEADER + sum(lengths)
        missing = begin + count - len(block)
        if missing > 0:
            block += parts.read(self.offset + len(block), missing)
        return block[begin : begin + count]

    def _unpack(self, packed: bytes, most: int) -> bytes:
        """Return up to `most` bytes of the file."""
        try:
            if self.method == zipfile.ZIP_STORED:
                return packed
            if self.method == zipfile.ZIP_DEFLATED:
                return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)
            if self.method == zipfile.ZIP_BZIP2:
                return bz2.BZ2Decompressor().decompress(packed, most)
        except (zlib.error, OSError, EOFError) as error:
            raise ImageError(f"it is damaged in the archive: {error}") from error
        method = _METHODS.get(self.method, f"method {self.method}")
        raise ImageError(
            f"it is compressed by {method}, which can't be read here: zip it again with deflate"
        )


def index_zip(parts: Parts) -> Members:
    """List the files in a zip archive.

    Raises
    ------
    SourceError
        If it is no zip archive, or is damaged or cut off.
    """
    stream = PartsStream(parts, _BLOCK, _DIRECTORY)
    try:
        with zipfile.ZipFile(stream) as archive:
            listed = archive.infolist()
    except ImageError as error:
        raise SourceError(f"{parts.location} can't be read: {error}") from error
    except Exception as error:  # a parser of a damaged file raises errors of many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(
            f"{parts.location} can't be read as a zip archive: {reason}; if it is cut off, copy "
            "or download it again"
        ) from error
    members = Members()
    for file in listed:
        name = _name_of(file)
        if not name.endswith("/"):
            members.add(name, _entry_of(file))
    _refuse_overlaps(parts.location, map(_entry_of, listed))
    return members


def _entry_of(file: zipfile.ZipInfo) -> ZipEntry:
    return ZipEntry(
        file.header_offset,
        file.compress_size,
        file.file_size,
        file.CRC,
        file.compress_type,
        file.flag_bits,
    )


def _name_of(file: zipfile.ZipInfo) -> str:
    r"""Return the name of a file.

    A name without the flag of UTF-8 is UTF-8 all the same where it can be: macOS writes such ones.
    Windows PowerShell writes \ between folders, which the format doesn't allow.
    """
    name = file.orig_filename
    if not file.flag_bits & _UTF8 and not name.isascii():
        with contextlib.suppress(ValueError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _refuse_overlaps(location: str, entries: Iterable[ZipEntry]) -> None:
    """Refuse an archive whose files share bytes: so a small file could hold endless ones."""
    end = 0
    for entry in sorted(entries):
        if entry.offset < end:
            raise SourceError(
                f"{location} is refused: files in it share the same bytes, as in archives that are "
                "made to fill a disk (zip bombs)"
            )
        end = entry.offset + _HEADER + entry.packed
