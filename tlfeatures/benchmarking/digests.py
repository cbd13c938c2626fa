"""Hashes of images, values and folds. They identify the data that a result was computed from."""

from __future__ import annotations

import hashlib
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.features.file.rows_in_shards import in_shards


def versions() -> dict[str, str]:
    """Return the versions of the libraries that can change scores."""
    return {name: metadata.version(name) for name in ("tlfeatures", "scikit-learn", "numpy")}


def digest_of_study(
    ids: NDArray[np.str_],
    y: NDArray[np.str_],
    together: NDArray[np.int64] | None,
    folds: list[Fold],
) -> str:
    """Return a hash of the images, labels and folds. Entries with the same hash can be compared.

    Parameters
    ----------
    ids, y : ndarray of shape (n,), str
        Ids and labels of the images.
    together : ndarray of shape (n,), int, or None
        Group number of each image; images of a group are in the same fold.
    folds : list of (train rows, test rows)
        Folds of the first repeat.
    """
    text = "\0".join([*ids.tolist(), "", *y.tolist()])
    images = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
    return images + digest_of_folds(folds, together)[:16]


def fingerprint(data: Dataset) -> str:
    """Return a hash of the embedding's values. Files with the same values have the same hash.

    If there are variants, the hash of their values follows after a "+". Of rows that stay in
    shards, it is the hash of their shards: heads are then computed in another way, whose
    probabilities may differ a little.
    """
    rows = in_shards(data.X)
    if rows is not None:
        return rows.fingerprint()[:16]
    parts = [data.X] if data.variants is None else [data.X, data.variants]
    hashes = (hashlib.sha256(np.ascontiguousarray(part).data).hexdigest()[:16] for part in parts)
    return "+".join(hashes)


def digest_of_folds(folds: list[Fold], together: NDArray[np.int64] | None) -> str:
    """Return a hash of folds, and of the groups of images that are in the same fold."""
    digest = hashlib.sha256()
    for rows in [rows for fold in folds for rows in fold]:
        digest.update(rows.astype(np.int64).tobytes() + b"|")
    if together is not None:
        digest.update(together.astype(np.int64).tobytes())
    return digest.hexdigest()
