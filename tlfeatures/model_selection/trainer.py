"""Running folds, on this machine or on workers of a cluster.

A fold is one unit of work on one thread, so the results don't depend on the number of jobs or on
the machine. Folds run in parallel, and the fits inside a fold do not: on a busy machine, threads
that wait for each other made small fits 50 times slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError
from tlfeatures.heads.class_weights import check_class_weights
from tlfeatures.heads.table import Grid
from tlfeatures.model_selection.duration import Duration, estimate_duration
from tlfeatures.model_selection.fit_warnings import Notices
from tlfeatures.model_selection.fold_scores import FoldResult
from tlfeatures.model_selection.fold_work import Task, fit_and_score, follow_epochs, score_points
from tlfeatures.model_selection.local_folds import LocalFolds

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Cluster
    from tlfeatures.model_selection.cluster_folds import ClusterFolds


class Trainer:
    """Runs folds in parallel. Each worker gets X once, and X is never copied for a fold.

    Parameters
    ----------
    data : Dataset
    n_jobs : int or None
        Number of folds that run at the same time. -1 means the number of cores.
    progress : callable of a number of folds, optional
        Called with the number, or fraction, of folds that were just finished.
    cluster : Cluster, optional
        Cluster whose workers run the folds, instead of `n_jobs` processes of this machine.
    meanwhile : callable, optional
        Called once, when the last folds run and a process has nothing to do.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        n_jobs: int | None = None,
        progress: Callable[[float], None] | None = None,
        cluster: Cluster | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        if n_jobs == 0:
            raise ParameterError("n_jobs is 0; expected 1 or more, or -1 for all cores")
        self.data = data
        self._rows = TrainingRows.of(data)
        self._n_jobs = n_jobs
        self._cluster = cluster
        self._progress = progress
        self._meanwhile = meanwhile
        self.notices = Notices()  # shared by all fits, so that a warning is logged only once

    def __enter__(self) -> Trainer:
        self._folds: LocalFolds | ClusterFolds
        if self._cluster is None:
            self._folds = LocalFolds(self._rows, effective_n_jobs(self._n_jobs))
        else:
            from tlfeatures.model_selection.cluster_folds import ClusterFolds

            self._folds = ClusterFolds(self._cluster, self._rows)
        self._folds.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._folds.__exit__(*details)

    def estimate(
        self,
        folds: Sequence[Fold],
        heads: Mapping[str, BaseEstimator],
        grids: Mapping[str, Grid],
        random_state: int | None,
    ) -> Duration | None:
        """Estimate how long heads take on all folds; see `estimate_duration`."""
        return estimate_duration(
            self._rows,
            folds,
            heads,
            grids=grids,
            processes=self._folds.threads,
            random_state=random_state,
        )

    def run(
        self, tasks: Sequence[Task], scoring: Sequence[str] | None
    ) -> list[dict[str, FoldResult]]:
        """Fit and score the heads of all tasks.

        Parameters
        ----------
        tasks : sequence of Task
        scoring : sequence of str, or None
            Names of scores in addition to `SCORES`. With None, the heads only predict labels.

        Returns
        -------
        list of dict of name to FoldResult
            One dict for each task.

        Raises
        ------
        ParameterError
            If a head can't be fitted or scored.
        """
        threads = self._folds.threads
        most = 1 if threads == 1 else max(2, -(-threads // max(len(tasks), 1)))
        parts = [self._parts(task, most) for task in tasks]
        all_parts = [part for of_task in parts for part in of_task]
        weight = len(tasks) / max(len(all_parts), 1)
        outcomes = iter(
            self.map(fit_and_score, all_parts, weight, np.array(self.data.classes), scoring)
        )
        results = [
            {name: result for _ in of_task for name, result in next(outcomes).items()}
            for of_task in parts
        ]
        self.notices.log(
            text for by_name in results for result in by_name.values() for text in result.warnings
        )
        return results

    def _parts(self, task: Task, most: int) -> list[Task]:
        """Divide the heads of a fold among cores.

        Each part computes the coordinates again. With more columns than training rows, this takes
        long, and the fold is not divided.
        """
        names = list(task.heads)
        wide = self.data.X.shape[1] > len(task.train) * (1 + self.data.n_variants)
        parts = 1 if wide else max(1, min(most, len(names)))
        return [
            replace(task, heads={name: task.heads[name] for name in names[part::parts]})
            for part in range(parts)
        ]

    def score_points(self, tasks: Sequence[Task], score: str) -> list[dict[str, list[float]]]:
        """Score each head with the parameters of every point of its grid (`Task.points`).

        Returns
        -------
        list of dict of name to list of float
            One dict for each task, with the score of each point; NaN if it is not defined.
        """
        results = self.map(score_points, tasks, 1.0, np.array(self.data.classes), score)
        return self._without_warnings(results)

    def follow_epochs(self, tasks: Sequence[Task]) -> list[dict[str, NDArray[np.float64]]]:
        """Train the heads of all tasks, and score them after each epoch.

        Returns
        -------
        list of dict of name to ndarray of shape (epochs, 4)
            One dict for each task. The columns are `EPOCH_SCORES`.
        """
        results = self.map(follow_epochs, tasks, 1.0, np.array(self.data.classes))
        return self._without_warnings(results)

    def _without_warnings(self, results: Sequence[tuple[Any, list[str]]]) -> list[Any]:
        self.notices.log(text for _, lines in results for text in lines)
        return [result for result, _ in results]

    def map(
        self, work: Callable[..., Any], tasks: Sequence[Task], weight: float, *shared: Any
    ) -> list[Any]:
        """Call `work` for all tasks in parallel, and return the results in order.

        Parameters
        ----------
        work : callable (Task, TrainingRows, *shared)
            In the task that it gets, `train` has indices of `TrainingRows`, which include variants.
        tasks : sequence of Task
            Tasks whose `train` has indices of images.
        weight : float
            Number of folds that each finished task adds to the progress.
        *shared
            Further arguments of `work`.

        Raises
        ------
        ParameterError
            If a head has a weight for a class that doesn't exist.
        Exception
            The first exception of `work`. It is raised after all tasks have ended.
        """
        heads = {name: head for task in tasks for name, head in task.heads.items()}
        for name, head in heads.items():
            check_class_weights(name, head, self.data.classes)
        images = self._rows.of_images
        results = []
        failed: Exception | None = None
        calls = [(work, replace(task, train=images(task.train)), *shared) for task in tasks]
        threads = 0 if self._meanwhile is None else self._folds.threads
        # Reads all results, also after a failure.
        for waiting, result in zip(range(len(calls))[::-1], self._folds.map(calls), strict=True):
            if self._meanwhile is not None and waiting < threads:
                self._meanwhile()
                self._meanwhile = None
            if isinstance(result, Exception):
                failed = failed or result
                continue
            results.append(result)
            if self._progress is not None:
                self._progress(weight)
        if failed is not None:
            raise failed
        return results
