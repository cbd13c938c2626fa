"""The store of a study's entries: a folder that several runs may use at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tlfeatures.benchmarking.control import Control
from tlfeatures.benchmarking.entries import Entry
from tlfeatures.benchmarking.store.entry_file import (
    StoredEntry,
    entry_path,
    read_entry,
    stored_keys,
    write_entry,
)
from tlfeatures.benchmarking.store.format import CONTROL_FACTS, ENTRIES, RESULTS, STUDY
from tlfeatures.benchmarking.store.results_file import read_results, results_facts, write_results
from tlfeatures.benchmarking.store.study_file import has_study, write_study
from tlfeatures.benchmarking.study import Study
from tlfeatures.errors import ParameterError
from tlfeatures.files import cannot_write, remove_leftovers, remove_leftovers_in
from tlfeatures.locks import locked

_LOCK_SECONDS = 600.0  # longest wait for another run that holds the lock


class ResultStore:
    """The entries of a study, in a folder or in memory only.

    Each entry is written to its own file. A run computes all heads of a repeat on an embedding
    together, and then adds their entries one after the other. `results.json` is written at the end
    of a run, with all entries of the folder at that time, including those of other runs.

    Parameters
    ----------
    folder : Path or None
        Folder of the results; None stores everything in memory.
    study : Study

    Attributes
    ----------
    commands : list of str
        Command lines of the runs that computed the entries.
    computed : int
        Number of entries that this run computed.
    controls : list of Control
        Controls of the last complete run.
    """

    def __init__(self, folder: Path | None, study: Study) -> None:
        self.folder, self.study = folder, study
        self.commands: list[str] = []
        self.computed = 0
        self.controls: list[Control] = []
        self._stored: dict[str, StoredEntry] = {}  # by key
        self._files: dict[str, Any] = dict(study.facts["files"])  # path to spec, provenance, ...
        self._earlier_commands: list[str] = []  # of other runs

    @classmethod
    def open(cls, out: str | os.PathLike[str] | None, study: Study) -> ResultStore:
        """Open a folder and read its entries. The folder is created if it does not exist.

        Raises
        ------
        ParameterError
            If the folder has results of another study, or the path is not a folder.
        FormatError
            If its files can't be read.
        BusyError
            If another run holds the lock too long.
        OutputError
            If the folder can't be created or locked.
        """
        if out is None:
            return cls(None, study)
        if not str(out):
            raise ParameterError("out is empty; expected the name of a folder for the results")
        folder = Path(out)
        if folder.exists() and not folder.is_dir():
            raise ParameterError(f"{out} is a file; expected a folder for the results after -o")
        try:
            (folder / ENTRIES).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        store = cls(folder, study)
        with store.updating():
            return store

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Lock the folder, and read entries that other runs have written since the last time.

        Raises
        ------
        ParameterError
            If the folder has results of another study.
        FormatError
            If its files can't be read.
        BusyError
            If another run holds the lock too long.
        OutputError
            If the folder can't be locked.
        """
        if self.folder is None:
            yield
            return
        with locked(self.folder / RESULTS, _LOCK_SECONDS):
            for name in (RESULTS, STUDY):
                remove_leftovers(self.folder / name, alone=True)
            remove_leftovers_in(self.folder / ENTRIES)  # entries are written without the lock
            self._read_again(self.folder)
            yield

    def _read_again(self, folder: Path) -> None:
        """Check the study of the folder, and read its new entries."""
        ranked = read_results(folder) if (folder / RESULTS).exists() else None
        if ranked is None and not (folder / STUDY).exists():
            write_study(folder, self.study)
        if not has_study(folder, self.study):
            raise ParameterError(
                f"{folder} contains a benchmark of other images, labels, copies or folds; give "
                "another folder with -o, or remove this one"
            )
        on_disk = stored_keys(folder)
        for key in self._stored.keys() - on_disk.keys():  # another run has replaced them
            del self._stored[key]
        facts = {} if ranked is None else {head["key"]: head for head in ranked["heads"]}
        for key in [*(key for key in facts if key in on_disk), *on_disk]:
            if key not in self._stored:
                self._stored[key] = self._read(folder, key, facts.get(key, {}))
        if ranked is not None:
            self._files = {**ranked["files"], **self._files}
            self._add_commands(ranked["commands"])
            self.controls = [
                Control(**{name: facts[name] for name in CONTROL_FACTS})
                for facts in ranked["controls"]
            ]

    def _read(self, folder: Path, key: str, ranked: Mapping[str, Any]) -> StoredEntry:
        """Read an entry. `ranked` has its facts in `results.json`; empty if it is not there."""
        stored = read_entry(folder, key, self.study)
        facts = stored.entry.facts
        facts["file"] = ranked.get("file", facts["file"])  # the file may have been moved since
        if stored.source is not None:
            self._files.setdefault(facts["file"], stored.source)
        self._add_commands(stored.commands)
        return stored

    def _add_commands(self, commands: Sequence[str]) -> None:
        """Put the commands of other runs before the commands of this run."""
        earlier = dict.fromkeys([*self._earlier_commands, *commands])
        own = [line for line in self.commands if line not in earlier]
        self._earlier_commands = list(earlier)
        self.commands[:] = [*earlier, *own]

    @property
    def entries(self) -> list[Entry]:
        """The newest entry of each head, embedding and repeat."""
        return [stored.entry for stored in self._newest().values()]

    def _newest(self) -> dict[tuple[Any, ...], StoredEntry]:
        newest: dict[tuple[Any, ...], StoredEntry] = {}
        for stored in self._stored.values():
            other = newest.get(stored.place)
            if other is None or stored.modified >= other.modified:
                newest[stored.place] = stored
        return newest

    def has(self, key: str, file: str) -> bool:
        """Check whether there is an entry with this key, and set its file.

        Parameters
        ----------
        key : str
        file : str
            Path of the embeddings file of this run, which becomes the file of the entry.
        """
        if key not in self._stored:
            return False
        stored = self._stored[key]
        # The file has the same values, but may have another path.
        stored.entry.facts["file"] = file
        self._prefer(stored)
        return True

    def _prefer(self, stored: StoredEntry) -> None:
        """Make an entry the newest one of its head, embedding and repeat."""
        same_place = [other for other in self._stored.values() if other.place == stored.place]
        if self.folder is None or len(same_place) == 1:
            return
        path = entry_path(self.folder, stored.entry.facts["key"])
        with suppress(OSError):  # another run has replaced it
            os.utime(path)
            stored.modified = path.stat().st_mtime_ns

    def add(self, entry: Entry) -> None:
        """Add a computed entry. It replaces an entry of the same head, embedding and repeat.

        With a folder, the entry's file is written before the method returns.

        Raises
        ------
        OutputError
            If the entry's file can't be written.
        """
        own = [line for line in self.commands if line not in self._earlier_commands]
        stored = StoredEntry(entry, own, self._files.get(entry.facts["file"]))
        if self.folder is not None:
            write_entry(self.folder, self.study, stored)
        self._stored[entry.facts["key"]] = stored
        self.computed += 1

    def name_files(self) -> None:
        """Set the files of the study to those of all entries; call it inside `updating`."""
        named = {entry.facts["file"] for entry in self.entries} | {self.study.facts["file"]}
        self.study.facts["files"] = {
            name: about for name, about in self._files.items() if name in named
        }

    def write(self, ranking: Mapping[str, Any]) -> None:
        """Write `results.json`; call it inside `updating`.

        Parameters
        ----------
        ranking : mapping
            Result of `Comparison.to_dict`.

        Raises
        ------
        OutputError
            If the file can't be written. An existing file is kept.
        """
        if self.folder is None:
            return
        write_results(self.folder, results_facts(self.study, self.commands, ranking, self.entries))
        self._remove_replaced(self.folder)

    def _remove_replaced(self, folder: Path) -> None:
        """Remove the files of entries that newer entries replace.

        `results.json` no longer names them. If a run is interrupted here, the next run removes
        them.
        """
        kept = {stored.entry.facts["key"] for stored in self._newest().values()}
        for key in self._stored.keys() - kept:
            with suppress(OSError):
                entry_path(folder, key).unlink()
            del self._stored[key]
