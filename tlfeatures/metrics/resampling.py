"""Bootstrap resamples of images or of groups of images, and the scores of each resample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.scores import SCORES, Floats, pooled_scores


def resample_counts(
    n: int,
    groups: ArrayLike | None = None,
    *,
    resamples: int = 1000,
    random_state: int | None = 0,
) -> NDArray[np.float32]:
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
    ndarray of shape (n, resamples), float32
        Number of times that each image is in each resample. If groups have different sizes, a
        resample may have more or fewer than n images.

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
    return _draw(random, int(codes.max()) + 1, resamples)[codes]


def _draw(random: np.random.Generator, units: int, resamples: int) -> NDArray[np.float32]:
    counts = np.empty((units, resamples), np.float32)
    for column in range(resamples):
        counts[:, column] = np.bincount(random.integers(0, units, units), minlength=units)
    return counts


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
    # np.unique can't sort an array of objects of mixed types.
    values = groups.tolist()
    codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
    return np.array([codes[value] for value in values])


def resampled_scores(
    y: ArrayLike,
    predicted: ArrayLike,
    probabilities: ArrayLike,
    counts: ArrayLike,
    *,
    names: Sequence[str] = SCORES,
) -> dict[str, Floats]:
    """Compute each pooled score of every resample, as the mean over repeats.

    Parameters
    ----------
    y, predicted, probabilities, counts
        See `tlfeatures.metrics.intervals.score_intervals`.
    names : sequence of str
        The scores to compute, see `pooled_scores`.

    Returns
    -------
    dict of name to ndarray of shape (B,), float64

    Raises
    ------
    ParameterError
        If shapes don't fit each other; see also `pooled_scores`.
    """
    y, predicted, tables = np.asarray(y), np.asarray(predicted), np.asarray(probabilities)
    if predicted.ndim != 2 or tables.ndim != 3 or not 0 < len(predicted) == len(tables):
        raise ParameterError(
            "predicted and probabilities must have shapes (repeats, n) and (repeats, n, k), got "
            f"{predicted.shape} and {tables.shape}"
        )
    repeats = [
        pooled_scores(y, *pair, counts, names=names) for pair in zip(predicted, tables, strict=True)
    ]
    return {name: np.mean([scores[name] for scores in repeats], axis=0) for name in names}
