"""Time, accuracy and memory of the heads' forms for many rows, and of the exact heads.

    python benchmarks/heads_scale.py --file FILE [FILE ...] [--rows 1000 10000 30000 80000]
    python benchmarks/heads_scale.py --smoke

The rows are made of real embeddings: a mix of two images of a class, and half of the difference of
two other images. Each real class is divided into several by its leading principal axis. The test
rows are made of images that no training row is made of. One thread, as in a fold. Seconds are those
of the processor, because other programs may run at the same time.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from common import parse
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from tlfeatures import HEADS, load_dataset
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.threads import one_thread

_CLASSES = 10
_STEP = 5000  # rows that are made at once
Rows = tuple[NDArray[np.float32], NDArray[np.str_]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", nargs="*", default=[], help="embeddings files; noise without one")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 30_000, 80_000])
    parser.add_argument("--exact", type=int, default=10_000, help="largest number for exact heads")
    parser.add_argument("--tested", type=int, default=4000, help="test rows")
    parser.add_argument("--heads", nargs="+", default=list(HEADS))
    arguments = parse(
        parser, rows=[200, 400], exact=400, tested=100, heads=["logreg", "rbf-svm", "knn"]
    )
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, codes = real_rows(arguments.file)
    held_out = np.random.default_rng(1).permutation(len(X)) < len(X) // 3
    tested = made(X, codes, np.flatnonzero(held_out), arguments.tested, seed=2)
    titles = ("fit s", 9), ("predict s", 11), ("accuracy", 10), ("peak MB", 9)
    columns = "".join(f"{title:>{width}}" for title, width in titles)
    print(f"{'head':<19}{'form':<11}{'rows':>8}{columns}")
    for count in arguments.rows:
        trained = made(X, codes, np.flatnonzero(~held_out), count, seed=3)
        for many_rows in [False, True] if count <= arguments.exact else [True]:
            for name, head in make_heads(arguments.heads, many_rows=many_rows).items():
                measure(name, head, "many rows" if many_rows else "exact", trained, tested)


def measure(name: str, head: Any, form: str, trained: Rows, tested: Rows) -> None:
    (X, y), (X_new, y_new) = trained, tested
    with one_thread():
        fitting, _ = seconds(lambda: head.fit(X, y))
        predicting, labels = seconds(lambda: head.predict(X_new))
    accuracy = (labels == y_new).mean()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:<19}{form:<11}{len(X):>8,}{fitting:>9.2f}{predicting:>11.2f}{accuracy:>10.4f}"
        f"{peak:>9.0f}",
        flush=True,
    )


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


# ---- rows


def real_rows(files: list[str]) -> tuple[NDArray[np.float32], NDArray[np.int_]]:
    """Return the rows of all files, and ten classes of about the same size in each real class."""
    if not files:
        random = np.random.default_rng(0)
        codes = np.arange(600) % _CLASSES
        centres = random.normal(size=(_CLASSES, 64))
        return np.maximum(random.normal(size=(600, 64)) + centres[codes], 0).astype("f4"), codes
    parts = [load_dataset(file) for file in files]
    X = np.concatenate([data.X for data in parts])
    names = np.concatenate([np.char.add(data.file, data.y) for data in parts])
    kinds = np.unique(names)
    codes, first = np.zeros(len(X), int), 0
    for number, kind in enumerate(kinds):
        rows = np.flatnonzero(names == kind)
        count = _CLASSES // len(kinds) + (number >= len(kinds) - _CLASSES % len(kinds))
        centred = X[rows] - X[rows].mean(axis=0)
        score = np.linalg.svd(centred, full_matrices=False)[0][:, 0]
        edges = np.quantile(score, np.arange(1, count) / count)
        codes[rows] = first + np.searchsorted(edges, score)
        first += count
    return X, codes


def made(
    X: NDArray[np.float32], codes: NDArray[np.int_], images: NDArray[np.int_], count: int, seed: int
) -> Rows:
    """Make rows of some of the images."""
    random = np.random.default_rng(seed)
    of_class = [images[codes[images] == code] for code in range(_CLASSES)]
    rows, labels = np.empty((count, X.shape[1]), np.float32), np.empty(count, int)
    for start in range(0, count, _STEP):
        part = slice(start, min(start + _STEP, count))
        size = part.stop - part.start
        first = random.choice(images, size)
        labels[part] = codes[first]
        second = np.array([random.choice(of_class[code]) for code in codes[first]])
        share = random.uniform(0.5, 1, (size, 1)).astype(np.float32)
        noise = X[random.choice(images, size)] - X[random.choice(images, size)]
        rows[part] = np.maximum(share * X[first] + (1 - share) * X[second] + 0.5 * noise, 0)
    return rows, np.array([f"class {code}" for code in labels])


if __name__ == "__main__":
    main()
