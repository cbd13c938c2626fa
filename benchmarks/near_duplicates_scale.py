"""How long the search for near-duplicates takes among many images, and whether it is exact.

    python benchmarks/near_duplicates_scale.py [FILE.h5 ...] [--rows 20000 100000] [--smoke]

The rows are made of the embeddings of the files (`write_mixtures` of made_rows.py). For each number
of rows, it prints the time of the search, its memory beyond the rows, and the time of a comparison
of all pairs, which is measured on some of the blocks. Up to `--checked` rows, all pairs are
compared, and the pairs must be the same, as they must be among the real rows. At last, images are
added to a file of as many rows as the last number says.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import parse
from made_rows import real_classes, write_mixtures

from tlfeatures import import_features
from tlfeatures.dataset import stored_duplicates
from tlfeatures.dataset.distances import pair_distances, unit_roots, usable_rows
from tlfeatures.dataset.duplicates import find_near_duplicates
from tlfeatures.dataset.scales import row_scales, sample_rows
from tlfeatures.dataset.stored_duplicates import near_duplicates_of_file
from tlfeatures.features.file.reader import open_embeddings

BLOCK = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--rows", nargs="+", type=int, default=[20_000, 100_000])
    parser.add_argument("--added", type=int, default=1000, help="number of images added in the end")
    parser.add_argument("--checked", type=int, default=20_000)
    parser.add_argument("--limit", type=float, default=0.4)
    arguments = parse(parser, rows=[300, 5000], checked=5000, added=20)
    classes = real_classes(arguments.files)
    print(f"limit {arguments.limit}, {classes[0].shape[1]} columns, load {os.getloadavg()[0]:.1f}")
    compare("real", np.concatenate(classes), arguments.limit, check=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, count in enumerate(arguments.rows):
            X = write_mixtures(classes, count, Path(folder) / f"{number}.npy")
            compare("made", X, arguments.limit, check=count <= arguments.checked)
        if arguments.added:
            add(classes, arguments.rows[-1], arguments.added, arguments.limit, Path(folder))


# ---- the search, and all pairs


def compare(kind: str, X: np.ndarray, limit: float, *, check: bool) -> None:
    with PeakMemory() as memory:
        (pairs, _), seconds, cpu = timed(lambda: find_near_duplicates(X, limit))
    print(
        f"{kind} rows {len(X):,}: {seconds:.1f} s ({cpu:.1f} s of a core), {len(pairs):,} pairs, "
        f"{memory.peak / 1e6:.0f} MB"
    )
    rows = usable_rows(X)
    scales = row_scales(X, rows, sample_rows(X, rows))
    blocks = range(0, len(X), BLOCK)
    chosen = blocks if check else list(blocks)[:: max(1, len(blocks) // 8)]
    found, spent, of_core = timed(lambda: all_pairs(X, scales, limit, chosen))
    share = sum(len(X) - start for start in chosen) / sum(len(X) - start for start in blocks)
    measured = "" if check else ", measured on some blocks"
    print(
        f"  all pairs: {spent / share:.1f} s ({of_core / share:.1f} s of a core{measured}), "
        f"{spent / share / seconds:.1f} x the search, {of_core / share / cpu:.1f} x its core time"
    )
    if check:
        assert set(map(tuple, pairs.tolist())) == found, "the pairs differ"
        print("  the same pairs")


def all_pairs(X: np.ndarray, scales: np.ndarray, limit: float, starts: Any) -> set:
    """Compare rows with all later ones by the products of all columns."""
    found = set()
    for start in starts:
        units = unit_roots(X[start : start + BLOCK])
        for other in range(start, len(X), BLOCK):
            table = units @ unit_roots(X[other : other + BLOCK]).T
            reach = np.minimum(
                scales[start : start + BLOCK, None], scales[other : other + BLOCK]
            ) * (1 - limit)
            i, j = np.nonzero(2 - 2 * table <= reach**2 + 1e-4)
            i, j = (i + start)[i + start < j + other], (j + other)[i + start < j + other]
            similarity = 1 - pair_distances(X, i, j) / np.minimum(scales[i], scales[j])
            near = similarity >= limit
            found |= set(zip(i[near].tolist(), j[near].tolist(), strict=True))
    return found


# ---- files


def add(classes: list[np.ndarray], count: int, added: int, limit: float, folder: Path) -> None:
    """Search in a file, in the file with more images, and in the same file again."""
    X = np.array(write_mixtures(classes, count + added, folder / "added.npy", seed=1))
    stored_duplicates.KEPT_FROM = 0
    for number, what in ((count, "first"), (count + added, "added"), (count + added, "again")):
        file = folder / "x.h5"
        if what != "again":
            write(file, X[:number])
        seconds, cpu, pairs = search_file(file, limit)
        print(
            f"file of {number:,}, {what}: {seconds:.2f} s ({cpu:.2f} s of a core), {pairs:,} pairs"
        )
    (folder / "x.h5.near-duplicates").unlink()
    fresh = search_file(file, limit)[2]
    assert fresh == pairs, f"a new search finds {fresh:,} pairs"


def write(file: Path, X: np.ndarray) -> None:
    ids = np.array([f"a/{number:07d}" for number in range(len(X))])
    np.savez(file.with_suffix(".npz"), X=X, ids=ids)
    file.unlink(missing_ok=True)
    import_features(file.with_suffix(".npz"), file, embedding="x.avg")


def search_file(file: Path, limit: float) -> tuple[float, float, int]:
    with open_embeddings(file) as reader:
        found, seconds, cpu = timed(
            lambda: near_duplicates_of_file(reader, "x.avg", lambda: reader.read("x.avg"), limit)
        )
    return seconds, cpu, len(found.pairs)


# ---- measuring


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Give the result, the seconds, and the seconds of a core."""
    start, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - start, time.process_time() - cpu


class PeakMemory:
    """The most memory that a block of code used in addition; pages of memory maps don't count."""

    def __enter__(self) -> PeakMemory:
        self.peak, self._start, self._over = 0, anonymous_bytes(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.peak = max(self.peak, anonymous_bytes() - self._start)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


if __name__ == "__main__":
    main()
