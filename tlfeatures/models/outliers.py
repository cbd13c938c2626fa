"""Outliers: images that are not like the training images of a head.

A classifier labels any image, even if the image shows none of its classes. An image is an outlier
if the distance to its k-th nearest training image is large (Ramaswamy, Rastogi and Shim, Efficient
algorithms for mining outliers from large data sets, SIGMOD 2000). The distance is defined in
`tlfeatures.dataset.distances`: the Euclidean distance of the square roots of two embeddings, scaled
to length 1. The threshold is chosen so that one in a hundred training images exceeds it, if the
image is left out together with its fold, its group and its copies (no image exceeds it if there are
a hundred images or fewer). Therefore about one in a hundred new images of the same kind is flagged.
No labels are needed.

The table shows the percentage of flagged images, with VGG16 at 150 on 1,078 landscapes (Intel) and
397 photos of insects (Hymenoptera), as the mean of 5 random fifths that were held out:

======================  =============  ==============  =================  ==================
fitted on               held-out, avg  other set, avg  held-out, flatten  other set, flatten
======================  =============  ==============  =================  ==================
80 % of the landscapes  1.1            99.5            1.0                99.0
80 % of the insects     0.5            80.6            0.5                66.5
======================  =============  ==============  =================  ==================

Images of another class that look like the training images are not flagged: with a head fitted only
on glaciers, no mountain was flagged.

A model stores a sketch of its training images. If an embedding has more than 1,024 columns, each
column is added, with a random sign, to one of 1,024 sums; see `tlfeatures.models.random_sums`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.equality import EqualByValue
from tlfeatures.errors import FormatError
from tlfeatures.models.random_sums import sketched

SHARE = 0.01  # share of images like the training images that are flagged

_NEIGHBOR = 5
_WIDTH = 1024  # maximum number of columns of the sketch
_MOST = 5000  # maximum number of images of the sketch
_FOLDS = 5
_BLOCK = 1024  # number of images that are compared in one step

Floats = NDArray[np.float32]
Points = tuple[Floats, Floats]  # points and the squares of their lengths


@dataclass(frozen=True, eq=False)
class OutlierDetector(EqualByValue):
    """Finds images that are not like the training images of a head.

    Attributes
    ----------
    sketch : ndarray of shape (m, w), float16
        Sketch of the training images. m is at most 5,000, and w is at most 1,024.
    threshold : float
        Largest distance of an image that isn't flagged, from 0 to 2.
    neighbor : int
        k: distances are measured to the k-th nearest training image.
    columns : int
        Number of columns of the embedding.
    beyond, compared : int
        Number of training images whose out-of-fold distance was larger than the threshold, and
        number of all images with an out-of-fold distance.
    """

    sketch: NDArray[np.float16]
    threshold: float
    neighbor: int
    columns: int
    beyond: int
    compared: int

    @classmethod
    def fit(
        cls,
        X: NDArray[np.floating[Any]],
        together: NDArray[Any] | None = None,
        random_state: int = 0,
    ) -> OutlierDetector | None:
        """Create a detector: sketch the training images, and compute the threshold.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            Embeddings.
        together : ndarray of shape (n,), optional
            Group number of each row. Rows of a group are in the same fold.
        random_state : int
            Seed of the folds, and of the choice of 5,000 images if there are more.

        Returns
        -------
        OutlierDetector, or None if fewer than two images have an embedding that isn't zero
        """
        random = np.random.default_rng(random_state)
        blocks = (X[start : start + _BLOCK] for start in range(0, max(len(X), 1), _BLOCK))
        rows = np.flatnonzero(np.concatenate([block.any(axis=1) for block in blocks]))
        if len(rows) > _MOST:
            rows = np.sort(random.choice(rows, _MOST, replace=False))
        alone = np.arange(len(X)) if together is None else together
        _, code = np.unique(alone[rows], return_inverse=True)
        if len(rows) < 2 or code.max() < 1:
            return None
        fold = (random.permutation(int(code.max()) + 1) % _FOLDS)[code]
        points = np.concatenate([sketched(X[part], _WIDTH) for part in _blocks(rows)])
        neighbor = min(_NEIGHBOR, *(int((fold != number).sum()) for number in np.unique(fold)))
        distance = np.empty(len(rows), np.float32)
        for number in np.unique(fold):
            out = fold == number
            distance[out] = _kth_distances(points[out], _with_squares(points[~out]), neighbor)
        # Distances are divided by the threshold, so it is not 0, even if all images are equal.
        threshold = max(float(np.quantile(distance, 1 - SHARE, method="higher")), 1e-3)
        beyond = int((distance > threshold).sum())
        kept = points.astype(np.float16)
        return cls(kept, threshold, neighbor, X.shape[1], beyond, len(rows))

    @classmethod
    def of(cls, facts: Any, sketch: NDArray[Any] | None) -> OutlierDetector | None:
        """Create a detector from the facts and the sketch of a model file; None if there are none.

        Raises
        ------
        FormatError
            If facts and sketch don't fit each other.
        """
        if facts is None or sketch is None:
            return None
        try:
            names = ("threshold", "neighbor", "columns", "beyond", "compared")
            detector = cls(sketch, *(facts[name] for name in names))
            fits = sketch.shape[1] == min(detector.columns, _WIDTH) and sketch.dtype == np.float16
            fits &= 0 < detector.neighbor <= len(sketch) and 0 < detector.threshold <= 2
            fits &= 0 <= detector.beyond <= detector.compared
        except (KeyError, TypeError, IndexError) as error:
            raise FormatError(f"its outliers are incomplete: {error!r}") from error
        if not fits:
            raise FormatError(f"its sketch of shape {sketch.shape} doesn't fit {facts}")
        return detector

    def facts(self) -> dict[str, Any]:
        """Return all attributes except the sketch, as JSON-ready facts."""
        return {
            "threshold": self.threshold,
            "share": SHARE,
            "neighbor": self.neighbor,
            "columns": self.columns,
            "beyond": self.beyond,
            "compared": self.compared,
        }

    def distances(self, X: NDArray[np.floating[Any]]) -> Floats:
        """Return the distance of each row of X, (n, d), to its k-th nearest training image.

        Returns
        -------
        ndarray of shape (n,), float32
            Distances from 0 to 2; infinite for an embedding of zeros, which has no direction.
        """
        distances = np.full(len(X), np.inf, np.float32)
        rows = np.flatnonzero(X.any(axis=1))
        for part in _blocks(rows):
            if len(part):
                distances[part] = _kth_distances(
                    sketched(X[part], _WIDTH), self._points, self.neighbor
                )
        return distances

    @functools.cached_property
    def _points(self) -> Points:
        return _with_squares(self.sketch)

    def flags(self, X: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Return whether each row of X, of shape (n, d), is an outlier; of shape (n,)."""
        flags: NDArray[np.bool_] = self.distances(X) > self.threshold
        return flags


def _blocks(rows: NDArray[np.int_]) -> list[NDArray[np.int_]]:
    return [rows[start : start + _BLOCK] for start in range(0, max(len(rows), 1), _BLOCK)]


def _with_squares(points: NDArray[np.floating[Any]]) -> Points:
    exact = points.astype(np.float32)
    return exact, np.einsum("ij,ij->i", exact, exact)


def _kth_distances(points: Floats, others: Points, k: int) -> Floats:
    """Return the distance of each point to its k-th nearest neighbour among `others`."""
    distances = np.empty(len(points), np.float32)
    other_points, other_squares = others
    for start in range(0, len(points), _BLOCK):
        part = points[start : start + _BLOCK]
        squares = other_squares - 2 * (part @ other_points.T)
        nearest = np.partition(squares, k - 1, axis=1)[:, k - 1]
        nearest += np.einsum("ij,ij->i", part, part)
        distances[start : start + _BLOCK] = np.sqrt(np.maximum(nearest, 0))
    return distances
