"""Features files for tests, and the embeddings files that are made of them."""

import csv
from pathlib import Path

import numpy as np

from tlfeatures.features.file.reader import open_embeddings

IDS = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(10)]
LABELS = [id_.partition("/")[0] for id_ in IDS]


def values(rows=20, columns=6, seed=0):
    """Noise, of which the first column tells the first half of the rows from the second."""
    X = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    X[: rows // 2, 0] += 5
    return X


def write_table(path: Path, header, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def read_rows(file, name="features"):
    """Ids, and the values as they are stored, in the order of the file."""
    with open_embeddings(file) as reader:
        rows = np.arange(len(reader.header.ids))
        assert reader.header.done.all()
        return reader.header.ids, reader.copy_rows(f"embeddings/{name}", rows)
