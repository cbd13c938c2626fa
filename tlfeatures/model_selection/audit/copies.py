"""Copies and near-duplicates that are in two classes or in two splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity, find_near_duplicates, least_similarity
from tlfeatures.dataset.grouping import merge_groups
from tlfeatures.metrics.scores import Floats
from tlfeatures.model_selection.audit.results import KINDS, Finding, finding_of

_SPLIT_ORDER = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class CopyPair:
    """Two rows that show the same photo; identical files have the score 1."""

    i: int
    j: int
    score: float
    identical: bool

    @property
    def relation(self) -> str:
        """What one image is to the other, in words."""
        return "the same file" if self.identical else "nearly the same image"


def find_copies(data: Dataset, near_duplicates: Similarity) -> tuple[Dataset, list[CopyPair]]:
    """Add near-duplicates to the copies of a dataset, and find pairs in two classes or splits.

    Parameters
    ----------
    data : Dataset
    near_duplicates : float, "auto" or None
        Least similarity of near-duplicates; "auto" is the limit of the dataset's backbone. None
        means that only identical files are copies.

    Returns
    -------
    data : Dataset
        With all copies.
    pairs : list of CopyPair
        Those in two classes or splits, the surest first.
    """
    near, similarity = np.empty((0, 2), np.int64), np.empty(0)
    least = least_similarity(near_duplicates, data.spec)
    if least is not None:
        looks = data.X if data.looks is None else data.looks
        near, similarity = find_near_duplicates(looks, least)
    same = merge_groups(len(data.y), None, [data.copies])
    file = np.arange(len(data.y)) if same is None else same
    splits = _splits(data)
    pairs = [CopyPair(i, j, 1.0, True) for i, j in _identical_pairs(data, file)]
    for (i, j), score in zip(near.tolist(), similarity.tolist(), strict=True):
        if file[i] != file[j] and (data.y[i] != data.y[j] or splits[i] != splits[j]):
            pairs.append(CopyPair(i, j, score, False))
    copies = np.unique(np.concatenate([data.copies, near]), axis=0)
    return replace(data, copies=copies), pairs


def _splits(data: Dataset) -> list[str]:
    return [""] * len(data.y) if data.split is None else data.split.tolist()


def _identical_pairs(data: Dataset, file: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Pair each row with its first copy in another class, and with that in another split.

    So a thousand copies give at most two thousand pairs and not half a million.
    """
    copies: dict[int, list[int]] = {}
    for row, number in enumerate(file.tolist()):
        copies.setdefault(number, []).append(row)
    pairs, splits = set(), _splits(data)
    for rows in copies.values():
        for part in (data.y.tolist(), splits):
            firsts = sorted({part[row]: row for row in reversed(rows)}.values())
            for row in rows:
                other = next((first for first in firsts if part[first] != part[row]), None)
                if other is not None:
                    pairs.add((min(row, other), max(row, other)))
    yield from sorted(pairs)


def find_contradictions(
    data: Dataset, probabilities: Floats, pairs: list[CopyPair]
) -> dict[int, Finding]:
    """Find copies in two classes, by row; a row appears once, with its most similar copy.

    Both rows show the same image, so the mean of their probabilities judges both labels.
    """
    column = {name: number for number, name in enumerate(data.classes)}
    splits = _splits(data)
    findings: dict[int, Finding] = {}
    for pair in pairs:
        if data.y[pair.i] == data.y[pair.j]:
            continue
        mean = probabilities[[pair.i, pair.j]].mean(axis=0)
        share = {row: mean[column[data.y[row]]] for row in (pair.i, pair.j)}
        wrong, right = sorted(share, key=lambda row: (share[row], -row))
        where = f", in {splits[right]}," if splits[right] != splits[wrong] else ""
        reason = (
            f"labelled {data.y[wrong]} ({share[wrong]:.2f}), but {pair.relation}{where} is "
            f"{data.ids[right]} ({share[right]:.2f})"
        )
        other = str(data.ids[right])
        findings.setdefault(wrong, finding_of(KINDS[0], data, wrong, other, pair.score, reason))
    return findings


def find_leaks(data: Dataset, pairs: list[CopyPair]) -> dict[int, Finding]:
    """Find copies in two splits, by row; the row in train, else in val, is the one to remove."""
    splits = _splits(data)
    findings: dict[int, Finding] = {}
    for pair in pairs:
        if data.y[pair.i] != data.y[pair.j] or splits[pair.i] == splits[pair.j]:
            continue
        removable, kept = sorted((pair.i, pair.j), key=lambda row: _SPLIT_ORDER[splits[row]])
        other = str(data.ids[kept])
        reason = f"in {splits[removable]}, but {pair.relation} is {other}, in {splits[kept]}"
        findings.setdefault(
            removable, finding_of(KINDS[0], data, removable, other, pair.score, reason)
        )
    return findings
