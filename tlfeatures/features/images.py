"""Identify and decode images: files in, digests and uint8 RGB pixels out."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import os
import re
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.folders import ImageFile, list_images
from tlfeatures.features.locations import is_url, read_url

# What the bytes may be. Pillow reads more, among it PostScript, for which it runs a program, and
# icons, which it decodes before one can ask how many pixels they have.
_FORMATS = frozenset(
    {"AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "PSD"}
    | {"SGI", "TGA", "TIFF", "WEBP"}
)

MAX_PIXELS = 178_956_970  # of an image, unless more are allowed: half a GiB as RGB

_MAX_SCANS = 100  # of a JPEG, as in libtiff; progressive ones have about 10
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # of a JPEG's segment; not of a restart
_SCAN, _END, _SOLE = b"\xda", b"\xd9", (b"\x01", b"\xd8")

_TRANSPARENT_MODES = {"RGBA", "LA", "PA", "RGBa", "La"}

# To open a pipe needn't wait for who writes to it; Windows has no such flag, but another one.
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a file, by path or URL, whole, or raise `ImageError` with the system's reason.

    By the system's calls alone: what else a file object does, threads would do one after the other.
    """
    if is_url(path):
        return read_url(str(path))
    try:
        opened = os.open(path, _READING)
        try:
            return _read_all(opened)
        finally:
            os.close(opened)
    except ValueError as error:  # a NUL, or what is no text
        raise ImageError(f"no file can have this name ({error})") from error
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error


def _read_all(opened: int) -> bytes:
    status = os.fstat(opened)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise ImageError("no regular file")  # reading a pipe or a device may never end
    parts = [os.read(opened, status.st_size + 1)]
    if len(parts[0]) == status.st_size:
        return parts[0]
    while parts[-1]:  # it has grown, or is larger than what one call reads
        parts.append(os.read(opened, 2**20))
    return b"".join(parts)


def digest(data: bytes) -> bytes:
    """Give the sha256 of an image file's bytes: 32 bytes, equal only for equal files."""
    return hashlib.sha256(data).digest()


def allow_pixels(max_pixels: int) -> None:
    """Refuse what is no limit of pixels, and let Pillow open images up to it.

    Pillow has a limit of its own, one for the whole process, above which it opens nothing. It is
    raised where more is asked for, once a run and before threads decode, and never lowered:
    another run may need it. Each call of `decode` keeps to the limit that it is given.

    Raises
    ------
    ParameterError
        If it is below 1.
    """
    if max_pixels < 1:
        raise ParameterError(f"max_pixels must be 1 or more, got {max_pixels}")
    pillows = Image.MAX_IMAGE_PIXELS  # above this it warns, above twice as much it refuses
    if pillows is not None and 2 * pillows < max_pixels:
        Image.MAX_IMAGE_PIXELS = max_pixels


def decode(data: bytes, size: tuple[int, int], max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Turn the bytes of an image file into pixels as the backbone wants them.

    The first frame is taken, turned upright by its EXIF orientation, laid over white where it is
    transparent, brought to 8-bit RGB and resized with Pillow's antialiased bilinear filter. What
    the bytes are decides, not the file's name.

    Parameters
    ----------
    data : bytes
        Of a format that Pillow reads by itself.
    size : (int, int)
        Height and width in pixels.
    max_pixels : int
        An image whose header says that it has more is refused before it is decoded; above
        `MAX_PIXELS`, see `allow_pixels`.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        RGB.

    Raises
    ------
    ImageError
        If it is no image, a truncated one, or has too many pixels.
    """
    with _opened(data, max_pixels) as image:
        ImageOps.exif_transpose(image, in_place=True)
        return to_pixels(image, size)


def thumbnail(data: bytes, side: int) -> bytes:
    """Make a small picture of an image file, for people to look at.

    Parameters
    ----------
    data : bytes
        Of a format that Pillow reads by itself.
    side : int
        Pixels of its longer side at most; smaller images stay as they are.

    Returns
    -------
    bytes
        A WebP, upright, transparency over white.

    Raises
    ------
    ImageError
        See `decode`.
    """
    with _opened(data, MAX_PIXELS) as image:
        image.draft("RGB", (2 * side, 2 * side))  # a JPEG needn't be decoded at its full size
        ImageOps.exif_transpose(image, in_place=True)
        small = _flat(image)
        small.thumbnail((side, side), Image.Resampling.BILINEAR)
        file = io.BytesIO()
        small.save(file, "WEBP", quality=70, method=4)
        return file.getvalue()


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image at its first frame; whatever goes wrong with it is an `ImageError`."""
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise ImageError(_too_many(pixels, max_pixels))
            if image.format in ("JPEG", "MPO"):
                _check_scans(data)
            yield image
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise anything from SyntaxError to struct.error
        raise ImageError(_reason(error, data, max_pixels)) from error


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG that would take for ever: a scan of 200 bytes may pass over all pixels."""
    if data.count(b"\xff" + _SCAN) <= _MAX_SCANS:
        return
    scans = position = 0
    while (found := _MARKER.search(data, position)) and found[1] != _END:
        position = found.end()
        scans += found[1] == _SCAN
        if found[1] not in _SOLE:
            position += int.from_bytes(data[position : position + 2], "big")
    if scans > _MAX_SCANS:
        raise ImageError(f"a JPEG of {scans:,} scans, where {_MAX_SCANS} are enough; save it anew")


def _too_many(pixels: int, max_pixels: int) -> str:
    return (
        f"{pixels:,} pixels are more than the limit of {max_pixels:,}; if the image is to be "
        "trusted, --max-pixels allows more"
    )


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those that this Pillow was built with, in the order in which it tries them."""
    Image.init()
    return tuple(name for name in Image.ID if name in _FORMATS)


def to_pixels(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Bring an opened image to 8-bit RGB and the backbone's size (see `decode`)."""
    height, width = size
    resized = _flat(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized.convert("RGB"))


def _reason(error: Exception, data: bytes, max_pixels: int) -> str:
    if not data:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    if isinstance(error, Image.DecompressionBombError):  # Pillow counts before we can
        found = re.search(r"\d+", str(error))
        if found and int(found[0]) > max_pixels:
            return _too_many(int(found[0]), max_pixels)
    return " ".join(str(error).split()) or type(error).__name__


def _flat(image: Image.Image) -> Image.Image:
    """Bring it to 8-bit RGB, or to 8-bit grey, which takes a quarter of the memory."""
    if image.mode == "F":
        raise ImageError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        image = _scaled_to_8_bits(image)
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    mode = "L" if image.mode in ("1", "L") else "RGB"
    return image if image.mode == mode else image.convert(mode)  # no copy for nothing


def _scaled_to_8_bits(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits; Pillow's own conversion would clip every value above 255."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError("32-bit integer pixels have no agreed range; save it with 8 or 16 bits")
    return Image.fromarray((values.astype(np.uint32) // 257).astype(np.uint8))


Stamp = tuple[int, int]  # of a file: size in bytes, modification time in ns

UNREADABLE = bytes(32)
UNKNOWN: Stamp = (0, 0)

_SETTLED_NS = 2 * 10**9  # the coarsest clock of a file system, FAT's


@dataclass(frozen=True)
class Manifest:
    """What a folder holds, image by image.

    Attributes
    ----------
    images : list of ImageFile, length n
        Sorted by id.
    digests : list of bytes, length n
        sha256 of each file; 32 zero bytes where it can't be read.
    stamps : list of (int, int), length n
        Size in bytes and modification time in ns of each file just before it was read; zeros where
        they couldn't tell whether it will have changed.
    """

    images: list[ImageFile]
    digests: list[bytes]
    stamps: list[Stamp]

    @property
    def ids(self) -> list[str]:
        """The images' ids, in order."""
        return [image.id for image in self.images]


Known = Mapping[str, tuple[Stamp, bytes]]


def scan(source: str | os.PathLike[str], known: Known | None = None) -> Manifest:
    """Find and identify every image below a folder; see `Scan`."""
    with Scan(source, known) as found:
        return found.manifest()


_PART = 16  # files of a thread's task: one task a file would take longer, and more memory


class Scan:
    """A folder that is listed, and its images hashed, beside other work.

    Parameters
    ----------
    source : path
        A folder.
    known : dict of id to (stamp, digest), optional
        A file that still has this stamp is not read, and taken to have this digest.
    """

    def __init__(self, source: str | os.PathLike[str], known: Known | None = None) -> None:
        self._source = source
        self._known = known or {}
        self._parts: list[tuple[list[ImageFile], Future[list[tuple[bytes, Stamp]]]]] = []
        self._listed = self._given_up = False
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor()  # hashing releases the interpreter's lock
        self._listing: Future[None] = Future()
        # A daemon, as a folder on a dead disk mustn't keep the process from ending.
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._list()
        except BaseException as error:  # it belongs to whoever waits for the manifest
            self._listing.set_exception(error)
        else:
            self._listing.set_result(None)

    def _list(self) -> None:
        with self._pool:
            try:
                images = list_images(self._source)
                while (part := list(islice(images, _PART))) and not self._given_up:
                    work = self._pool.submit(self._identified, part)
                    with self._changed:
                        self._parts.append((part, work))
                        self._changed.notify_all()
            finally:
                with self._changed:
                    self._listed = True
                    self._changed.notify_all()

    def _identified(self, part: list[ImageFile]) -> list[tuple[bytes, Stamp]]:
        return [identify(image.location, self._known.get(image.id)) for image in part]

    @property
    def finished(self) -> bool:
        """Whether the whole folder is listed and hashed, or that failed."""
        return self._listing.done()

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end, but no longer than so many seconds; whether it came."""
        wait([self._listing], seconds)
        return self.finished

    def arriving(self) -> Iterator[tuple[ImageFile, bytes]]:
        """Give each image with its digest as they come, in the order of their ids, to the end."""
        for number in itertools.count():
            if not self._has(number):
                return
            part, work = self._parts[number]
            for image, (digest, _) in zip(part, work.result(), strict=True):
                yield image, digest

    def _has(self, number: int) -> bool:
        """Wait until there are more images, or no more to come."""
        with self._changed:
            self._changed.wait_for(lambda: number < len(self._parts) or self._listed)
        return number < len(self._parts)

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *_: object) -> None:
        """Go no further than it has come: nobody waits for the rest."""
        self._given_up = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def count(self) -> int:
        """Images found so far."""
        return sum(len(part) for part, _ in self._parts)

    def manifest(self) -> Manifest:
        """Wait for the end, and give all; what went wrong is raised (see `find_images`)."""
        self._listing.result()
        images = [image for part, _ in self._parts for image in part]
        found = [each for _, work in self._parts for each in work.result()]
        return Manifest(images, [digest for digest, _ in found], [stamp for _, stamp in found])


def identify(path: str, known: tuple[Stamp, bytes] | None = None) -> tuple[bytes, Stamp]:
    """Give the sha256 of a file and its stamp just before; that it had if the stamp is the same.

    A file that can't be read has neither: `UNREADABLE`, `UNKNOWN`.
    """
    stamp = UNKNOWN if is_url(path) else _stamp(path)
    if known is not None and stamp == known[0] and stamp != UNKNOWN:
        return known[1], stamp
    try:
        return digest(read_bytes(path)), stamp
    except ImageError:
        return UNREADABLE, UNKNOWN  # decoding will say why


def _stamp(path: str) -> Stamp:
    """Size and time of a file, unless it may yet change without their showing it.

    It may within a clock's step; and where the time is in the future, as clocks are set back.
    """
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return UNKNOWN
    settled = 0 < found.st_mtime_ns <= time.time_ns() - _SETTLED_NS
    return (found.st_size, found.st_mtime_ns) if settled else UNKNOWN
