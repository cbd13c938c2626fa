"""What `fit --cluster` costs with heads that are sums over rows, against rows that are sent.

    python benchmarks/sums.py [--rows 20000] [--columns 512] [--classes 10]
    python benchmarks/sums.py --smoke

Made rows in shards of 512. A scheduler and two workers of one thread, processes of their own, fit
ridge, LDA, nearest mean and logreg in five folds: first with the rows in the shards, which the
workers read, then with the rows sent to them. For each way: seconds, and how much the memory of the
client grew at most. For the first way also the rounds, and the bytes that each sends and receives.
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from common import parse

from tlfeatures import load_dataset
from tlfeatures.dataset.rows import in_memory
from tlfeatures.features.cluster.client import Cluster
from tlfeatures.features.cluster.connect import connect
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.sharded import Shards, shards_folder
from tlfeatures.features.file.writer import Writer
from tlfeatures.features.images.identify import UNKNOWN, Manifest
from tlfeatures.features.images.properties import PROPERTIES
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.spec import Spec
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.model_selection.fold_work import Task
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.sums.trainer import SumsTrainer
from tlfeatures.model_selection.trainer import Trainer

HEADS = "ridge,lda,centroid,logreg"
SHARD = 512
SPEC = Spec("pixels", (8, 8), "float32", weights="none", weights_sha256=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--columns", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--way", choices=["shards", "sent"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parse(parser, rows=600, columns=8, classes=3)
    if arguments.way:
        fit_folds(arguments.file, arguments.way)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.h5"
        write_rows(file, arguments.rows, arguments.columns, arguments.classes)
        print(f"{arguments.rows:,} rows of {arguments.columns} columns", flush=True)
        for way in ("shards", "sent"):  # a process each, as memory is measured at its highest
            command = [sys.executable, __file__, "--way", way, "--file", str(file)]
            subprocess.run(command, check=True)


def write_rows(file: Path, rows: int, columns: int, classes: int) -> None:
    """Write a sharded file of noise, in which each class has a column that is larger."""
    shards_folder(file).mkdir()
    random = np.random.default_rng(0)
    ids = [f"{row % classes:03d}/{row:09d}.png" for row in range(rows)]
    order = np.argsort(ids)
    place = np.empty((rows, 2), np.int64)
    written = []
    for number, start in enumerate(range(0, rows, SHARD)):
        own = order[start : start + SHARD]
        X = random.normal(size=(len(own), columns)).astype(np.float32)
        X[np.arange(len(own)), own % classes] += 2
        name = hashlib.sha256(str(number).encode()).hexdigest() + ".h5"
        path = shards_folder(file) / name
        create(path, contents([ids[row] for row in own], columns))
        with Writer(path) as writer:
            properties = np.zeros((len(own), len(PROPERTIES)), np.float32)
            writer.write(range(len(own)), {"x.avg": X}, properties=properties)
        content = path.read_bytes()
        written.append((name, len(content), hashlib.sha256(content).digest()))
        place[start : start + len(own)] = np.column_stack(
            [np.full(len(own), number), np.arange(len(own))]
        )
    names, sizes, sums = map(list, zip(*written, strict=True))
    shards = Shards(shards_folder(file).name, names, sizes, sums, place)
    create(file, contents([ids[row] for row in order], columns, shards))


def contents(ids: list[str], columns: int, shards: Shards | None = None) -> Contents:
    images = [ImageRecord(id_, "photos", id_) for id_ in ids]
    digests = [hashlib.sha256(id_.encode()).digest() for id_ in ids]
    manifest = Manifest(images, digests, [UNKNOWN] * len(ids))
    return Contents(manifest, SPEC, {"x.avg": columns}, "float32", shards=shards)


def fit_folds(file: Path, way: str) -> None:
    """Fit all heads in five folds, and print what it took."""
    data = load_dataset(file, near_duplicates=None, on_disk=True)
    heads = make_heads(HEADS)
    tasks = [Task(train, test, heads) for train, test in make_folds(data)[1]]
    sent, received, rounds = watched_bytes()
    with connect("local") as cluster:
        before = memory()
        started = time.perf_counter()
        if way == "shards":
            with SumsTrainer(data, cluster) as trainer:
                results = trainer.run(tasks, [])
        else:
            with Trainer(in_memory(data), cluster=cluster) as trainer:
                results = trainer.run(tasks, [])
        seconds = time.perf_counter() - started
    accuracy = {
        name: np.mean([by_name[name].scores["accuracy"] for by_name in results]) for name in heads
    }
    print(f"{way}: {seconds:.1f} s, {(memory() - before) / 1e6:.0f} MB more memory of the client")
    print("  accuracy:", ", ".join(f"{name} {value:.4f}" for name, value in accuracy.items()))
    if way == "sent":
        return
    for name, calls in received.items():
        print(
            f"  {name}: {rounds[name]} rounds, received {calls / rounds[name] / 1e6:.2f} MB a round"
        )
    print(f"  sent as shared data: {sent['all'] / 1e6:.1f} MB in all, to each worker")


def watched_bytes() -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Count the bytes that calls share, and those of their results, by function."""
    sent, received, rounds = Counter[str](), Counter[str](), Counter[str]()
    scatter, map_unordered = Cluster.scatter, Cluster.map_unordered

    def watched_scatter(self, data, **options):
        sent["all"] += len(pickle.dumps(data))
        return scatter(self, data, **options)

    def watched_map(self, function, arguments, **options):
        rounds[function.__name__] += 1
        for argument, result in map_unordered(self, function, arguments, **options):
            received[function.__name__] += len(pickle.dumps(result))
            yield argument, result

    Cluster.scatter, Cluster.map_unordered = watched_scatter, watched_map
    return sent, received, rounds


def memory() -> int:
    """Return the largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
