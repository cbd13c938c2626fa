"""The images of a benchmark and their folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.digests import digest_of_folds, digest_of_images
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity, least_similarity
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.equality import EqualByValue
from tlfeatures.features.file.reader import read_header

FORMAT = "tlfeatures benchmark"
FORMAT_VERSION = 1


def sources_of(
    files: Sequence[str],
    labels: Any,
    groups: Any,
    near_duplicates: Similarity,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Describe what a dataset was loaded from, so that it can be loaded again.

    Returns
    -------
    dict
        JSON-ready. `files` has the spec and provenance of each embeddings file; `labels` and
        `groups_from` are paths (or a regular expression), None if they don't come from a file.
    """
    headers = {file: read_header(file) for file in files}
    return {
        "files": {
            file: {"spec": header.spec.to_dict(), "provenance": header.provenance}
            for file, header in headers.items()
        },
        "labels": None if labels is None or isinstance(labels, Mapping) else str(labels),
        "labels_given": isinstance(labels, Mapping),
        "groups_from": None if groups is None else str(groups),
        "near_duplicates": least_similarity(near_duplicates, headers[files[0]].spec),
        "label_level": label_level,
        "label_columns": None if label_columns is None else dict(label_columns),
    }


@dataclass(frozen=True, eq=False)
class Study(EqualByValue):
    """The images of a benchmark and their folds; entries of one study can be compared.

    Attributes
    ----------
    ids, y : ndarray of shape (n,), str
    together : ndarray of shape (n,), int, or None
        Groups of images that are in one fold together.
    facts : dict
        JSON-ready: file, images, tested, classes, groups, copies, split, folds, random_state,
        weights, study (a hash), copy_pairs (of ids), unreadable (ids of images that could not be
        read), and what `sources_of` says.
    """

    ids: NDArray[np.str_]
    y: NDArray[np.str_]
    together: NDArray[np.int64] | None
    facts: dict[str, Any]

    @classmethod
    def of(
        cls,
        datasets: Sequence[Dataset],
        split: str,
        folds: list[Fold],
        seed: int | None,
    ) -> Study:
        """Describe a dataset, the folds of its first repeat, and its sources."""
        data = datasets[0]
        from pathlib import Path

        names = [each.file for each in datasets if Path(each.file).is_file()]
        sources = sources_of(list(dict.fromkeys(names)), None, None, None) if names else {}
        study = digest_of_images(data) + digest_of_folds(folds, data.together)[:16]
        facts = {
            "file": data.file,
            "images": len(data.y),
            "tested": len(np.unique(np.concatenate([test for _, test in folds]))),
            "classes": data.classes,
            "groups": None if data.groups is None else len(np.unique(data.groups)),
            "copies": len(data.copies),
            "split": split,
            "folds": len(folds),
            "random_state": seed,
            "weights": data.spec.weights,
            "study": study,
            "copy_pairs": data.ids[data.copies].tolist(),
            "unreadable": [image.id for image in data.unreadable],
            # Whether every fold trains on all images that it doesn't test.
            "others_train": all(len(train) + len(test) == len(data.y) for train, test in folds),
            **(sources or {}),
        }
        return cls(data.ids, data.y, data.together, facts)

    @property
    def classes(self) -> list[str]:
        """The classes, sorted."""
        classes: list[str] = self.facts["classes"]
        return classes

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON-ready plain data, with the format."""
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **self.facts}
