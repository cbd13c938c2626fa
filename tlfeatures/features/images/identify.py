"""Identify images: a folder in, ids and digests out. `decoding` makes pixels of them."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice

from tlfeatures.errors import ImageError
from tlfeatures.features.images.reading import open_content
from tlfeatures.features.sources.folders import ImageFile, list_images
from tlfeatures.features.sources.locations import is_url

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
        with open_content(path) as content:
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
