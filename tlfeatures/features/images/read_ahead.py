"""Read and decode images in threads, ahead of whoever computes with them, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlfeatures.errors import ImageError
from tlfeatures.features.images.augment import Augmentation
from tlfeatures.features.images.decoding import MAX_PIXELS, allow_pixels, decode_content
from tlfeatures.features.images.flattening import Decoded
from tlfeatures.features.images.identify import UNREADABLE
from tlfeatures.features.images.in_memory import ImageInMemory, Snapshot, take_snapshot
from tlfeatures.features.images.memory import MemoryBudget
from tlfeatures.features.images.reading import content_digest, open_content
from tlfeatures.features.images.value_range import ValueRange
from tlfeatures.features.sources.records import Box, ImageLocation, ImageRecord

# Pillow releases the interpreter's lock. A GPU needs more images than two threads decode; where the
# CPU computes the forward pass, the threads wait most of the time.
_THREADS = max(2, min(16, (os.cpu_count() or 2) // 2))
_WAITING_BYTES = 2**28  # of images in memory that wait for a thread
_AHEAD, _AHEAD_BYTES = 512, 64 * 2**20  # 512 images are two batches of a GPU

Key = TypeVar("Key")
OtherKey = TypeVar("OtherKey")
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImageToRead(Generic[Key]):
    """One image that is to be decoded.

    Attributes
    ----------
    key : Key
        The caller's name or number for the image. It is returned with the pixels.
    image : str, Path, Member, ndarray, Image or Snapshot
        Path or URL of a file, a member of a container, or an image in memory: an array of shape
        (h, w), (h, w, 3) or (h, w, 4), uint8, an image of Pillow, or a copy of one of these.
    sha256 : bytes, optional
        An image with another sha256 (see `content_digest`) is an error. Needed where variants are
        drawn.
    box : Box, optional
        The part of a file's image that is decoded; all of it if not given.
    """

    key: Key
    image: ImageLocation | ImageInMemory | Snapshot
    sha256: bytes | None = None
    box: Box | None = None

    @classmethod
    def of(cls, key: Key, record: ImageRecord, sha256: bytes | None = None) -> ImageToRead[Key]:
        """Create it for an image of a source."""
        return cls(key, record.location, sha256, record.box)

    def with_key(self, key: OtherKey) -> ImageToRead[OtherKey]:
        """Return it with another key."""
        return ImageToRead(key, self.image, self.sha256, self.box)


@dataclass(frozen=True)
class Decoding:
    """How images become pixels.

    Attributes
    ----------
    size : (int, int)
        Height and width in pixels.
    augmentation : Augmentation, optional
        How the variants of each image are drawn.
    value_range, max_pixels
        See `tlfeatures.features.images.decoding.decode_content`.
    """

    size: tuple[int, int]
    augmentation: Augmentation | None = None
    value_range: ValueRange | None = None
    max_pixels: int = MAX_PIXELS

    @property
    def parts(self) -> int:
        """Number of pixel arrays of one image: itself and its variants."""
        return 1 if self.augmentation is None else 1 + self.augmentation.variants

    @property
    def ahead(self) -> int:
        """Number of images to decode ahead: as many as 64 MB hold, at most 512."""
        fitting = min(_AHEAD, _AHEAD_BYTES // (3 * self.size[0] * self.size[1]))
        return max(_THREADS, fitting // self.parts)


def read_ahead(
    images: Iterable[ImageToRead[Key]], decoding: Decoding
) -> Iterator[tuple[Key, Decoded | ImageError]]:
    """Decode images in threads.

    Parameters
    ----------
    images : iterable of ImageToRead
        Is read no further than the images that are decoded ahead.
    decoding : Decoding

    Yields
    ------
    (key, Decoded or ImageError)
        In the order of `images`. Pixels have the shape (height, width, 3), or with variants
        (1 + variants, height, width, 3).
    """
    allow_pixels(decoding.max_pixels)
    window: deque[Future[tuple[Key, Decoded | ImageError]]] = deque()
    pool, budget = ThreadPoolExecutor(_THREADS), MemoryBudget(_WAITING_BYTES)
    try:
        for image in images:
            window.append(_submit(pool, image, decoding, budget))
            if len(window) > decoding.ahead:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(
    pool: ThreadPoolExecutor, image: ImageToRead[Key], decoding: Decoding, budget: MemoryBudget
) -> Future[tuple[Key, Decoded | ImageError]]:
    """Let a thread decode an image. Wait first if the waiting copies of images need much memory."""
    source = image.image
    if isinstance(source, np.ndarray | Image.Image):
        source = take_snapshot(source)
    if not isinstance(source, Snapshot):
        return pool.submit(_decode, image, source, decoding)
    with ExitStack() as stack:
        stack.enter_context(budget.reserve(source.bytes))
        release = stack.pop_all().close
    future = pool.submit(_decode, image, source, decoding)
    future.add_done_callback(lambda _: release())
    return future


def _decode(
    image: ImageToRead[Key], source: ImageLocation | Snapshot, decoding: Decoding
) -> tuple[Key, Decoded | ImageError]:
    key = image.key
    try:
        if isinstance(source, Snapshot):
            return key, source.decode(decoding.size, decoding.max_pixels, decoding.value_range)
        return key, _decode_file(source, image.sha256, image.box, decoding)
    except ImageError as error:
        return key, error
    except MemoryError:  # other images may be smaller
        return key, ImageError("there is not enough memory to decode it")


def _decode_file(
    location: ImageLocation, sha256: bytes | None, box: Box | None, decoding: Decoding
) -> Decoded:
    with open_content(location) as content:
        if sha256 == UNREADABLE:
            raise ImageError("it could not be read when the run began; run the command again")
        changed = sha256 is not None and content_digest(content, box) != sha256
        if not changed:
            decoded = decode_content(
                content, decoding.size, decoding.max_pixels, decoding.value_range, box
            )
        if changed or content.has_changed():
            raise ImageError("it changed during the run; run the command again")
    if decoding.augmentation is None or sha256 is None:
        return decoded
    return replace(decoded, pixels=decoding.augmentation.stack(sha256, decoded.pixels))
