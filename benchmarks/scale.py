"""Whole commands on many images: seconds and memory, against plain scikit-learn.

    python benchmarks/scale.py [--sizes 1000 10000 50000 100000] [--columns 512] [--heads NAME ...]
    python benchmarks/scale.py --smoke

For each number of rows: `fit --head logreg` (the first time, with the search for near-duplicates,
and again), scikit-learn's `cross_val_predict` with the same classifier on standardised columns, by
turns; then `benchmark` with the heads, and `report` of it. Memory is the largest sum over all
processes of a command of what is their own and their part of what they share (PSS), in which a
file that is mapped counts once it was read.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from common import parse, spread
from made_rows import made_labels, write_rows

PLAIN = """
import sys
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
X, y = np.load(sys.argv[1]), np.load(sys.argv[2])
head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
print((cross_val_predict(head, X, y, cv=5, n_jobs=int(sys.argv[3])) == y).mean())
"""
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Run:
    """A command that has ended: its seconds, and its largest memory in MB."""

    seconds: float
    megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 50_000, 100_000])
    parser.add_argument("--columns", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--heads", nargs="+", default=["all"])
    parser.add_argument("--rounds", type=int, default=1, help="turns of fit and scikit-learn")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--near-duplicates", type=float, default=0.5)
    arguments = parse(parser, sizes=[300], columns=64, classes=3, heads=["ridge", "lda"])
    print(f"{arguments.columns} columns, {arguments.classes} classes, {arguments.n_jobs} processes")
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as temporary:
            measure(size, arguments, Path(temporary))


def measure(n: int, arguments: argparse.Namespace, folder: Path) -> None:
    """Print what the commands cost for n rows."""
    load = os.getloadavg()[0]
    data = write_embeddings(n, arguments, folder)
    X_megabytes = 4e-6 * n * arguments.columns
    print(f"{n:,} rows, {X_megabytes:.0f} MB; load before it {load:.1f}", flush=True)
    jobs = ["--n-jobs", str(arguments.n_jobs)]
    copies = ["--near-duplicates", str(arguments.near_duplicates)]
    fit = ours("fit", data, "--head", "logreg", *copies, *jobs)
    rows, labels = str(folder / "X.npy"), str(folder / "y.npy")
    plain = [sys.executable, "-c", PLAIN, rows, labels, str(arguments.n_jobs)]
    first, again, theirs = [], [], []
    for _ in range(arguments.rounds):
        forget_near_duplicates(folder)
        first.append(run(fit))
        theirs.append(run(plain))
        again.append(run(fit))
    for name, runs in {"fit": first, "fit again": again, "scikit-learn": theirs}.items():
        ratios = [one.seconds / base.seconds for one, base in zip(runs, theirs, strict=True)]
        show(name, runs, X_megabytes, f"x scikit-learn {spread(ratios, 2)}")
    heads = [option for head in arguments.heads for option in ("--head", head)]
    results = str(folder / "results")
    show(
        f"benchmark of {', '.join(arguments.heads)}",
        [run(ours("benchmark", data, *heads, *copies, *jobs, "-o", results))],
        X_megabytes,
    )
    page = folder / "page.html"
    made = run(ours("report", results, "-o", str(page), *jobs))
    show("report", [made], X_megabytes, f"page {page.stat().st_size / 1e6:.1f} MB")


def write_embeddings(n: int, arguments: argparse.Namespace, folder: Path) -> str:
    """Write n rows as arrays for scikit-learn, and as an embeddings file."""
    write_rows(folder / "X.npy", n, arguments.columns, arguments.classes)
    labels = made_labels(n, arguments.classes)
    np.save(folder / "y.npy", labels)
    table = "".join(f"{row:07d},{label}\n" for row, label in enumerate(labels))
    (folder / "ids.csv").write_text("id,label\n" + table)
    target = str(folder / "rows.h5")
    run(ours("import", str(folder / "X.npy"), "--ids", str(folder / "ids.csv"), "-o", target))
    return target


def forget_near_duplicates(folder: Path) -> None:
    for path in folder.glob("rows.h5.*"):
        path.unlink()


def ours(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tlfeatures", *arguments]


def run(command: list[str]) -> Run:
    """Run a command to its end, and watch the memory of its processes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    most = 0.0
    while process.poll() is None:
        most = max(most, memory_of(process.pid))
        time.sleep(_POLL_SECONDS)
    seconds = time.perf_counter() - started
    assert process.stderr is not None
    message = process.stderr.read().decode()
    if process.returncode:
        sys.exit(message)
    return Run(seconds, most / 1e6)


def memory_of(pid: int) -> float:
    """Return the bytes of a process and of those that it started."""
    total = 0
    try:
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_full_info().pss
    except psutil.Error:  # a process has just ended
        pass
    return total


def show(name: str, runs: list[Run], X_megabytes: float, more: str = "") -> None:
    seconds = spread([one.seconds for one in runs], 1)
    most = max(one.megabytes for one in runs)
    memory = f"{most:.0f} MB, {most - X_megabytes:.0f} more than the rows"
    print(f"  {name:24s} {seconds} s; {memory}; {more}".rstrip("; "), flush=True)


if __name__ == "__main__":
    main()
