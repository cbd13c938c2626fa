"""Small pictures of a benchmark's images, read from their source if they have not changed."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tlfeatures.errors import ImageError
from tlfeatures.features.images.decoding import thumbnail
from tlfeatures.features.images.reading import content_digest, open_content
from tlfeatures.features.images.value_range import ValueRange
from tlfeatures.features.sources.protocol import Source
from tlfeatures.features.sources.records import Box, ImageLocation
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.progress import Progress, no_progress

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
    progress: Progress = no_progress,
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
    progress : callable of (done, total)
        Counts images.

    Returns
    -------
    dict of id to data URL
        WebP pictures, the longer side at most `SIDE` pixels, of the images that can be read.
    """
    originals = find_originals(source, wanted, digests)
    made = make_thumbnails(originals, SIDE, budget, value_range, progress)
    if made.tried < len(wanted):
        logger.info("pictures of %d of %d images fill the page", len(made.urls), len(wanted))
    elif len(made.urls) < len(wanted):
        logger.warning(
            "%d of %d images in %s are gone or changed since they were embedded; the page doesn't "
            "show them",
            len(wanted) - len(made.urls),
            len(wanted),
            source.location,
        )
    return made.urls


@dataclass(frozen=True, slots=True)
class Original:
    """The image that a picture is made of.

    Attributes
    ----------
    location : str, Path or Member
    box : Box or None
        The part of the image that is shown; None for all of it.
    sha256 : bytes or None
        An image with another sha256 (see `content_digest`) gets no picture. None is any.
    """

    location: ImageLocation
    box: Box | None = None
    sha256: bytes | None = None


def find_originals(
    source: Source, wanted: Iterable[str], digests: Mapping[str, bytes]
) -> dict[str, Original | None]:
    """Find images in their source by their ids; None for those that are not to be found.

    Parameters
    ----------
    source : Source
    wanted : iterable of str
        Ids.
    digests : mapping of id to sha256
        See `thumbnails`.
    """
    # The source is listed: a path joined from an id, which is data, could lead outside of it.
    records = {image.id: image for image in source.images()}
    # A copy of a folder on another system may write the same name in another Unicode form.
    forms = {normalize_name(id_): image for id_, image in records.items()}
    originals: dict[str, Original | None] = {}
    for id_ in wanted:
        record = records.get(id_, forms.get(normalize_name(id_)))
        originals[id_] = None
        if record is not None and id_ in digests:
            originals[id_] = Original(record.location, record.box, digests[id_])
    return originals


@dataclass(frozen=True)
class Thumbnails:
    """Pictures for a page.

    Attributes
    ----------
    urls : dict of name to data URL
        WebP pictures of the images that could be read.
    tried : int
        Number of images that were read, or tried, before the budget was used up.
    """

    urls: dict[str, str]
    tried: int


def make_thumbnails(
    originals: Mapping[str, Original | None],
    side: int = SIDE,
    budget: int = BUDGET,
    value_range: ValueRange | None = None,
    progress: Progress = no_progress,
) -> Thumbnails:
    """Make data URLs of images, in their order, until the budget is used up.

    Parameters
    ----------
    originals : mapping of name to Original or None
        None is an image that is not to be found.
    side : int
        Largest number of pixels of the longer side.
    budget : int
        Largest number of characters in all.
    value_range : (float, float), optional
        See `decode_content`.
    progress : callable of (done, total)
        Counts images.
    """
    urls: dict[str, str] = {}
    names, used = list(originals), 0
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            made = pool.map(lambda name: _url(originals[name], side, value_range), chunk)
            for number, (name, url) in enumerate(zip(chunk, made, strict=True), start):
                used += len(url or "")
                if used > budget:
                    return Thumbnails(urls, number)
                if url is not None:
                    urls[name] = url
                progress(number + 1, len(names))
    return Thumbnails(urls, len(names))


def _url(image: Original | None, side: int, value_range: ValueRange | None) -> str | None:
    if image is None:
        return None
    try:
        with open_content(image.location) as content:
            if image.sha256 is not None and content_digest(content, image.box) != image.sha256:
                return None
            picture = thumbnail(content, side, value_range, image.box)
    except (ImageError, MemoryError):
        return None
    return "data:image/webp;base64," + base64.b64encode(picture).decode()
