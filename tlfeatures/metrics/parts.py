"""Parts of the tested images of a single fold.

A threshold is scored on images that it was not chosen on. Cross-validation has folds for this. If
all images were tested in one fold, as with a split of the user's own, they are divided into parts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_PARTS = 5


def divide(
    groups: NDArray[Any], positive: NDArray[np.bool_] | None = None, most: int = MOST_PARTS
) -> NDArray[np.int_]:
    """Divide images into parts at random, so that the images of a group are in the same part.

    Parameters
    ----------
    groups : ndarray of shape (n,)
        Group of each image; the number of the image if it is alone.
    positive : ndarray of shape (n,), bool, optional
        Class of each image. Both classes are then in every part, as far as there are enough
        groups.
    most : int
        Number of parts. With fewer groups, each group is a part; with few groups of a class, there
        are as many parts as these.

    Returns
    -------
    ndarray of shape (n,), int
        Part of each image, from 0. The same images are always divided in the same way.
    """
    _, code = np.unique(groups, return_inverse=True)
    count = int(code.max()) + 1
    shuffled = np.random.default_rng(0).permutation(count)
    if positive is None:
        parts: NDArray[np.int_] = (shuffled % most)[code]
        return parts
    has_positive, has_other = np.bincount(code, positive) > 0, np.bincount(code, ~positive) > 0
    fewest = min(int(has_positive.sum()), int(has_other.sum()))
    # Groups of the class alone come first, then those of both, then the others. So those with an
    # image of a class follow each other, and dealing them out gives every part one of them.
    kind = np.where(has_positive, has_other, 2)
    dealt = np.empty(count, int)
    dealt[np.lexsort((shuffled, kind))] = np.arange(count)
    return (dealt % max(1, min(most, fewest)))[code]
