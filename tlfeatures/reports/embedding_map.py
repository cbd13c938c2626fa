"""Maps of embeddings: images as points in a plane, by principal components or t-SNE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.distances import unit_roots
from tlfeatures.dataset.samples import MOST_IMAGES
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import ParameterError

Floats = NDArray[np.float64]

METHODS = ("pca", "tsne")

_NEIGHBOURS = 30  # perplexity of t-SNE, scikit-learn's default
_LEADING = 50  # number of components for t-SNE, as in van der Maaten and Hinton (2008)


@dataclass(frozen=True, eq=False)
class EmbeddingMap(EqualByValue):
    """A map of images in a plane. Similar images are near each other.

    Attributes
    ----------
    points : ndarray of shape (n, 2), float64
        Position of each image.
    method : {"pca", "tsne"}
        Method of the map; see `embedding_map`.
    explained : (float, float) or None
        Shares of the variance that the two axes explain; None for t-SNE.
    """

    points: Floats
    method: str
    explained: tuple[float, float] | None


def embedding_map(
    X: NDArray[np.floating[Any]], method: str = "pca", random_state: int | None = 0
) -> EmbeddingMap:
    """Compute a map of images.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Embeddings.
    method : {"pca", "tsne"}
        "pca": the two leading principal components of the rows' square roots, scaled to length 1,
        as `tlfeatures.dataset.distances` compares them. (With standardised columns, one image with
        a rare activation can move all other images into a corner.) "tsne": similar images are
        neighbours, but the distances between groups, and the sizes of groups, have no meaning.
    random_state : int or None
        Seed of t-SNE, and of the components of large sets.

    Returns
    -------
    EmbeddingMap

    Raises
    ------
    ParameterError
        If the method is unknown, or there are fewer than 3 images.

    References
    ----------
    L. van der Maaten and G. Hinton (2008), Visualizing data using t-SNE, Journal of Machine
    Learning Research 9, 2579-2605.
    D. Kobak and P. Berens (2019), The art of using t-SNE for single-cell transcriptomics, Nature
    Communications 10:5416: starting from the principal axes.
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
    with np.errstate(invalid="ignore"):  # the variance may be 0
        scores = pca.fit_transform(roots).astype(np.float64)
        shares = np.nan_to_num(pca.explained_variance_ratio_).tolist()
    if scores.shape[1] < 2:  # one column
        scores, shares = np.column_stack([scores, np.zeros(len(X))]), [*shares, 0.0]
    if np.ptp(scores) < 1e-6:  # all images have the same embedding
        scores, shares = np.zeros_like(scores), [0.0, 0.0]
    if method == "tsne":
        return EmbeddingMap(_neighbours(scores, random_state), method, None)
    return EmbeddingMap(scores, method, (shares[0], shares[1]))


def sampled_map(
    X: NDArray[np.floating[Any]], method: str = "pca", random_state: int | None = 0
) -> tuple[NDArray[np.int_], EmbeddingMap]:
    """Compute a map of at most `MOST_IMAGES` images; more points would cover each other.

    Parameters
    ----------
    X, method, random_state
        See `embedding_map`. The seed is also that of the sample.

    Returns
    -------
    rows : ndarray of int
        Rows of X, ascending: all rows, or a random sample.
    map : EmbeddingMap
        Map with one point for each of these rows.
    """
    rows = np.arange(len(X))
    if len(rows) > MOST_IMAGES:
        chosen = np.random.default_rng(random_state).choice(rows, MOST_IMAGES, replace=False)
        rows = np.sort(chosen)
    return rows, embedding_map(X[rows], method, random_state)


def _neighbours(scores: Floats, seed: int | None) -> Floats:
    from sklearn.manifold import TSNE

    if not scores.any():
        return scores[:, :2]
    perplexity = min(_NEIGHBOURS, (len(scores) - 1) / 3)
    placed = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(scores)
    points: Floats = placed.astype(np.float64)
    return points
