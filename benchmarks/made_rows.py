"""Rows that look like embeddings, in any number, for benchmarks of many images.

A class has some directions in which its images differ, as real embeddings have, and a part of the
images belongs to two classes. Values are not negative, as after a ReLU. One row in a hundred is a
near-duplicate of another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_BLOCK = 10_000
_DIRECTIONS = 24  # in which the images of a class differ
_MIXED = 0.25  # share of images that show a part of another class, too
_COPIES = 100  # one of so many rows is a near-duplicate


def made_labels(n: int, classes: int) -> NDArray[np.str_]:
    """Return the labels of n rows; all classes have the same number of rows."""
    return np.array([f"class{code:04d}" for code in range(classes)])[np.arange(n) % classes]


def made_rows(n: int, columns: int = 512, classes: int = 10, seed: int = 0) -> NDArray[np.float32]:
    """Make n rows of so many columns, the row of each label of `made_labels`."""
    X = np.empty((n, columns), np.float32)
    for part, block in _blocks(n, columns, classes, seed):
        X[part] = block
    return X


def write_rows(path: Path, n: int, columns: int = 512, classes: int = 10, seed: int = 0) -> None:
    """Write n rows as a .npy file, without all of them in memory."""
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n, columns))
    for part, block in _blocks(n, columns, classes, seed):
        X[part] = block
    X.flush()


def _blocks(
    n: int, columns: int, classes: int, seed: int
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    random = np.random.default_rng(seed)
    means = random.normal(0.4, 0.35, (classes, columns)).astype(np.float32)
    axes = random.normal(0, 0.25, (classes, _DIRECTIONS, columns)).astype(np.float32)
    for start in range(0, n, _BLOCK):
        code = np.arange(start, min(n, start + _BLOCK)) % classes
        other = random.integers(0, classes, len(code))
        share = np.where(random.random(len(code)) < _MIXED, random.random(len(code)) * 0.8, 0)
        share = share.astype(np.float32)[:, None]
        block = (1 - share) * means[code] + share * means[other]
        weights = random.standard_normal((len(code), _DIRECTIONS), np.float32)
        for one in range(classes):
            block[code == one] += weights[code == one] @ axes[one]
        block += 0.15 * random.standard_normal(block.shape, np.float32)
        np.maximum(block, 0, out=block)
        copies = np.arange(_COPIES, len(code), _COPIES)
        block[copies] = block[copies - classes] * (
            1 + 0.03 * random.standard_normal((len(copies), columns), np.float32)
        )
        np.maximum(block, 0, out=block)
        yield slice(start, start + len(code)), block
