"""Near-duplicates: the same photograph, for example resized, recompressed, cropped or brightened.

Two images are near-duplicates if their embeddings are similar enough::

    similarity(i, j) = 1 - distance(i, j) / min(scale(i), scale(j))

`tlfeatures.dataset.distances` defines `distance`. `scale` is the distance within which a tenth of
the images are, but at least 10 images. With fewer than 40 images, it is the distance within which a
quarter of them are, but at least 2. A similarity of 1 means the same embedding. 0 means that a
tenth of the images are as near. Because of the scale, one threshold, the backbone's
`near_duplicate`, can be used for 512 and for 25,088 columns, and for sets of similar and of
different images. The scale is computed from a sample of 1,000 images (`tlfeatures.dataset.scales`).
Distances relative to the median nearest neighbour separate equally well, but find few pairs if most
images have a near-duplicate. Cosines need another threshold for each embedding.

The method was tested with VGG16 at 224 on versions of 30 of 1,078 landscapes (Intel, 150 x 150
pixels) and of 20 of 397 photos of insects (Hymenoptera, 500 pixels wide or high). The versions were
saved as JPEG of quality 90, if nothing else is stated. Percentages of versions that were found:

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

Among the original landscapes, 9 pairs were found with avg and 4 with flatten (a burst, and the same
view twice). One of these pairs was wrong. No pair of insects was found. The largest group had 3
images. In another test with 9 versions each of 50 photos, 98 % (avg) and 95 % (flatten) of the
pairs were found, and no wrong pair. All figures are those of a regular sample of the images for the
scales. With the present sample, 10 of 11 pairs of originals were found among the landscapes
embedded at 150; the other one is just below the limit.

Other backbones have other limits. Those of three named ones were chosen on the same kinds of
versions, so that no pair of insects is wrong, and at most one pair of landscapes
(`benchmarks/near_duplicates.py`). Percentages of versions of landscapes, and of insects, that were
found at these limits:

=================  ====================  ==================  ==================
version            efficientnet-lite0    mobilenetv2         squeezenet1-1
=================  ====================  ==================  ==================
limit              0.4                   0.35                0.45
JPEG, quality 50   80, 100               80, 100             83, 100
JPEG, quality 20   20, 100               10, 100             3, 100
resized to 120 %   100, 100              100, 100            100, 100
resized to 80 %    97, 100               100, 100            97, 100
resized to 50 %    13, 100               17, 100             27, 100
middle 95 %        97, 100               100, 100            100, 100
corner of 95 %     90, 100               97, 100             100, 100
middle 90 %        93, 100               97, 100             100, 100
middle 80 %        57, 100               67, 100             70, 95
brightness 1.15    100, 100              100, 100            100, 100
turned by 3°       97, 100               93, 100             90, 100
mirrored           100, 100              100, 100            87, 100
grey               40, 30                30, 30              50, 10
original pairs     14, 1 wrong           14                  4, 1 wrong
=================  ====================  ==================  ==================

Images that are more alike than these give more wrong pairs: among the same photographs of flowers,
the limit 0.4 found 4 pairs with VGG16, 6 with MobileNetV2, 19 with EfficientNet-Lite0 and 53 with
SqueezeNet. For a user's own backbone, "auto" finds identical files only, unless its declaration
states a limit.

Of fewer than 40 images, the 10 nearest would reach into another class. Of 20 training images of two
very different classes (a class of the landscapes, and one of the insects), 6 % of the other images
were called near-duplicates with the 10 nearest, and 0.1 % with a quarter of the images. Of 10
training images, these were 18 % and 0.0 %. Versions of 10 and 20 training images (JPEG of quality
60, resized to 70 %, middle 98 %) were all found in both ways.

The method has limits. It does not find grey versions, strong crops, mirrored images (with
`flatten`), strong compression of small images, and other photographs of the same object. If more
than a tenth of many images, or a quarter of fewer than 40, are versions of one photograph, as in a
few videos, it finds only the closest versions. In these cases, the user should give groups. The
method finds too many pairs if a class has few images and is very different from the others (40
scanned digits among 397 photos became one group), and if images are very simple (13 of 600 digits
became one group).
"""

from __future__ import annotations

import logging
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.dataset.distances import block_rows, distances, pair_distances, parts, usable_rows
from tlfeatures.dataset.grouping import identical_pairs
from tlfeatures.dataset.pair_list import PairList, similar_pairs, similarities
from tlfeatures.dataset.pair_search import near_pairs
from tlfeatures.dataset.scales import kth_smallest, nearest_of, row_scales, sample_rows
from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.vgg16 import NEAR_DUPLICATE
from tlfeatures.features.spec import Spec
from tlfeatures.names import counted

logger = logging.getLogger(__name__)

Similarity = float | Literal["auto"] | None

_ROUNDING = 1e-5
LEAST_COLUMNS = 64  # with 3 columns (mean colours), all 1,078 landscapes became one group


def find_near_duplicates(
    X: ArrayLike,
    threshold: float = NEAR_DUPLICATE,
    *,
    digests: NDArray[np.uint8] | None = None,
    block: int | None = None,
    threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find pairs of rows that show the same photograph, the most similar first.

    The pairs are those that a comparison of all pairs finds. A bound of the distance excludes most
    of them (`tlfeatures.dataset.pair_search`). X is read in blocks, so that it is never copied as a
    whole, and may be a memory map. Embeddings with fewer than 64 columns can't distinguish
    photographs, so no pairs are returned.

    Parameters
    ----------
    X : array of shape (n, d)
        Embeddings. Rows of zeros, and rows with a value that isn't finite, are in no pair.
    threshold : float
        Smallest similarity of a pair, above 0 and up to 1. With 1, rows must be equal except for
        rounding and a factor.
    digests : ndarray of shape (n, 32), uint8, optional
        sha256 of each image file. It chooses the images from which scales are computed
        (`tlfeatures.dataset.scales`). By default, the hash of each row does.
    block, threads : int, optional
        Numbers of rows of a block, and of threads. They don't change the pairs.

    Returns
    -------
    pairs : ndarray of shape (p, 2), int
        Rows i < j. If there are more than a million pairs, only the pairs of a maximum spanning
        forest are returned. They are fewer than n, and connect the same rows as all pairs, with
        this and every higher threshold.
    similarity : ndarray of shape (p,)
        Similarities of the pairs; the module's docstring defines them.

    Raises
    ------
    ParameterError
        If X does not have two dimensions, or a parameter has an invalid value.
    """
    X = np.asarray(X)
    _check(X, threshold, block)
    if X.shape[1] < LEAST_COLUMNS:
        return np.empty((0, 2), np.int64), np.empty(0)
    rows = usable_rows(X)
    scales = row_scales(X, rows, sample_rows(X, rows, digests), block)
    found = PairList(scales, threshold)
    radii = near_radii(scales, threshold)
    for pairs in near_pairs(X, rows, radii, block=block, threads=threads):
        found.add(pairs)
    return similar_pairs(found.all(), scales, threshold)


def near_radii(scales: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Return the distance within which each row's near-duplicates are, and a little more.

    The search by radii may round otherwise than the similarity, by which pairs are chosen.
    """
    return scales * np.float32((1 - threshold) * (1 + _ROUNDING))


def resembles(
    new: NDArray[Any], known: NDArray[Any], threshold: float, *, block: int | None = None
) -> NDArray[np.bool_]:
    """Return whether each new row shows the same photograph as one of the known rows.

    The similarity is that of `find_near_duplicates`. The scales of all rows are computed from a
    sample of the known rows.

    Parameters
    ----------
    new : array of shape (m, w)
        `unit_roots` of embeddings or sketches of them, in rows of any length above 0.
    known : array of shape (n, w)
        The same for the known images.
    threshold : float
        Smallest similarity of two images of the same photograph.
    block : int, optional
        Number of rows of a block. By default, blocks use about 100 MB.

    Returns
    -------
    ndarray of shape (m,), bool
        False for all rows if there are fewer than two known rows, which give no scale.
    """
    found = np.zeros(len(new), bool)
    sample = _unit(known[sample_rows(known, np.arange(len(known)))])
    nearest = nearest_of(len(sample))
    if nearest < 1:
        return found
    block = block or block_rows(new.shape[1])
    for part in parts(len(new), block):
        unit = _unit(new[part])
        scales = kth_smallest(distances(unit, sample), nearest)
        for other in parts(len(known), block):
            rows = _unit(known[other])
            table = distances(unit, rows)
            # The scale of a known row can only lower a similarity, so few rows need theirs.
            near = np.flatnonzero((table <= (1 - threshold) * scales[:, None]).any(axis=0))
            if not len(near):
                continue
            other_scales = kth_smallest(distances(rows[near], sample), nearest)
            similarity = similarities(table[:, near], scales[:, None], other_scales)
            found[part] |= (similarity >= threshold).any(axis=1)
    return found


def _unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    unit = rows.astype(np.float32)
    unit /= np.sqrt(np.einsum("ij,ij->i", unit, unit))[:, None]
    return unit


def find_copies(
    X: ArrayLike,
    digests: NDArray[np.uint8] | None,
    near_duplicates: Similarity,
    spec: Spec,
    near: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], int]:
    """Find pairs of rows that are the same file or near-duplicates.

    Parameters
    ----------
    X : array of shape (n, d)
        Embedding in which near-duplicates are searched.
    digests : ndarray of shape (n, 32), uint8, or None
        sha256 of each image file.
    near_duplicates : float, "auto" or None
        See `load_dataset`.
    spec : Spec
    near : ndarray of shape (q, 2), int, optional
        Near-duplicates, if they were searched before.

    Returns
    -------
    copies : ndarray of shape (p, 2), int
        Rows i < j, without repetitions. n equal files give at least n - 1 pairs.
    identical : int
        Number of pairs of equal files; n equal files count as n - 1 pairs.
    """
    same = np.empty((0, 2), np.int64) if digests is None else identical_pairs(digests)
    if near is None:
        near = _search_copies(X, digests, near_duplicates, spec)
    return np.unique(np.concatenate([same, near]), axis=0), len(same)


def _search_copies(
    X: ArrayLike,
    digests: NDArray[np.uint8] | None,
    near_duplicates: Similarity,
    spec: Spec,
) -> NDArray[np.int64]:
    """Return the near-duplicates of `find_copies`. If no limit is known, a warning is logged."""
    least = least_similarity(near_duplicates, spec)
    if least is not None:
        return find_near_duplicates(X, least, digests=digests)[0]
    if near_duplicates == "auto" and spec.imported is not None:
        logger.warning(
            "near-duplicates are not searched, because no limit is known for imported embeddings: "
            "only rows of the same image file, or of equal values, count as copies; give "
            "--near-duplicates SIMILARITY to find others, too"
        )
    elif near_duplicates == "auto":
        logger.warning(
            "no limit of near-duplicates was measured for backbone %s, so its embeddings show no "
            "other copies than identical files; give --near-duplicates SIMILARITY to find others, "
            "too (%g is for vgg16)",
            spec.backbone,
            NEAR_DUPLICATE,
        )
    return np.empty((0, 2), np.int64)


def pair_similarities(
    X: NDArray[Any], pairs: NDArray[np.int64], digests: NDArray[np.uint8] | None = None
) -> NDArray[np.float64]:
    """Return the similarity of pairs of rows, as `find_near_duplicates` defines it.

    Parameters
    ----------
    X : array of shape (n, d)
        Embeddings of all images, from which the scale is computed.
    pairs : ndarray of shape (p, 2), int
        Pairs of rows.
    digests : ndarray of shape (n, 32), uint8, optional
        See `find_near_duplicates`.

    Returns
    -------
    ndarray of shape (p,)
        Similarities, at most 1. The similarity is 0 for a row of zeros, or a row with a value that
        isn't finite.
    """
    X = np.asarray(X)
    similarity = np.zeros(len(pairs))
    if not len(pairs):
        return similarity
    rows = usable_rows(X)
    defined = np.isin(pairs, rows).all(axis=1)
    i, j = pairs[defined].T
    sample = sample_rows(X, rows, digests)
    scales = row_scales(X, np.unique(pairs[defined]), sample)
    similarity[defined] = similarities(pair_distances(X, i, j), scales[i], scales[j])
    return similarity


def check_similarity(near_duplicates: Similarity) -> None:
    """Raise `ParameterError` if the value of `near_duplicates` is invalid; see `load_dataset`."""
    if isinstance(near_duplicates, Real) and 0 < near_duplicates <= 1:
        return
    if near_duplicates not in ("auto", None):
        raise ParameterError(
            f"near_duplicates is {near_duplicates}; expected a similarity above 0 and up to 1, "
            "auto, or off (None in Python)"
        )


def least_similarity(similarity: Similarity, spec: Spec) -> float | None:
    """Return the smallest similarity of copies; "auto" means the threshold of the backbone.

    None means that only identical files are copies. This holds for a backbone whose threshold was
    not measured, and for one that this version doesn't have.
    """
    if similarity != "auto":
        return similarity
    backbone = spec.known_backbone
    return None if backbone is None else backbone.near_duplicate


def _check(X: NDArray[Any], threshold: float, block: int | None) -> None:
    if X.ndim != 2:
        raise ParameterError(f"X has the shape {X.shape}; expected (images, columns)")
    if not 0 < threshold <= 1:  # also refuses NaN
        raise ParameterError(f"threshold is {threshold}; expected a number above 0, up to 1")
    if block is not None and block < 1:
        raise ParameterError(f"block is {block}; expected at least 1 row")


def log_copies(
    copies: NDArray[np.int64], identical: int, ids: NDArray[np.str_], y: NDArray[np.str_]
) -> None:
    """Log the copies, and warn about copies with different labels, of which one is wrong.

    Parameters
    ----------
    copies : ndarray of shape (p, 2), int
        Pairs of rows.
    identical : int
        Number of pairs that are identical files.
    ids, y : ndarray of shape (n,), str
        Ids and labels of the rows.
    """
    if not len(copies):
        return
    contradicting = copies[y[copies[:, 0]] != y[copies[:, 1]]]
    if len(contradicting):
        i, j = contradicting[0]
        logger.warning(
            "%s of the same or nearly the same photograph %s in two classes, for example %s and "
            "%s; `tlfeatures audit` lists all such pairs",
            counted(len(contradicting), "pair"),
            "is" if len(contradicting) == 1 else "are",
            ids[i],
            ids[j],
        )
    logger.info(
        "%d pairs of images are copies (%d identical files) and are kept in the same fold:%s",
        len(copies),
        identical,
        "".join(f"\n  {ids[i]}  =  {ids[j]}" for i, j in copies[:100]),
    )
