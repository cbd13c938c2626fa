"""The files `entries/KEY.npz`: each has one head on one embedding in one repeat."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.benchmarking.entries import Entry, has_many_classes, series_of
from tlfeatures.benchmarking.store.archive import Arrays, read_archive, write_archive
from tlfeatures.benchmarking.store.checks import (
    as_format_error,
    check_format,
    check_kinds,
    check_scores,
    check_source,
    remedy,
)
from tlfeatures.benchmarking.store.format import (
    ENTRIES,
    ENTRY_ARRAYS,
    ENTRY_FACTS,
    FORMAT,
    FORMAT_VERSION,
    MANY_CLASSES_ARRAYS,
)
from tlfeatures.benchmarking.study import Study
from tlfeatures.errors import FormatError
from tlfeatures.metrics.scores import SCORES

# A damaged file must not make the reader allocate a huge table of probabilities. A table of more
# than _SMALL numbers (1 GB) must have at most _RATIO images for each tested image.
_RATIO = 1000
_SMALL = 2**27
_KEY = re.compile(r"[0-9A-Za-z_-]{1,64}")  # has no "/", so a key can't lead to another folder
_FILE_FACTS: dict[str, Any] = {
    "study": str,
    "commands": list,
    "source": dict | None,
    "entry": dict,
}


@dataclass
class StoredEntry:
    """An entry, and what is stored with it in its file.

    Attributes
    ----------
    entry : Entry
    commands : list of str
        Command lines of the run that computed the entry.
    source : dict or None
        Spec, provenance and near_duplicates of the embeddings file.
    modified : int
        Time when the file was written, in nanoseconds since 1970.
    place : tuple
        Head, embedding and repeat. An entry replaces older entries with the same place.
    """

    entry: Entry
    commands: list[str]
    source: dict[str, Any] | None
    modified: int = 0
    place: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.place = (*series_of(self.entry), self.entry.facts["repeat"])


def entry_path(folder: Path, key: str) -> Path:
    """Return the path of an entry's file.

    Raises
    ------
    FormatError
        If the text is not a valid key: its path could lead to another folder.
    """
    if not _KEY.fullmatch(key):
        raise FormatError(
            f"{folder} is damaged: {key[:40]!r} is not the key of an entry; run the benchmark "
            "again with another folder"
        )
    return folder / ENTRIES / f"{key}.npz"


def stored_keys(folder: Path) -> dict[str, int]:
    """Return the keys of a folder's entries, oldest first, with the times when they were written.

    Returns
    -------
    dict of key to int
        Times in nanoseconds since 1970.
    """
    times = {}
    for path in (folder / ENTRIES).glob("*.npz"):
        if _KEY.fullmatch(path.stem):
            times[path.stem] = path.stat().st_mtime_ns
    return dict(sorted(times.items(), key=lambda item: (item[1], item[0])))


def write_entry(folder: Path, study: Study, stored: StoredEntry) -> None:
    """Write an entry. Its file is never changed later.

    Parameters
    ----------
    folder : Path
        Folder of the results.
    study : Study
    stored : StoredEntry
        Its attribute `modified` is set.

    Raises
    ------
    OutputError
        If the file can't be written.
    """
    entry = stored.entry
    path = entry_path(folder, entry.facts["key"])
    write_archive(
        path,
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "study": study.facts["study"],
            "commands": stored.commands,
            "source": stored.source,
            "entry": entry.facts,
        },
        _arrays(entry, _types(study)),
    )
    stored.modified = path.stat().st_mtime_ns


def _types(study: Study) -> dict[str, str]:
    return MANY_CLASSES_ARRAYS if has_many_classes(study) else ENTRY_ARRAYS


def _arrays(entry: Entry, types: Mapping[str, str]) -> Arrays:
    tested = entry.fold >= 0
    arrays: Arrays = {
        "fold": entry.fold,
        "predicted": entry.predicted[tested],
        "probabilities": entry.probabilities[tested],
    }
    return {name: array.astype(types[name]) for name, array in arrays.items()}


def read_entry(folder: Path, key: str, study: Study) -> StoredEntry:
    """Read an entry and check that it belongs to the study.

    Raises
    ------
    FormatError
        If the file is missing, damaged, of another version, or of another study.
    """
    path = entry_path(folder, key)
    stored, arrays = read_archive(path, _types(study))
    check_format(path, stored, _FILE_FACTS)
    facts = stored["entry"]
    check_entry_facts(path, facts)
    if stored["study"] != study.facts["study"] or facts["key"] != key:
        raise FormatError(f"{path} belongs to another benchmark; {remedy(path)}")
    if stored["source"] is not None:
        check_source(path, stored["source"])
    with as_format_error(path):
        entry = _entry(facts, arrays, study)
        modified = path.stat().st_mtime_ns
    return StoredEntry(
        entry, [str(line) for line in stored["commands"]], stored["source"], modified
    )


def check_entry_facts(path: Path, facts: Any) -> None:
    """Raise a FormatError if a fact of an entry is missing or has a wrong type."""
    check_kinds(path, facts, ENTRY_FACTS)
    check_scores(path, facts["scores"], SCORES)


def _entry(facts: Mapping[str, Any], arrays: Arrays, study: Study) -> Entry:
    n, k, t = len(study.ids), len(study.classes), study.facts["tested"]
    shapes = {"fold": (n,), "predicted": (t,), "probabilities": (t, k)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has the shape {arrays[name].shape}, expected {shape}")
    if n * k > max(_SMALL, _RATIO * t * k):
        raise ValueError(f"{n} images and {k} classes do not match {t} tested images")
    tested = arrays["fold"] >= 0
    if tested.sum() != t or not 0 <= arrays["predicted"].min() <= arrays["predicted"].max() < k:
        raise ValueError("it has predictions of other images or classes")
    table = arrays["probabilities"]
    if t < n:  # otherwise a copy, which may be large, isn't needed
        table = np.full((n, k), np.nan, table.dtype)
        table[tested] = arrays["probabilities"]
    predicted = np.full(n, -1)
    predicted[tested] = arrays["predicted"]
    return Entry(dict(facts), arrays["fold"].astype(int), predicted, table)
