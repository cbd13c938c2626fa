"""Samples of the rows of a dataset, for analyses whose work would grow with the square of the rows.

A sample is drawn with a seed, is stratified, and keeps groups whole if they are small: an analysis
of a sample divides it into folds as it would divide all images. Of few large groups, whole ones
would be far more images than the sample should have. Then the sample has a part of the images of a
group, and these still belong together.
"""

from __future__ import annotations

import numbers
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.errors import ParameterError

MOST_IMAGES = 5000  # of more images, the analyses draw a sample
LEAST_OF_CLASS = 10  # images or groups of each class in a sample, if there are so many
_MOST_TIMES = 2  # whole groups are at most so many times the images of a sample


def sampled_rows(
    y: NDArray[Any],
    together: NDArray[Any] | None,
    most: int | None = MOST_IMAGES,
    random_state: int | None = 0,
) -> NDArray[np.int_]:
    """Draw a stratified sample of rows, of whole groups if these are small.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Label of each row.
    together : ndarray of shape (n,), or None
        Group number of each row, see `Dataset.together`.
    most : int or None
        Approximate number of rows; all rows if there are not more, or with None. Each class keeps
        its share, but at least ten images (or groups) if it has them, so that a sample of more
        than 500 classes may be larger. If whole groups would be more than twice as many rows, rows
        are drawn instead, those of each class from at least ten groups if it has them.
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
    _, label = np.unique(y, return_inverse=True)
    single = np.ones(len(y), int)
    if together is None:
        return np.flatnonzero(_drawn(label, single, most, random.permutation(len(y))))
    _, first, code, size = np.unique(
        together, return_index=True, return_inverse=True, return_counts=True
    )
    # The label of a group is that of its first row.
    groups = _drawn(label[first], size, most, random.permutation(len(first)))
    rows = np.flatnonzero(groups[code])
    least = int(np.minimum(np.bincount(label), LEAST_OF_CLASS).sum())
    if len(rows) <= _MOST_TIMES * max(most, least):
        return rows
    order = _from_many_groups(label, code, random.permutation(len(y)))
    return np.flatnonzero(_drawn(label, single, most, order))


def folds_among(rows: NDArray[np.int_], folds: list[Fold]) -> list[Fold]:
    """Return what folds have of some of their rows.

    Parameters
    ----------
    rows : ndarray of shape (s,), int
        The chosen rows.
    folds : list of (train rows, test rows)

    Returns
    -------
    list of (train rows, test rows)
        As positions in `rows`. A fold may be left without any.
    """
    position = np.full(1 + max(int(part.max(initial=0)) for part in [rows, *chain(*folds)]), -1)
    position[rows] = np.arange(len(rows))

    def kept(side: NDArray[np.int_]) -> NDArray[np.int_]:
        return position[side][position[side] >= 0]

    return [(kept(train), kept(test)) for train, test in folds]


def _drawn(
    label: NDArray[np.int_], size: NDArray[np.int_], most: int, order: NDArray[np.int_]
) -> NDArray[np.bool_]:
    """Choose units of each class in the given order, until the share of the class is reached.

    Parameters
    ----------
    label, size : ndarray of shape (u,), int
        Class code and number of rows of each unit.
    most : int
        Approximate number of rows of all chosen units.
    order : ndarray of shape (u,), int
        The units in the order in which they are chosen.

    Returns
    -------
    ndarray of shape (u,), bool
    """
    order = order[np.argsort(label[order], kind="stable")]  # by class, in each class as before
    starts = np.searchsorted(label[order], np.arange(int(label.max()) + 1))
    place = np.arange(len(order)) - starts[label[order]]
    up_to = np.cumsum(size[order])
    before = np.concatenate([[0], up_to])[starts][label[order]]
    whole = np.bincount(label, weights=size)[label[order]]
    # A unit is in the sample if the share of its class reaches the middle of the unit.
    middle = up_to - before - size[order] / 2
    chosen = np.zeros(len(label), bool)
    chosen[order] = (middle <= most / size.sum() * whole) | (place < LEAST_OF_CLASS)
    return chosen


def _from_many_groups(
    label: NDArray[np.int_], group: NDArray[np.int_], order: NDArray[np.int_]
) -> NDArray[np.int_]:
    """Move the first row of ten groups of each class to the front of an order of rows.

    A class in few groups then is in several groups of the sample, as folds need it.
    """
    _, firsts = np.unique(np.stack([label, group])[:, order], axis=1, return_index=True)
    firsts = np.sort(firsts)
    firsts = firsts[np.argsort(label[order[firsts]], kind="stable")]
    codes = label[order[firsts]]
    front = firsts[np.arange(len(codes)) - np.searchsorted(codes, codes) < LEAST_OF_CLASS]
    return np.concatenate([order[front], np.delete(order, front)])
