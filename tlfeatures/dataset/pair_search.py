"""An exact search for near pairs of rows, which computes few distances in all columns.

Each row has a radius. A pair is near if its distance is at most the smaller radius of its two rows.
The search excludes most pairs by a lower bound of their distance. The rows are rotated onto their
principal axes. Of each row, the search keeps the leading coordinates p and the length r of what the
other axes hold. By the inequality of Cauchy and Schwarz::

    distance(i, j)^2  >=  |p(i) - p(j)|^2 + (r(i) - r(j))^2

One product of float32 matrices gives this bound, less the product of the two radii, for all pairs
of two blocks of rows. A pair can only be near if the result is negative. The pairs that remain are
compared in more coordinates, and then in all columns. A small allowance covers rounding, so the
pairs are those that a comparison of all pairs in all columns finds.

The number of leading coordinates is chosen by the time that the search would need, which is
estimated on a sample of the pairs. If the bound excludes too few pairs, all columns of the two
blocks are multiplied. Neither changes the pairs that are found.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.distances import SAME, block_rows, pair_distances, unit_roots
from tlfeatures.dataset.leading_coordinates import LeadingCoordinates, find_coordinates
from tlfeatures.threads import in_threads

logger = logging.getLogger(__name__)

ALLOWANCE = 5e-4  # added to squared radii, for rounding; float32 is wrong by about 1e-6
FEW = 8192  # this many rows are compared in all columns
_BLOCK = 768  # a table of two blocks stays in the cache of a core
_BLOCKS = 6  # number of blocks that one step compares with a block
MANY = 1 / 32  # share of the pairs of two blocks from which comparing all columns is faster
_SILENT = 10.0  # seconds between two messages


class NearPairs(NamedTuple):
    """Pairs of rows i < j.

    Attributes
    ----------
    i, j : ndarray of shape (p,), int64
    distance : ndarray of shape (p,), float32
    """

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    distance: NDArray[np.float32]


def near_pairs(
    X: NDArray[Any],
    rows: NDArray[np.int64],
    radii: NDArray[np.float32],
    *,
    first: NDArray[np.int64] | None = None,
    block: int | None = None,
    threads: int | None = None,
) -> Iterator[NearPairs]:
    """Find the pairs of rows whose distance is at most the smaller one of their radii.

    Parameters
    ----------
    X : array of shape (n, d)
        Embeddings.
    rows : ndarray of shape (m,), int
        The rows to compare. They are usable (`distances.usable`).
    radii : ndarray of shape (n,), float32
        A radius for each row of X.
    first : ndarray of shape (f,), int, optional
        Some of `rows`. Only the pairs with one of them are searched.
    block, threads : int, optional
        Numbers of rows of a block, and of threads. They don't change the pairs.

    Yields
    ------
    NearPairs
        Each pair once. A distance depends on its two rows only, not on the search.
    """
    if first is None:
        order, count = rows, len(rows)
    else:
        order, count = np.concatenate([first, np.setdiff1d(rows, first)]), len(first)
    search = _Search(X, order, radii[order], block or min(_BLOCK, block_rows(X.shape[1])))
    if len(order) > FEW and count > search.block:
        search.find_coordinates(threads, sort=first is None)
    progress = _Progress(len(order), count)
    for step, found in search.run(count, threads):
        progress.add(step)
        if len(found.i):
            yield found


class _Step(NamedTuple):
    """A block of rows and the rows that it is compared with, as positions in the order."""

    block: slice
    start: int
    stop: int

    def others(self, rows: int) -> Iterator[slice]:
        """Divide the range into blocks of so many rows."""
        for start in range(self.start, self.stop, rows):
            yield slice(start, min(start + rows, self.stop))

    def pairs(self) -> int:
        """Return the number of pairs, of which some are counted twice."""
        return int(self.block.stop - self.block.start) * (self.stop - self.start)


@dataclass
class _Search:
    """A search in one order of the rows.

    Attributes
    ----------
    X : array of shape (n, d)
    order : ndarray of shape (m,), int
        The rows in the order in which blocks take them.
    radii : ndarray of shape (m,), float32
        Radii in this order.
    block : int
    coordinates : LeadingCoordinates or None
        None if all columns are compared.
    """

    X: NDArray[Any]
    order: NDArray[np.int64]
    radii: NDArray[np.float32]
    block: int
    coordinates: LeadingCoordinates | None = None

    def find_coordinates(self, threads: int | None, *, sort: bool) -> None:
        """Compute leading coordinates, and sort the rows by them."""
        self.coordinates = find_coordinates(
            self.X,
            self.order,
            self.radii,
            block=self.block,
            allowance=ALLOWANCE + SAME,
            most=MANY,
            threads=threads,
        )
        if sort and self.coordinates is not None:
            self.order = self.order[self.coordinates.sort()]
            self.radii = self.coordinates.radii

    def run(self, count: int, threads: int | None) -> Iterator[tuple[_Step, NearPairs]]:
        """Compare the first `count` rows of the order with all rows."""
        yield from in_threads(self._compare, self._steps(count), threads)

    def _steps(self, count: int) -> Iterator[_Step]:
        m = len(self.order)
        for start in range(0, count, self.block):
            block = slice(start, min(start + self.block, count))
            for other in range(start, m, _BLOCKS * self.block):
                yield _Step(block, other, min(other + _BLOCKS * self.block, m))

    def _compare(self, step: _Step) -> tuple[_Step, NearPairs]:
        """Find the near pairs of a step."""
        found = list(self._candidates(step))
        i, j = np.concatenate([i for i, _ in found]), np.concatenate([j for _, j in found])
        once = i < j  # a block is compared with itself, too
        i, j = i[once], j[once]
        if self.coordinates is not None:
            near = self.coordinates.may_be_near(i, j)
            i, j = i[near], j[near]
        first, second = self.order[i], self.order[j]
        distance = pair_distances(self.X, first, second)
        near = distance <= np.minimum(self.radii[i], self.radii[j])
        first, second = first[near], second[near]
        lower, upper = np.minimum(first, second), np.maximum(first, second)
        return step, NearPairs(lower, upper, distance[near])

    def _candidates(self, step: _Step) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the positions of pairs that may be near, for each of the other blocks."""
        units = None
        leading = None if self.coordinates is None else self.coordinates.left(step.block)
        for other in step.others(self.block):
            pairs = None
            if self.coordinates is not None and leading is not None:
                pairs = self.coordinates.candidates(leading, step.block, other)
            if pairs is None:
                if units is None:
                    units = unit_roots(self.X[self.order[step.block]])
                pairs = self._in_all_columns(units, step.block, other)
            yield pairs

    def _in_all_columns(
        self, units: NDArray[np.float32], block: slice, other: slice
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Compare two blocks by the products of all columns."""
        others = units if other == block else unit_roots(self.X[self.order[other]])
        table = units @ others.T
        # 1 - product is half of the squared distance
        reach = (self.radii[block] ** 2 + (ALLOWANCE + SAME)) / 2
        i, j = np.nonzero(table > (1 - reach)[:, None])
        least = np.minimum(self.radii[block][i], self.radii[other][j])
        maybe = 1 - table[i, j] < (least**2 + (ALLOWANCE + SAME)) / 2
        return i[maybe] + block.start, j[maybe] + other.start


class _Progress:
    """Logs the share of compared pairs and the time left, if a search takes long."""

    def __init__(self, rows: int, first: int) -> None:
        self._rows = rows
        self._all = first * rows - first * (first - 1) // 2
        self._done = 0
        self._start = self._said = time.monotonic()

    def add(self, step: _Step) -> None:
        """Count the pairs of a step, and log a message if the last one is some seconds old."""
        self._done = min(self._done + step.pairs(), self._all)
        now = time.monotonic()
        if now - self._said < _SILENT:
            return
        self._said = now
        share = self._done / self._all
        logger.info(
            "near-duplicates: %.0f %% of the pairs of %s images are compared, about %.0f s left",
            100 * share,
            f"{self._rows:,}",
            (now - self._start) * (1 - share) / share,
        )
