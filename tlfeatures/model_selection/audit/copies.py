"""Finding copies and near-duplicates that are in two classes or in two splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import pair_similarities
from tlfeatures.dataset.grouping import identical_pairs, merge_groups
from tlfeatures.metrics.scores import Floats
from tlfeatures.model_selection.audit.results import KINDS, Finding, finding_of

_SPLIT_ORDER = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class CopyPair:
    """Two rows that show the same photo.

    Attributes
    ----------
    i, j : int
        The rows.
    score : float
        Similarity of the images; 1 for identical files.
    identical : bool
        Whether the files are identical.
    of_values : bool
        Whether "identical" means equal values, as no files are known.
    """

    i: int
    j: int
    score: float
    identical: bool
    of_values: bool = False

    @property
    def relation(self) -> str:
        """Relation of the two images, in words."""
        if not self.identical:
            return "nearly the same image"
        return "a row of equal values" if self.of_values else "the same file"


def find_divided(data: Dataset) -> list[CopyPair]:
    """Find the copies of a dataset that are in two classes or in two splits.

    Parameters
    ----------
    data : Dataset
        Pairs of `copies` whose files have the same digest are identical. The other pairs are
        near-duplicates. Their score is the similarity in `looks` or, without it, in `X`, and at
        least the limit with which they were searched: the search has scales of all embedded images,
        also of those without a label, and these scales may differ a little.

    Returns
    -------
    list of CopyPair
        Identical files come first, and then near-duplicates by decreasing similarity.
    """
    file = _numbers_of_files(data)
    splits = np.array(_splits(data))
    first, second = data.copies.T
    divided = (data.y[first] != data.y[second]) | (splits[first] != splits[second])
    near = data.copies[divided & (file[first] != file[second])]
    similarity = pair_similarities(data.X if data.looks is None else data.looks, near, data.digests)
    limits = [part.near_duplicates for part in data.parts if part.near_duplicates is not None]
    similarity = np.maximum(similarity, min(limits, default=0.0))
    order = np.lexsort((*near.T[::-1], -similarity))
    return [
        *(
            CopyPair(i, j, 1.0, True, not data.has_file_digests)
            for i, j in _identical_pairs(data, file)
        ),
        *(
            CopyPair(i, j, score, False)
            for (i, j), score in zip(near[order].tolist(), similarity[order].tolist(), strict=True)
        ),
    ]


def _numbers_of_files(data: Dataset) -> NDArray[np.int64]:
    """Return a number for each row. Rows whose files are identical have the same number."""
    if data.digests is None:
        return np.arange(len(data.y))
    same = merge_groups(len(data.y), None, [identical_pairs(data.digests)])
    return np.arange(len(data.y)) if same is None else same


def _splits(data: Dataset) -> list[str]:
    return [""] * len(data.y) if data.split is None else data.split.tolist()


def _identical_pairs(data: Dataset, file: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Pair each row with its first copy in another class, and its first copy in another split.

    A thousand copies then give at most two thousand pairs; all pairs would be half a million.
    """
    copies: dict[int, list[int]] = {}
    for row, number in enumerate(file.tolist()):
        copies.setdefault(number, []).append(row)
    pairs, parts = set(), (data.y.tolist(), _splits(data))
    for rows in copies.values():
        if len(rows) == 1:
            continue
        for part in parts:
            firsts = sorted({part[row]: row for row in reversed(rows)}.values())
            for row in rows:
                other = next((first for first in firsts if part[first] != part[row]), None)
                if other is not None:
                    pairs.add((min(row, other), max(row, other)))
    yield from sorted(pairs)


def find_contradictions(
    data: Dataset, probabilities: Floats, pairs: list[CopyPair]
) -> dict[int, Finding]:
    """Find copies in two classes. Each row appears once, with its most similar copy.

    Both rows show the same photo, so their mean probabilities are used to judge both labels.

    Parameters
    ----------
    data : Dataset
    probabilities : ndarray of shape (n, k)
        Out-of-fold probabilities.
    pairs : list of CopyPair
        Result of `find_divided`.

    Returns
    -------
    dict of row to Finding
        Rows whose label is less probable than the label of their copy.
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
        where = f", in {splits[right]}" if splits[right] != splits[wrong] else ""
        reason = (
            f"labelled {data.y[wrong]} (probability {share[wrong]:.2f}), but {pair.relation} is "
            f"{data.ids[right]}{where}, labelled {data.y[right]} ({share[right]:.2f})"
        )
        other = str(data.ids[right])
        findings.setdefault(wrong, finding_of(KINDS[0], data, wrong, other, pair.score, reason))
    return findings


def find_leaks(data: Dataset, pairs: list[CopyPair]) -> dict[int, Finding]:
    """Find copies in two splits.

    Parameters
    ----------
    data : Dataset
    pairs : list of CopyPair
        Result of `find_divided`.

    Returns
    -------
    dict of row to Finding
        Rows to remove: of each pair, the row in train, or in val if the other row is in test.
    """
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
