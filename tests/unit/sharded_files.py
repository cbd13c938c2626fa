"""Sharded embeddings files of made rows, and a cluster that is this process."""

import hashlib
from pathlib import Path

import numpy as np

from tests.unit.data import SPEC
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.sharded import Shards, shards_folder
from tlfeatures.features.file.writer import Writer
from tlfeatures.features.images.identify import UNKNOWN, Manifest
from tlfeatures.features.images.properties import PROPERTIES
from tlfeatures.features.sources.records import ImageRecord


def digest_of(id_):
    return hashlib.sha256(id_.encode()).digest()


def write_sharded(file, ids, shards_of, **tables):
    """Write a sharded file of rows, with the rows of each shard in the order that is given."""
    folder = shards_folder(file)
    folder.mkdir(parents=True)
    widths = {name: table.shape[1] for name, table in tables.items()}
    place = np.empty((len(ids), 2), np.int64)
    names, sizes, sums = [], [], []
    for number, rows in enumerate(shards_of):
        name = hashlib.sha256(f"shard {number}".encode()).hexdigest() + ".h5"
        path = folder / name
        create(path, Contents(manifest([ids[row] for row in rows]), SPEC, widths, "float32"))
        with Writer(path) as writer:
            own = {name: table[rows] for name, table in tables.items()}
            properties = np.zeros((len(rows), len(PROPERTIES)), np.float32)
            writer.write(range(len(rows)), own, properties=properties)
        place[rows] = np.column_stack([np.full(len(rows), number), np.arange(len(rows))])
        content = path.read_bytes()
        names.append(name)
        sizes.append(len(content))
        sums.append(hashlib.sha256(content).digest())
    shards = Shards(folder.name, names, sizes, sums, place)
    create(file, Contents(manifest(ids), SPEC, widths, "float32", shards=shards))
    return file


def manifest(ids):
    images = [ImageRecord(id_, "photos", id_) for id_ in ids]
    return Manifest(images, [digest_of(id_) for id_ in ids], [UNKNOWN] * len(ids))


def made_rows(n=400, d=12, classes="abc", seed=0, signal=1.5):
    """Rows of several classes, whose columns have different means, spreads and zeros."""
    random = np.random.default_rng(seed)
    y = np.array([classes[i % len(classes)] for i in range(n)])
    X = random.normal(size=(n, d)) @ random.normal(size=(d, d)) / np.sqrt(d)
    X[:, : len(classes)] += signal * (y[:, None] == np.array(list(classes)))
    X = np.maximum(X * random.uniform(0.1, 5, d) + random.uniform(-1, 30, d), 0)
    ids = [f"{label}/{i:05d}.png" for i, label in enumerate(y)]
    order = np.argsort(ids)
    return X[order].astype(np.float32), [ids[row] for row in order]


def sharded_file(file: Path, n=400, d=12, shards=7, **made):
    """Write a sharded file with the embedding x.avg, whose shards mix the rows."""
    X, ids = made_rows(n, d, **made)
    order = np.random.default_rng(1).permutation(n)
    return write_sharded(file, ids, np.array_split(order, shards), **{"x.avg": X})


class InProcess:
    """Replaces a cluster: this process runs the calls, in an order of its own."""

    address = "here"
    threads = 2

    def __init__(self):
        self.sent = []

    def scatter(self, data, *, work):
        self.sent.append(data)
        return data

    def map_unordered(self, function, arguments, *, shared=None, work=""):
        for argument in reversed(list(arguments)):
            yield argument, function(argument) if shared is None else function(argument, shared)
