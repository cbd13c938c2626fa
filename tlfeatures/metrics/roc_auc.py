"""ROC AUC of many weightings of the images: exactly, or by its projection for large tables.

The exact ROC AUC of a weighting needs a pass over all images for each class, so that 1,000
resamples of 100,000 images with 10 classes need 10**9 steps of each head. From `EXACT` images times
classes on, resamples are therefore scored by the projection of ROC AUC (Hájek 1968), which needs
one pass for all classes together. ROC AUC is the mean over pairs of a positive and a negative
image. Its projection replaces the product of the two weights of a pair by their sum, and has the
share of negatives below each positive image, and the share of positives above each negative one,
from all images. The projection of all images is their exact ROC AUC. That of a resample differs
from the exact one by a term whose variance is about 1 / m of that of the score, with m the smaller
number of positive or negative images. `benchmarks/README.md` compares the intervals.

References
----------
J. Hanley and B. McNeil (1982), Radiology 143, 29-36: a tie counts as one half.
J. Hájek (1968), Asymptotic normality of simple linear rank statistics under alternatives, Annals of
Mathematical Statistics 39, 325-346: the projection.
E. DeLong, D. DeLong and D. Clarke-Pearson (1988), Biometrics 44, 837-845: the two kinds of shares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.metrics.weighted_sums import Floats, adder, dot, ratio

EXACT = 200_000  # images times classes, up to which ROC AUC of resamples is exact
_COLUMNS = 16  # columns of probabilities that are read together

Codes = NDArray[np.integer[Any]]


def ranked_classes(k: int) -> range:
    """Return the classes whose ROC AUC is computed. With two classes, both have the same."""
    return range(1, 2) if k == 2 else range(k)


def is_large(n: int, k: int) -> bool:
    """Whether resamples of n images of k classes are scored by the projection of ROC AUC."""
    return n * len(ranked_classes(k)) > EXACT


# ---- exactly


@dataclass(frozen=True)
class ExactAuc:
    """The mean ROC AUC of the classes, each against the rest.

    Attributes
    ----------
    ranks : list of (sparse matrix, sparse matrix)
        For each class, the matrices that add up positives and negatives by steps of the score.
    """

    ranks: list[tuple[Any, Any]]

    @classmethod
    def of(cls, y: Codes, table: NDArray[Any], order: NDArray[np.int_]) -> ExactAuc:
        """Sort the images by the probability of each class, see `ProjectedAuc.of`."""
        y, table = y[order], table[order]
        return cls([_ranks(table[:, c], y == c) for c in ranked_classes(table.shape[1])])

    def scores(self, weights: Floats, true: Floats) -> Floats:
        """Return the score of each row of weights, see `ProjectedAuc.scores`."""
        columns = np.ascontiguousarray(weights.T)  # as products of sparse matrices need them
        mean: Floats = np.mean([_auc(*pair, columns) for pair in self.ranks], axis=0)
        return mean


def _ranks(score: Floats, positive: NDArray[np.bool_]) -> tuple[Any, Any]:
    """Sort images by score into steps; return the matrices that add up positives and negatives."""
    order = np.argsort(score)
    score, positive = score[order], positive[order]
    tie = np.cumsum(np.diff(score, prepend=score[0]) > 0)
    step = _merge(np.bincount(tie, weights=positive), np.bincount(tie))[tie]
    shape = (int(step[-1]) + 1, len(order))
    return (
        adder(step[positive], order[positive], shape),
        adder(step[~positive], order[~positive], shape),
    )


def _merge(positives: NDArray[Any], sizes: NDArray[Any]) -> NDArray[np.int_]:
    """Return the number of the step of each tie.

    Neighbouring ties that are all positive, or all negative, become one step, because their order
    does not change ROC AUC. With a good head, only few steps are left.
    """
    kind = np.where(positives == 0, 0, np.where(positives == sizes, 1, 2))
    return np.cumsum((np.diff(kind, prepend=kind[0]) != 0) | (kind == 2))


def _auc(positive: Any, negative: Any, weights: Floats) -> Floats:
    positives, negatives = positive @ weights, negative @ weights
    up_to = np.cumsum(negatives, axis=0)
    pairs = positives.sum(axis=0) * up_to[-1]
    negatives *= -0.5
    negatives += up_to
    return ratio(np.einsum("sb,sb->b", positives, negatives), pairs)


# ---- by the projection


@dataclass(frozen=True)
class ProjectedAuc:
    """The projection of the mean ROC AUC of the classes.

    Attributes
    ----------
    own : ndarray of shape (n,), float64
        Share of the negatives of its class that are below an image.
    others : ndarray of shape (n,), float64
        Sum over the classes to which an image doesn't belong: the share of their images above it,
        less the ROC AUC of the class, divided by the number of negatives.
    starts : ndarray of shape (classes,), int
        Where the images of each ranked class begin.
    defined : bool
        Whether each class has images, and not all of them.
    """

    own: Floats
    others: Floats
    starts: NDArray[np.int_]
    defined: bool

    @classmethod
    def of(cls, y: Codes, table: NDArray[Any], order: NDArray[np.int_]) -> ProjectedAuc:
        """Compare the images of each class with the others.

        Parameters
        ----------
        y : ndarray of shape (n,), int
        table : ndarray of shape (n, k)
            Probabilities.
        order : ndarray of shape (n,), int
            Order of the images in the weights. It sorts them by their classes.
        """
        n, k = table.shape
        ranked = ranked_classes(k)
        below, others, defined = np.zeros(n), np.zeros(n), True
        for code, column in _columns(table, ranked):
            positive = y == code
            defined &= bool(positive.any() and not positive.all())
            if not defined:
                break
            won = placements(column, positive)
            below[positive] = won[positive]
            negatives = n - int(positive.sum())
            others += np.where(positive, 0, (won - won[positive].mean()) / negatives)
        return cls(below[order], others[order], np.searchsorted(y[order], ranked), defined)

    def scores(self, weights: Floats, true: Floats) -> Floats:
        """Return the score of each row of weights.

        Parameters
        ----------
        weights : ndarray of shape (b, n)
        true : ndarray of shape (k, b)
            Sum of the weights of the images of each class.

        Returns
        -------
        ndarray of shape (b,), float64
            NaN in a row in which a class has no weight.
        """
        if not self.defined:
            return np.full(len(weights), np.nan)
        of_class, total = true[ranked_classes(len(true)).start :], true.sum(axis=0)
        sums = np.add.reduceat(weights * self.own, self.starts, axis=1).T
        own = ratio(sums, of_class).mean(axis=0)
        others = ratio(dot(weights, self.others), total) * weights.shape[1] / len(of_class)
        # Without pairs in the wrong order, the sum of two weights may be below their product.
        values = np.clip(own + others, 0, 1)
        return np.where((of_class < total).all(axis=0), values, np.nan)


def _columns(table: NDArray[Any], codes: range) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the columns of a table that is stored by rows; several are copied at once."""
    for start in range(codes.start, codes.stop, _COLUMNS):
        stop = min(start + _COLUMNS, codes.stop)
        yield from zip(range(start, stop), table[:, start:stop].T.copy(), strict=True)


def placements(score: NDArray[Any], positive: NDArray[np.bool_]) -> Floats:
    """Return the share of the other kind of images that each image is in the right order with.

    Parameters
    ----------
    score : ndarray of shape (n,)
        Probability of the class.
    positive : ndarray of shape (n,), bool
        Whether each image is of the class; some are, and some are not.

    Returns
    -------
    ndarray of shape (n,), float64
        For a positive image, the share of the negative ones with a smaller score; for a negative
        image, the share of the positive ones with a larger score. A tie counts as one half.
    """
    order = np.argsort(score[positive], kind="stable")
    ordered, negatives = score[positive][order], score[~positive]
    left, right = _places(ordered, negatives)
    below, up_to = _numbers_below(left, right, len(ordered))
    won = np.empty(len(score))
    won[~positive] = 1 - (left + right) / 2 / len(ordered)
    own = np.empty(len(ordered))
    own[order] = (below + up_to) / 2 / len(negatives)
    won[positive] = own
    return won


def areas(y: Codes, table: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the areas under the two curves of each class against the rest.

    Only the images of the class are sorted, so that many classes take little time.

    Parameters
    ----------
    y : ndarray of shape (n,), int
    table : ndarray of shape (n, k)
        Probabilities.

    Returns
    -------
    roc, precision : ndarray of shape (k,), float64
        Area under the ROC curve, and average precision, as scikit-learn defines them. NaN for a
        class without images, or with all of them.
    """
    found = np.full((2, table.shape[1]), np.nan)
    for code, column in _columns(table, range(table.shape[1])):
        positive = y == code
        if not positive.any() or positive.all():
            continue
        ordered, negatives = np.sort(column[positive]), column[~positive]
        below, up_to = _numbers_below(*_places(ordered, negatives), len(ordered))
        # Images with at least the score of each image of the class: of the class, and others.
        own = len(ordered) - np.searchsorted(ordered, ordered, "left")
        others = len(negatives) - below
        won = (below + up_to) / 2 / len(negatives)
        found[:, code] = won.mean(), (own / (own + others)).mean()
    return found[0], found[1]


def _places(ordered: NDArray[Any], negatives: NDArray[Any]) -> tuple[Codes, Codes]:
    """Return how many of the ordered scores are below each negative one, and at most as large."""
    left = np.searchsorted(ordered, negatives, "left")
    tied = (ordered[np.minimum(left, len(ordered) - 1)] == negatives).any()
    return left, np.searchsorted(ordered, negatives, "right") if tied else left


def _numbers_below(left: Codes, right: Codes, positives: int) -> tuple[Codes, Codes]:
    """Return how many negative scores are below each positive one, and at most as large."""
    # A negative image is below the positive one of rank r if at most r positives are up to it.
    below, up_to = (np.cumsum(np.bincount(side, minlength=positives + 1)) for side in (right, left))
    return below[:-1], up_to[:-1]
