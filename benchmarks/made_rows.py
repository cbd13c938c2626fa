"""Rows that look like embeddings, in any number, for the benchmarks of many images.

`made_rows`, `write_rows` and `rows_around_means` need no data. `mixed_pairs` and `write_mixtures`
make rows of real embeddings.

In the rows of `made_rows`, a class has some directions in which its images differ, as real
embeddings have, and a part of the images belongs to two classes. Values are not negative, as after
a ReLU. One row in a hundred is a near-duplicate of another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlfeatures import load_dataset

_BLOCK = 10_000
_DIRECTIONS = 24  # in which the images of a class differ
_MIXED = 0.25  # share of images that show a part of another class, too
_COPIES = 100  # one of so many rows is a near-duplicate
_SPREAD = 1.2  # of mixtures; with 1, they are a little nearer to each other than images are
_MIXED_CLASSES = 10
_PAIRS_AT_ONCE = 5000
LabelledRows = tuple[NDArray[np.float32], NDArray[np.str_]]


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


def rows_around_means(n: int, classes: int, columns: int) -> LabelledRows:
    """Make n rows of random numbers around the means of their classes, class by class."""
    random = np.random.default_rng(0)
    means = random.normal(size=(classes, columns)) * (random.random((classes, columns)) < 0.3)
    codes = np.sort(np.arange(n) % classes)
    rows = means[codes] + random.normal(size=(n, columns)) * 0.8
    labels = np.array([f"species number {code:04d}" for code in range(classes)])[codes]
    return rows.astype(np.float32), labels


# ---- rows of real embeddings


def real_rows(files: list[str]) -> tuple[NDArray[np.float32], NDArray[np.int_]]:
    """Return the rows of all files, and the codes of ten classes.

    Each real class is divided into several by its leading principal axis. Without a file, the rows
    are noise.
    """
    if not files:
        random = np.random.default_rng(0)
        codes = np.arange(600) % _MIXED_CLASSES
        centres = random.normal(size=(_MIXED_CLASSES, 64))
        return np.maximum(random.normal(size=(600, 64)) + centres[codes], 0).astype("f4"), codes
    parts = [load_dataset(file) for file in files]
    X = np.concatenate([data.X for data in parts])
    names = np.concatenate([np.char.add(data.file, data.y) for data in parts])
    kinds = np.unique(names)
    codes, first = np.zeros(len(X), int), 0
    for number, kind in enumerate(kinds):
        rows = np.flatnonzero(names == kind)
        count = _MIXED_CLASSES // len(kinds) + (number >= len(kinds) - _MIXED_CLASSES % len(kinds))
        centred = X[rows] - X[rows].mean(axis=0)
        score = np.linalg.svd(centred, full_matrices=False)[0][:, 0]
        edges = np.quantile(score, np.arange(1, count) / count)
        codes[rows] = first + np.searchsorted(edges, score)
        first += count
    return X, codes


def mixed_pairs(
    X: NDArray[np.float32], codes: NDArray[np.int_], images: NDArray[np.int_], count: int, seed: int
) -> LabelledRows:
    """Make rows of some images: a mix of two of a class, and half of the difference of two others.

    X and codes are those of `real_rows`; images are the rows of X that are mixed.
    """
    random = np.random.default_rng(seed)
    of_class = [images[codes[images] == code] for code in range(_MIXED_CLASSES)]
    rows, labels = np.empty((count, X.shape[1]), np.float32), np.empty(count, int)
    for start in range(0, count, _PAIRS_AT_ONCE):
        part = slice(start, min(start + _PAIRS_AT_ONCE, count))
        size = part.stop - part.start
        first = random.choice(images, size)
        labels[part] = codes[first]
        second = np.array([random.choice(of_class[code]) for code in codes[first]])
        share = random.uniform(0.5, 1, (size, 1)).astype(np.float32)
        noise = X[random.choice(images, size)] - X[random.choice(images, size)]
        rows[part] = np.maximum(share * X[first] + (1 - share) * X[second] + 0.5 * noise, 0)
    return rows, np.array([f"class {code}" for code in labels])


def real_classes(files: list[Path]) -> list[NDArray[np.float32]]:
    """Give the embeddings of each class of some files, or made-up ones."""
    if files:
        sets = [load_dataset(file, near_duplicates=None) for file in files]
        return [data.X[data.y == label] for data in sets for label in data.classes]
    random = np.random.default_rng(0)
    axes = random.normal(size=(40, 512)) * np.geomspace(3, 0.3, 40)[:, None]
    return [
        np.maximum(random.normal(size=(400, 40)) @ axes + random.normal(size=512), 0).astype("f4")
        for _ in range(4)
    ]


def write_mixtures(
    classes: list[NDArray[np.float32]], count: int, path: Path, seed: int = 0
) -> NDArray[np.float32]:
    """Write rows that are random mixtures of the images of a class to a memory map.

    They have the classes' means and covariances, so that their distances are spread as those of
    real images are. 1 % are near-duplicates.
    """
    random = np.random.default_rng(seed)
    columns = classes[0].shape[1]
    X = np.lib.format.open_memmap(path, "w+", np.float32, (count, columns))
    roots = [np.sqrt(rows) for rows in classes]
    for start in range(0, count, 10_000):
        part = X[start : start + 10_000]
        of = random.integers(len(roots), size=len(part))
        for label, own in enumerate(roots):
            mean = own.mean(axis=0)
            weights = random.standard_normal(((of == label).sum(), len(own)), dtype=np.float32)
            mixed = weights @ ((own - mean) * np.float32(_SPREAD / np.sqrt(len(own))))
            part[of == label] = np.maximum(mean + mixed, 0) ** 2
        copies = max(1, len(part) // 100)
        change = 1 + 0.3 * random.standard_normal((copies, columns), dtype=np.float32)
        sources = random.integers(start + len(part), size=copies)
        part[random.choice(len(part), copies, replace=False)] = np.maximum(X[sources] * change, 0)
    return X
