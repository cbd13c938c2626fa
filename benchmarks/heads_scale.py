"""Time, accuracy and memory of the heads' forms for many rows, and of the exact heads.

    python benchmarks/heads_scale.py --file FILE [FILE ...] [--rows 1000 10000 30000 80000]
    python benchmarks/heads_scale.py --smoke

The rows are made of real embeddings (`mixed_pairs` of made_rows.py). The test rows are made of
images that no training row is made of. One thread, as in a fold. Seconds are those
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
from made_rows import LabelledRows, mixed_pairs, real_rows
from sklearn.exceptions import ConvergenceWarning

from tlfeatures import HEADS
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.threads import one_thread


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
    tested = mixed_pairs(X, codes, np.flatnonzero(held_out), arguments.tested, seed=2)
    titles = ("fit s", 9), ("predict s", 11), ("accuracy", 10), ("peak MB", 9)
    columns = "".join(f"{title:>{width}}" for title, width in titles)
    print(f"{'head':<19}{'form':<11}{'rows':>8}{columns}")
    for count in arguments.rows:
        trained = mixed_pairs(X, codes, np.flatnonzero(~held_out), count, seed=3)
        for many_rows in [False, True] if count <= arguments.exact else [True]:
            for name, head in make_heads(arguments.heads, many_rows=many_rows).items():
                measure(name, head, "many rows" if many_rows else "exact", trained, tested)


def measure(name: str, head: Any, form: str, trained: LabelledRows, tested: LabelledRows) -> None:
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


if __name__ == "__main__":
    main()
