"""The file `results.json`: the study, its entries and their ranking after the last complete run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tlfeatures.benchmarking.entries import Entry
from tlfeatures.benchmarking.store.checks import (
    as_format_error,
    check_control,
    check_format,
    check_items,
    check_kinds,
    check_source,
    remedy,
)
from tlfeatures.benchmarking.store.entry_file import check_entry_facts, entry_path, read_entry
from tlfeatures.benchmarking.store.format import RESULTS, RUN_FACTS, STUDY, STUDY_FACTS
from tlfeatures.benchmarking.store.study_file import read_study
from tlfeatures.benchmarking.study import Study
from tlfeatures.errors import FormatError, ParameterError
from tlfeatures.features.combined import split_name
from tlfeatures.files import replacing


def check_folder(folder: str | os.PathLike[str]) -> Path:
    """Return the path of a benchmark's folder, after a check.

    Raises
    ------
    ParameterError
        If there is no benchmark in the folder, or its first run is not complete.
    """
    path = Path(folder)
    if (path / RESULTS).is_file():
        return path
    if (path / STUDY).is_file():
        raise ParameterError(
            f"the benchmark in {folder} is not complete; run `tlfeatures benchmark ... -o "
            f"{folder}` again, which computes the missing entries"
        )
    reason = "is a file" if path.is_file() else "contains no benchmark"
    raise ParameterError(
        f"{folder} {reason}; expected a folder that `tlfeatures benchmark FILE.h5 -o DIR` has "
        "written"
    )


Read = TypeVar("Read")


def read_again_if_changed(folder: Path, read: Callable[[Path], Read]) -> Read:
    """Read a folder, and read it again if another run changed it during the first reading.

    Parameters
    ----------
    folder : Path
    read : callable of a folder

    Returns
    -------
    The result of `read`.
    """
    before = (folder / RESULTS).stat()
    try:
        return read(folder)
    except FormatError:
        now = (folder / RESULTS).stat()
        if (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns):
            raise
    return read(folder)


def results_facts(
    study: Study, commands: list[str], ranking: Mapping[str, Any], entries: Iterable[Entry]
) -> dict[str, Any]:
    """Return the content of `results.json`.

    Parameters
    ----------
    study : Study
    commands : list of str
        Command lines of the runs that computed the entries.
    ranking : mapping
        Result of `Comparison.to_dict`.
    entries : iterable of Entry

    Returns
    -------
    dict
        JSON-ready.
    """
    return {
        **study.to_dict(),
        "commands": commands,
        **ranking,
        "heads": [entry.facts for entry in entries],
    }


def write_results(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replace `results.json` in one step.

    Raises
    ------
    OutputError
        If the file can't be written. An existing file is kept.
    """
    with replacing(folder / RESULTS, tidy=False) as fresh:
        fresh.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def read_results(folder: Path) -> dict[str, Any]:
    """Read `results.json` and check the facts that a new run needs.

    Raises
    ------
    FormatError
        If the file is missing, damaged, or of another version.
    """
    path = folder / RESULTS
    with as_format_error(path):
        facts = json.loads(path.read_text(encoding="utf-8"))
    stored = check_format(path, facts, RUN_FACTS)
    if not stored["heads"]:
        raise FormatError(f"{path} is damaged: it has no entries; {remedy(path)}")
    for facts in stored["heads"]:
        check_entry_facts(path, facts)
    if len({facts["key"] for facts in stored["heads"]}) < len(stored["heads"]):
        raise FormatError(f"{path} is damaged: it has an entry twice; {remedy(path)}")
    check_items(path, "commands", stored["commands"], str)
    check_items(path, "files", list(stored["files"].values()), dict)
    for about in stored["files"].values():
        check_source(path, about)
    for control in stored["controls"]:
        check_control(path, control)
    return stored


def read_study_of(folder: Path, stored: Mapping[str, Any]) -> Study:
    """Read the study of a folder.

    Parameters
    ----------
    folder : Path
    stored : mapping
        The result of `read_results`.

    Raises
    ------
    FormatError
        If a file is damaged.
    """
    path = folder / RESULTS
    check_kinds(path, stored, STUDY_FACTS)
    check_items(path, "classes", stored["classes"], str)
    check_items(path, "copy_pairs", stored["copy_pairs"], list)
    check_kinds(path, stored["files"], {facts["file"]: dict for facts in stored["heads"]})
    for facts in stored["heads"]:
        named = stored["files"][facts["file"]].get("joined")
        if named is not None:
            with as_format_error(path):
                names = split_name(facts["embedding"])
            check_kinds(path, named, dict.fromkeys(names, dict))
    study = read_study(folder, {name: stored[name] for name in STUDY_FACTS})
    if study.classes != sorted(set(study.y.tolist())):
        raise FormatError(
            f"{path} is damaged: its classes are not those of the images; {remedy(path)}"
        )
    return study


def read_entries_of(folder: Path, stored: Mapping[str, Any], study: Study) -> Iterator[Entry]:
    """Read the entries that `results.json` names, one at a time.

    The facts in `results.json` replace those in the entry's file, because the embeddings file may
    have been moved since.

    Raises
    ------
    FormatError
        If a file is missing or damaged.
    """
    for facts in stored["heads"]:
        if not entry_path(folder, facts["key"]).is_file():
            raise FormatError(
                f"{folder} lacks an entry of {facts['head'][:40]} that {RESULTS} names; run "
                f"`tlfeatures benchmark ... -o {folder}` again, which computes the missing entries"
            )
        entry = read_entry(folder, facts["key"], study).entry
        entry.facts.update(facts)
        yield entry
