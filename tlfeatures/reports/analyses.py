"""What reports and plots compute beside the benchmark itself; its folder keeps it, as JSON.

A benchmark's folder says what it was computed from. Its embeddings file is read again only where
it still holds the very images, labels and values, so that all that a page shows belongs together.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.comparison import Rank
from tlfeatures.benchmarking.run import Benchmark, as_aligned
from tlfeatures.benchmarking.store import Entry, digest_of_images, fingerprint, versions
from tlfeatures.dataset.dataset import Dataset, load_dataset
from tlfeatures.dataset.labels import is_table
from tlfeatures.dataset.stratified_folds import Fold, folds_of
from tlfeatures.errors import BusyError, DatasetError, OutputError, ParameterError
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.files import replace_file
from tlfeatures.heads.table import ALIASES, HEADS, make_head, plain_params
from tlfeatures.locks import locked
from tlfeatures.model_selection.audit import Audit, audit
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.learning_curve import LearningCurve, measure_curve
from tlfeatures.model_selection.training_curve import (
    TrainingCurve,
    training_curve,
    trains_in_epochs,
)
from tlfeatures.names import unknown_name
from tlfeatures.reports.diagnostics import EmbeddingMap, OutOfFold, embedding_map

logger = logging.getLogger(__name__)

KEPT = "analyses.json"
MOST_IMAGES = 5000  # that a map shows; more can't be told apart
_PATIENCE = 60.0  # seconds, for another page that is being written

Place = tuple[str, str, int]
Steps = Callable[[str, int, int], None]
Kept = TypeVar("Kept", LearningCurve, TrainingCurve, Audit)


class Analyses:
    """Learning curve, epochs, audit and map of a benchmark, each computed when it is asked for.

    Parameters
    ----------
    benchmark : Benchmark
    datasets : mapping of (file, embedding, variants) to Dataset, optional
        Those at hand; others are loaded from the benchmark's files.
    n_jobs : int or None
        Folds fitted at once; the results don't depend on it.
    progress : callable of (what, done, total), optional
    """

    def __init__(
        self,
        benchmark: Benchmark,
        datasets: Mapping[Place, Dataset] | None = None,
        *,
        n_jobs: int | None = -1,
        progress: Steps | None = None,
    ) -> None:
        self.benchmark = benchmark
        self._datasets = dict(datasets or {})
        self._n_jobs, self._progress = n_jobs, progress
        self._entries = {entry.facts["key"]: entry for entry in benchmark.entries}

    # ---- which head

    def rank(self, head: str | None = None, embedding: str | None = None) -> Rank:
        """Give the best rank of a head and an embedding, or of any (see `ranks`)."""
        return self.ranks(head, embedding)[0]

    def ranks(self, head: str | None = None, embedding: str | None = None) -> list[Rank]:
        """Give the ranks of a head and an embedding, best first.

        `head` is a name as it is ranked (`logreg (5 variants)`), or else that of a head, of which
        there may be several.

        Raises
        ------
        ParameterError
            If the benchmark has none such, naming what it has.
        """
        ranking = self.benchmark.comparison.ranking
        head = None if head is None else ALIASES.get(head, head)
        for name, wanted in (("embedding", embedding), ("head", head)):
            found = [rank for rank in ranking if wanted in (None, *_names(rank, name))]
            if not found:
                known = dict.fromkeys(_names(rank, name)[0] for rank in ranking)
                raise unknown_name(f"{name} of this benchmark named", str(wanted), known)
            # A name as it is ranked may be another's, too: that of the head without its variants.
            ranking = [rank for rank in found if wanted == _names(rank, name)[0]] or found
        return ranking

    @staticmethod
    def in_epochs(ranking: Iterable[Rank]) -> Rank | None:
        """Give the first rank whose head trains in epochs, if any."""
        return next((rank for rank in ranking if _in_epochs(rank.head)), None)

    def entry(self, rank: Rank) -> Entry:
        """Give a rank's entry of the first repeat."""
        return self._entries[rank.keys[0]]

    def predictions(self, rank: Rank) -> OutOfFold:
        """Give a rank's out-of-fold predictions of the first repeat."""
        return OutOfFold.of(self.benchmark.study, self.entry(rank))

    # ---- the data

    def dataset(self, rank: Rank) -> Dataset:
        """Give the dataset that a rank was computed on, loaded again if need be.

        Raises
        ------
        ParameterError
            If its file isn't there.
        DatasetError
            If the file holds something else by now.
        """
        facts = self.entry(rank).facts
        place = facts["file"], facts["embedding"], facts.get("variants", 0)
        if place not in self._datasets:
            self._datasets[place] = self._load(*place, facts)
        return self._datasets[place]

    def find(self, file: str) -> str:
        """Find a file where the benchmark saw it, or beside the benchmark's folder."""
        beside = [] if self.benchmark.out is None else [Path(self.benchmark.out).resolve()]
        folders = [Path(), *beside, *(folder.parent for folder in beside)]
        places = [Path(file), *(folder / Path(file).name for folder in folders)]
        for path in places:
            if path.is_file():
                return str(path)
        raise ParameterError(
            f"the file {file} isn't there; run this where the benchmark was run, or put "
            "the file beside the benchmark's folder"
        )

    def _load(self, file: str, embedding: str, variants: int, entry: Mapping[str, Any]) -> Dataset:
        facts = self.benchmark.study.facts
        data = load_dataset(
            self.find(file),
            embedding,
            self._labels(),
            groups=self._groups(),
            label_level=facts["label_level"],
            label_columns=facts["label_columns"],
            near_duplicates=None,
            variants=variants,
        )
        others = {name: read_header(self.find(name)) for name in facts["files"] if name != file}
        data = as_aligned(data, file, others, facts["file"])
        data = _with_copies(data, facts["copy_pairs"])
        if digest_of_images(data) != facts["study"][:16] or fingerprint(data) != entry["matrix"]:
            if facts["labels_given"] and facts["tested"] < facts["images"]:
                raise DatasetError(
                    "the labels were given in Python, and the folder has only those of the images "
                    "that were tested"
                )
            raise DatasetError(
                f"{file} or its labels are no longer what the benchmark was computed from; run the "
                "benchmark again into a new folder"
            )
        return data

    def _labels(self) -> Any:
        """A path; None for the folders; those that were given in Python, as far as known."""
        study = self.benchmark.study
        if study.facts["labels_given"]:
            return dict(zip(study.ids.tolist(), study.y.tolist(), strict=True))
        path = study.facts["labels"]
        return None if path is None else self.find(path)

    def _groups(self) -> str | None:
        """A path, or an expression."""
        groups: str | None = self.benchmark.study.facts["groups_from"]
        return self.find(groups) if groups is not None and is_table(groups) else groups

    # ---- what is computed

    def learning_curve(self, rank: Rank) -> LearningCurve:
        """Measure a head's accuracy against images a class (`tlfeatures.model_selection.learning_curve`)."""
        head, params = _own(rank.head), self._params(rank)
        seed = self.benchmark.study.facts["random_state"]

        def measure() -> LearningCurve:
            data = self.dataset(rank)
            return measure_curve(
                data,
                head,
                cv=self._folds_wanted(),
                params=params,
                n_jobs=self._n_jobs,
                random_state=seed,
                progress=self._told("learning curve"),
            )

        return self._kept(LearningCurve, [rank.keys, params], measure)

    def training(self, rank: Rank) -> TrainingCurve:
        """Follow a head epoch by epoch, on the benchmark's folds."""
        head = _own(rank.head)
        if not _in_epochs(head):
            raise ParameterError(
                f"{head} doesn't train in epochs; mlp does: add it to the benchmark, and give it"
            )
        entry = self.entry(rank)

        def measure() -> TrainingCurve:
            data = self.dataset(rank)
            split, folds = self._folds(data, entry)
            return training_curve(
                data,
                head,
                params=_changed(head, rank.params),
                folds=folds,
                split=split,
                chosen=entry.facts["chosen"],
                n_jobs=self._n_jobs,
                random_state=self.benchmark.study.facts["random_state"],
                progress=self._told("epochs"),
            )

        return self._kept(TrainingCurve, [rank.keys], measure)

    def audit(self, rank: Rank) -> Audit:
        """List what is probably wrong with the images (`tlfeatures.model_selection.audit`)."""
        facts, entry = self.benchmark.study.facts, self.entry(rank).facts

        def measure() -> Audit:
            # Says so if the file holds something else by now. The benchmark's images, no others.
            labels: dict[str, Any] = dict(_rows(self.dataset(rank)))
            return audit(
                self.find(entry["file"]),
                embedding=entry["embedding"],
                labels=labels,
                near_duplicates=facts["near_duplicates"],
                cv=self._folds_wanted(),
                n_jobs=self._n_jobs,
                random_state=facts["random_state"],
                progress=self._told("audit"),
            )

        return self._kept(Audit, [facts["study"], entry["matrix"]], measure)

    def map(self, rank: Rank, method: str = "pca") -> tuple[NDArray[np.int_], EmbeddingMap]:
        """Lay the embedding out on a plane.

        Returns
        -------
        rows : ndarray of int
            Of the rank's dataset, ascending; all of them, or an even sample of `MOST_IMAGES`.
        map : EmbeddingMap
            A point for each of these rows.
        """
        data, seed = self.dataset(rank), self.benchmark.study.facts["random_state"]
        rows = np.arange(len(data.y))
        if len(rows) > MOST_IMAGES:
            chosen = np.random.default_rng(seed).choice(rows, MOST_IMAGES, replace=False)
            rows = np.sort(chosen)
        return rows, embedding_map(data.X[rows], method, random_state=seed)

    def wrong(self, rank: Rank) -> NDArray[np.bool_]:
        """Tell which rows of its dataset a rank got wrong; those not tested are not."""
        predictions = self.predictions(rank)
        wrong: NDArray[np.bool_] = np.isin(
            self.dataset(rank).ids, predictions.ids[predictions.wrong]
        )
        return wrong

    # ---- how

    def _params(self, rank: Rank) -> dict[str, Any]:
        """The head's parameters; of those that tuning chose by fold, the most frequent."""
        chosen = Counter(json.dumps(each) for each in self.entry(rank).facts["chosen"])
        usual = json.loads(chosen.most_common(1)[0][0]) if chosen else {}
        names = {name.rpartition("__")[2]: value for name, value in usual.items()}
        return _changed(rank.head, {**rank.params, **names})

    def _folds_wanted(self) -> int:
        folds: int = self.benchmark.study.facts["folds"]
        return folds if folds > 1 else 5

    def _folds(self, data: Dataset, entry: Entry) -> tuple[str, list[Fold]]:
        """Folds as they were cut, told from which fold tested each image."""
        study = self.benchmark.study
        split: str = study.facts["split"]
        if split != "cv":
            return make_folds(data, split=split)
        if study.facts["tested"] != len(data.y) or not study.facts["others_train"]:
            raise ParameterError("the benchmark's folds were given in Python, and aren't known")
        place = {id_: row for row, id_ in enumerate(data.ids.tolist())}
        fold = np.empty(len(data.y), int)
        fold[[place[id_] for id_ in study.ids.tolist()]] = entry.fold
        return split, folds_of(fold)

    def _told(self, what: str) -> Callable[[int, int], None] | None:
        tell = self._progress
        return None if tell is None else lambda done, total: tell(what, done, total)

    def _kept(self, kind: type[Kept], parts: list[Any], measure: Callable[[], Kept]) -> Kept:
        """What the folder has of it; else it is measured, and kept."""
        key = hashlib.sha256(json.dumps([kind.__name__, parts, versions()]).encode()).hexdigest()
        kept = self._read()
        if key[:16] in kept:
            return kind.from_dict(kept[key[:16]])
        made = measure()
        self._keep(key[:16], made.to_dict())
        return made

    def _read(self) -> dict[str, Any]:
        if self.benchmark.out is None:
            return {}
        try:
            stored = json.loads((Path(self.benchmark.out) / KEPT).read_text("utf-8"))
            kept: dict[str, Any] = stored["kept"]
            whole = stored["sha256"] == _digest(kept)
        except (OSError, ValueError, TypeError, KeyError):  # not there yet, or cut off
            return {}
        return kept if whole else {}  # it is only a copy: what was damaged is computed again

    def _keep(self, key: str, facts: dict[str, Any]) -> None:
        """Add it to what the folder has, where other pages may be made at the same time."""
        if self.benchmark.out is None:
            return
        path = Path(self.benchmark.out) / KEPT
        try:
            with locked(path, _PATIENCE):
                kept = {**self._read(), key: facts}
                text = json.dumps({"sha256": _digest(kept), "kept": kept})
                replace_file(path, text.encode())
        except (OutputError, BusyError) as error:  # it can still be shown
            logger.info("what was computed for the page can't be kept: %s", error)


def _digest(kept: Any) -> str:
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()


def _names(rank: Rank, what: str) -> tuple[str, ...]:
    if what == "head":
        return rank.label, rank.head
    return rank.embedding, rank.embedding.rpartition(":")[2]


def _rows(data: Dataset) -> Iterator[tuple[str, LabelRow]]:
    nothing = [None] * len(data.y)
    groups = nothing if data.groups is None else data.groups.tolist()
    splits = nothing if data.split is None else data.split.tolist()
    for id_, *row in zip(data.ids.tolist(), data.y.tolist(), groups, splits, strict=True):
        yield id_, LabelRow(*row)


def _own(head: str) -> str:
    """A head of ours: the name of another one may be anything to import, and the folder is data."""
    if head not in HEADS:
        raise ParameterError(f"{head} is no head of this package, and isn't fitted again")
    return head


def _in_epochs(head: str) -> bool:
    return head in HEADS and trains_in_epochs(make_head(head))


def _changed(head: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Only the parameters that aren't the head's defaults."""
    usual = plain_params(make_head(head))
    return {name: value for name, value in params.items() if usual.get(name, ...) != value}


def _with_copies(data: Dataset, pairs: list[list[str]]) -> Dataset:
    """Take the benchmark's pairs of copies, which may have been found on another embedding."""
    place = {id_: row for row, id_ in enumerate(data.ids.tolist())}
    rows = [[place.get(i, -1), place.get(j, -1)] for i, j in pairs]
    copies = np.array([pair for pair in rows if -1 not in pair], np.int64).reshape(-1, 2)
    return replace(data, copies=copies)
