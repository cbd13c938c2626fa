"""Find and identify images: a folder in, ids and digests out. `decoding` makes pixels of them."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path

from tlfeatures.errors import ImageError, ParameterError, SourceError
from tlfeatures.features.decoding import MAX_PIXELS as MAX_PIXELS
from tlfeatures.features.decoding import allow_pixels as allow_pixels
from tlfeatures.features.decoding import decode as decode
from tlfeatures.features.decoding import thumbnail as thumbnail
from tlfeatures.features.locations import is_url, list_url
from tlfeatures.features.reading import digest as digest
from tlfeatures.features.reading import opened
from tlfeatures.features.reading import read_bytes as read_bytes

logger = logging.getLogger(__name__)

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif"}
    | {".ppm", ".pgm", ".pbm"}
)

# Images, too, but of formats that Pillow doesn't read by itself.
FOREIGN_SUFFIXES = frozenset(
    {".heic", ".heif", ".jxl", ".jp2", ".psd", ".svg"}
    | {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".raw", ".rw2"}
)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image: `id` names it in every file and table, `path` is where its bytes are.

    It holds no `Path`, as that would take most of the memory that many images take.
    """

    id: str
    folder: str
    name: str

    @property
    def path(self) -> Path:
        """Where its bytes are, if that is a path."""
        return Path(self.folder, self.name)

    @property
    def location(self) -> str:
        """Where its bytes are: a path or a URL."""
        return f"{self.folder}{'/' if is_url(self.folder) else os.sep}{self.name}"


def find_images(source: str | os.PathLike[str]) -> list[ImageFile]:
    r"""List the images below a folder.

    Hidden files and folders are left out; links are followed, each real folder once. What is an
    image by its name is listed; whether it is one shows when it is decoded.

    Parameters
    ----------
    source : path or URL
        A folder.

    Returns
    -------
    list of ImageFile
        Sorted by id, the POSIX path relative to `source`. Bytes of a name that are no UTF-8 are
        written as `\udcXX` in the id.

    Raises
    ------
    ParameterError
        If `source` is no folder.
    SourceError
        If a folder in it can't be listed: its images would seem to be gone.
    """
    return list(list_images(source))


def list_images(source: str | os.PathLike[str]) -> Iterator[ImageFile]:
    """List the images below a folder one by one, in the order of their ids (see `find_images`)."""
    root = os.fspath(source)
    if is_url(root):
        root = root.rstrip("/")
    elif not Path(root).is_dir():
        what = "is a file" if Path(root).exists() else "does not exist"
        raise ParameterError(f"{root} {what}; expected a folder with one subfolder a class")
    foreign: Counter[str] = Counter()
    found = (
        ((name, name) for name in list_url(root)) if is_url(root) else _walk(root, "", "", set())
    )
    for id_, name in found:
        suffix = "".join(name.rpartition(".")[1:]).lower()
        if suffix in SUFFIXES:
            yield ImageFile(id_, root, id_ if id_ == name else name)  # one string, if both are one
        foreign[suffix] += suffix in FOREIGN_SUFFIXES
    _warn_about_foreign(+foreign)


def _walk(root: str, above: str, id_above: str, seen: set[str]) -> Iterator[tuple[str, str]]:
    """Give id and name below the root of each file, sorted by ids, where a folder is `name/`."""
    folder = os.path.join(root, above)  # noqa: PTH118, a Path a file would take a while
    real = os.path.realpath(folder)
    if real in seen:  # a link back up, or a second way to the same folder
        return
    seen.add(real)
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise SourceError(f"{Path(folder)} can't be listed: {error.strerror}") from error
    named = ((_printable(entry.name) + "/" * _is(entry.is_dir), entry) for entry in entries)
    for id_, entry in sorted(named, key=itemgetter(0)):
        name = above + entry.name
        if id_.endswith("/"):
            yield from _walk(root, name + os.sep, id_above + id_, seen)
        # To read a pipe would wait for ever; a broken link is named when it is decoded.
        elif _is(entry.is_file) or not os.path.exists(entry.path):  # noqa: PTH110
            yield id_above + id_, name


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return bool(kind())
    except OSError:  # a link to itself
        return False


def _warn_about_foreign(counts: Counter[str]) -> None:
    if counts:
        listed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
        logger.warning("left out as they can't be read: %s; save them as JPEG or PNG", listed)


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
            for image, (sha256, _) in zip(part, work.result(), strict=True):
                yield image, sha256

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
        with opened(path) as content:
            return content.sha256(), stamp
    except (ImageError, MemoryError):
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
