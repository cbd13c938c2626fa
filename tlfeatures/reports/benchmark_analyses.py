"""Analyses of a benchmark that need its embeddings: learning curve, epochs, audit and map."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.benchmark_result import Benchmark
from tlfeatures.benchmarking.comparison import Comparison, Rank
from tlfeatures.benchmarking.entries import Entry
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.errors import ParameterError
from tlfeatures.features.combined import COLON
from tlfeatures.heads.forms import is_for_many_rows
from tlfeatures.heads.identity import class_path
from tlfeatures.heads.parameters import plain_params
from tlfeatures.heads.table import ALIASES, HEADS, make_head
from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.model_selection.audit.audit import audit
from tlfeatures.model_selection.audit.results import Audit
from tlfeatures.model_selection.folds import LEAVE_ONE_GROUP_OUT
from tlfeatures.model_selection.learning_curve.measure import learning_curve
from tlfeatures.model_selection.learning_curve.results import LearningCurve
from tlfeatures.model_selection.training_curve import (
    TrainingCurve,
    training_curve,
    trains_in_epochs,
)
from tlfeatures.names import unknown_name
from tlfeatures.progress import Progress
from tlfeatures.reports.analysis_cache import AnalysisCache
from tlfeatures.reports.benchmark_data import BenchmarkData
from tlfeatures.reports.embedding_map import EmbeddingMap, sampled_map

Steps = Callable[[str, int, int], None]


class Analyses:
    """Learning curves, training curves, audits and maps of a benchmark, computed when needed.

    Learning curves, training curves and audits are stored in the benchmark's folder.

    Parameters
    ----------
    benchmark : Benchmark
    datasets : sequence of Dataset
        Datasets that are already loaded. Others are loaded from the benchmark's files.
    n_jobs : int or None
        Number of folds that are fitted at the same time. It does not change the results.
    progress : bool or callable of (analysis, done, total), optional
        See `report`.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        datasets: Sequence[Dataset] = (),
        *,
        n_jobs: int | None = -1,
        progress: bool | Steps | None = None,
    ) -> None:
        self.benchmark = benchmark
        self._data = BenchmarkData(benchmark, datasets)
        self._cache = AnalysisCache(benchmark.out)
        self._n_jobs, self._progress = n_jobs, progress

    # ---- heads

    def rank(self, head: str | None = None, embedding: str | None = None) -> Rank:
        """Return the best rank of a head and an embedding; None means any (see `ranks`)."""
        return self.ranks(head, embedding)[0]

    def ranks(self, head: str | None = None, embedding: str | None = None) -> list[Rank]:
        """Return the ranks of a head and an embedding, best first.

        `head` is a label in the ranking, such as `logreg (5 variants)`, or the name of a head,
        which may have several ranks.

        Raises
        ------
        ParameterError
            If the benchmark does not have the head or embedding. The message lists valid names.
        """
        return ranks_of(self.benchmark.comparison, head, embedding)

    @staticmethod
    def in_epochs(ranking: Iterable[Rank]) -> Rank | None:
        """Return the first rank whose head trains in epochs, or None."""
        return next((rank for rank in ranking if _in_epochs(rank.head)), None)

    def entry(self, rank: Rank) -> Entry:
        """Return a rank's entry of the first repeat."""
        return self.benchmark.entries_of(rank)[0]

    def predictions(self, rank: Rank) -> OutOfFold:
        """Return a rank's out-of-fold predictions of the first repeat."""
        return self.benchmark.predictions_of(rank)

    # ---- datasets

    def dataset(self, rank: Rank) -> Dataset:
        """Return the dataset that a rank was computed on (see `BenchmarkData.dataset`)."""
        return self._data.dataset(self.entry(rank).facts)

    def find(self, file: str) -> str:
        """Find a file of the benchmark (see `BenchmarkData.find`)."""
        return self._data.find(file)

    # ---- results

    def learning_curve(self, rank: Rank) -> LearningCurve:
        """Measure a head's accuracy against its number of training images."""
        head, params = self._own_head(rank), self._params(rank)
        seed = self.entry(rank).facts["random_state"]

        def measure() -> LearningCurve:
            data = self.dataset(rank)
            return learning_curve(
                data,
                head,
                cv=LEAVE_ONE_GROUP_OUT if self._one_for_each_group else self._folds_wanted(),
                params=params,
                n_jobs=self._n_jobs,
                random_state=seed,
                scale_from=_scale_from(rank),
                progress=self.progress_of("learning curve"),
            )

        return self._cache.get(LearningCurve, [rank.keys, params], measure)

    def training(self, rank: Rank) -> TrainingCurve:
        """Measure loss and accuracy of a head after each epoch, on the benchmark's folds."""
        head = self._own_head(rank)
        if not _in_epochs(head):
            raise ParameterError(
                f"{head} doesn't train in epochs; add mlp to the benchmark, and choose it with "
                "--head mlp"
            )
        study, entry = self.benchmark.study, self.entry(rank)

        def measure() -> TrainingCurve:
            return training_curve(
                self.dataset(rank),
                head,
                params=_changed(rank, rank.params),
                folds=study.folds,
                split=study.facts["split"],
                chosen=entry.facts["chosen"],
                n_jobs=self._n_jobs,
                random_state=entry.facts["random_state"],
                scale_from=_scale_from(rank),
                progress=self.progress_of("epochs"),
            )

        return self._cache.get(TrainingCurve, [rank.keys], measure)

    def audit(self, rank: Rank) -> Audit:
        """Find probable errors in the images and labels (see `tlfeatures.audit`)."""
        facts, entry = self.benchmark.study.facts, self.entry(rank).facts

        def measure() -> Audit:
            return audit(
                self.dataset(rank),
                cv=self._folds_wanted(),
                n_jobs=self._n_jobs,
                random_state=facts["random_state"],
                progress=self.progress_of("audit"),
            )

        return self._cache.get(Audit, [facts["study"], entry["matrix"]], measure)

    def map(self, rank: Rank, method: str = "pca") -> tuple[NDArray[np.int_], EmbeddingMap]:
        """Compute a map of the images of an embedding.

        Returns
        -------
        rows : ndarray of int
            Rows of the rank's dataset, ascending: all rows, or a random sample of `MOST_IMAGES`.
        map : EmbeddingMap
            Map with one point for each of these rows.
        """
        data, seed = self.dataset(rank), self.benchmark.study.facts["random_state"]
        return sampled_map(data.X, method, seed)

    def wrong(self, rank: Rank) -> NDArray[np.bool_]:
        """Return whether each row of a rank's dataset was tested and predicted wrong."""
        predictions = self.predictions(rank)
        wrong: NDArray[np.bool_] = np.isin(
            self.benchmark.study.ids, predictions.ids[predictions.wrong]
        )
        return wrong

    # ---- settings

    def _own_head(self, rank: Rank) -> str:
        """Return the head's name if it is in the table of heads.

        Other heads raise an error: creating them would import a module, and the data of a folder
        must not decide which modules are imported.
        """
        head, classifier = rank.head, self.entry(rank).facts["classifier"]
        many_rows = is_for_many_rows(classifier)
        if head not in HEADS or classifier != class_path(make_head(head, many_rows=many_rows)):
            raise ParameterError(f"{head} is not a head of this package, so it isn't fitted again")
        return head

    def _params(self, rank: Rank) -> dict[str, Any]:
        """Return the head's parameters. For tuned ones, these are the most frequent choices."""
        chosen = Counter(json.dumps(point) for point in self.entry(rank).facts["chosen"])
        usual = json.loads(chosen.most_common(1)[0][0]) if chosen else {}
        names = {name.rpartition("__")[2]: value for name, value in usual.items()}
        return _changed(rank, {**rank.params, **names})

    @property
    def _one_for_each_group(self) -> bool:
        """Whether each fold of the benchmark tests one group of the user."""
        facts = self.benchmark.study.facts
        return bool(facts["split"] == "cv" and facts["folds"] == facts["groups"])

    def _folds_wanted(self) -> int:
        folds: int = self.benchmark.study.facts["folds"]
        if self._one_for_each_group:
            return min(folds, 5)
        return folds if folds > 1 else 5

    def progress_of(self, analysis: str) -> bool | Progress | None:
        """Return the `progress` of one analysis, or of another step of a page."""
        progress = self._progress
        return partial(progress, analysis) if callable(progress) else progress


def ranks_of(
    comparison: Comparison, head: str | None = None, embedding: str | None = None
) -> list[Rank]:
    """Return the ranks of a head and an embedding; see `Analyses.ranks`."""
    ranking = comparison.ranking
    head = None if head is None else ALIASES.get(head, head)
    for name, wanted in (("embedding", embedding), ("head", head)):
        matches = [rank for rank in ranking if wanted in (None, *_names(rank, name))]
        if not matches:
            names = dict.fromkeys(_names(rank, name)[0] for rank in ranking)
            raise unknown_name(f"{name} of this benchmark named", str(wanted), names)
        # `logreg` is a name in the ranking, and also the head of `logreg (5 variants)`.
        ranking = [rank for rank in matches if wanted == _names(rank, name)[0]] or matches
    return ranking


def _names(rank: Rank, what: str) -> tuple[str, ...]:
    if what == "head":
        return rank.label, rank.head
    # The last part of an embedding that is joined over several files isn't its name.
    prefixes = rank.embedding.count(COLON)
    return rank.embedding, rank.embedding.rpartition(COLON)[2] if prefixes == 1 else rank.embedding


def _in_epochs(head: str) -> bool:
    return head in HEADS and trains_in_epochs(make_head(head))


def _scale_from(rank: Rank) -> int:
    """Return a number of training rows that gives a head the form of its rank again."""
    return 0 if is_for_many_rows(rank.classifier) else sys.maxsize


def _changed(rank: Rank, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that differ from the head's defaults."""
    usual = plain_params(make_head(rank.head, many_rows=is_for_many_rows(rank.classifier)))
    return {name: value for name, value in params.items() if usual.get(name, ...) != value}
