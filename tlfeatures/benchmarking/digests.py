"""Hashes of images, of values and of folds, by which results are recognised."""

from __future__ import annotations

import hashlib
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold


def versions() -> dict[str, str]:
    """Give the versions on which an entry's numbers may depend."""
    return {name: metadata.version(name) for name in ("tlfeatures", "scikit-learn", "numpy")}


def digest_of_images(data: Dataset) -> str:
    """Give a hash of which images there are, and of their labels."""
    named = "\0".join([*data.ids.tolist(), "", *data.y.tolist()])
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def fingerprint(data: Dataset) -> str:
    """Hash the embedding's values: a file made again gives the same if it holds the same.

    What follows a + is the hash of the variants' values, where there are some.
    """
    parts = [data.X] if data.variants is None else [data.X, data.variants]
    hashes = (hashlib.sha256(np.ascontiguousarray(part).data).hexdigest()[:16] for part in parts)
    return "+".join(hashes)


def digest_of_folds(folds: list[Fold], together: NDArray[np.int64] | None) -> str:
    """Give a hash of folds, and of what is kept together in them."""
    digest = hashlib.sha256()
    for part in [rows for fold in folds for rows in fold]:
        digest.update(part.astype(np.int64).tobytes() + b"|")
    if together is not None:
        digest.update(together.astype(np.int64).tobytes())
    return digest.hexdigest()
