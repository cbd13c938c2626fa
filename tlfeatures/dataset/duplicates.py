"""Images that must stay on one side of a fold: copies, near-duplicates, groups of the user.

The same photo resized, recompressed, cropped or brightened is found on an embedding::

    similarity(i, j) = 1 - distance(i, j) / min(scale(i), scale(j))

`distance` is the Euclidean distance of the rows' square roots (with their signs) after these are
scaled to length 1; for activations, which are not negative, that is the Hellinger distance of two
rows as shares of their sums. The root keeps the few largest activations from deciding alone.
`scale` is the distance to the nearest tenth of the images, and at least to the tenth nearest one.
So 1 is the same embedding, and 0 is no nearer than one image in ten is anyhow. The scale makes
one threshold, `NEAR_DUPLICATE`, do for 512 and for 25,088 columns and for sets of alike and of
unlike images. Distances relative to the median nearest neighbour separate as well, but find
little where most images have a near-duplicate; cosines need a threshold for each embedding.

Measured with VGG16 at 224 on versions of 30 of 1,078 landscapes (Intel, 150 x 150 pixels) and of
20 of 397 photos of insects (Hymenoptera, 500 pixels wide or high), JPEG of quality 90 where
nothing else is said. Shares found, in percent:

=================  ===============  ===================  ===============  ===================
version            avg, landscapes  flatten, landscapes  avg, insects     flatten, insects
=================  ===============  ===================  ===============  ===================
JPEG, quality 50   93               90                   100              100
JPEG, quality 20   10               7                    100              100
resized to 120 %   100              100                  100              100
resized to 80 %    100              100                  100              100
resized to 50 %    20               3                    100              100
middle 95 %        100              100                  100              100
corner of 95 %     100              93                   100              100
middle 90 %        100              83                   100              100
middle 80 %        47               3                    95               50
brightness 1.15    100              100                  100              100
turned by 3°       97               97                   100              100
mirrored           100              0                    100              5
grey               40               37                   10               10
=================  ===============  ===================  ===============  ===================

Among the originals 9 pairs of landscapes were found with avg and 4 with flatten (a burst, the
same view twice), one of them wrong, and no pair of insects; at most 3 images became one group. Of
50 photos in 9 versions each, 98 % (avg) and 95 % (flatten) of the pairs were found, none wrong.

Not found: mirrored images by `flatten`, grey versions, strong crops and, of small images, strong
compression; another photo of the same thing; all but the closest versions where one photo makes
up over a tenth of many images, as in a few videos: such images need groups given by the user.
Too much is found where a class is a small part of the images and of quite another kind (40
scanned digits among 397 photos became one group), and among images as plain as digits (of 600, 13
in one group).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.table import BACKBONES, DEFAULT_BACKBONE

NEAR_DUPLICATE = BACKBONES[DEFAULT_BACKBONE].near_duplicate

LEAST_COLUMNS = 64  # with the 3 mean colours all 1,078 landscapes became one group
SAMPLE = 1000  # images that the scale is measured on
_NEAREST = 10  # the scale reaches at least so many images: a burst is not its own measure
_SHARE = 10  # and at least one image in so many
_SAME = 4e-6  # a squared distance that float32 can't tell from 0
MOST_PAIRS = 1_000_000
_BLOCK_BYTES = 2**27


def find_near_duplicates(
    X: ArrayLike, threshold: float = NEAR_DUPLICATE, *, block: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of rows that show the same photo, the most similar first.

    Every pair of rows is compared, block by block, so that X is never copied as a whole. Fewer
    than 64 columns can't tell photos apart, so that none are found.

    Parameters
    ----------
    X : array of shape (n, d)
        Embeddings. Rows of zeros, and rows with a value that isn't finite, are in no pair.
    threshold : float
        Above 0, up to 1. 1 finds the rows that are equal but for rounding and a factor.
    block : int, optional
        Rows of a block. By default as many as use about 100 MB (200 MB where over a million
        pairs are found).

    Returns
    -------
    pairs : ndarray of shape (p, 2), int
        Rows i < j. Where there are over a million pairs, those of a maximum spanning forest
        only: fewer than n, and they join the same rows, at this and at every higher threshold.
    similarity : ndarray of shape (p,)
        1 is the same embedding, 0 no nearer than one image in ten; see the module.

    Raises
    ------
    ParameterError
        If X has not two dimensions, or a parameter can't have its value.
    """
    X = np.asarray(X)
    _check(X, threshold, block)
    if X.shape[1] < LEAST_COLUMNS:
        return _Pairs(len(X)).sorted()
    block = block or max(16, min(1024, _BLOCK_BYTES // (16 * X.shape[1])))
    rows = np.flatnonzero(np.concatenate([_usable(X[part]) for part in _parts(len(X), block)]))
    scales = _scales(X, rows, block)
    found = _Pairs(len(X))
    for first, second, similarity in _similarities(X, rows, scales, block):
        i, j = np.nonzero(similarity >= threshold)
        upper = first[i] < second[j]
        i, j = i[upper], j[upper]
        found.add(first[i], second[j], similarity[i, j])
    return found.sorted()


def merge_groups(
    n: int, groups: Sequence[str] | NDArray[np.str_] | None, pairs: Iterable[ArrayLike]
) -> NDArray[np.int64] | None:
    """Groups of rows that belong together for any reason, numbered by first appearance.

    Parameters
    ----------
    n : int
        Number of rows.
    groups : sequence of n str, or None
        The groups that the user gave.
    pairs : iterable of arrays of shape (p, 2)
        Rows that belong together, as `find_near_duplicates` and `identical_pairs` give them.

    Returns
    -------
    ndarray of shape (n,), int, or None
        None where every row stands alone.

    Raises
    ------
    ParameterError
        If there are not n groups, or a pair names a row that isn't there.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if groups is not None and len(groups) != n:
        raise ParameterError(f"there are {len(groups)} groups for {n} rows; give each row one")
    links = [np.asarray(part, np.int64).reshape(-1, 2) for part in pairs]
    if groups is not None:
        links.append(chained([str(group) for group in groups]))
    joined = np.concatenate([np.empty((0, 2), np.int64), *links])
    if joined.size and not 0 <= joined.min() <= joined.max() < n:
        raise ParameterError(f"a pair names a row that isn't one of {n}")
    if not joined.size:
        return None
    graph = coo_array((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(n, n))
    count, labels = connected_components(graph, directed=False)
    if count == n:
        return None
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def identical_pairs(digests: Sequence[bytes] | NDArray[np.uint8]) -> NDArray[np.int64]:
    """Rows with the same digest: each with the next one, so that n copies make n - 1 pairs.

    Parameters
    ----------
    digests : sequence of n bytes, or ndarray of shape (n, 32), uint8

    Returns
    -------
    ndarray of shape (p, 2), int
        Rows i < j, in the order of j.
    """
    return chained([bytes(digest) for digest in digests])


def neighbor_distances(X: ArrayLike, k: int, *, block: int | None = None) -> NDArray[np.float32]:
    """How far each row's k-th nearest other row is, by the distance that the module states.

    Parameters
    ----------
    X : array of shape (n, d)
        Embeddings; never copied as a whole.
    k : int
        At most n - 1 is used.
    block : int, optional
        Rows of a block.

    Returns
    -------
    ndarray of shape (n,), float32
        NaN for rows of zeros and rows with a value that isn't finite.
    """
    X = np.asarray(X)
    block = block or max(16, min(1024, _BLOCK_BYTES // (16 * X.shape[1])))
    rows = np.flatnonzero(np.concatenate([_usable(X[part]) for part in _parts(len(X), block)]))
    found = np.full(len(X), np.nan, np.float32)
    if len(rows) < 2:
        return found
    k = min(k, len(rows) - 1)
    for part in _parts(len(rows), block):
        unit = unit_roots(X[rows[part]])
        nearest = np.empty((len(unit), 0), np.float32)
        for other in _parts(len(rows), block):
            here = np.hstack([nearest, _distances(unit, unit_roots(X[rows[other]]))])
            # The row itself is the nearest one, at 0.
            nearest = np.partition(here, min(k, here.shape[1] - 1), axis=1)[:, : k + 1]
        found[rows[part]] = nearest.max(axis=1)
    return found


def _check(X: NDArray[Any], threshold: float, block: int | None) -> None:
    if X.ndim != 2:
        raise ParameterError(f"X has the shape {X.shape}; expected (images, columns)")
    if not 0 < threshold <= 1:  # also refuses NaN
        raise ParameterError(f"threshold is {threshold}; expected a number above 0, up to 1")
    if block is not None and block < 1:
        raise ParameterError(f"block is {block}; expected at least 1 row")


def chained(keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """Pair each place with the next one of the same key: n equal keys make n - 1 pairs."""
    last: dict[Hashable, int] = {}
    pairs = []
    for row, key in enumerate(keys):
        if key in last:
            pairs.append((last[key], row))
        last[key] = row
    return np.array(pairs, np.int64).reshape(-1, 2)


# ---- similarity


def _parts(n: int, block: int) -> list[slice]:
    """Never empty, so that there is something to concatenate."""
    return [slice(start, start + block) for start in range(0, max(n, 1), block)]


def _usable(rows: NDArray[Any]) -> NDArray[np.bool_]:
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.abs(rows.astype(np.float32, copy=False)).sum(axis=1)
    usable: NDArray[np.bool_] = np.isfinite(total) & (total > 0)
    return usable


def unit_roots(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Give the roots of rows, with their signs, scaled to length 1; NaN for a row of zeros."""
    rows = rows.astype(np.float32, copy=False)
    roots: NDArray[np.float32] = np.abs(rows)
    np.sqrt(roots, out=roots)
    np.copysign(roots, rows, out=roots)
    roots /= np.sqrt(np.einsum("ij,ij->i", roots, roots))[:, None]
    return roots


def _distances(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    squares: NDArray[np.float32] = first @ second.T
    squares *= -2
    squares += 2
    squares[squares < _SAME] = 0  # rounding would part equal rows, or make a root of -1e-7
    return np.sqrt(squares, out=squares)


def _scales(X: NDArray[Any], rows: NDArray[np.int64], block: int) -> NDArray[np.float32]:
    """How far from each row its nearest tenth is, on an even sample of the rows.

    A quantile and not the nearest neighbour: where most images have a near-duplicate, the nearest
    neighbours are these, and nothing would stand out.
    """
    scales = np.zeros(len(X), np.float32)
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64)]
    nearest = min(max(_NEAREST, len(sample) // _SHARE), len(sample) - 1)
    if nearest < 1:
        return scales
    for part in _parts(len(rows), block):
        unit = unit_roots(X[rows[part]])
        distances = np.concatenate(
            [
                _distances(unit, unit_roots(X[sample[other]]))
                for other in _parts(len(sample), block)
            ],
            axis=1,
        )
        # The row itself is the nearest one, at 0.
        scales[rows[part]] = np.partition(distances, nearest, axis=1)[:, nearest]
    return scales


def _similarities(
    X: NDArray[Any], rows: NDArray[np.int64], scales: NDArray[np.float32], block: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Rows of a block, rows of the same or a later one, and their similarities."""
    parts = [rows[part] for part in _parts(len(rows), block)]
    for number, first in enumerate(parts):
        unit = unit_roots(X[first])
        for second in parts[number:]:
            distances = _distances(unit, unit if second is first else unit_roots(X[second]))
            scale = np.minimum(scales[first][:, None], scales[second])
            with np.errstate(divide="ignore", invalid="ignore"):
                distances /= scale
            # 0 / 0: copies of each other that are a tenth of the images
            yield first, second, 1 - np.nan_to_num(distances, copy=False, nan=0, posinf=np.inf)


class _Pairs:
    """Pairs as they are found; never many more than `MOST_PAIRS`."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
        self.count = 0
        self.thinned = False

    def add(
        self, i: NDArray[np.int64], j: NDArray[np.int64], similarity: NDArray[np.float32]
    ) -> None:
        if not len(i):
            return
        self.parts.append((i, j, similarity.astype(np.float64)))
        self.count += len(i)
        if self.count > MOST_PAIRS:
            self.parts = [self._forest()]
            self.count = len(self.parts[0][0])
            self.thinned = True

    def _all(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        i, j, similarity = zip(*self.parts, strict=True)
        return np.concatenate(i), np.concatenate(j), np.concatenate(similarity)

    def _forest(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """The forest of a forest and of more pairs is the forest of all."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import minimum_spanning_tree

        i, j, similarity = self._all()
        # 2 - similarity: an edge of length 0 would be none
        graph = coo_array((2 - similarity, (i, j)), shape=(self.n, self.n)).tocsr()
        tree = minimum_spanning_tree(graph).tocoo()
        return tree.row.astype(np.int64), tree.col.astype(np.int64), 2 - tree.data

    def sorted(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if not self.parts:
            return np.empty((0, 2), np.int64), np.empty(0)
        i, j, similarity = self._forest() if self.thinned else self._all()
        order = np.lexsort((j, i, -similarity))
        return np.stack([i, j], axis=1)[order], similarity[order]
