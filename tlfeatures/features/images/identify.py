"""Identify images: a source in, ids and digests out. `decoding` makes pixels of them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from tlfeatures.errors import ImageError
from tlfeatures.features.images.reading import content_digest, open_content
from tlfeatures.features.sources.locations import is_url
from tlfeatures.features.sources.protocol import Source
from tlfeatures.features.sources.records import ImageRecord, Member

Stamp = tuple[int, int]  # of a file: size in bytes, modification time in ns

UNREADABLE = bytes(32)
UNKNOWN: Stamp = (0, 0)

_SETTLED_NS = 2 * 10**9  # the coarsest clock of a file system, FAT's


@dataclass(frozen=True)
class Manifest:
    """What a source holds, image by image.

    Attributes
    ----------
    images : list of ImageRecord, length n
        Sorted by id.
    digests : list of bytes, length n
        sha256 of each file; 32 zero bytes where it can't be read.
    stamps : list of (int, int), length n
        Size in bytes and modification time in ns of each file just before it was read; zeros if
        a change might leave them the same.
    """

    images: list[ImageRecord]
    digests: list[bytes]
    stamps: list[Stamp]

    @property
    def ids(self) -> list[str]:
        """The images' ids, in order."""
        return [image.id for image in self.images]


Identities = Mapping[str, tuple[Stamp, bytes]]  # id -> stamp and digest of an earlier run


_PART = 16  # files of a thread's task: one task a file would take longer, and more memory


def scan(source: Source, identities: Identities | None = None) -> Manifest:
    """Find and identify every image of a source.

    Parameters
    ----------
    source : Source
    identities : dict of id to (stamp, digest), optional
        A file that still has this stamp is not read, and taken to have this digest.

    Raises
    ------
    ParameterError, SourceError
        If the source can't be read.
    """
    images: list[ImageRecord] = []
    parts: list[Future[list[tuple[bytes, Stamp]]]] = []
    pool = ThreadPoolExecutor()  # hashing releases the interpreter's lock
    try:
        listed = source.images()
        while part := list(islice(listed, _PART)):
            images += part
            parts.append(pool.submit(_identify_all, part, identities or {}))
        identified = [result for work in parts for result in work.result()]
    finally:  # an interrupt does not wait for a slow disk
        pool.shutdown(wait=False, cancel_futures=True)
    digests = [digest for digest, _ in identified]
    return Manifest(images, digests, [stamp for _, stamp in identified])


def _identify_all(images: list[ImageRecord], identities: Identities) -> list[tuple[bytes, Stamp]]:
    return [identify(image, identities.get(image.id)) for image in images]


def identify(image: ImageRecord, earlier: tuple[Stamp, bytes] | None = None) -> tuple[bytes, Stamp]:
    """Compute the sha256 of an image, and read the stamp of its file just before.

    Parameters
    ----------
    image : ImageRecord
    earlier : (stamp, digest), optional
        An image whose file still has this stamp is not read, and taken to have this digest.

    Returns
    -------
    (digest, stamp)
        See `content_digest`; `UNREADABLE` and `UNKNOWN` for a file that can't be read.
    """
    location = image.location
    path = location.container.path if isinstance(location, Member) else location
    stamp = UNKNOWN if is_url(path) else _stamp(path)
    if earlier is not None and stamp == earlier[0] and stamp != UNKNOWN:
        return earlier[1], stamp
    try:
        with open_content(location) as content:
            return content_digest(content, image.box), stamp
    except (ImageError, MemoryError):
        return UNREADABLE, UNKNOWN  # decoding will say why


def _stamp(path: str) -> Stamp:
    """Return size and modification time of a file; `UNKNOWN` if a change might leave them the same.

    That can happen within one step of the clock, and if the time is in the future.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return UNKNOWN
    settled = 0 < status.st_mtime_ns <= time.time_ns() - _SETTLED_NS
    return (status.st_size, status.st_mtime_ns) if settled else UNKNOWN
