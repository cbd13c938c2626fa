"""Read parts of a file at a path or a URL, and notice that the file has changed."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tlfeatures.errors import ImageError, ParameterError, SourceError
from tlfeatures.features.sources.locations import is_url, read_range, url_state
from tlfeatures.files import reason_of

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Version:
    """What changes if a file is written again: its size, and a time or a text of the server's."""

    size: int
    state: int | str


class Parts:
    """A file whose parts are read; several threads may use different objects for one file.

    Attributes
    ----------
    location : str
        Path or URL.
    version : Version
    """

    def __init__(self, location: str, version: Version, descriptor: int | None = None) -> None:
        self.location, self.version = location, version
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        """Number of bytes of the file."""
        return self.version.size

    def read(self, offset: int, count: int) -> bytes:
        """Read a part; what is behind the end of the file is left out.

        Raises
        ------
        ImageError
            If it can't be read; the message is the reason.
        """
        count = min(count, self.size - offset)
        if offset < 0 or count <= 0:
            return b""
        if self._descriptor is None:
            return read_range(self.location, offset, count)
        try:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            parts, missing = [], count
            while missing and (part := os.read(self._descriptor, missing)):
                parts.append(part)
                missing -= len(part)
        except OSError as error:
            raise ImageError(reason_of(error)) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)


@contextmanager
def open_parts(location: str, fresh: bool = False) -> Iterator[Parts]:
    """Open a file at a path or a URL.

    Parameters
    ----------
    location : path or URL
    fresh : bool
        Whether the server of a URL is asked for the file's state, even if it was asked just now.

    Raises
    ------
    SourceError
        If it can't be opened, or is no regular file.
    ParameterError
        If no installed package reads this kind of URL.
    """
    if is_url(location):
        yield Parts(location, Version(*url_state(location, fresh)))
        return
    try:
        descriptor = os.open(location, _FLAGS)
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise SourceError(f"{location} can't be read: {reason}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"{location} is no regular file")
        yield Parts(location, Version(status.st_size, status.st_mtime_ns), descriptor)
    finally:
        os.close(descriptor)


def read_beginning(location: str, count: int) -> bytes:
    """Return the first bytes of a file; b"" if it can't be read."""
    try:
        with open_parts(location) as parts:
            return parts.read(0, count)
    except (SourceError, ParameterError):
        return b""


class PartsStream(io.RawIOBase):
    """A file as a stream, for parsers that take no parts.

    Parameters
    ----------
    parts : Parts
    block : int
        Number of bytes that are read at once.
    most : int
        Number of bytes beyond which a single read is an error. So a damaged number in the file
        can't fill the memory.
    """

    def __init__(self, parts: Parts, block: int, most: int) -> None:
        super().__init__()
        self._parts, self._block, self._most = parts, block, most
        self._position, self._start, self._buffer = 0, 0, b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the file."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Change the position; one before the file's beginning is an error."""
        origin = {os.SEEK_CUR: self._position, os.SEEK_END: self._parts.size}.get(whence, 0)
        if origin + offset < 0:
            raise OSError("a position is before the beginning of the file")
        self._position = origin + offset
        return self._position

    def read(self, count: int | None = -1) -> bytes:
        """Read up to `count` bytes; all that follow if it is None or negative."""
        rest = max(0, self._parts.size - self._position)
        count = rest if count is None or count < 0 else min(count, rest)
        if count > self._most:
            raise OSError(f"a part of it is said to have {count:,} bytes")
        begin = self._position - self._start
        if not 0 <= begin <= begin + count <= len(self._buffer):
            self._start, begin = self._position, 0
            self._buffer = self._parts.read(self._position, max(count, self._block))
        self._position += count
        return self._buffer[begin : begin + count]
