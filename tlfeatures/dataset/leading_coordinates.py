"""Leading coordinates of rows, by which `pair_search` excludes pairs that are not near."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.distances import block_rows, parts, unit_roots
from tlfeatures.threads import in_threads

MOST = 128  # number of coordinates that are kept of each row
_CHOICES = (16, 24, 32, 40, 48, 64, 96, MOST)  # numbers of coordinates of the first product
_AXES_VALUES = 2**24  # of the sample whose principal axes are used
_AXES_ROWS = 2048
_PAIRED_ROWS = 512  # rows between which the work is estimated

# Nanoseconds for a pair, measured on one core: of the product, for each coordinate in addition, and
# for a pair that must be compared in all kept coordinates.
_PRODUCT, _COORDINATE, _COMPARED = 0.8, 0.02, 150.0
_COMPARED_AT_ONCE = 8192


@dataclass(frozen=True)
class LeadingCoordinates:
    """Coordinates of m rows on their principal axes.

    Attributes
    ----------
    kept : ndarray of shape (m, MOST + 1), float32
        The leading coordinates of each row, and the length of what the other axes hold.
    right : ndarray of shape (q + 4, m), float32
        The second factor of the product: q coordinates, the length of what the other axes hold, 1,
        half of the squared length, and the radius. Half of the allowance is subtracted from the
        squared length.
    radii : ndarray of shape (m,), float32
    allowance : float
        Added to squared radii, for rounding.
    most : float
        Share of the pairs of two blocks that may remain.
    """

    kept: NDArray[np.float32]
    right: NDArray[np.float32]
    radii: NDArray[np.float32]
    allowance: float
    most: float

    def left(self, block: slice) -> NDArray[np.float32]:
        """Return the first factor of the product for a block of rows: shape (b, q + 4)."""
        own = self.right[:, block].T
        left = np.empty(own.shape, np.float32)
        q = own.shape[1] - 4
        np.multiply(own[:, : q + 1], -2, out=left[:, : q + 1])
        left[:, q + 1], left[:, q + 2], left[:, q + 3] = own[:, q + 2], 1, -own[:, q + 3]
        return left

    def candidates(
        self, left: NDArray[np.float32], block: slice, other: slice
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Return the pairs of two blocks that may be near; None if they are too many.

        Parameters
        ----------
        left : ndarray of shape (b, q + 4), float32
            The result of `left` for the block.
        block, other : slice
            The two blocks.

        Returns
        -------
        i, j : ndarray of shape (p,), int
            Numbers of rows in the block and in the other block.
        """
        table = left @ self.right[:, other]
        maybe = np.flatnonzero(table < 0)
        if len(maybe) > self.most * table.size:
            return None
        i, j = np.divmod(maybe, table.shape[1])
        i += block.start
        j += other.start
        near = self._may_be_near(i, j)
        if np.count_nonzero(near) > self.most * table.size / 4:
            return None
        return i[near], j[near]

    def _may_be_near(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Compare pairs of rows in all kept coordinates."""
        near = np.empty(len(i), bool)
        for part in parts(len(i), _COMPARED_AT_ONCE):
            one, two = i[part], j[part]
            difference = self.kept[one]
            difference -= self.kept[two]
            squares = np.einsum("ij,ij->i", difference, difference)
            least = np.minimum(self.radii[one], self.radii[two])
            near[part] = squares < least**2 + self.allowance
        return near


def find_coordinates(
    X: NDArray[Any],
    order: NDArray[np.int64],
    radii: NDArray[np.float32],
    allowance: float,
    *,
    most: float,
    threads: int | None = None,
) -> LeadingCoordinates | None:
    """Compute the coordinates of rows, as many as make the search fast.

    Parameters
    ----------
    X : array of shape (n, d)
        Embeddings.
    order : ndarray of shape (m,), int
        The rows.
    radii : ndarray of shape (m,), float32
    allowance, most : float
        See `LeadingCoordinates`.
    threads : int, optional

    Returns
    -------
    LeadingCoordinates, or None if the bound excludes too few pairs
    """
    mean, axes = _principal_axes(X, order)
    paired = _spread(len(order), _PAIRED_ROWS)
    kept, squares = _coordinates(unit_roots(X[order[paired]]), mean, axes)
    count = _count_coordinates(kept, squares, radii[paired], allowance, most)
    if count is None:
        return None
    kept = np.empty((len(order), axes.shape[1] + 1), np.float32)
    right = np.empty((count + 4, len(order)), np.float32)
    blocks = parts(len(order), block_rows(X.shape[1]))
    computed = in_threads(
        lambda part: _coordinates(unit_roots(X[order[part]]), mean, axes), blocks, threads
    )
    for part, (own, squares) in zip(blocks, computed, strict=True):
        kept[part] = own
        right[:count, part] = own[:, :count].T
        right[count, part] = _other_length(own, squares, count)
        right[count + 2, part] = squares - allowance / 2
    right[count + 1] = 1
    right[count + 3] = radii
    return LeadingCoordinates(kept, right, radii, allowance, most)


def _spread(n: int, count: int) -> NDArray[np.int64]:
    """Return positions that are spread evenly over n."""
    return np.linspace(0, n - 1, min(n, count)).astype(np.int64)


def _principal_axes(
    X: NDArray[Any], order: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean of a sample of the rows, (d,), and its principal axes, (d, q)."""
    from sklearn.utils.extmath import randomized_svd

    columns = X.shape[1]
    rows = _spread(len(order), max(MOST, min(_AXES_ROWS, _AXES_VALUES // columns)))
    units = unit_roots(X[order[rows]])
    mean = units.mean(axis=0)
    units -= mean
    count = min(MOST, columns)
    _, _, axes = randomized_svd(units, count, n_iter=2, random_state=0)
    return mean, np.ascontiguousarray(axes.T, np.float32)


def _coordinates(
    units: NDArray[np.float32], mean: NDArray[np.float32], axes: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the coordinates of rows as in `LeadingCoordinates.kept`, and squared lengths."""
    units -= mean
    squares = np.einsum("ij,ij->i", units, units)
    kept = np.empty((len(units), axes.shape[1] + 1), np.float32)
    np.matmul(units, axes, out=kept[:, :-1])
    kept[:, -1] = _other_length(kept, squares, axes.shape[1])
    return kept, squares


def _other_length(
    kept: NDArray[np.float32], squares: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    """Return the length of what the axes after the first ones hold of each row."""
    leading = kept[:, :count]
    length: NDArray[np.float32] = np.sqrt(
        np.maximum(squares - np.einsum("ij,ij->i", leading, leading), 0)
    )
    return length


def _count_coordinates(
    kept: NDArray[np.float32],
    squares: NDArray[np.float32],
    radii: NDArray[np.float32],
    allowance: float,
    most: float,
) -> int | None:
    """Choose the number of coordinates of the product by the estimated time; None for all columns.

    The share of the pairs that the bound leaves is counted among some of the rows.
    """
    reach = np.outer(radii, radii) + allowance
    others = ~np.eye(len(kept), dtype=bool)
    choices = [count for count in _CHOICES if count < kept.shape[1]]
    cost = {}
    for count in choices:
        points = np.column_stack([kept[:, :count], _other_length(kept, squares, count)])
        own = np.einsum("ij,ij->i", points, points)
        bound = own[:, None] + own - 2 * points @ points.T
        share = float((bound < reach)[others].mean())
        cost[count] = _PRODUCT + _COORDINATE * count + _COMPARED * share
    return min(choices, key=cost.__getitem__) if share < most / 4 else None
