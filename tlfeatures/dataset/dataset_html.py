"""How a dataset is shown in a notebook: facts, and a table of its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tlfeatures.html_tables import MOST_ROWS, Cell, facts_html, table_html

if TYPE_CHECKING:
    from tlfeatures.dataset.dataset import Dataset


def dataset_parts(data: Dataset) -> list[str]:
    """Return a list of facts, and the classes with their images in each split, largest first."""
    splits = {}
    if data.split is not None:
        every = {name: data.split == name for name in ("train", "val", "test")}
        splits = {name: mask for name, mask in every.items() if mask.any()}
    largest = sorted(data.counts.items(), key=lambda item: -item[1])
    rows: list[list[Cell]] = [
        [label, count, *(int((mask & (data.y == label)).sum()) for mask in splits.values())]
        for label, count in largest[:MOST_ROWS]
    ]
    table = table_html(["class", "images", *splits], rows, total=len(largest))
    return [facts_html(_facts(data)), table]


def _facts(data: Dataset) -> dict[str, Cell]:
    return {
        "embedding": data.embedding,
        "file": data.file,
        "groups": None if data.groups is None else len(np.unique(data.groups)),
        "pairs of copies": len(data.copies) or None,
        "variants of each image": data.n_variants or None,
        "unreadable images": len(data.unreadable) or None,
        "weights": "random" if data.weights == "random" else None,
    }
