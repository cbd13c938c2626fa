"""Hashes of images, values and folds, which identify what results were computed from."""

from __future__ import annotations

import hashlib
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold


def versions() -> dict[str, str]:
    """Return the versions of libraries on which scores may depend."""
    return {name: metadata.version(name) for name in ("tlfeatures", "scikit-learn", "numpy")}


def digest_of_study(
    ids: NDArray[np.str_],
    y: NDArray[np.str_],
    together: NDArray[np.int64] | None,
    folds: list[Fold],
) -> str:
    """Return a hash of all that entries must have in common to be compared.

    Parameters
    ----------
    ids, y : ndarray of shape (n,), str
    together : ndarray of shape (n,), int, or None
        Groups of images that are in one fold together.
    folds : list of (train rows, test rows)
        Those of the first repeat.
    """
    text = "\0".join([*ids.tolist(), "", *y.tolist()])
    images = hashlib.sha256(text.encode()).hexdigest()[:16]
    return images + digest_of_folds(folds, together)[:16]


def fingerprint(data: Dataset) -> str:
    """Return a hash of the embedding's values, the same for any file with the same values.

    If there are variants, the hash of their values follows after a "+".
    """
    parts = [data.X] if data.variants is None else [data.X, data.variants]
    hashes = (hashlib.sha256(np.ascontiguousarray(part).data).hexdigest()[:16] for part in parts)
    return "+".join(hashes)


def digest_of_folds(folds: list[Fold], together: NDArray[np.int64] | None) -> str:
    """Return a hash of folds, and of the groups that are kept together in them."""
    digest = hashlib.sha256()
    for rows in [rows for fold in folds for rows in fold]:
        digest.update(rows.astype(np.int64).tobytes() + b"|")
    if together is not None:
        digest.update(together.astype(np.int64).tobytes())
    return digest.hexdigest()
