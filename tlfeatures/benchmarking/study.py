"""The study of a benchmark: its images, their classes and folds, and where they come from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.digests import digest_of_study
from tlfeatures.benchmarking.store.format import FORMAT, FORMAT_VERSION
from tlfeatures.dataset.dataset import Dataset, FilePart, weights_of
from tlfeatures.dataset.grouping import merge_groups, photograph_pairs
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import StoreError
from tlfeatures.features.combined import parts_of, split_name
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.imported import UNKNOWN
from tlfeatures.features.measured_rates import rate_of

GIVEN_IN_PYTHON = "given in Python"


def sources_of(datasets: Iterable[Dataset], labels: Any, groups: Any) -> dict[str, Any]:
    """Describe what the datasets of a benchmark were loaded from, for people to read.

    Parameters
    ----------
    datasets : iterable of Dataset
        Their files need not exist.
    labels, groups : path, regular expression, other object or None

    Returns
    -------
    dict
        JSON-ready. `files` maps the path of each embeddings file to its spec, its provenance (empty
        if there is no such file), the least similarity of its near-duplicates, and the speed of
        its backbone (images_per_second), None if it wasn't measured on this machine. For an
        embedding that is joined over several files, it maps `Dataset.file` to `{"joined": parts}`;
        the parts have the name of a backbone, and its `file` besides these facts. `labels` and
        `groups_from` are paths, a regular expression, `GIVEN_IN_PYTHON` or None.
    """
    files: dict[str, Any] = {}
    for data in datasets:
        if data.file not in files:
            files[data.file] = _about_all(data)
    return {"files": files, "labels": _origin(labels), "groups_from": _origin(groups)}


def _about_all(data: Dataset) -> dict[str, Any]:
    if not data.joined:
        (only,) = data.parts
        return _about(only)
    return {"joined": {part.name: {"file": part.file, **_about(part)} for part in data.joined}}


def _about(part: FilePart) -> dict[str, Any]:
    spec, provenance, names = part.spec, {}, parts_of(part.embedding)
    if Path(part.file).is_file():
        with suppress(StoreError):  # a dataset of arrays may have any file's name
            header = read_header(part.file)
            spec, provenance, names = header.spec, header.provenance, list(header.embeddings)
    return {
        "spec": spec.to_dict(),
        "provenance": provenance,
        "near_duplicates": part.near_duplicates,
        "images_per_second": rate_of(spec, tuple(names)),
    }


def files_of(files: Mapping[str, Any], file: str) -> dict[str, dict[str, Any]]:
    """Return the embeddings files of a dataset by the names of their backbones.

    Parameters
    ----------
    files : mapping
        `files` of the facts of a study.
    file : str
        `Dataset.file`, or `file` of the facts of an entry.

    Returns
    -------
    dict of name to dict
        `file` and the facts of `sources_of`. The name is empty for a single file.
    """
    about = files[file]
    parts: dict[str, dict[str, Any]] = about.get("joined") or {"": {"file": file, **about}}
    return parts


def entry_parts(
    files: Mapping[str, Any], entry: Mapping[str, Any]
) -> list[tuple[str, dict[str, Any]]]:
    """Return what an entry takes from each file: the embedding, and the facts of `files_of`.

    Parameters
    ----------
    files : mapping
        `files` of the facts of a study.
    entry : mapping
        Facts of an entry.
    """
    abouts = files_of(files, entry["file"])
    if "" in abouts:
        return [(entry["embedding"], abouts[""])]
    return [(own, abouts[name]) for name, own in split_name(entry["embedding"]).items()]


def every_file(files: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return `files_of` all datasets of a benchmark, each embeddings file once.

    Parameters
    ----------
    files : mapping
        `files` of the facts of a study.
    """
    found = {about["file"]: about for file in files for about in files_of(files, file).values()}
    return list(found.values())


def _weights(data: Dataset, sources: Mapping[str, Any] | None) -> str:
    """Return the weights of all backbones of the benchmark, `random` if one has random weights."""
    files = [] if sources is None else every_file(sources["files"])
    if not files:
        return data.weights
    return weights_of(about["spec"].get("weights", UNKNOWN) for about in files)


def _origin(given: Any) -> str | None:
    if given is None:
        return None
    return str(given) if isinstance(given, str | os.PathLike) else GIVEN_IN_PYTHON


@dataclass(frozen=True, eq=False)
class Study(EqualByValue):
    """The images of a benchmark and their folds. Entries of the same study can be compared.

    Attributes
    ----------
    ids, y : ndarray of shape (n,), str
        Ids and labels of all images, including those that no fold tests.
    groups, split : ndarray of shape (n,), str, or None
        See `Dataset`.
    copies : ndarray of shape (p, 2), int
        Pairs of rows that are copies or near-duplicates of the same image.
    folds : list of (train rows, test rows)
        Folds of the first repeat.
    facts : dict
        JSON-ready: file, images, tested, classes, groups, copies, split, folds, random_state,
        weights, study (a hash), copy_pairs (pairs of ids), unreadable (ids of images that could not
        be read), and the result of `sources_of`.
    """

    ids: NDArray[np.str_]
    y: NDArray[np.str_]
    groups: NDArray[np.str_] | None = field(repr=False)
    split: NDArray[np.str_] | None = field(repr=False)
    copies: NDArray[np.int64] = field(repr=False)
    folds: list[Fold] = field(repr=False)
    facts: dict[str, Any]

    @classmethod
    def of(
        cls,
        data: Dataset,
        split: str,
        folds: list[Fold],
        seed: int | None,
        sources: Mapping[str, Any] | None = None,
    ) -> Study:
        """Create the study of a dataset.

        Parameters
        ----------
        data : Dataset
        split : str
            `cv`, or the name of the split that is tested.
        folds : list of (train rows, test rows)
            Folds of the first repeat.
        seed : int or None
            Seed of the folds.
        sources : mapping, optional
            Result of `sources_of`.
        """
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
            "weights": _weights(data, sources),
            "study": digest_of_study(data.ids, data.y, data.together, folds),
            "copy_pairs": data.ids[data.copies].tolist(),
            "unreadable": [image.id for image in data.unreadable],
            **(sources or sources_of([], None, None)),
        }
        return cls(data.ids, data.y, data.groups, data.split, data.copies, folds, facts)

    @cached_property
    def together(self) -> NDArray[np.int64] | None:
        """Group number of each image; a fold never separates a group. See `Dataset.together`."""
        pairs = [self.copies, photograph_pairs(self.ids.tolist())]
        return merge_groups(len(self.y), self.groups, pairs)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, sorted."""
        classes: list[str] = self.facts["classes"]
        return classes

    def to_dict(self) -> dict[str, Any]:
        """Return the facts and the version of the format as JSON-ready plain data."""
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **self.facts}
