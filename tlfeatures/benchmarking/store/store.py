"""The entries of a study, kept in a folder that several runs may use at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.benchmarking.entries import Entry, series_of
from tlfeatures.benchmarking.store.checks import as_format_error, check_items, check_kinds
from tlfeatures.benchmarking.store.format import (
    FILE_FACTS,
    IDENTITY_FACTS,
    PREDICTIONS,
    RESULTS,
    STUDY_FACTS,
)
from tlfeatures.benchmarking.store.reading import read_entries, read_facts, read_labels
from tlfeatures.benchmarking.store.writing import write_files
from tlfeatures.benchmarking.study import Study
from tlfeatures.errors import ParameterError
from tlfeatures.files import cannot_write, remove_leftovers
from tlfeatures.heads.parameters import with_new_params
from tlfeatures.locks import locked

_LOCK_SECONDS = 600.0  # to wait for another run that ranks or writes


def _add_new_params(entry: Entry, study: Study) -> None:
    """Add parameters that the head did not have in the version that computed the entry."""
    facts = entry.facts
    rows = study.facts["images"] * (1 + facts.get("variants", 0))
    facts["params"] = with_new_params(facts["head"], facts["params"], rows)


def _repeat(entry: Entry) -> int:
    repeat: int = entry.facts["repeat"]
    return repeat


class ResultStore:
    """The entries of a study, and the folder that keeps them, if there is one.

    Parameters
    ----------
    folder : Path or None
    study : Study
    entries : list of Entry
    commands : sequence of str
        Command lines that computed the entries.
    """

    def __init__(
        self,
        folder: Path | None,
        study: Study,
        entries: list[Entry],
        commands: Sequence[str] = (),
    ) -> None:
        self.folder, self.study, self.entries = folder, study, entries
        self.commands = list(commands)
        self._own: list[Entry] = []  # computed by this run
        self._moved: dict[str, str] = {}  # key -> path of another file with the same values
        self._files: dict[str, Any] = dict(study.facts.get("files", {}))
        self._last_state: object = None  # of the JSON file when it was last read or written

    @classmethod
    def open(cls, out: str | os.PathLike[str] | None, study: Study) -> ResultStore:
        """Open a folder, read its entries, and create it if it does not exist.

        Raises
        ------
        ParameterError
            If it has results of another study, or is not a folder.
        FormatError
            If its files can't be read.
        OutputError
            If the folder can't be created or locked.
        """
        if out is None:
            return cls(None, study, [])
        folder = Path(out)
        if folder.exists() and not folder.is_dir():
            raise ParameterError(f"{out} is a file; -o takes a folder for the results")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        store = cls(folder, study, [])
        with store.updating():
            return store

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Lock the folder, and read entries that other runs have written since the last time.

        Raises
        ------
        BusyError
            If another run holds the lock too long.
        OutputError
            If the folder can't be locked.
        """
        if self.folder is None:
            yield
            return
        with locked(self.folder / RESULTS, _LOCK_SECONDS):
            for name in (RESULTS, PREDICTIONS):
                remove_leftovers(self.folder / name, alone=True)
            if self._state() != self._last_state:
                self._read_again(self.folder)
            yield

    def _state(self) -> object:
        """Identify the state of the JSON file, which is a new file after every change."""
        assert self.folder is not None  # `updating` has checked it
        try:
            file = (self.folder / RESULTS).stat()
        except FileNotFoundError:
            return None
        return file.st_ino, file.st_mtime_ns, file.st_size

    def _read_again(self, folder: Path) -> None:
        """Read the folder; what this run computed replaces stored entries."""
        self._last_state = self._state()
        if self._last_state is None:  # it does not exist yet, or was removed
            return
        stored = read_facts(folder)
        check_kinds(folder / RESULTS, stored, IDENTITY_FACTS)
        if stored["study"] != self.study.facts["study"]:
            raise ParameterError(
                f"{folder} holds a benchmark of other images, labels, copies or folds; give "
                "another -o, or remove it"
            )
        entries = read_entries(folder, stored, self.study)
        self.entries = []
        with as_format_error(folder):
            for entry in entries:
                _add_new_params(entry, self.study)
                entry.facts["file"] = self._moved.get(entry.facts["key"], entry.facts["file"])
        for entry in [*entries, *self._own]:
            self._put(entry)
        optional = {"commands": [], "files": {}, **stored}  # earlier versions did not write them
        check_kinds(folder / RESULTS, optional, {"commands": list, "files": dict})
        self.commands = list(dict.fromkeys([*map(str, optional["commands"]), *self.commands]))
        self._files = {**optional["files"], **self._files}

    @classmethod
    def read(cls, folder: Path) -> tuple[ResultStore, dict[str, Any]]:
        """Read a folder without locking it; also return all facts of its JSON file.

        The study has only images that were tested, as the folder does not have the others.

        Raises
        ------
        FormatError
            If a file is damaged or incomplete.
        """
        path = folder / RESULTS
        stored = read_facts(folder)
        with as_format_error(folder):
            labels = read_labels(folder / PREDICTIONS)
        check_kinds(path, stored, {**STUDY_FACTS, "commands": list})
        check_items(path, "classes", stored["classes"], str)
        check_items(path, "copy_pairs", stored["copy_pairs"], list)
        facts = {name: stored[name] for name in STUDY_FACTS}
        ids = sorted(labels)
        study = Study(np.array(ids), np.array([labels[id_] for id_ in ids]), None, facts)
        entries = read_entries(folder, stored, study)
        check_kinds(path, facts["files"], {entry.facts["file"]: dict for entry in entries})
        for about in facts["files"].values():
            check_kinds(path, about, FILE_FACTS)
        return cls(folder, study, entries, stored["commands"]), stored

    def has(self, keys: Sequence[str], file: str) -> bool:
        """Check for an entry with one of these keys, and set its file to this one."""
        for entry in self.entries:
            if entry.facts["key"] in keys:
                # The file has the same values, but may have another path.
                entry.facts["file"] = self._moved[entry.facts["key"]] = file
                return True
        return False

    @property
    def computed(self) -> int:
        """Number of entries that this run computed."""
        return len(self._own)

    def add(self, entry: Entry) -> None:
        """Add a computed entry; it replaces one of the same head, embedding and repeat."""
        self._own.append(entry)
        self._put(entry)

    def _put(self, entry: Entry) -> None:
        for place, other in enumerate(self.entries):
            if series_of(other) == series_of(entry) and _repeat(other) == _repeat(entry):
                self.entries[place] = entry
                return
        self.entries.append(entry)

    def save(self) -> None:
        """Write all entries, together with those that other runs have written."""
        with self.updating():
            self.write()

    def write(self, more: Mapping[str, Any] | None = None) -> None:
        """Write both files; call it inside `updating`.

        Parameters
        ----------
        more : mapping, optional
            Further facts for the JSON file, such as the ranking.

        Raises
        ------
        OutputError
            If one of them can't be written; both stay unchanged.
        """
        named = {entry.facts["file"] for entry in self.entries} | {self.study.facts["file"]}
        self.study.facts["files"] = {
            name: about for name, about in self._files.items() if name in named
        }
        if self.folder is None:
            return
        heads = [entry.facts for entry in self.entries]
        facts = {
            **self.study.to_dict(),
            "commands": self.commands,
            **(more or {}),
            "heads": heads,
        }
        write_files(self.folder, facts, self.study, self.entries)
        self._last_state = self._state()
