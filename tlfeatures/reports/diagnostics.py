"""What the out-of-fold predictions of one head show: which images, which classes, how sure.

Arrays in, small dataclasses out; `tlfeatures.reports.plotting` draws them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.store import Entry, Study
from tlfeatures.dataset.duplicates import unit_roots
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.intervals import wilson

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]

METHODS = ("pca", "tsne")

_POINTS = 200  # of a curve: more can't be told apart in a figure
_NEIGHBOURS = 30  # t-SNE's perplexity, scikit-learn's default
_LEADING = 50  # coordinates that t-SNE gets, as van der Maaten and Hinton (2008) did


@dataclass(frozen=True, eq=False)
class OutOfFold(EqualByValue):
    """One head's predictions for the images it was tested on.

    Attributes
    ----------
    ids : ndarray of shape (n,), str
    classes : list of str
        k of them, sorted.
    y, predicted : ndarray of shape (n,), int
        Codes: places in `classes`.
    probabilities : ndarray of shape (n, k), float64
        NaN where the head gives none.
    fold : ndarray of shape (n,), int
    """

    ids: NDArray[np.str_]
    classes: list[str]
    y: Codes
    predicted: Codes
    probabilities: Floats = field(repr=False)
    fold: Codes = field(repr=False)

    @classmethod
    def of(cls, study: Study, entry: Entry) -> OutOfFold:
        """Take what an entry tested; images that were in no test fold are left out."""
        tested = entry.fold >= 0
        return cls(
            ids=study.ids[tested],
            classes=study.classes,
            y=np.searchsorted(study.classes, study.y[tested]),
            predicted=entry.predicted[tested],
            probabilities=entry.probabilities[tested],
            fold=entry.fold[tested],
        )

    @property
    def has_probabilities(self) -> bool:
        """Whether every image has its probabilities."""
        return bool(np.isfinite(self.probabilities).all())

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which images were predicted wrong, of shape (n,)."""
        wrong: NDArray[np.bool_] = self.predicted != self.y
        return wrong

    @property
    def given(self) -> Floats:
        """The probability of each image's own label, of shape (n,)."""
        return self._of(self.y)

    @property
    def confidence(self) -> Floats:
        """The probability of the class that was predicted, of shape (n,)."""
        return self._of(self.predicted)

    @property
    def margin(self) -> Floats:
        """By how much the most probable class leads the next one, of shape (n,)."""
        ordered = np.sort(self.probabilities, axis=1)
        margin: Floats = ordered[:, -1] - ordered[:, -2]
        return margin

    def mistakes(self) -> Codes:
        """Give the rows that were predicted wrong, the most confident first.

        Ties, and all rows of a head without probabilities, are in the order of their ids.
        """
        rows = np.flatnonzero(self.wrong)
        return rows[np.lexsort((self.ids[rows], -self.confidence[rows]))]

    def uncertain(self) -> Codes:
        """Give all rows, the least certain first: those of the smallest margin.

        Ties are in the order of their ids; rows without probabilities are left out.

        References
        ----------
        T. Scheffer, C. Decomain and S. Wrobel (2001), Active hidden Markov models for information
        extraction, Advances in Intelligent Data Analysis, 309-318: the margin.
        """
        margin = self.margin
        rows = np.flatnonzero(np.isfinite(margin))
        # Rounded: equal margins, subtracted, differ in the last digits.
        return rows[np.lexsort((self.ids[rows], margin[rows].round(12)))]

    def _of(self, codes: Codes) -> Floats:
        probability: Floats = self.probabilities[np.arange(len(codes)), codes]
        return probability


def _known(predictions: OutOfFold) -> None:
    if not predictions.has_probabilities:
        raise ParameterError(
            "this head gives no probabilities, which curves are made of; take another head"
        )


# ---- which class is taken for which


@dataclass(frozen=True, eq=False)
class Confusion(EqualByValue):
    """How often each class was taken for each.

    Attributes
    ----------
    classes : list of str
    counts : ndarray of shape (k, k), int
        Images; a row is a true class, a column a predicted one.
    """

    classes: list[str]
    counts: Codes

    @property
    def rates(self) -> Floats:
        """Shares of each true class, of shape (k, k); NaN for a class without images."""
        images = self.counts.sum(axis=1, keepdims=True)
        rates = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, images, out=rates, where=images > 0)
        return rates


def confusion(predictions: OutOfFold) -> Confusion:
    """Count how often each class was taken for each."""
    k = len(predictions.classes)
    pairs = predictions.y * k + predictions.predicted
    counts = np.bincount(pairs, minlength=k * k).reshape(k, k)
    return Confusion(predictions.classes, counts)


# ---- curves of a threshold


@dataclass(frozen=True, eq=False)
class Curve(EqualByValue):
    """One class against the rest, as the threshold on its probability falls.

    Attributes
    ----------
    label : str
        The class that counts as positive.
    x, y : ndarray of shape (p,), float64
        False and true positive rate, or recall and precision; x never falls. At most about 200
        points, chosen after the area was computed.
    area : float
        Area under the ROC curve, or average precision.
    positives, negatives : int
        Images of the class, and of the others.
    """

    label: str
    x: Floats
    y: Floats
    area: float
    positives: int
    negatives: int


Curves = tuple[Curve, ...]


def roc(predictions: OutOfFold) -> Curves:
    """Give true against false positive rates over the images of all folds together.

    Parameters
    ----------
    predictions : OutOfFold

    Returns
    -------
    tuple of Curve
        Of two classes, one curve: the second one is positive. Of more, each against the rest;
        those without positives or negatives are left out.

    Raises
    ------
    ParameterError
        If the head gives no probabilities.

    References
    ----------
    T. Fawcett (2006), An introduction to ROC analysis, Pattern Recognition Letters 27, 861-874.
    """
    from sklearn.metrics import auc, roc_curve

    curves = []
    for label, positive, score in _against_the_rest(predictions):
        x, y, _ = roc_curve(positive, score)
        curves.append(_curve(label, positive, x, y, auc(x, y)))
    return tuple(curves)


def precision_recall(predictions: OutOfFold) -> Curves:
    """Give precision against recall over the images of all folds together.

    Parameters
    ----------
    predictions : OutOfFold

    Returns
    -------
    tuple of Curve
        Of the classes that `roc` has; a precision holds back to the recall before it.

    Raises
    ------
    ParameterError
        If the head gives no probabilities.

    References
    ----------
    J. Davis and M. Goadrich (2006), The relationship between Precision-Recall and ROC curves,
    ICML, 233-240: why such a curve is drawn in steps and not in straight lines.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    curves = []
    for label, positive, score in _against_the_rest(predictions):
        precision, recall, _ = precision_recall_curve(positive, score, drop_intermediate=True)
        area = average_precision_score(positive, score)
        curves.append(_curve(label, positive, recall[::-1], precision[::-1], area))
    return tuple(curves)


def _against_the_rest(
    predictions: OutOfFold,
) -> list[tuple[str, NDArray[np.bool_], Floats]]:
    """Class, which images are of it, and their probabilities of it."""
    _known(predictions)
    classes = predictions.classes
    codes = range(1, 2) if len(classes) == 2 else range(len(classes))
    found = [(classes[c], predictions.y == c, predictions.probabilities[:, c]) for c in codes]
    return [each for each in found if 0 < each[1].sum() < len(each[1])]


def _curve(label: str, positive: NDArray[np.bool_], x: Floats, y: Floats, area: Any) -> Curve:
    kept, positives = _thinned(x, y), int(positive.sum())
    return Curve(label, x[kept], y[kept], float(area), positives, len(positive) - positives)


def _thinned(x: Floats, y: Floats) -> Codes:
    """Choose points evenly along the curve, so that steep parts keep theirs."""
    if len(x) <= _POINTS:
        return np.arange(len(x))
    along = np.cumsum(np.hypot(np.diff(x, prepend=x[0]), np.diff(y, prepend=y[0])))
    return np.unique(np.searchsorted(along, np.linspace(0, along[-1], _POINTS)).clip(0, len(x) - 1))


# ---- whether probabilities mean what they say


@dataclass(frozen=True, eq=False)
class Reliability(EqualByValue):
    """How often the most probable class was right, by how probable it was said to be.

    Attributes
    ----------
    edges : ndarray of shape (b, 2), float64
        Of the bins of confidence that have images.
    confidence, right : ndarray of shape (b,), float64
        Mean probability of the most probable class, and the share of images that were of it.
    intervals : ndarray of shape (b, 2), float64
        95 % (Wilson) of `right`; images count as independent.
    counts : ndarray of shape (b,), int
        Images.
    error : float
        Expected calibration error: mean distance of `right` from `confidence`, over images.
    """

    edges: Floats
    confidence: Floats
    right: Floats
    intervals: Floats
    counts: Codes
    error: float


def reliability(predictions: OutOfFold, bins: int = 10) -> Reliability:
    """Compare the confidence of a head with how often it was right.

    Parameters
    ----------
    predictions : OutOfFold
    bins : int
        Of equal width, from 1 / k to 1, between which the largest of k probabilities lies.

    Returns
    -------
    Reliability
        Without the bins that have no images. Right is what the most probable class was; a few
        heads predict by a score of their own and then another class.

    Raises
    ------
    ParameterError
        If the head gives no probabilities, or for no bins.

    References
    ----------
    M. Naeini, G. Cooper and M. Hauskrecht (2015), Obtaining well calibrated probabilities using
    Bayesian binning, AAAI, 2901-2907: the expected calibration error.
    C. Guo, G. Pleiss, Y. Sun and K. Weinberger (2017), On calibration of modern neural networks,
    ICML, 1321-1330: the same for several classes, and the diagram.
    E. Wilson (1927), Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22, 209-212.
    """
    _known(predictions)
    if bins < 1:
        raise ParameterError(f"bins must be 1 or more, got {bins}")
    table = predictions.probabilities
    sure, hit = table.max(axis=1), table.argmax(axis=1) == predictions.y
    edges = np.linspace(1 / table.shape[1], 1, bins + 1)
    place = np.searchsorted(edges[1:-1], sure, side="right")
    counts = np.bincount(place, minlength=bins)
    there = counts > 0
    confidence = np.bincount(place, sure, bins)[there] / counts[there]
    right = np.bincount(place, hit, bins)[there] / counts[there]
    return Reliability(
        edges=np.column_stack([edges[:-1], edges[1:]])[there],
        confidence=confidence,
        right=right,
        intervals=wilson(right, counts[there]),
        counts=counts[there],
        error=float(np.abs(right - confidence) @ counts[there] / len(sure)),
    )


# ---- images as points


@dataclass(frozen=True, eq=False)
class EmbeddingMap(EqualByValue):
    """Images in the plane, such that similar ones are near each other.

    Attributes
    ----------
    points : ndarray of shape (n, 2), float64
    method : {"pca", "tsne"}
    explained : (float, float) or None
        Shares of the variance that the axes have; None for t-SNE.
    """

    points: Floats
    method: str
    explained: tuple[float, float] | None


def embedding_map(
    X: NDArray[np.floating[Any]], method: str = "pca", random_state: int | None = 0
) -> EmbeddingMap:
    """Lay images out in the plane.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    method : {"pca", "tsne"}
        "pca": the two leading principal components of the rows' square roots, scaled to length 1:
        of the distance by which `tlfeatures.dataset.duplicates` tells copies. (On standardised columns,
        one image with a rare activation can leave all others in a corner.) "tsne": who the
        neighbours are; distances between groups, and their sizes, mean nothing.
    random_state : int or None
        Of t-SNE, and of the components of large sets.

    Returns
    -------
    EmbeddingMap

    Raises
    ------
    ParameterError
        For another method, or fewer than 3 images.

    References
    ----------
    L. van der Maaten and G. Hinton (2008), Visualizing data using t-SNE, Journal of Machine
    Learning Research 9, 2579-2605.
    D. Kobak and P. Berens (2019), The art of using t-SNE for single-cell transcriptomics, Nature
    Communications 10:5416: beginning with the principal axes.
    """
    from sklearn.decomposition import PCA

    if method not in METHODS:
        raise ParameterError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if len(X) < 3:
        raise ParameterError(f"a map needs 3 images or more, got {len(X)}")
    with np.errstate(invalid="ignore"):
        roots = np.nan_to_num(unit_roots(X))  # rows of zeros stay zeros
    wanted = 2 if method == "pca" else _LEADING
    pca = PCA(min(wanted, *X.shape), random_state=random_state)
    with np.errstate(invalid="ignore"):  # shares of no variance at all
        scores = pca.fit_transform(roots).astype(np.float64)
        shares = np.nan_to_num(pca.explained_variance_ratio_).tolist()
    if scores.shape[1] < 2:  # one column
        scores, shares = np.column_stack([scores, np.zeros(len(X))]), [*shares, 0.0]
    if np.ptp(scores) < 1e-6:  # the images don't differ at all
        scores, shares = np.zeros_like(scores), [0.0, 0.0]
    if method == "tsne":
        return EmbeddingMap(_neighbours(scores, random_state), method, None)
    return EmbeddingMap(scores, method, (shares[0], shares[1]))


def _neighbours(scores: Floats, seed: int | None) -> Floats:
    from sklearn.manifold import TSNE

    if not scores.any():
        return scores[:, :2]
    perplexity = min(_NEIGHBOURS, (len(scores) - 1) / 3)
    made = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(scores)
    points: Floats = made.astype(np.float64)
    return points
