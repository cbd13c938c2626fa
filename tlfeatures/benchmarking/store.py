"""A benchmark's results as plain data: one JSON file, one CSV file, read and written whole.

The study of a folder (images, labels, folds) never changes, so that its entries can be compared.
Another embeddings file may have other near-duplicates, which change the folds: it then needs
another folder.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import FormatError, ParameterError
from tlfeatures.features.file.reader import read_header
from tlfeatures.files import cannot_write, remove_leftovers, replacing
from tlfeatures.heads.parameters import with_new_params
from tlfeatures.locks import locked
from tlfeatures.metrics.scores import SCORES, finite_or_none
from tlfeatures.model_selection.cross_validation import Evaluation

logger = logging.getLogger(__name__)

FORMAT = "tlfeatures benchmark"
FORMAT_VERSION = 1
RESULTS, PREDICTIONS = "results.json", "predictions.csv"
_STUDY_FACTS: dict[str, Any] = {
    **dict.fromkeys(("file", "split", "weights", "study"), str),
    **dict.fromkeys(("images", "tested", "copies", "folds"), int),
    **dict.fromkeys(("classes", "copy_pairs", "unreadable"), list),
    **dict.fromkeys(("groups", "random_state", "label_level"), int | None),
    **dict.fromkeys(("labels", "groups_from"), str | None),
    **dict.fromkeys(("labels_given", "others_train"), bool),
    "files": dict,
    "near_duplicates": float | int | None,
    "label_columns": dict | None,
}
_NUMBER: Any = float | int | None
_IDENTITY: dict[str, Any] = {"study": str}
_HEADS: dict[str, Any] = {"heads": list}
_ENTRY_FACTS: dict[str, Any] = {
    **dict.fromkeys(("head", "file", "embedding", "matrix", "key"), str),
    **dict.fromkeys(("params", "scores", "versions"), dict),
    **{"repeat": int, "tuned": bool, "chosen": list},
    **dict.fromkeys(("fit_seconds", "test_fraction"), float | int),
}
_ENTRY_SCORE: dict[str, Any] = {"mean": _NUMBER, "folds": list}
_ABOUT_FILE: dict[str, Any] = {"spec": dict, "provenance": dict}
_PATIENCE = 600.0  # seconds, for another run that ranks or writes
_COLUMNS = ("id", "label", "head", "embedding", "repeat", "fold", "tuned", "key", "predicted")


def versions() -> dict[str, str]:
    """Give the versions on which an entry's numbers may depend."""
    return {name: metadata.version(name) for name in ("tlfeatures", "scikit-learn", "numpy")}


def digest_of_images(data: Dataset) -> str:
    """Give a hash of which images there are, and of their labels."""
    named = "\0".join([*data.ids.tolist(), "", *data.y.tolist()])
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def fingerprint(data: Dataset) -> str:
    """Hash the embedding's values: a file made again gives the same if it holds the same.

    What follows a + is the hash of the variants' values, where there are some.
    """
    parts = [data.X] if data.variants is None else [data.X, data.variants]
    hashes = (hashlib.sha256(np.ascontiguousarray(part).data).hexdigest()[:16] for part in parts)
    return "+".join(hashes)


def sources_of(
    files: Sequence[str],
    labels: Any,
    groups: Any,
    near_duplicates: float | None,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Say, JSON-ready, what a dataset was loaded from, so that it can be loaded again.

    Returns
    -------
    dict
        `files` has each embeddings file's spec and provenance; `labels` and
        `groups_from` are paths (or the expression), None where they are not of a file.
    """
    headers = {file: read_header(file) for file in files}
    return {
        "files": {
            file: {"spec": header.spec.to_dict(), "provenance": header.provenance}
            for file, header in headers.items()
        },
        "labels": None if labels is None or isinstance(labels, Mapping) else str(labels),
        "labels_given": isinstance(labels, Mapping),
        "groups_from": None if groups is None else str(groups),
        "near_duplicates": near_duplicates,
        "label_level": label_level,
        "label_columns": None if label_columns is None else dict(label_columns),
    }


def digest_of(folds: list[Fold], together: NDArray[np.int64] | None) -> str:
    """Give a hash of folds, and of what is kept together in them."""
    digest = hashlib.sha256()
    for part in [rows for fold in folds for rows in fold]:
        digest.update(part.astype(np.int64).tobytes() + b"|")
    if together is not None:
        digest.update(together.astype(np.int64).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Study(EqualByValue):
    """The images of a benchmark and how they are cut; entries of one study can be compared.

    Attributes
    ----------
    ids, y : ndarray of shape (n,), str
    together : ndarray of shape (n,), int, or None
        What was kept in one fold.
    facts : dict
        JSON-ready: file, images, tested, classes, groups, copies, split, folds, random_state,
        weights, study (a hash), copy_pairs (of ids), unreadable (ids of images that could not be
        read), and what `sources_of` says.
    """

    ids: NDArray[np.str_]
    y: NDArray[np.str_]
    together: NDArray[np.int64] | None
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
        """Describe a dataset, the folds of its first repeat, and where it came from."""
        study = digest_of_images(data) + digest_of(folds, data.together)[:16]
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
            "weights": data.spec.weights,
            "study": study,
            "copy_pairs": data.ids[data.copies].tolist(),
            "unreadable": [each.id for each in data.unreadable],
            # Whether each fold was fitted on all images that it wasn't tested on.
            "others_train": all(len(train) + len(test) == len(data.y) for train, test in folds),
            **(sources or {}),
        }
        return cls(data.ids, data.y, data.together, facts)

    @property
    def classes(self) -> list[str]:
        """The classes, sorted."""
        classes: list[str] = self.facts["classes"]
        return classes

    def to_dict(self) -> dict[str, Any]:
        """Give the facts as JSON-ready plain data."""
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **self.facts}


@dataclass(frozen=True, eq=False)
class Entry(EqualByValue):
    """One head on one embedding in one repeat.

    Attributes
    ----------
    facts : dict
        JSON-ready: head, file, embedding, variants, matrix (hash of values), repeat, tuned, params,
        chosen (parameters by fold), chosen_scores (what they reached on the inner folds), scores
        (name to mean, std, folds, pooled and its interval), fit_seconds, test_fraction, versions,
        key.
    fold, predicted : ndarray of shape (n,), int
        As in `Evaluation`.
    probabilities : ndarray of shape (n, k)
    """

    facts: dict[str, Any]
    fold: NDArray[np.int_] = field(repr=False)
    predicted: NDArray[np.int_] = field(repr=False)
    probabilities: NDArray[np.float64] = field(repr=False)


def entry_facts(data: Dataset, matrix: str, **own: Any) -> dict[str, Any]:
    """Say what an entry was computed on; `own` are head, repeat, tuned, params and key."""
    return {
        "file": data.file,
        "embedding": data.embedding,
        "variants": data.n_variants,
        "matrix": matrix,
        "versions": versions(),
        **own,
    }


def entry_of(evaluation: Evaluation, facts: dict[str, Any]) -> Entry:
    """Make an entry of an evaluation; `facts` say which head, embedding and repeat it is."""
    measured = {
        "chosen": [dict(choice.params) for choice in evaluation.choices],
        "chosen_scores": [choice.score for choice in evaluation.choices],
        "scores": evaluation.summary(),
        "fit_seconds": finite_or_none(evaluation.fit_seconds.mean()),
        "test_fraction": evaluation.test_fraction,
    }
    return Entry(
        {**facts, **measured}, evaluation.fold, evaluation.predicted, evaluation.probabilities
    )


def series_of(entry: Entry) -> tuple[Any, ...]:
    """Give what entries share that differ in nothing but the repeat."""
    facts = entry.facts
    return facts["matrix"], facts["head"], facts["tuned"], repr(sorted(facts["params"].items()))


def _spell_out(entry: Entry, study: Study) -> None:
    """Name the parameters that the head had not yet when an earlier version computed it."""
    facts = entry.facts
    rows = study.facts["images"] * (1 + facts.get("variants", 0))
    facts["params"] = with_new_params(facts["head"], facts["params"], rows)


def _repeat(entry: Entry) -> int:
    repeat: int = entry.facts["repeat"]
    return repeat


class Results:
    """The entries of a study, and the folder that keeps them, if there is one.

    `commands` are the command lines that made them.
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
        self._own: list[Entry] = []
        self._moved: dict[str, str] = {}  # key -> path of the file with the same values
        self._files: dict[str, Any] = dict(study.facts.get("files", {}))
        self._seen: object = None  # state of the folder's file when it was last read or written

    @classmethod
    def open(cls, out: str | os.PathLike[str] | None, study: Study) -> Results:
        """Read what the folder has of this study.

        Raises
        ------
        ParameterError
            If it holds another study, or isn't a folder.
        FormatError
            If its files can't be read.
        OutputError
            If the folder can't be made or locked.
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
        results = cls(folder, study, [])
        with results.updating():
            return results

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Be alone at the folder, and have the entries that other runs have put into it meanwhile.

        Raises
        ------
        BusyError
            If another run is at it for too long.
        OutputError
            If there can't be a lock.
        """
        if self.folder is None:
            yield
            return
        with locked(self.folder / RESULTS, _PATIENCE):
            for name in (RESULTS, PREDICTIONS):
                remove_leftovers(self.folder / name, alone=True)
            if self._state() != self._seen:
                self._take_in(self.folder)
            yield

    def _state(self) -> object:
        """Tell one state of the folder's file from another: each is a file of its own."""
        assert self.folder is not None  # else there is none
        try:
            found = (self.folder / RESULTS).stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _take_in(self, folder: Path) -> None:
        """Read the folder, and put what this run computed in place of what it has of the same."""
        self._seen = self._state()
        if self._seen is None:  # there is none, or somebody has removed it
            return
        stored = read_facts(folder)
        check_kinds(folder / RESULTS, stored, _IDENTITY)
        if stored["study"] != self.study.facts["study"]:
            raise ParameterError(
                f"{folder} holds a benchmark of other images, labels, copies or folds; give "
                "another -o, or remove it"
            )
        entries = _read_entries(folder, stored, self.study)
        self.entries = []
        with _damage_named(folder):
            for entry in entries:
                _spell_out(entry, self.study)
                entry.facts["file"] = self._moved.get(entry.facts["key"], entry.facts["file"])
        for entry in [*entries, *self._own]:
            self._put(entry)
        optional = {"commands": [], "files": {}, **stored}  # of an earlier version
        check_kinds(folder / RESULTS, optional, {"commands": list, "files": dict})
        self.commands = list(dict.fromkeys([*map(str, optional["commands"]), *self.commands]))
        self._files = {**optional["files"], **self._files}

    @classmethod
    def read(cls, folder: Path) -> tuple[Results, dict[str, Any]]:
        """Read a folder as it is, and all that its JSON file says.

        The study has the images that were tested; those that were only trained on are not in the
        folder.

        Raises
        ------
        FormatError
            If a file is damaged, or lacks something, as one of an earlier version may.
        """
        path = folder / RESULTS
        stored = read_facts(folder)
        with _damage_named(folder):
            labels = _labels(folder / PREDICTIONS)
        check_kinds(path, stored, {**_STUDY_FACTS, "commands": list})
        check_items(path, "classes", stored["classes"], str)
        check_items(path, "copy_pairs", stored["copy_pairs"], list)
        facts = {name: stored[name] for name in _STUDY_FACTS}
        ids = sorted(labels)
        study = Study(np.array(ids), np.array([labels[id_] for id_ in ids]), None, facts)
        entries = _read_entries(folder, stored, study)
        check_kinds(path, facts["files"], {entry.facts["file"]: dict for entry in entries})
        for about in facts["files"].values():
            check_kinds(path, about, _ABOUT_FILE)
        return cls(folder, study, entries, stored["commands"]), stored

    def has(self, keys: Sequence[str], file: str) -> bool:
        """Tell whether there is an entry of one of these keys; it is of this file, then."""
        for entry in self.entries:
            if entry.facts["key"] in keys:
                # The same values, maybe by another path.
                entry.facts["file"] = self._moved[entry.facts["key"]] = file
                return True
        return False

    @property
    def computed(self) -> int:
        """Number of entries that this run computed."""
        return len(self._own)

    def add(self, entry: Entry) -> None:
        """Take in what was computed, in place of one of the same head, embedding and repeat."""
        self._own.append(entry)
        self._put(entry)

    def _put(self, entry: Entry) -> None:
        for place, other in enumerate(self.entries):
            if series_of(other) == series_of(entry) and _repeat(other) == _repeat(entry):
                self.entries[place] = entry
                return
        self.entries.append(entry)

    def save(self) -> None:
        """Write what there is so far, together with what other runs have put into the folder."""
        with self.updating():
            self.write()

    def write(self, more: Mapping[str, Any] | None = None) -> None:
        """Write both files while `updating`; each is replaced once both are whole.

        Raises
        ------
        OutputError
            If one of them can't be written; both stay as they were.
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
        with replacing(self.folder / RESULTS, tidy=False) as results:
            results.write_text(json.dumps(facts, indent=1), encoding="utf-8")
            self._write_table(self.folder / PREDICTIONS)  # replaced first: it may have more rows
        self._seen = self._state()

    def _write_table(self, path: Path) -> None:
        with (
            replacing(path, tidy=False) as fresh,
            fresh.open("w", newline="", encoding="utf-8") as file,
        ):
            # All texts in quotes: an id may hold what would else end a line.
            writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            writer.writerows(self._table())

    def _table(self) -> Iterator[list[Any]]:
        study = self.study
        yield [*_COLUMNS, *(f"p_{name}" for name in study.classes)]
        for entry in self.entries:
            facts = entry.facts
            named = [facts["head"], facts["embedding"], facts["repeat"]]
            for row in np.flatnonzero(entry.fold >= 0):
                yield [
                    str(study.ids[row]),
                    str(study.y[row]),
                    *named,
                    int(entry.fold[row]),
                    int(facts["tuned"]),
                    facts["key"],
                    study.classes[entry.predicted[row]],
                    *("" if np.isnan(p) else p for p in entry.probabilities[row].tolist()),
                ]


def read_facts(folder: Path) -> dict[str, Any]:
    """Read all that a folder's JSON file says.

    Raises
    ------
    FormatError
        If it isn't one, or of another version.
    """
    path = folder / RESULTS
    with _damage_named(folder):
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = stored["format"], stored["format_version"]
    if found != (FORMAT, FORMAT_VERSION):
        raise FormatError(
            f"{path} has format {found[0]} version {found[1]}, this tlfeatures reads version "
            f"{FORMAT_VERSION}: `pip install --upgrade tlfeatures`, or another -o"
        )
    return stored


def check_kinds(path: Path, facts: Any, kinds: Mapping[str, Any]) -> None:
    """Refuse facts that are missing, or of another kind than they were written as.

    Parameters
    ----------
    path : Path
        The file that they are in.
    facts : mapping, or what is there in place of one
    kinds : mapping of name to type

    Raises
    ------
    FormatError
        Naming the first one.
    """
    for name, kind in kinds.items():
        if not isinstance(facts, dict) or name not in facts:
            raise FormatError(
                f"{path} has no {name}: it is damaged, or of an earlier version or a run that did "
                f"not end; run its `tlfeatures benchmark ... -o {path.parent}` again, or into "
                "another folder"
            )
        if not isinstance(facts[name], kind):
            raise FormatError(
                f"{path} is damaged: its {name} is {str(facts[name])[:40]!r}; run the benchmark "
                "again into another folder"
            )


def check_items(path: Path, name: str, items: list[Any], kind: Any) -> None:
    """Refuse a list of which an item is of another kind than it was written as.

    Raises
    ------
    FormatError
    """
    for item in items:
        check_kinds(path, {name: item}, {name: kind})


@contextmanager
def _damage_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FormatError(f"{error.filename} can't be read: {error.strerror}") from error
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError, csv.Error) as error:
        why = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise FormatError(
            f"{folder} holds a damaged benchmark ({why}); run the benchmark again into another "
            "folder"
        ) from error


def _read_entries(folder: Path, stored: dict[str, Any], study: Study) -> list[Entry]:
    path = folder / RESULTS
    check_kinds(path, stored, _HEADS)
    for facts in stored["heads"]:
        check_kinds(path, facts, _ENTRY_FACTS)
        check_kinds(path, {"variants": 0, **facts}, {"variants": int})  # once it was not there
        check_kinds(path, facts["scores"], dict.fromkeys(SCORES, dict))
        for score in facts["scores"].values():
            check_kinds(path, score, _ENTRY_SCORE)
    with _damage_named(folder):
        return _entries(folder / PREDICTIONS, stored["heads"], study)


def _labels(path: Path) -> dict[str, str]:
    """Labels by id; the rows of the first entry have them all."""
    labels: dict[str, str] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["id"] in labels:
                break
            labels[line["id"]] = line["label"]
    return labels


def _entries(path: Path, facts: list[dict[str, Any]], study: Study) -> list[Entry]:
    n, classes = len(study.ids), {name: code for code, name in enumerate(study.classes)}
    place = {id_: row for row, id_ in enumerate(study.ids.tolist())}
    entries = {
        each["key"]: Entry(each, np.full(n, -1), np.full(n, -1), np.full((n, len(classes)), np.nan))
        for each in facts
    }
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            entry, row = entries.get(line["key"]), place[line["id"]]
            if entry is None:  # its entry was not written any more
                continue
            entry.fold[row] = int(line["fold"])
            entry.predicted[row] = classes[line["predicted"]]
            entry.probabilities[row] = [float(line[f"p_{name}"] or "nan") for name in classes]
    whole = [e for e in entries.values() if (e.fold >= 0).sum() == study.facts["tested"]]
    if len(whole) < len(entries):
        logger.warning("%s lacks rows of %d entries", path, len(entries) - len(whole))
    return whole
