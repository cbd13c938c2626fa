"""Read the bytes of image files: a small file into memory, a large one from the open file."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from tlfeatures.errors import ImageError
from tlfeatures.features.sources.locations import is_url, read_url
from tlfeatures.features.sources.records import Box, ImageLocation, Member
from tlfeatures.files import reason_of

LARGE_FILE = 32 * 2**20  # bytes; a larger file is hashed and decoded without being read whole

_BLOCK = 2**20  # bytes

# Opening a pipe doesn't wait for a process that writes to it. Windows has another flag.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Content:
    """The bytes of one image file.

    Parameters
    ----------
    source : bytes or binary file
        A file must stay open as long as its content is used.
    """

    def __init__(self, source: bytes | io.BufferedReader) -> None:
        self._file = io.BytesIO(source) if isinstance(source, bytes) else source
        self._stamp = self._current_stamp()

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._current_stamp()[0]

    def stream(self) -> io.BytesIO | io.BufferedReader:
        """Return the binary file at its start; it is the same one at every call."""
        self._file.seek(0)
        return self._file

    def whole(self) -> bytes:
        """Return all bytes."""
        return self.stream().read()

    def start(self, size: int) -> bytes:
        """Return the first `size` bytes; the position of the stream doesn't change."""
        position = self._file.tell()
        try:
            return self.stream().read(size)
        finally:
            self._file.seek(position)

    def sha256(self) -> bytes:
        """Return the sha256 of the bytes, 32 bytes; a file is read block by block.

        Raises
        ------
        ImageError
            If the file can't be read.
        """
        if isinstance(self._file, io.BytesIO):
            return digest(self._file.getvalue())
        try:
            return hashlib.file_digest(self.stream(), "sha256").digest()
        except OSError as error:
            raise ImageError(reason_of(error)) from error

    def has_changed(self) -> bool:
        """Whether an open file was written to since it was opened; False for bytes in memory."""
        return self._current_stamp() != self._stamp

    def _current_stamp(self) -> tuple[int, int]:
        if isinstance(self._file, io.BytesIO):
            return len(self._file.getvalue()), 0
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns

    def count(self, part: bytes) -> int:
        """Count how often these bytes occur; a file is read block by block."""
        stream, count, rest = self.stream(), 0, b""
        while block := stream.read(_BLOCK):
            block = rest + block
            count += block.count(part)
            rest = block[len(block) - len(part) + 1 :]
        return count


@contextmanager
def open_content(path: ImageLocation) -> Iterator[Content]:
    """Open an image file; one of up to `LARGE_FILE` bytes is read at once.

    Parameters
    ----------
    path : path, URL or Member

    Yields
    ------
    Content

    Raises
    ------
    ImageError
        If it can't be read, with the system's reason, or is no regular file.
    """
    if isinstance(path, Member):
        yield Content(path.read())
        return
    if is_url(path):
        yield Content(read_url(str(path)))
        return
    descriptor = _open(path)
    try:
        size = _size(descriptor)
        data = None if size > LARGE_FILE else _read_all(descriptor, size)
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
    """Return the sha256 of an image file's bytes, 32 bytes: it is equal only for equal files."""
    return hashlib.sha256(data).digest()


def content_digest(content: Content, box: Box | None) -> bytes:
    """Return the sha256 of an image, 32 bytes: of its file, or of the file's sha256 and the box.

    So two parts of one file differ, and equal parts of equal files don't.

    Raises
    ------
    ImageError
        If the file can't be read.
    """
    whole = content.sha256()
    return whole if box is None else digest(whole + str(box).encode())


def _open(path: str | os.PathLike[str]) -> int:
    try:
        return os.open(path, _OPEN_FLAGS)
    except ValueError as error:  # the name has a NUL, or is no text
        raise ImageError(f"no file can have this name ({error})") from error
    except OSError as error:
        raise ImageError(reason_of(error)) from error


def _size(descriptor: int) -> int:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise ImageError("no regular file")  # reading a pipe or a device may never end
    return status.st_size


def _read_all(descriptor: int, size: int) -> bytes:
    """Read all bytes by system calls, as a file object would keep other threads waiting."""
    try:
        parts = [os.read(descriptor, size + 1)]
        if len(parts[0]) == size:
            return parts[0]
        while parts[-1]:  # the file has grown, or is larger than what one call reads
            parts.append(os.read(descriptor, _BLOCK))
    except OSError as error:
        raise ImageError(reason_of(error)) from error
    return b"".join(parts)
