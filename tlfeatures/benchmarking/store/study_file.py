"""The file `study.npz`: the images of a benchmark and the folds of its first repeat."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.digests import digest_of_study
from tlfeatures.benchmarking.store.archive import Arrays, read_archive, write_archive
from tlfeatures.benchmarking.store.checks import as_format_error, check_format, remedy
from tlfeatures.benchmarking.store.format import (
    FORMAT,
    FORMAT_VERSION,
    RESULTS,
    STUDY,
    STUDY_ARRAYS,
)
from tlfeatures.benchmarking.study import Study
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.errors import FormatError

_LISTS = ("ids", "y", "groups", "split")
_FACTS: dict[str, Any] = {
    "study": str,
    **dict.fromkeys(("ids", "y"), list),
    **dict.fromkeys(("groups", "split"), list | None),
}


def write_study(folder: Path, study: Study) -> None:
    """Write the images and folds of a study.

    Raises
    ------
    OutputError
        If the file can't be written.
    """
    n = len(study.ids)
    trains = [_NO_ROWS if _on_all_others(fold, n) else fold[0] for fold in study.folds]
    train, train_ends = _joined(trains)
    test, test_ends = _joined([test for _, test in study.folds])
    lists = {name: getattr(study, name) for name in _LISTS}
    write_archive(
        folder / STUDY,
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "study": study.facts["study"],
            **{name: None if values is None else values.tolist() for name, values in lists.items()},
        },
        {
            "copies": study.copies.astype("<i4"),
            **{"train": train, "train_ends": train_ends, "test": test, "test_ends": test_ends},
        },
    )


def read_study(folder: Path, facts: Mapping[str, Any]) -> Study:
    """Read the images and folds of a study.

    Parameters
    ----------
    folder : Path
    facts : mapping
        Facts of the study, from `results.json`.

    Raises
    ------
    FormatError
        If the file is missing, damaged, of another version, or of another study.
    """
    path = folder / STUDY
    stored, arrays = _read(path)
    if stored["study"] != facts["study"]:
        raise FormatError(f"{path} and {RESULTS} belong to different benchmarks; {remedy(path)}")
    return _study(path, stored, arrays, facts)


def has_study(folder: Path, study: Study) -> bool:
    """Check whether the folder contains this study.

    Raises
    ------
    FormatError
        If the file is missing, damaged, or of another version.
    """
    path = folder / STUDY
    stored, arrays = _read(path)
    same: bool = stored["study"] == study.facts["study"]
    if same:
        _study(path, stored, arrays, study.facts)  # raises an error if it is damaged
    return same


def _read(path: Path) -> tuple[dict[str, Any], Arrays]:
    stored, arrays = read_archive(path, STUDY_ARRAYS)
    return check_format(path, stored, _FACTS), arrays


def _study(path: Path, stored: dict[str, Any], arrays: Arrays, facts: Mapping[str, Any]) -> Study:
    n = len(stored["ids"])
    with as_format_error(path):
        study = Study(
            ids=_texts(stored["ids"], n),
            y=_texts(stored["y"], n),
            groups=None if stored["groups"] is None else _texts(stored["groups"], n),
            split=None if stored["split"] is None else _texts(stored["split"], n),
            copies=arrays["copies"].astype(np.int64),
            folds=_folds(arrays, n),
            facts=dict(facts),
        )
        digest = digest_of_study(study.ids, study.y, study.together, study.folds)
        if digest != stored["study"]:
            raise ValueError("its hash does not match its images and folds")
    return study


# ---- lists of texts, and of rows

_NO_ROWS: NDArray[np.int_] = np.empty(0, np.int_)


def _texts(values: list[Any], n: int) -> NDArray[np.str_]:
    if len(values) != n or not all(isinstance(value, str) for value in values):
        raise ValueError(f"a list does not have {n} texts")
    return np.array(values, np.str_)


def _joined(parts: list[NDArray[np.int_]]) -> tuple[NDArray[Any], NDArray[Any]]:
    ends = np.cumsum([len(part) for part in parts])
    return np.concatenate([_NO_ROWS, *parts]).astype("<i4"), ends.astype("<i8")


def _on_all_others(fold: Fold, n: int) -> bool:
    train, test = fold
    return np.array_equal(train, np.setdiff1d(np.arange(n), test))


def _folds(arrays: Arrays, n: int) -> list[Fold]:
    trains = _divided(arrays["train"], arrays["train_ends"], n)
    tests = _divided(arrays["test"], arrays["test_ends"], n)
    return [
        (train if len(train) else np.setdiff1d(np.arange(n), test), test)
        for train, test in zip(trains, tests, strict=True)
    ]


def _divided(joined: NDArray[Any], ends: NDArray[Any], n: int) -> list[NDArray[np.int_]]:
    if joined.ndim != 1 or ends.ndim != 1 or not len(ends) or ends[-1] != len(joined):
        raise ValueError("rows of folds are missing")
    if len(joined) and not 0 <= joined.min() <= joined.max() < n:
        raise ValueError(f"a fold has a row number outside the {n} images")
    return np.split(joined.astype(np.int_), ends[:-1])
