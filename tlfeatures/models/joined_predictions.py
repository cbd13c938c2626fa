"""Predictions put together: of several batches, and of images that can and can't be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tlfeatures.models.predictions import Predictions


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Join predictions of the same model and options, one after the other; at least one part."""
    first = parts[0]
    starts = np.cumsum([0, *(len(part) for part in parts)]).tolist()
    distances = [part.distances for part in parts if part.distances is not None]
    sets = [part.sets for part in parts if part.sets is not None]
    return replace(
        first,
        paths=[path for part in parts for path in part.paths],
        probabilities=np.concatenate([part.probabilities for part in parts]),
        codes=np.concatenate([part.codes for part in parts]),
        unreadable={
            start + number: reason
            for start, part in zip(starts, parts, strict=False)
            for number, reason in part.unreadable.items()
        },
        distances=None if first.distances is None else np.concatenate(distances),
        sets=None if first.sets is None else np.concatenate(sets),
    )


def with_unreadable(read: Predictions, paths: list[str], unreadable: dict[int, str]) -> Predictions:
    """Add the images that can't be read.

    Parameters
    ----------
    read : Predictions
        Predictions of the images that were read, in the order of `paths`.
    paths : list of str
        Path of each image.
    unreadable : dict of int to str
        Reason why an image can't be read, by its position in `paths`.
    """
    if not unreadable:
        return read
    rows = np.setdiff1d(np.arange(len(paths)), list(unreadable))
    probabilities = np.full((len(paths), len(read.classes)), np.nan)
    probabilities[rows] = read.probabilities
    codes = np.full(len(paths), -1)
    codes[rows] = read.codes
    distances = None
    if read.distances is not None:
        distances = np.full(len(paths), np.nan)
        distances[rows] = read.distances
    sets = None
    if read.sets is not None:
        sets = np.zeros(probabilities.shape, bool)
        sets[rows] = read.sets
    return replace(
        read,
        paths=paths,
        probabilities=probabilities,
        codes=codes,
        unreadable=unreadable,
        distances=distances,
        sets=sets,
    )
