"""The bytes of image files: in memory where they are few, in the open file where they are many."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from tlfeatures.errors import ImageError
from tlfeatures.features.sources.locations import is_url, read_url

LARGE = 32 * 2**20  # bytes; a larger file is hashed and decoded without being read whole

_BLOCK = 2**20

# To open a pipe needn't wait for who writes to it; Windows has no such flag, but another one.
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Content:
    """The bytes of one image file.

    Parameters
    ----------
    source : bytes or binary file
        A file stays open as long as its content is used.
    """

    def __init__(self, source: bytes | io.BufferedReader) -> None:
        self._source = source
        self._stamp = self._current_stamp()

    @property
    def size(self) -> int:
        """Number of bytes."""
        if isinstance(self._source, bytes):
            return len(self._source)
        return os.fstat(self._source.fileno()).st_size

    def stream(self) -> io.BytesIO | io.BufferedReader:
        """Give a binary file at its start; of a large image file it is always the same one."""
        if isinstance(self._source, bytes):
            return io.BytesIO(self._source)
        self._source.seek(0)
        return self._source

    def whole(self) -> bytes:
        """Give all bytes at once."""
        return self._source if isinstance(self._source, bytes) else self.stream().read()

    def start(self, size: int) -> bytes:
        """Give the first bytes; who is reading the stream goes on where it was."""
        if isinstance(self._source, bytes):
            return self._source[:size]
        position = self._source.tell()
        try:
            return self.stream().read(size)
        finally:
            self._source.seek(position)

    def sha256(self) -> bytes:
        """Give the sha256 of the bytes, read block by block: 32 bytes."""
        if isinstance(self._source, bytes):
            return digest(self._source)
        try:
            return hashlib.file_digest(self.stream(), "sha256").digest()
        except OSError as error:
            raise ImageError(error.strerror or str(error)) from error

    def has_changed(self) -> bool:
        """Whether an open file was written to since it was opened; bytes in memory never are."""
        return self._current_stamp() != self._stamp

    def _current_stamp(self) -> tuple[int, int]:
        if isinstance(self._source, bytes):
            return 0, 0
        status = os.fstat(self._source.fileno())
        return status.st_size, status.st_mtime_ns

    def count(self, part: bytes) -> int:
        """Count the places where these bytes are, block by block."""
        if isinstance(self._source, bytes):
            return self._source.count(part)
        stream, found, kept = self.stream(), 0, b""
        while block := stream.read(_BLOCK):
            block = kept + block
            found += block.count(part)
            kept = block[len(block) - len(part) + 1 :]
        return found


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Content]:
    """Open an image file, by path or URL; a file of up to `LARGE` bytes is read at once.

    Raises
    ------
    ImageError
        With the system's reason, or if it is no regular file.
    """
    if is_url(path):
        yield Content(read_url(str(path)))
        return
    descriptor = _open(path)
    try:
        size = _size(descriptor)
        data = None if size > LARGE else _read_all(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    if data is not None:
        os.close(descriptor)
        yield Content(data)
        return
    with os.fdopen(descriptor, "rb") as file:
        yield Content(file)


def digest(data: bytes) -> bytes:
    """Give the sha256 of an image file's bytes: 32 bytes, equal only for equal files."""
    return hashlib.sha256(data).digest()


def _open(path: str | os.PathLike[str]) -> int:
    try:
        return os.open(path, _READING)
    except ValueError as error:  # a NUL, or what is no text
        raise ImageError(f"no file can have this name ({error})") from error
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error


def _size(descriptor: int) -> int:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise ImageError("no regular file")  # reading a pipe or a device may never end
    return status.st_size


def _read_all(descriptor: int, size: int) -> bytes:
    """Read by the system's calls alone: a file object would keep other threads waiting."""
    try:
        parts = [os.read(descriptor, size + 1)]
        if len(parts[0]) == size:
            return parts[0]
        while parts[-1]:  # it has grown, or is larger than what one call reads
            parts.append(os.read(descriptor, _BLOCK))
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error
    return b"".join(parts)
