"""Where the files in a tar archive are, and how their bytes are read."""

from __future__ import annotations

import tarfile
from typing import NamedTuple

from tlfeatures.errors import ImageError, SourceError
from tlfeatures.features.sources.containers.names import LARGEST, Members
from tlfeatures.features.sources.containers.parts import Parts, PartsStream
from tlfeatures.features.sources.locations import is_url

_UNIT = 512  # bytes; a tar archive consists of blocks of this size
_HEADERS = 2**20  # bytes of the largest header, which has a long name
_BLOCK, _URL_BLOCK = 2**12, 2**22  # a request to a server takes as long as some megabytes
_TAIL = 2**20  # bytes behind the end mark that are looked at; tar fills up to 10,240


class TarEntry(NamedTuple):
    """One file in a tar archive: position and number of its bytes."""

    offset: int
    size: int

    def read(self, parts: Parts) -> bytes:
        """Read the file; see `Entry.read`."""
        if self.size > LARGEST:
            raise ImageError(
                f"it has {self.size:,} bytes, and an image in an archive may have {LARGEST:,}: "
                "unpack the archive and give the folder"
            )
        return parts.read(self.offset, self.size)

    def start(self, parts: Parts, count: int) -> bytes:
        """Read the first bytes of the file; see `Entry.start`."""
        return parts.read(self.offset, min(count, self.size))


def index_tar(parts: Parts) -> Members:
    """List the files in a tar archive. All of its headers are read.

    Raises
    ------
    SourceError
        If it is no tar archive, or is damaged or cut off.
    """
    block = _URL_BLOCK if is_url(parts.location) else _BLOCK
    stream = PartsStream(parts, block, max(block, _HEADERS))
    members = Members()
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            _list(archive, members)
            end = archive.offset
    except ImageError as error:
        raise SourceError(f"{parts.location} can't be read: {error}") from error
    except Exception as error:  # a parser of a damaged file raises errors of many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _damaged(parts.location, reason) from error
    _check_end(parts, end)
    return members


def _list(archive: tarfile.TarFile, members: Members) -> None:
    position = -1
    while (file := archive.next()) is not None:
        getattr(archive, "members", []).clear()  # each takes a kilobyte
        if archive.offset <= position or file.size < 0:
            raise tarfile.ReadError("a file in it has a negative size")
        position = archive.offset
        if file.issym() or file.islnk():
            members.left_out["they are links"].append(file.name)
        elif file.issparse():
            members.left_out["they are stored with holes (sparse)"].append(file.name)
        elif file.isfile():
            members.add(file.name, TarEntry(file.offset_data, file.size))
        elif not file.isdir():
            members.left_out["they are neither files nor folders"].append(file.name)


def _check_end(parts: Parts, end: int) -> None:
    """Refuse an archive whose list ended before the archive: images would be missing."""
    mark = parts.read(end, _UNIT)
    if len(mark) < _UNIT:
        raise _damaged(parts.location, "its end is missing")
    if mark.strip(b"\0"):
        raise _damaged(parts.location, f"there is no header at byte {end:,}")
    if parts.read(end + _UNIT, _TAIL).strip(b"\0"):
        raise SourceError(
            f"{parts.location} has other data behind its end; if tar archives were joined by cat, "
            "give them one by one"
        )


def _damaged(location: str, reason: str) -> SourceError:
    return SourceError(
        f"{location} can't be read as a tar archive: {reason}; if it is cut off, copy or download "
        "it again"
    )
