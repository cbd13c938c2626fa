"""Reading the files of a results folder."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.benchmarking.entries import Entry
from tlfeatures.benchmarking.store.checks import as_format_error, check_kinds
from tlfeatures.benchmarking.store.format import (
    ENTRY_FACTS,
    ENTRY_SCORE,
    HEAD_FACTS,
    PREDICTIONS,
    RESULTS,
)
from tlfeatures.benchmarking.study import FORMAT, FORMAT_VERSION, Study
from tlfeatures.errors import FormatError
from tlfeatures.metrics.scores import SCORES

logger = logging.getLogger(__name__)


def read_facts(folder: Path) -> dict[str, Any]:
    """Read the JSON file of a folder.

    Raises
    ------
    FormatError
        If it is not JSON of a benchmark, or has another version.
    """
    path = folder / RESULTS
    with as_format_error(folder):
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = stored["format"], stored["format_version"]
    if found != (FORMAT, FORMAT_VERSION):
        raise FormatError(
            f"{path} has format {found[0]} version {found[1]}, this tlfeatures reads version "
            f"{FORMAT_VERSION}: `pip install --upgrade tlfeatures`, or another -o"
        )
    return stored


def read_entries(folder: Path, stored: dict[str, Any], study: Study) -> list[Entry]:
    """Read the entries of a folder, those of which all rows are there.

    Parameters
    ----------
    folder : Path
    stored : dict
        From `read_facts`.
    study : Study
        Has all images of the folder.

    Raises
    ------
    FormatError
        If a file is damaged.
    """
    path = folder / RESULTS
    check_kinds(path, stored, HEAD_FACTS)
    for facts in stored["heads"]:
        check_kinds(path, facts, ENTRY_FACTS)
        check_kinds(
            path, {"variants": 0, **facts}, {"variants": int}
        )  # earlier versions did not write it
        check_kinds(path, facts["scores"], dict.fromkeys(SCORES, dict))
        for score in facts["scores"].values():
            check_kinds(path, score, ENTRY_SCORE)
    with as_format_error(folder):
        return _entries(folder / PREDICTIONS, stored["heads"], study)


def read_labels(path: Path) -> dict[str, str]:
    """Read the labels of images by id; the rows of the first entry have all of them."""
    labels: dict[str, str] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["id"] in labels:
                break
            labels[line["id"]] = line["label"]
    return labels


def _entries(path: Path, facts: list[dict[str, Any]], study: Study) -> list[Entry]:
    n, classes = len(study.ids), {name: code for code, name in enumerate(study.classes)}
    row_of = {id_: row for row, id_ in enumerate(study.ids.tolist())}
    entries = {
        own["key"]: Entry(own, np.full(n, -1), np.full(n, -1), np.full((n, len(classes)), np.nan))
        for own in facts
    }
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            entry, row = entries.get(line["key"]), row_of[line["id"]]
            if entry is None:  # a run ended between replacing the two files
                continue
            entry.fold[row] = int(line["fold"])
            entry.predicted[row] = classes[line["predicted"]]
            entry.probabilities[row] = [float(line[f"p_{name}"] or "nan") for name in classes]
    tested = study.facts["tested"]
    whole = [entry for entry in entries.values() if (entry.fold >= 0).sum() == tested]
    if len(whole) < len(entries):
        logger.warning("%s lacks rows of %d entries", path, len(entries) - len(whole))
    return whole
