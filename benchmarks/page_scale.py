"""Time, memory and files of `benchmark`, `predictions` and `report` on many images and classes.

    python benchmarks/page_scale.py [--cases 100000x10 100000x1000 1500x500] [--columns 64]
    python benchmarks/page_scale.py --smoke

A case is so many images of so many classes: rows of random numbers around the mean of their class,
imported as an embeddings file, so that nothing is extracted. Each command is a process of its own.
Seconds of a core are those of the command without the processes that fit folds for it.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import numpy as np
from common import parse, run_once
from made_rows import rows_around_means

HEADS = ["centroid", "ridge"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=["100000x10", "100000x1000", "1500x500"])
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--heads", nargs="+", default=HEADS)
    arguments = parse(parser, cases=["600x150"], columns=32, heads=["centroid"])
    for case in arguments.cases:
        images, classes = map(int, case.split("x"))
        with tempfile.TemporaryDirectory() as temporary:
            measure(Path(temporary), images, classes, arguments.columns, arguments.heads)


def measure(folder: Path, images: int, classes: int, columns: int, heads: list[str]) -> None:
    write_features(folder / "features.npz", images, classes, columns)
    file, out, page = (str(folder / name) for name in ("photos.h5", "out", "page.html"))
    run_once(["import", str(folder / "features.npz"), "-o", file])
    print(f"{images:,} images of {classes:,} classes, {columns} columns; {', '.join(heads)}")
    options = [option for head in heads for option in ("--head", head)]
    labels = ["--labels", str(folder / "features.npz")]
    commands = {
        "benchmark": [
            *("benchmark", file, *labels, *options, "--cv", str(min(5, images // classes))),
            *("--near-duplicates", "off", "-o", out),
        ],
        "predictions": ["predictions", out, "-o", str(folder / "predictions.csv")],
        "report": ["report", out, "-o", page],
        "report again": ["report", out, "-o", page],
    }
    for name, command in commands.items():
        before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        seconds, peak = run_once(command)
        used = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before
        print(f"  {name:13s} {seconds:7.1f} s {used:7.1f} s of a core {peak:7,.0f} MB at most")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"  {path.stat().st_size / 1e6:9.2f} MB  {path.relative_to(folder)}")


def write_features(path: Path, images: int, classes: int, columns: int) -> None:
    features, labels = rows_around_means(images, classes, columns)
    ids = np.array([f"{label}/image_{row:06d}.jpg" for row, label in enumerate(labels)])
    np.savez(path, features=features, ids=ids, labels=labels)


if __name__ == "__main__":
    main()
