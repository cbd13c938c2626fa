"""Samples of the rows of a dataset, for analyses whose work would grow with the square of the rows.

A sample is drawn with a seed, is stratified, and keeps groups whole: an analysis of a sample
divides it into folds as it would divide all images.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError

MOST_IMAGES = 5000  # of more images, the analyses draw a sample
LEAST_OF_CLASS = 10  # images or groups of each class in a sample, if there are so many


def sampled_rows(
    y: NDArray[Any],
    together: NDArray[Any] | None,
    most: int | None = MOST_IMAGES,
    random_state: int | None = 0,
) -> NDArray[np.int_]:
    """Draw a stratified sample of rows that keeps groups whole.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Label of each row.
    together : ndarray of shape (n,), or None
        Group number of each row, see `Dataset.together`.
    most : int or None
        Approximate number of rows; all rows if there are not more, or with None. Each class keeps
        its share, but at least ten images (or groups) if it has them, so that a sample of more
        than 500 classes may be larger.
    random_state : int or None
        Seed.

    Returns
    -------
    ndarray of int
        Rows, ascending.

    Raises
    ------
    ParameterError
        If `most` is not a whole number of 1 or more.
    """
    if most is not None and (not isinstance(most, numbers.Integral) or most < 1):
        raise ParameterError(f"the number of images must be a whole number from 1, got {most!r}")
    if most is None or len(y) <= most:
        return np.arange(len(y))
    random = np.random.default_rng(random_state)
    units = np.arange(len(y)) if together is None else together
    _, first, code, size = np.unique(
        units, return_index=True, return_inverse=True, return_counts=True
    )
    _, label = np.unique(y[first], return_inverse=True)  # that of the group's first row
    order = random.permutation(len(first))
    order = order[np.argsort(label[order], kind="stable")]  # by class, at random in each class
    starts = np.searchsorted(label[order], np.arange(int(label.max()) + 1))
    place = np.arange(len(order)) - starts[label[order]]
    up_to = np.cumsum(size[order])
    before = np.concatenate([[0], up_to])[starts][label[order]]
    whole = np.bincount(label, weights=size)[label[order]]
    # A group is in the sample if the share of its class reaches the middle of the group.
    middle = up_to - before - size[order] / 2
    chosen = np.zeros(len(first), bool)
    chosen[order] = (middle <= most / len(y) * whole) | (place < LEAST_OF_CLASS)
    return np.flatnonzero(chosen[code])
