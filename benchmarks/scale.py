"""Whole commands on many images: seconds and memory, against plain scikit-learn.

    python benchmarks/scale.py [--sizes 1000 10000 50000 100000] [--columns 512] [--heads NAME ...]
        [--json FILE] [--plot FILE.png]
    python benchmarks/scale.py --from FILE [FILE ...] --plot FILE.png
    python benchmarks/scale.py --smoke

For each number of rows: `fit --head logreg` (the first time, with the search for near-duplicates,
and again), scikit-learn's `cross_val_predict` with the same classifier on standardised columns, by
turns; then `benchmark` with the heads, and `report` of it. Memory is the largest sum over all
processes of a command of what is their own and their part of what they share (PSS), in which a
file that is mapped counts once it was read.

The growth of a command is the exponent x of seconds ~ rows ** x between the last two sizes. It is 1
if the time doubles when the number of rows doubles. `--plot` draws the seconds on logarithmic axes,
and a line with the slope 1. `--json` adds each run to a file of JSON lines, which `--from` reads
instead of measuring.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from common import parse, spread
from made_rows import made_labels, write_rows

from tlfeatures.reports.drawing.figure_files import save_figure
from tlfeatures.reports.drawing.style import COLORS, drawing

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


Runs = dict[str, dict[int, list[Run]]]  # of each command, by the number of rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 50_000, 100_000])
    parser.add_argument("--columns", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--heads", nargs="+", default=["all"])
    parser.add_argument("--rounds", type=int, default=1, help="turns of fit and scikit-learn")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--near-duplicates", type=float, default=0.5)
    parser.add_argument("--json", type=Path, help="file of JSON lines that each run is added to")
    parser.add_argument("--from", dest="earlier", type=Path, nargs="+", help="files of --json")
    parser.add_argument("--plot", type=Path, help="where to draw seconds against rows")
    arguments = parse(parser, sizes=[300], columns=64, classes=3, heads=["ridge", "lda"])
    runs = read(arguments.earlier) if arguments.earlier else measured(arguments)
    print_growth(runs)
    if arguments.plot:
        draw(runs, arguments.plot)


def measured(arguments: argparse.Namespace) -> Runs:
    """Measure all sizes, and print what the commands cost."""
    print(f"{arguments.columns} columns, {arguments.classes} classes, {arguments.n_jobs} processes")
    runs: Runs = {}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as temporary:
            found = measure(size, arguments, Path(temporary))
        for name, own in found.items():
            runs.setdefault(name, {})[size] = own
        if arguments.json:
            write(arguments.json, size, found)
    return runs


def measure(n: int, arguments: argparse.Namespace, folder: Path) -> dict[str, list[Run]]:
    """Print what the commands cost for n rows, and return their runs."""
    load = os.getloadavg()[0]
    data = write_embeddings(n, arguments, folder)
    X_megabytes = 4e-6 * n * arguments.columns
    print(f"{n:,} rows, {X_megabytes:.0f} MB; load before it {load:.1f}", flush=True)
    jobs = ["--n-jobs", str(arguments.n_jobs)]
    copies = ["--near-duplicates", str(arguments.near_duplicates)]
    fit = ours("fit", data, "--head", "logreg", *copies, *jobs)
    rows, labels = str(folder / "X.npy"), str(folder / "y.npy")
    plain = [sys.executable, "-c", PLAIN, rows, labels, str(arguments.n_jobs)]
    first: list[Run] = []
    again: list[Run] = []
    theirs: list[Run] = []
    for _ in range(arguments.rounds):
        forget_near_duplicates(folder)
        first.append(run(fit))
        theirs.append(run(plain))
        again.append(run(fit))
    found = {"fit": first, "fit again": again, "scikit-learn": theirs}
    for name, runs in found.items():
        ratios = [one.seconds / base.seconds for one, base in zip(runs, theirs, strict=True)]
        show(name, runs, X_megabytes, f"x scikit-learn {spread(ratios, 2)}")
    heads = [option for head in arguments.heads for option in ("--head", head)]
    results = str(folder / "results")
    name = f"benchmark of {', '.join(arguments.heads)}"
    found[name] = [run(ours("benchmark", data, *heads, *copies, *jobs, "-o", results))]
    show(name, found[name], X_megabytes)
    page = folder / "page.html"
    found["report"] = [run(ours("report", results, "-o", str(page), *jobs))]
    show("report", found["report"], X_megabytes, f"page {page.stat().st_size / 1e6:.1f} MB")
    return found


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


# ---- growth


def write(path: Path, rows: int, found: dict[str, list[Run]]) -> None:
    with path.open("a") as file:
        for name, runs in found.items():
            for one in runs:
                file.write(json.dumps({"command": name, "rows": rows, **asdict(one)}) + "\n")


def read(paths: list[Path]) -> Runs:
    runs: Runs = {}
    for path in paths:
        for line in path.read_text().splitlines():
            facts = json.loads(line)
            by_rows = runs.setdefault(facts.pop("command"), {})
            by_rows.setdefault(facts.pop("rows"), []).append(Run(**facts))
    return runs


def seconds_by_rows(by_rows: dict[int, list[Run]]) -> dict[int, float]:
    """Return the median seconds of each number of rows, ascending."""
    return {n: statistics.median(one.seconds for one in by_rows[n]) for n in sorted(by_rows)}


def print_growth(runs: Runs) -> None:
    for name, by_rows in runs.items():
        points = list(seconds_by_rows(by_rows).items())[-2:]
        if len(points) == 2:
            (few, before), (many, after) = points
            exponent = math.log(after / before) / math.log(many / few)
            print(f"growth of {name}, {few:,} to {many:,} rows: {exponent:.2f}")


def draw(runs: Runs, path: Path) -> None:
    with drawing(None, 6.4, 3.6) as ax:
        for number, (name, by_rows) in enumerate(runs.items()):
            points = seconds_by_rows(by_rows)
            color = COLORS[f"c{number}"]
            ax.plot(
                list(points), list(points.values()), "o-", markersize=4, color=color, label=name
            )
        sizes = sorted({n for by_rows in runs.values() for n in by_rows})
        # The line of slope 1 goes through the last point of the slowest command.
        slowest = max(seconds_by_rows(by_rows).get(sizes[-1], 0) for by_rows in runs.values())
        line = [slowest * n / sizes[-1] for n in sizes]
        ax.plot(sizes, line, ":", color=COLORS["muted"], label="slope 1")
        ax.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds")
        ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.figure.legend(loc="outside right center")
        ax.set_title("Time of whole commands", loc="left")
        save_figure(ax, path)


if __name__ == "__main__":
    main()
