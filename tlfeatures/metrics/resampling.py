"""Bootstrap resamples of images or of groups of images, and the scores of each resample.

The resamples are drawn once for all heads of a benchmark, and kept as counts of one byte. Scores
are computed from a few resamples at a time (`tlfeatures.metrics.weighted_sums`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.scores import SCORES, Floats, ScoreSums
from tlfeatures.metrics.weighted_sums import chunks


def resample_counts(
    n: int,
    groups: ArrayLike | None = None,
    *,
    resamples: int = 1000,
    random_state: int | None = 0,
) -> NDArray[np.uint8]:
    """Draw bootstrap resamples of images, or of groups of images.

    Parameters
    ----------
    n : int
        Number of images.
    groups : array-like of shape (n,), any hashable values, optional
        Group of each image. Images of one group are drawn together: a resample has as many groups
        as there are, drawn with replacement. Without groups, n images are drawn with replacement.
    resamples : int
        Number of resamples.
    random_state : int or None
        Seed. With None, each call draws other resamples.

    Returns
    -------
    ndarray of shape (n, resamples), uint8
        Number of times that each image is in each resample. If groups have different sizes, a
        resample may have more or fewer than n images. 1,000 resamples of 100,000 images need
        100 MB. An image is more than 255 times in a resample with a probability below 1e-500.

    Raises
    ------
    ParameterError
        If there are no images or no resamples, or groups have another length.

    References
    ----------
    B. Efron and R. Tibshirani (1993), An Introduction to the Bootstrap, Chapman & Hall.
    C. Field and A. Welsh (2007), Bootstrapping clustered data, Journal of the Royal Statistical
    Society B 69, 369-390: the bootstrap of whole groups.
    """
    if n < 1 or resamples < 1:
        raise ParameterError(f"n and resamples must be 1 or more, got {n} and {resamples}")
    random = np.random.default_rng(random_state)
    if groups is None:
        return _draw(random, n, resamples)
    codes = group_codes(np.asarray(groups), n)
    drawn = _draw(random, int(codes.max()) + 1, resamples)
    return drawn.T.take(codes, axis=1).T  # indexing would not keep a resample together in memory


def _draw(random: np.random.Generator, units: int, resamples: int) -> NDArray[np.uint8]:
    counts = np.empty((resamples, units), np.uint8)  # a chunk of resamples is read as a whole
    for own in counts:
        own[:] = np.bincount(random.integers(0, units, units), minlength=units)
    return counts.T


def group_codes(groups: NDArray[Any], n: int) -> NDArray[np.int_]:
    """Return the group numbers of n images, 0 and up, in the order of their first images.

    Raises
    ------
    ParameterError
        If there is not one group for each image.
    """
    if groups.shape != (n,):
        raise ParameterError(
            f"groups must have shape ({n},), one group per image, got {groups.shape}"
        )
    if groups.dtype.kind in "iub":
        _, first, members = np.unique(groups, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[members]
    # np.unique can't sort an array of objects of mixed types.
    values = groups.tolist()
    codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
    return np.array([codes[value] for value in values])


def sums_of_repeats(
    y: ArrayLike,
    predicted: Sequence[NDArray[Any]],
    probabilities: Sequence[NDArray[Any]],
    *,
    names: Sequence[str] = SCORES,
) -> list[ScoreSums]:
    """Prepare the scores of resamples of all images, one for each repeat.

    Parameters
    ----------
    y, predicted, probabilities
        See `tlfeatures.metrics.intervals.score_intervals`.
    names : sequence of str
        The scores to compute, see `pooled_scores`.

    Raises
    ------
    ParameterError
        If shapes don't fit each other; see also `pooled_scores`.
    """
    shapes = {np.ndim(values) for values in predicted} | {np.ndim(own) - 1 for own in probabilities}
    if shapes != {1} or len(predicted) != len(probabilities):
        raise ParameterError(
            "predicted and probabilities must have shapes (repeats, n) and (repeats, n, k), got "
            f"{np.shape(np.asarray(predicted))} and {np.shape(np.asarray(probabilities))}"
        )
    pairs = zip(predicted, probabilities, strict=True)
    return [ScoreSums.of(y, *pair, names=names, projected=True) for pair in pairs]


def mean_scores(repeats: Sequence[ScoreSums], weights: ArrayLike) -> dict[str, Floats]:
    """Return each score of every column of weights, of shape (n, B), as the mean over repeats.

    Returns
    -------
    dict of name to ndarray of shape (B,), float64
    """
    scores = [sums.scores(weights) for sums in repeats]
    return {name: np.mean([own[name] for own in scores], axis=0) for name in repeats[0].names}


def resampled_means(values: Floats, counts: NDArray[Any]) -> Floats:
    """Return the mean of values in every resample.

    Parameters
    ----------
    values : ndarray of shape (C, n), float64
        Several values of each image, for example whether each of C heads is right. Sums of whole
        numbers are exact, so that equal sums are equal.
    counts : ndarray of shape (n, B)
        Result of `resample_counts`.

    Returns
    -------
    ndarray of shape (C, B), float64
    """
    means = np.empty((len(values), counts.shape[1]))
    for columns, part in chunks(counts):
        means[:, columns] = (values @ part.T) / part.sum(axis=1)
    return means
