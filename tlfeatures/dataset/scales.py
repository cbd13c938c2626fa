"""Scales: the distance within which a tenth of the images are, for each image.

`tlfeatures.dataset.duplicates` says what scales are for. They are computed from a sample of at most
1,000 images: those whose sha256 has the smallest hash. So the order of the images doesn't change
the sample, and 1 % more images change about 1 % of it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.distances import block_rows, distances, parts, unit_roots
from tlfeatures.threads import in_threads

SAMPLE = 1000  # number of images from which scales are computed
_NEAREST = 10  # the scale includes at least so many images, more than the images of a burst
_SHARE = 10  # the scale includes at least one of so many images
_SMALL_SHARE = 4  # of few images, the scale includes at most one of so many


def sample_rows(
    X: NDArray[Any], rows: NDArray[np.int64], digests: NDArray[np.uint8] | None = None
) -> NDArray[np.int64]:
    """Choose the rows from which scales are computed.

    Parameters
    ----------
    X : array of shape (n, d)
        Embeddings.
    rows : ndarray of shape (m,), int
        The rows to choose from.
    digests : ndarray of shape (n, 32), uint8, optional
        sha256 of each image file. By default, the values of a row are hashed.

    Returns
    -------
    ndarray of shape (s,), int
        The rows with the smallest hashes. Of rows with equal digests, or equal values, only the
        first one.
    """
    if digests is None:
        keys = (np.ascontiguousarray(X[row], np.float32).tobytes() for row in rows)
    else:
        keys = (digest.tobytes() for digest in digests[rows])
    hashes = np.fromiter((_hash(key) for key in keys), np.uint64, len(rows))
    _, first = np.unique(hashes, return_index=True)
    return rows[first[:SAMPLE]]


def _hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "little")


def row_scales(
    X: NDArray[Any],
    rows: NDArray[np.int64],
    sample: NDArray[np.int64],
    block: int | None = None,
) -> NDArray[np.float32]:
    """Compute the scales of some rows.

    The scale is not the distance to the nearest neighbour: if most images have a near-duplicate,
    these would be the nearest neighbours, and no pair would be especially near.

    Parameters
    ----------
    X : array of shape (n, d)
        Embeddings.
    rows : ndarray of shape (m,), int
    sample : ndarray of shape (s,), int
        The result of `sample_rows`.
    block : int, optional
        Number of rows of a block.

    Returns
    -------
    ndarray of shape (n,), float32
        Zeros for the other rows, and for all rows if the sample has less than two.
    """
    scales = np.zeros(len(X), np.float32)
    nearest = nearest_of(len(sample))
    if nearest < 1:
        return scales
    units = unit_roots(X[sample])
    blocks = [rows[part] for part in parts(len(rows), block or block_rows(X.shape[1]))]
    computed = in_threads(
        lambda part: kth_smallest(distances(unit_roots(X[part]), units), nearest), blocks
    )
    for part, values in zip(blocks, computed, strict=True):
        scales[part] = values  # the nearest row is the row itself
    return scales


def nearest_of(sample: int) -> int:
    """Return the number of images within the scale, for a sample of so many images."""
    # 10 of 20 images would reach into another class; one image may be the only copy
    most = max(2, sample // _SMALL_SHARE)
    return min(max(_NEAREST, sample // _SHARE), most, sample - 1)


def kth_smallest(table: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """Return the value at position k of each sorted row, counted from 0."""
    kth: NDArray[np.float32] = np.partition(table, k, axis=1)[:, k]
    return kth
