"""Tables of the out-of-fold predictions of a benchmark, as CSV or Parquet files or columns."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.backbones import backbones_of
from tlfeatures.benchmarking.entries import Entry, has_many_classes
from tlfeatures.benchmarking.head_labels import embedding_labels
from tlfeatures.benchmarking.parquet import ParquetTable, check_pyarrow
from tlfeatures.benchmarking.store.results_file import (
    check_folder,
    read_again_if_changed,
    read_entries_of,
    read_results,
    read_study_of,
)
from tlfeatures.benchmarking.study import Study
from tlfeatures.errors import ParameterError
from tlfeatures.file_result import FileResult
from tlfeatures.files import file_target, replacing
from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.names import counted
from tlfeatures.progress import Progress, shown_progress

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, repr=False)
class PredictionsTable(FileResult):
    """Path and size of a table that `write_predictions` has written.

    Attributes
    ----------
    file : str
        Path of the table.
    rows : int
        Number of predictions: one for each tested image of each entry.
    entries : int
        Number of entries. An entry is one head on one embedding in one repeat.
    every_class : bool
        Whether it has the probability of each class. A CSV file of more than 100 classes has only
        those of the predicted and of the right class.
    """

    rows: int
    entries: int
    every_class: bool = True

    def _about(self) -> str:
        return f"{counted(self.rows, 'prediction')} of {counted(self.entries, 'entry')}"


def prediction_columns(
    study: Study, entry: Entry, embedding: str, *, every_class: bool = True
) -> Columns:
    """Return the predictions of one entry as columns.

    Parameters
    ----------
    study : Study
    entry : Entry
    embedding : str
        Name of the embedding, see `embedding_names`.
    every_class : bool
        Whether to give the probability of each class. Otherwise there are `p_predicted` and
        `p_label`, the probabilities of the predicted and of the right class.

    Returns
    -------
    dict of name to ndarray of shape (t,)
        One row for each of the t tested images: `id`, `label`, `head`, `embedding`, `repeat`,
        `fold`, `tuned` (0 or 1), `key` (of the entry), `predicted` (the head's own decision) and
        the probability `p_CLASS` of each class, NaN if the head gives none.
    """
    predictions, facts = OutOfFold.of(study, entry), entry.facts
    own = predictions.columns(every_class=every_class)
    tested = len(own["id"])
    return {
        "id": own.pop("id"),
        "label": own.pop("label"),
        "head": np.full(tested, facts["head"]),
        "embedding": np.full(tested, embedding),
        "repeat": np.full(tested, facts["repeat"]),
        "fold": own.pop("fold"),
        "tuned": np.full(tested, int(facts["tuned"])),
        "key": np.full(tested, facts["key"]),
        **own,
    }


def embedding_names(study: Study, entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the name of each entry's embedding by the entry's key, as the ranking names it.

    Several backbones may have layers of the same name. Then the names have the backbone in front.

    Parameters
    ----------
    study : Study
    entries : sequence of mapping
        Facts of all entries.
    """
    labels = embedding_labels(entries, backbones_of(entries, study.facts["files"]))
    return {facts["key"]: label for facts, label in zip(entries, labels, strict=True)}


def predictions_table(study: Study, entries: Sequence[Entry]) -> Columns:
    """Return the predictions of all entries as columns; see `prediction_columns`."""
    names = embedding_names(study, [entry.facts for entry in entries])
    parts = [prediction_columns(study, entry, names[entry.facts["key"]]) for entry in entries]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write_predictions(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    progress: bool | Progress | None = None,
) -> PredictionsTable:
    """Write the out-of-fold predictions of a benchmark as a CSV or Parquet file.

    An entry is one head on one embedding in one repeat. The table has one row for each tested image
    of each entry. `prediction_columns` describes the columns. Entries are read and written one at a
    time, so that a large benchmark needs little memory. A CSV file of more than 100 classes has the
    probabilities of the predicted and of the right class only; a Parquet file has those of all
    classes.

    Parameters
    ----------
    folder : path
        Folder of a benchmark.
    output : path
        File whose name ends in .csv or .parquet. An existing file is replaced. Parquet needs
        `pip install 'tlfeatures[parquet]'`.
    progress : bool or callable of (done, total), optional
        Counts entries. See `extract`.

    Returns
    -------
    PredictionsTable

    Raises
    ------
    ParameterError
        If there is no benchmark in the folder, the output has another ending or can't be created,
        or pyarrow is missing.
    FormatError
        If the folder is damaged.
    OutputError
        If the file can't be written. An existing file is kept.

    Examples
    --------
    >>> write_predictions("results", "predictions.csv")  # doctest: +SKIP
    """
    suffix = Path(output).suffix.lower()
    if suffix not in _WRITERS:
        raise ParameterError(
            f"output is {str(output)!r}; expected a name ending in {' or '.join(_WRITERS)}"
        )
    target = file_target(output, "predictions.csv", "the table")
    if suffix == ".parquet":
        check_pyarrow(output)
    path = check_folder(folder)
    with shown_progress(progress, "writing", "entries") as show:
        return read_again_if_changed(
            path, lambda path: _write(path, target, suffix, str(output), show)
        )


def _write(
    folder: Path, target: Path, suffix: str, named: str, progress: Progress
) -> PredictionsTable:
    stored = read_results(folder)
    study = read_study_of(folder, stored)
    names = embedding_names(study, stored["heads"])
    every_class = suffix != ".csv" or not has_many_classes(study)
    rows, total = 0, len(stored["heads"])
    progress(0, total)
    with replacing(target) as fresh, _WRITERS[suffix](fresh) as table:
        for done, entry in enumerate(read_entries_of(folder, stored, study), 1):
            name = names[entry.facts["key"]]
            columns = prediction_columns(study, entry, name, every_class=every_class)
            table.add(columns)
            rows += len(columns["id"])
            progress(done, total)
    return PredictionsTable(named, rows, total, every_class)


class CsvTable:
    """A CSV file to which the entries are written one at a time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        # Text values are quoted, because an id may contain a line break.
        self._writer = csv.writer(self._file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        self._has_header = False

    def __enter__(self) -> CsvTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, columns: Columns) -> None:
        """Write rows. The first call also writes the names of the columns."""
        if not self._has_header:
            self._writer.writerow(columns)
            self._has_header = True
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            self._writer.writerow("" if _is_nan(value) else value for value in row)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


_WRITERS: dict[str, type[CsvTable] | type[ParquetTable]] = {
    ".csv": CsvTable,
    ".parquet": ParquetTable,
}
