"""Leading coordinates of rows, by which `pair_search` excludes pairs that are not near."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.distances import block_rows, parts, unit_roots
from tlfeatures.threads import in_threads, one_thread

_KEPT, _KEPT_OF_WIDE = 128, 512  # number of coordinates that are kept of each row
_WIDE = 4096  # number of columns from which an embedding is wide
_CHOICES = (16, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512)  # coordinates of the product
_AXES_VALUES = 2**25  # of the sample whose principal axes are used
_AXES_ROWS = 2048
_ITERATIONS = 3
_PAIRED_ROWS = 512  # rows between which the work is estimated

# Nanoseconds for a pair, measured on one core: of the product, in addition for each coordinate, and
# for each kept coordinate of a pair that the product leaves.
_PRODUCT, _COORDINATE, _COMPARED = 0.8, 0.02, 1.2
_COMPARED_AT_ONCE = 8192
_SORTED_BY = 32  # number of coordinates by which rows are sorted


@dataclass
class LeadingCoordinates:
    """Coordinates of m rows on their principal axes, in blocks of rows.

    Attributes
    ----------
    kept : ndarray of shape (m, k + 1), float32
        The k leading coordinates of each row, and the length of what the other axes hold.
    right : ndarray of shape (q + 4, m), float32
        The second factor of the product: q coordinates, the length of what the other axes hold, 1,
        half of the squared length, and the radius. Half of the allowance is subtracted from the
        squared length.
    radii : ndarray of shape (m,), float32
    block : int
        Number of rows of a block.
    allowance : float
        Added to squared radii, for rounding.
    most : float
        Share of the pairs of two blocks that may remain.
    """

    kept: NDArray[np.float32]
    right: NDArray[np.float32]
    radii: NDArray[np.float32]
    block: int
    allowance: float
    most: float

    def __post_init__(self) -> None:
        blocks = parts(len(self.kept), self.block)
        self._means = np.stack([self.kept[part].mean(axis=0) for part in blocks])

    def sort(self) -> NDArray[np.int64]:
        """Sort the rows so that those of a block are near each other.

        Returns
        -------
        ndarray of shape (m,), int
            For each row, its position before.
        """
        order = _bisected(self.kept[:, :_SORTED_BY], self.block)
        for start in range(0, self.kept.shape[1], _SORTED_BY):  # never a second copy of all
            columns = slice(start, start + _SORTED_BY)
            self.kept[:, columns] = self.kept[order, columns]
        for row in self.right:
            row[:] = row[order]
        self.radii = self.radii[order]
        self.__post_init__()
        return order

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
        """Return the pairs of two blocks that the product leaves; None if they are too many.

        Parameters
        ----------
        left : ndarray of shape (b, q + 4), float32
            The result of `left` for the block.
        block, other : slice
            The two blocks.

        Returns
        -------
        i, j : ndarray of shape (p,), int
            The rows of each pair.
        """
        rows, columns = self._facing(block, other)
        table = left[rows] @ self.right[:, other][:, columns]
        maybe = np.flatnonzero(table < 0)
        if len(maybe) > self.most * table.size:
            return None
        i, j = np.divmod(maybe, max(table.shape[1], 1))
        return rows[i] + block.start, columns[j] + other.start

    def _facing(self, block: slice, other: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of two blocks that may be near a row of the other block.

        The rows are projected onto the line through the means of the blocks.
        """
        one, two = self.kept[block], self.kept[other]
        direction = self._means[other.start // self.block] - self._means[block.start // self.block]
        length = np.sqrt(direction @ direction)
        if length > 0:
            direction /= length
        reach = np.sqrt(min(self.radii[block].max(), self.radii[other].max()) ** 2 + self.allowance)
        here, there = one @ direction, two @ direction
        return (
            np.flatnonzero(here > there.min() - reach),
            np.flatnonzero(there < here.max() + reach),
        )

    def may_be_near(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether pairs of rows may be near, by all kept coordinates."""
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
    *,
    block: int,
    allowance: float,
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
    block : int
    allowance, most : float
        See `LeadingCoordinates`.
    threads : int, optional

    Returns
    -------
    LeadingCoordinates, or None if the bound excludes too few pairs
    """
    with one_thread():  # small products take longer with several, if other programs run
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
    return LeadingCoordinates(kept, right, radii, block, allowance, most)


def _spread(n: int, count: int) -> NDArray[np.int64]:
    """Return positions that are spread evenly over n."""
    return np.linspace(0, n - 1, min(n, count)).astype(np.int64)


def _bisected(points: NDArray[np.float32], block: int) -> NDArray[np.int64]:
    """Return an order of points in which those of a block are near each other.

    The points are divided into halves along their first principal axis, again and again.
    """
    order = np.arange(len(points))
    waiting = [(0, len(points))]
    while waiting:
        start, stop = waiting.pop()
        blocks = -(-(stop - start) // block)
        if blocks < 2:
            continue
        own = order[start:stop]
        _, axes = np.linalg.eigh(np.cov(points[own[_spread(len(own), _AXES_ROWS)]], rowvar=False))
        middle = blocks // 2 * block
        own[:] = own[np.argpartition(points[own] @ axes[:, -1].astype(np.float32), middle)]
        waiting += [(start, start + middle), (start + middle, stop)]
    return order


def _principal_axes(
    X: NDArray[Any], order: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean of a sample of the rows, (d,), and its leading principal axes, (d, q).

    The axes are found by subspace iteration. Any orthonormal axes give a bound.
    """
    columns = X.shape[1]
    count = min(columns, _KEPT if columns < _WIDE else _KEPT_OF_WIDE)
    rows = _spread(len(order), max(2 * count, min(_AXES_ROWS, _AXES_VALUES // columns)))
    units = unit_roots(X[order[rows]])
    mean = units.mean(axis=0)
    units -= mean
    axes = np.random.default_rng(0).standard_normal((columns, count), np.float32)
    for _ in range(_ITERATIONS):
        axes, _ = np.linalg.qr(units.T @ (units @ axes))
    _, _, rotation = np.linalg.svd(units @ axes, full_matrices=False)
    return mean, np.ascontiguousarray(axes @ rotation.T, np.float32)


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
    choices = [count for count in _CHOICES if count < kept.shape[1]] or [kept.shape[1] - 1]
    cost, share = {}, 0.0
    for count in choices:
        points = np.column_stack([kept[:, :count], _other_length(kept, squares, count)])
        own = np.einsum("ij,ij->i", points, points)
        bound = own[:, None] + own - 2 * points @ points.T
        share = float((bound < reach)[others].mean())
        cost[count] = _PRODUCT + _COORDINATE * count + _COMPARED * kept.shape[1] * share
    return min(choices, key=cost.__getitem__) if share < most / 4 else None
