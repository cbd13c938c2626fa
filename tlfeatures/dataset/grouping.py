"""Grouping of rows that belong together, because of groups or copies."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.features.sources.records import id_without_box


def merge_groups(
    n: int, groups: Sequence[str] | NDArray[np.str_] | None, pairs: Iterable[ArrayLike]
) -> NDArray[np.int64] | None:
    """Return group numbers of rows. Rows that belong together for any reason have the same number.

    Parameters
    ----------
    n : int
        Number of rows.
    groups : sequence of n str, or None
        Groups given by the user.
    pairs : iterable of arrays of shape (p, 2)
        Pairs of rows that belong together, from `find_near_duplicates` or `identical_pairs`.

    Returns
    -------
    ndarray of shape (n,), int, or None
        Numbers in the order of their first rows. None if no two rows belong together.

    Raises
    ------
    ParameterError
        If there are not n groups, or a pair names a row that doesn't exist.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if groups is not None and len(groups) != n:
        raise ParameterError(f"got {len(groups)} groups for {n} rows; expected one group per row")
    links = [np.asarray(part, np.int64).reshape(-1, 2) for part in pairs]
    if groups is not None:
        links.append(chained([str(group) for group in groups]))
    joined = np.concatenate([np.empty((0, 2), np.int64), *links])
    if joined.size and not 0 <= joined.min() <= joined.max() < n:
        raise ParameterError(f"a pair has a row number outside the {n} rows")
    if not joined.size:
        return None
    graph = coo_array((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(n, n))
    count, labels = connected_components(graph, directed=False)
    if count == n:
        return None
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def identical_pairs(digests: Sequence[bytes] | NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pair each row with the next row that has the same digest. n copies give n - 1 pairs.

    Parameters
    ----------
    digests : sequence of n bytes, or ndarray of shape (n, 32), uint8

    Returns
    -------
    ndarray of shape (p, 2), int
        Rows i < j, in the order of j.
    """
    return chained([bytes(digest) for digest in digests])


def photograph_pairs(ids: Sequence[str]) -> NDArray[np.int64]:
    """Pair the rows of parts of one photograph with each other, and with that of the whole.

    Parameters
    ----------
    ids : sequence of n str

    Returns
    -------
    ndarray of shape (p, 2), int
        Rows i < j, in the order of j; empty if no id has a box.
    """
    together = "\n".join(ids)  # one search is faster than one in each id
    if id_without_box(together) == together:
        return np.empty((0, 2), np.int64)
    return chained([id_without_box(id_) for id_ in ids])


def chained(keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """Pair each row with the next row that has the same key. n equal keys give n - 1 pairs."""
    last: dict[Hashable, int] = {}
    pairs = []
    for row, key in enumerate(keys):
        if key in last:
            pairs.append((last[key], row))
        last[key] = row
    return np.array(pairs, np.int64).reshape(-1, 2)
