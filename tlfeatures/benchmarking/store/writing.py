"""Writing the files of a results folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.benchmarking.entries import Entry
from tlfeatures.benchmarking.store.format import COLUMNS, PREDICTIONS, RESULTS
from tlfeatures.benchmarking.study import Study
from tlfeatures.files import replacing


def write_files(
    folder: Path, facts: Mapping[str, Any], study: Study, entries: Sequence[Entry]
) -> None:
    """Replace both files of a folder after both are written completely.

    Parameters
    ----------
    folder : Path
    facts : mapping
        All that the JSON file has.
    study : Study
    entries : sequence of Entry

    Raises
    ------
    OutputError
        If one of them can't be written; both stay unchanged.
    """
    with replacing(folder / RESULTS, tidy=False) as results:
        results.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        # This one is replaced first: rows of entries that the JSON file lacks do no harm.
        _write_table(folder / PREDICTIONS, study, entries)


def _write_table(path: Path, study: Study, entries: Sequence[Entry]) -> None:
    with (
        replacing(path, tidy=False) as fresh,
        fresh.open("w", newline="", encoding="utf-8") as file,
    ):
        # Texts are quoted, because an id may contain a line break.
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerows(table_rows(study, entries))


def table_rows(study: Study, entries: Sequence[Entry]) -> Iterator[list[Any]]:
    """Yield the header and the rows of the table of predictions."""
    yield [*COLUMNS, *(f"p_{name}" for name in study.classes)]
    for entry in entries:
        facts = entry.facts
        own = [facts["head"], facts["embedding"], facts["repeat"]]
        for row in np.flatnonzero(entry.fold >= 0):
            yield [
                str(study.ids[row]),
                str(study.y[row]),
                *own,
                int(entry.fold[row]),
                int(facts["tuned"]),
                facts["key"],
                study.classes[entry.predicted[row]],
                *("" if np.isnan(p) else p for p in entry.probabilities[row].tolist()),
            ]
