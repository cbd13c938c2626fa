"""Small pictures of a benchmark's images, read from their source if they have not changed."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tlfeatures.errors import ImageError
from tlfeatures.features.images.decoding import thumbnail
from tlfeatures.features.images.reading import content_digest, open_content
from tlfeatures.features.images.value_range import ValueRange
from tlfeatures.features.sources.protocol import Source
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.sources.spelling import normalize_name

logger = logging.getLogger(__name__)

SIDE = 96  # pixels
BUDGET = 4_000_000  # characters of all pictures together, so that a page stays under 5 MB
_CHUNK = 256  # images between two checks of the budget


def thumbnails(
    source: Source,
    wanted: Sequence[str],
    digests: Mapping[str, bytes],
    budget: int = BUDGET,
    value_range: ValueRange | None = None,
) -> dict[str, str]:
    """Make data URLs of images, in their order, until the budget is used up.

    Parameters
    ----------
    source : Source
        The source of the images.
    wanted : sequence of str
        Ids, the most important first.
    digests : mapping of id to sha256
        An image with another sha256 is not the one that was embedded, and gets no picture.
    budget : int
        Largest number of characters in all.
    value_range : (float, float), optional
        See `decode_content`.

    Returns
    -------
    dict of id to data URL
        WebP pictures, the longer side at most `SIDE` pixels, of the images that can be read.
    """
    urls: dict[str, str] = {}
    changed = used = 0
    # The source is listed: a path joined from an id, which is data, could lead outside of it.
    records = {image.id: image for image in source.images()}
    # A copy of a folder on another system may write the same name in another Unicode form.
    forms = {normalize_name(id_): image for id_, image in records.items()}
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            images = [
                (records.get(id_, forms.get(normalize_name(id_))), digests.get(id_))
                for id_ in chunk
            ]
            made = pool.map(lambda image: _url(image[0], image[1], value_range), images)
            for id_, url in zip(chunk, made, strict=True):
                changed += url is None
                used += len(url or "")
                if used > budget:
                    logger.info("pictures of %d of %d images fill the page", len(urls), len(wanted))
                    return urls
                if url is not None:
                    urls[id_] = url
    if changed:
        logger.warning(
            "%d of %d images in %s are gone or changed since they were embedded; the page doesn't "
            "show them",
            changed,
            len(wanted),
            source.location,
        )
    return urls


def _url(
    image: ImageRecord | None, expected: bytes | None, value_range: ValueRange | None
) -> str | None:
    if image is None:
        return None
    try:
        with open_content(image.location) as content:
            if content_digest(content, image.box) != expected:
                return None
            picture = thumbnail(content, SIDE, value_range, image.box)
    except (ImageError, MemoryError):
        return None
    return "data:image/webp;base64," + base64.b64encode(picture).decode()
