"""Near-duplicates of an embeddings file: searched once, and kept beside the file.

The search covers all embedded images, with or without a label. Its result is kept in
`FILE.h5.near-duplicates` (`tlfeatures.dataset.near_duplicates_file`), which every command reads.
If images were added, only they are compared with all images. The result never depends on what was
kept: it is that of a new search. For this, pairs a little below the limit are kept, too, because
the scales of the images change a little with every image. An image whose scale has grown by more
than this margin is compared with all images again.

Small files are searched each time, as this takes a moment, and nothing is kept.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.distances import block_rows, parts, usable_rows
from tlfeatures.dataset.duplicates import LEAST_COLUMNS, near_radii
from tlfeatures.dataset.grouping import chained, merge_groups
from tlfeatures.dataset.near_duplicates_file import (
    StoredPairs,
    comparable_spec,
    path_beside,
    read_pairs,
    write_pairs,
)
from tlfeatures.dataset.pair_list import PairList, similar_pairs, take
from tlfeatures.dataset.pair_search import NearPairs, near_pairs
from tlfeatures.dataset.scales import row_scales, sample_rows
from tlfeatures.errors import FormatError, OutputError
from tlfeatures.features.file.reader import Reader
from tlfeatures.features.file.writer import checksums
from tlfeatures.features.spec import Spec

logger = logging.getLogger(__name__)

KEPT_FROM = 2000  # number of embedded images from which the result is kept
# Of the radii. Among 20,000 rows, 1 % more images made no scale grow by more than 0.8 %, and 10 %
# more images by more than 2 %.
_MARGIN = 1.03
_MOST_NEW = 1 / 3  # share of new images from which all images are searched again


@dataclass(frozen=True)
class FilePairs:
    """Near-duplicates among all embedded images of a file.

    Attributes
    ----------
    pairs : ndarray of shape (p, 2), int
        Pairs of images, as positions among the n embedded images.
    images : int
        n.
    thinned : bool
        Whether the pairs are those of a forest, as there are too many.
    """

    pairs: NDArray[np.int64]
    images: int
    thinned: bool = False

    def among(self, rows: NDArray[np.int_]) -> NDArray[np.int64]:
        """Return the pairs among some of the images.

        If the pairs are those of a forest, images that it connects by way of other images are
        paired, too.

        Parameters
        ----------
        rows : ndarray of shape (m,), int
            Positions of the images, ascending.

        Returns
        -------
        ndarray of shape (q, 2), int
            Positions i < j in `rows`.
        """
        if len(rows) == self.images:
            return self.pairs
        if self.thinned:
            groups = merge_groups(self.images, None, [self.pairs])
            return chained([] if groups is None else groups[rows].tolist())
        place = np.full(self.images, -1)
        place[rows] = np.arange(len(rows))
        pairs = place[self.pairs]
        return pairs[(pairs >= 0).all(axis=1)]


def near_duplicates_of_file(
    reader: Reader, embedding: str, read: Callable[[], NDArray[np.float32]], least: float
) -> FilePairs:
    """Find the near-duplicates among the embedded images of a file.

    Parameters
    ----------
    reader : Reader
        The embeddings file.
    embedding : str
        Name of the embedding in which near-duplicates are searched.
    read : callable
        Returns the rows of this embedding. It is not called if nothing has to be computed.
    least : float
        Smallest similarity of near-duplicates.

    Raises
    ------
    StoreError
        If the embeddings file can't be read.
    """
    header = reader.header
    done = np.flatnonzero(header.done)
    none = FilePairs(np.empty((0, 2), np.int64), len(done))
    if header.embeddings[embedding] < LEAST_COLUMNS:
        logger.info(
            "near-duplicates are not searched, because %s has fewer than %d columns",
            embedding,
            LEAST_COLUMNS,
        )
        return none
    if not len(done):
        return none
    digests = np.frombuffer(b"".join(header.digests[row] for row in done.tolist()), np.uint8)
    images = _Images(header.spec, embedding, header.dtype, digests.reshape(len(done), -1))
    if len(done) < KEPT_FROM:
        found = _search(images, read(), None, least)
    else:
        found = _kept_or_searched(reader, images, done, read, least)
    pairs, _ = similar_pairs(found.pairs, found.scales, least)
    return FilePairs(pairs, len(done), found.thinned)


@dataclass(frozen=True)
class _Images:
    """The embedded images of a file.

    Attributes
    ----------
    spec : Spec
    embedding : str
        Name of the embedding in which near-duplicates are searched.
    dtype : str
        Type of the stored rows.
    digests : ndarray of shape (n, 32), uint8
    """

    spec: Spec
    embedding: str
    dtype: str
    digests: NDArray[np.uint8]


def _kept_or_searched(
    reader: Reader,
    images: _Images,
    done: NDArray[np.int64],
    read: Callable[[], NDArray[np.float32]],
    least: float,
) -> StoredPairs:
    """Return what is kept beside the file, or search and keep the result."""
    path = path_beside(reader.header.path)
    stored = _read(path, images)
    crc = reader.copy_checksums(f"embeddings/{images.embedding}", done)
    if stored is not None and stored.thinned and stored.least != least:
        stored = None  # a forest lacks pairs that another limit needs
    if stored is not None and stored.least <= least and stored.has_rows(images.digests, crc):
        logger.info("near-duplicates of %d images are read from %s", len(done), path)
        return stored
    found = _search(images, read(), stored, least, crc)
    try:
        write_pairs(path, found)
    except OutputError as error:
        logger.info("near-duplicates are searched again next time, because %s", error)
    return found


def _read(path: Path, images: _Images) -> StoredPairs | None:
    try:
        return read_pairs(path, images.embedding, images.spec, len(images.digests))
    except FormatError as error:
        logger.info("%s is not used, and is replaced: %s", path, error)
        return None


def _search(
    images: _Images,
    X: NDArray[np.float32],
    stored: StoredPairs | None,
    least: float,
    crc: NDArray[np.uint32] | None = None,
) -> StoredPairs:
    """Search near-duplicates, of which some may be stored.

    Parameters
    ----------
    images : _Images
    X : ndarray of shape (n, d), float32
        Embeddings of the images.
    stored : StoredPairs or None
        Pairs among earlier images.
    least : float
        Smallest similarity of near-duplicates; that of `stored` counts, too.
    crc : ndarray of shape (n,), uint32, optional
        Checksums of the rows in the embeddings file. None: `stored` is None, too.
    """
    rows = usable_rows(X)
    scales = row_scales(X, rows, sample_rows(X, rows, images.digests))
    if stored is not None:
        least = min(least, stored.least)
    needed = near_radii(scales, least)
    earlier = _earlier(stored, images.digests, crc, needed)
    new = rows[earlier[rows] < 0]
    if stored is None or len(new) > _MOST_NEW * len(rows):
        earlier[:] = -1
        new = rows
    logger.info("near-duplicates of %d of %d images are searched", len(new), len(X))
    radii = needed * np.float32(_MARGIN)
    found = PairList(scales, least)
    if stored is not None:
        known = earlier >= 0
        radii[known] = stored.radii[earlier[known]]
        found.add(_moved(stored, earlier))
    for pairs in near_pairs(X, rows, radii, first=None if new is rows else new):
        found.add(pairs)
    pairs = found.all()
    if not found.complete:  # those below the smallest similarity were dropped
        radii = needed
    return StoredPairs(
        embedding=images.embedding,
        spec=comparable_spec(images.spec),
        digests=images.digests,
        checksums=_checksums(X, earlier, stored, images.dtype),
        scales=scales,
        radii=radii,
        pairs=take(pairs, np.lexsort((pairs.j, pairs.i))),
        least=float(least),  # it may be a number of NumPy, or 1
        thinned=found.thinned,
    )


def _earlier(
    stored: StoredPairs | None,
    digests: NDArray[np.uint8],
    crc: NDArray[np.uint32] | None,
    needed: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Return the stored position of each row whose near pairs are stored; -1 for other rows.

    Equal rows are taken in the order of their positions.
    """
    earlier = np.full(len(digests), -1)
    if stored is None or stored.thinned or crc is None:
        return earlier
    positions = defaultdict[tuple[bytes, int], deque[int]](deque)
    for position, key in enumerate(_keys(stored.digests, stored.checksums)):
        positions[key].append(position)
    for row, key in enumerate(_keys(digests, crc)):
        if positions.get(key):
            earlier[row] = positions[key].popleft()
    known = earlier >= 0
    known[known] = stored.radii[earlier[known]] >= needed[known]
    earlier[~known] = -1
    return earlier


def _keys(digests: NDArray[np.uint8], crc: NDArray[np.uint32]) -> Iterator[tuple[bytes, int]]:
    return zip(map(bytes, digests), crc.tolist(), strict=True)


def _moved(stored: StoredPairs, earlier: NDArray[np.int64]) -> NearPairs:
    """Return the stored pairs with their present row numbers."""
    place = np.full(len(stored.digests), -1)
    known = np.flatnonzero(earlier >= 0)
    place[earlier[known]] = known
    i, j = place[stored.pairs.i], place[stored.pairs.j]
    pairs = NearPairs(np.minimum(i, j), np.maximum(i, j), stored.pairs.distance)
    return take(pairs, pairs.i >= 0)


def _checksums(
    X: NDArray[np.float32],
    earlier: NDArray[np.int64],
    stored: StoredPairs | None,
    dtype: str,
) -> NDArray[np.uint32]:
    """Return the checksums of the rows, computed for those that were searched.

    A damaged row differs from its checksum in the embeddings file. So it is searched again once it
    is mended.
    """
    crc = np.zeros(len(X), np.uint32)
    new = np.flatnonzero(earlier < 0)
    for part in parts(len(new), block_rows(X.shape[1])) if len(new) else ():
        crc[new[part]] = checksums(X[new[part]].astype(dtype))
    if stored is not None:
        known = earlier >= 0
        crc[known] = stored.checksums[earlier[known]]
    return crc
