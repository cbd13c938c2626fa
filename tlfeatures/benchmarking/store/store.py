"""The entries of a study, kept in a folder that several runs may use at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tlfeatures.benchmarking.entries import Entry
from tlfeatures.benchmarking.store.entry_file import (
    StoredEntry,
    entry_path,
    read_entry,
    stored_keys,
    write_entry,
)
from tlfeatures.benchmarking.store.format import ENTRIES, RESULTS, STUDY
from tlfeatures.benchmarking.store.results_file import read_results, write_results
from tlfeatures.benchmarking.store.study_file import has_study, write_study
from tlfeatures.benchmarking.study import Study
from tlfeatures.errors import ParameterError
from tlfeatures.files import cannot_write, remove_leftovers, remove_leftovers_in
from tlfeatures.locks import locked

_LOCK_SECONDS = 600.0  # to wait for another run that ranks


class ResultStore:
    """The entries of a study, and the folder that keeps them, if there is one.

    Each entry is written to a file of its own as soon as it is computed. `results.json` is written
    at the end of a run, with all entries that the folder has by then, also those of other runs.

    Parameters
    ----------
    folder : Path or None
        None keeps everything in memory.
    study : Study

    Attributes
    ----------
    commands : list of str
        Command lines that computed the entries.
    computed : int
        Number of entries that this run computed.
    """

    def __init__(self, folder: Path | None, study: Study) -> None:
        self.folder, self.study = folder, study
        self.commands: list[str] = []
        self.computed = 0
        self._stored: dict[str, StoredEntry] = {}  # by key
        self._files: dict[str, Any] = dict(study.facts["files"])  # what is known of each file
        self._earlier_commands: list[str] = []  # of other runs

    @classmethod
    def open(cls, out: str | os.PathLike[str] | None, study: Study) -> ResultStore:
        """Open a folder, read its entries, and create it if it does not exist.

        Raises
        ------
        ParameterError
            If it has results of another study, or is not a folder.
        FormatError
            If its files can't be read.
        BusyError
            If another run holds the lock too long.
        OutputError
            If the folder can't be created or locked.
        """
        if out is None:
            return cls(None, study)
        folder = Path(out)
        if folder.exists() and not folder.is_dir():
            raise ParameterError(f"{out} is a file; -o takes a folder for the results")
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
        """Check the study of the folder, and read the entries that are new."""
        ranked = read_results(folder) if (folder / RESULTS).exists() else None
        if ranked is None and not (folder / STUDY).exists():
            write_study(folder, self.study)
        if not has_study(folder, self.study):
            raise ParameterError(
                f"{folder} holds a benchmark of other images, labels, copies or folds; give "
                "another -o, or remove it"
            )
        there = stored_keys(folder)
        for key in self._stored.keys() - there.keys():  # another run has replaced them
            del self._stored[key]
        facts = {} if ranked is None else {head["key"]: head for head in ranked["heads"]}
        for key in [*(key for key in facts if key in there), *there]:
            if key not in self._stored:
                self._stored[key] = self._read(folder, key, facts.get(key, {}))
        if ranked is not None:
            self._files = {**ranked["files"], **self._files}
            self._add_commands(ranked["commands"])

    def _read(self, folder: Path, key: str, ranked: Mapping[str, Any]) -> StoredEntry:
        """Read an entry; `ranked` are its facts in `results.json`."""
        stored = read_entry(folder, key, self.study)
        facts = stored.entry.facts
        facts["file"] = ranked.get("file", facts["file"])  # the file was found at another path
        if stored.source is not None:
            self._files.setdefault(facts["file"], stored.source)
        self._add_commands(stored.commands)
        return stored

    def _add_commands(self, commands: Sequence[str]) -> None:
        """Put commands of other runs before those of this one."""
        known = dict.fromkeys([*self._earlier_commands, *commands])
        own = [line for line in self.commands if line not in known]
        self._earlier_commands = list(known)
        self.commands[:] = [*known, *own]

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

    def has(self, keys: Sequence[str], file: str) -> bool:
        """Check for an entry with one of these keys, and set its file to this one."""
        for key in keys:
            if key in self._stored:
                stored = self._stored[key]
                # The file has the same values, but may have another path.
                stored.entry.facts["file"] = file
                self._prefer(stored)
                return True
        return False

    def _prefer(self, stored: StoredEntry) -> None:
        """Make an entry the newest one of its head, embedding and repeat."""
        others = [each for each in self._stored.values() if each.place == stored.place]
        if self.folder is None or len(others) == 1:
            return
        path = entry_path(self.folder, stored.entry.facts["key"])
        with suppress(OSError):  # another run has replaced it
            os.utime(path)
            stored.modified = path.stat().st_mtime_ns

    def add(self, entry: Entry) -> None:
        """Add a computed entry; it replaces one of the same head, embedding and repeat.

        It is on the disk when this returns.

        Raises
        ------
        OutputError
            If its file can't be written.
        """
        own = [line for line in self.commands if line not in self._earlier_commands]
        stored = StoredEntry(entry, own, self._files.get(entry.facts["file"]))
        if self.folder is not None:
            write_entry(self.folder, self.study.facts["study"], stored)
        self._stored[entry.facts["key"]] = stored
        self.computed += 1

    def write(self, more: Mapping[str, Any] | None = None) -> None:
        """Write `results.json`; call it inside `updating`.

        Parameters
        ----------
        more : mapping, optional
            Further facts, such as the ranking.

        Raises
        ------
        OutputError
            If it can't be written; it stays unchanged.
        """
        entries = self.entries
        named = {entry.facts["file"] for entry in entries} | {self.study.facts["file"]}
        self.study.facts["files"] = {
            name: about for name, about in self._files.items() if name in named
        }
        if self.folder is None:
            return
        facts = {
            **self.study.to_dict(),
            "commands": self.commands,
            **(more or {}),
            "heads": [entry.facts for entry in entries],
        }
        write_results(self.folder, facts)
        self._remove_replaced(self.folder)

    def _remove_replaced(self, folder: Path) -> None:
        """Remove the files of entries that newer ones replace, as `results.json` is without them.

        If this is interrupted, the next run does it.
        """
        kept = {stored.entry.facts["key"] for stored in self._newest().values()}
        for key in self._stored.keys() - kept:
            with suppress(OSError):
                entry_path(folder, key).unlink()
            del self._stored[key]
