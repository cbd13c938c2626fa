"""A trainer for heads that are sums over rows, whose rows stay in shards that workers read.

A few rounds over all rows give the results of all folds:

1. one for the moments of each part, from which ridge, LDA and centroid are solved here,
2. one for each step of logistic regression, for all folds at once,
3. one for the decisions of the rows that each fold tests, and one for those that calibrate.

Labels are those of `Trainer`, except for rounding and, in logistic regression, for the tolerance of
the solver. The probabilities of ridge and centroid differ a little: their inner folds are other
folds, and the rows that calibrate are a sample of at most 50,000 rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.features.cluster.client import Cluster
from tlfeatures.features.file.rows_in_shards import in_shards
from tlfeatures.heads.class_weights import check_class_weights
from tlfeatures.heads.table import Grid
from tlfeatures.model_selection.fit_warnings import collected
from tlfeatures.model_selection.fold_scores import FoldResult, score_head
from tlfeatures.model_selection.fold_work import Task
from tlfeatures.model_selection.head_fit import as_parameter_error
from tlfeatures.model_selection.sums.division import Division, Mask
from tlfeatures.model_selection.sums.fitted import (
    Held,
    fitted_classifier,
    is_sum,
    on_decisions,
    scaled_head,
)
from tlfeatures.model_selection.sums.losses import LogisticProblem, minimise_all
from tlfeatures.model_selection.sums.moments import Floats, Moments, TrainingSums
from tlfeatures.model_selection.sums.rounds import Rounds
from tlfeatures.model_selection.sums.solutions import CALIBRATED, CLOSED, WITH_PRODUCTS, Linear
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.threads import one_thread

CALIBRATION_ROWS = 50_000  # largest number of rows whose decisions calibrate a head
MOST_BYTES = 2**30  # of the products of columns in all parts

Heads = Mapping[str, BaseEstimator]


@dataclass(frozen=True, eq=False)
class _Solution:
    """Coefficients of a head on a training set.

    Attributes
    ----------
    rows : TrainingSums
    linear : (coef, intercept)
        Coefficients of standardised columns.
    iterations : int or None
        Number of steps of logistic regression.
    """

    rows: TrainingSums
    linear: Linear
    iterations: int | None = None

    @property
    def outputs(self) -> int:
        return len(self.linear[1])

    def on_columns(self, width: int) -> Floats:
        """Return the coefficients of columns minus the pivot, (width, d + 1), padded by zeros."""
        coef, intercept = self.linear
        raw = np.zeros((width, coef.shape[1] + 1))
        raw[: len(coef), :-1] = coef / self.rows.scale
        raw[: len(coef), -1] = intercept - raw[: len(coef), :-1] @ self.rows.shift
        return raw


class _Sums:
    """The sums over the rows of a dataset, from which heads are fitted on training sets.

    Parameters
    ----------
    cluster : Cluster
    data : Dataset
        Its rows are in shards.
    division : Division
    heads : mapping of name to head
        The heads that will be fitted.
    """

    def __init__(self, cluster: Cluster, data: Dataset, division: Division, heads: Heads) -> None:
        X = in_shards(data.X)
        assert X is not None  # as the parameter says
        self.data, self.division = data, division
        self.classes = np.array(data.classes)
        self.codes = np.searchsorted(self.classes, data.y)
        parts, k = division.counts.shape
        self.products = any(isinstance(head[-1], WITH_PRODUCTS) for head in heads.values())
        cells = parts * X.shape[1] * (X.shape[1] if self.products else k)
        self.rounds = Rounds(cluster, X, self.codes, division.part, 8 * cells)
        self.moments: Moments = self.rounds.moments(parts, k, products=self.products)
        self.width = 1 if k == 2 else k  # largest number of decisions of a head

    def training(self, trains: Mask, outer: TrainingSums | None = None) -> TrainingSums:
        return TrainingSums.of(
            self.moments,
            trains,
            self.division.counts,
            self.rounds.pivot,
            products=self.products,
            outer=outer,
        )

    def solve(self, heads: Heads, trains: Mask) -> list[dict[str, _Solution]]:
        """Return the coefficients of all heads on each training set, of masks (F, P)."""
        sets = [self.training(own) for own in trains]
        solutions: list[dict[str, _Solution]] = [{} for _ in sets]
        for name, head in heads.items():
            with as_parameter_error(name):
                for found, solution in zip(
                    solutions, self._each(head[-1], sets, trains), strict=True
                ):
                    found[name] = solution
        return solutions

    def _each(
        self, classifier: BaseEstimator, sets: Sequence[TrainingSums], trains: Mask
    ) -> list[_Solution]:
        if not isinstance(classifier, LogisticRegression):
            with one_thread():
                return [_Solution(rows, self._closed(classifier, rows)) for rows in sets]
        problems = [
            LogisticProblem(classifier, rows, self.classes[rows.present], len(self.classes))
            for rows in sets
        ]
        found = minimise_all(problems, trains, self.rounds.losses())
        return [
            _Solution(rows, linear, iterations)
            for rows, (linear, iterations) in zip(sets, found, strict=True)
        ]

    def _closed(self, classifier: BaseEstimator, rows: TrainingSums) -> Linear:
        return CLOSED[type(classifier)](classifier, rows, self.classes[rows.present])

    def decisions(
        self, jobs: Sequence[Mapping[str, _Solution]], rows: list[NDArray[np.int_]]
    ) -> list[dict[str, Floats]]:
        """Return the decisions of all heads of each job on its rows, each of shape (m, c)."""
        coef = np.stack(
            [np.concatenate([own.on_columns(self.width) for own in job.values()]) for job in jobs]
        )
        return [
            {
                name: table[:, place * self.width :][:, : own.outputs]
                for place, (name, own) in enumerate(job.items())
            }
            for job, table in zip(jobs, self.rounds.decisions(coef, rows), strict=True)
        ]

    def held_out(
        self, heads: Heads, trains: Mask, solutions: Sequence[Mapping[str, _Solution]]
    ) -> list[dict[str, Held]]:
        """Return decisions of held-out rows of each training set, for heads that are calibrated."""
        calibrated = {
            name: head for name, head in heads.items() if isinstance(head[-1], CALIBRATED)
        }
        if not calibrated:
            return [{} for _ in solutions]
        jobs: list[dict[str, _Solution]] = []
        rows: list[NDArray[np.int_]] = []
        of_set = []
        for number, (own, found) in enumerate(zip(trains, solutions, strict=True)):
            for inner, held in self.division.inner(own):
                sums = self.training(inner, next(iter(found.values())).rows)
                with one_thread():
                    jobs.append(
                        {
                            name: _Solution(sums, self._closed(head[-1], sums))
                            for name, head in calibrated.items()
                        }
                    )
                rows.append(self._sample[held[self.division.part[self._sample]]])
                of_set.append(number)
        tables = self.decisions(jobs, rows)
        return [
            {
                name: self._joined(
                    found[name].rows.present,
                    [(tables[job][name], rows[job]) for job, own in enumerate(of_set) if own == at],
                )
                for name in calibrated
            }
            for at, found in enumerate(solutions)
        ]

    def _joined(
        self, present: NDArray[np.int_], parts: Sequence[tuple[Floats, NDArray[np.int_]]]
    ) -> Held:
        decisions = np.concatenate([table for table, _ in parts])
        rows = np.concatenate([own for _, own in parts])
        return decisions, np.searchsorted(present, self.codes[rows])

    @cached_property
    def _sample(self) -> NDArray[np.int_]:
        """The rows whose decisions calibrate heads: all, or of very many a sample."""
        n = len(self.codes)
        if n <= CALIBRATION_ROWS:
            return np.arange(n)
        return np.sort(np.random.default_rng(0).choice(n, CALIBRATION_ROWS, replace=False))


class SumsTrainer(Trainer):
    """Fits heads that are sums over rows, whose rows stay in shards that workers read.

    Parameters
    ----------
    data : Dataset
        Its X is `RowsInShards`.
    cluster : Cluster
        Its workers see the shards under the same path as this process.
    progress : callable of a number of folds, optional
        See `Trainer`.
    random_state : int or None
        Seed of inner folds, if the folds can't be those.
    """

    def __init__(
        self,
        data: Dataset,
        cluster: Cluster,
        *,
        progress: Callable[[float], None] | None = None,
        random_state: int | None = 0,
    ) -> None:
        super().__init__(data, progress=progress, cluster=cluster)
        self._workers = cluster
        self._seed = random_state
        self._last: _Sums | None = None

    def estimate(
        self,
        folds: Sequence[Fold],
        heads: Heads,
        grids: Mapping[str, Grid],
        random_state: int | None,
    ) -> None:
        """Give no estimate: the time depends on the workers, and on how fast they read shards."""

    def run(
        self, tasks: Sequence[Task], scoring: Sequence[str] | None
    ) -> list[dict[str, FoldResult]]:
        """Fit and score the heads of all tasks; see `Trainer.run`. All tasks have the same heads.

        Raises
        ------
        ClusterError
            If the scheduler is lost, or several workers end during the same call.
        DatasetError
            If a value is not finite.
        FormatError, StoreError
            If a shard is missing, or was changed.
        ParameterError
            If a head can't be fitted or scored.
        """
        started = time.perf_counter()
        heads = tasks[0].heads
        for name, head in heads.items():
            check_class_weights(name, head, self.data.classes)
        division = self._division([(task.train, task.test) for task in tasks])
        sums = self._last = _Sums(self._workers, self.data, division, heads)
        self._add(len(tasks) / 2)
        solutions = sums.solve(heads, division.trains)
        held_out = sums.held_out(heads, division.trains, solutions)
        decisions = sums.decisions(solutions, [task.test for task in tasks])
        seconds = (time.perf_counter() - started) / (len(tasks) * len(heads))
        results: list[dict[str, FoldResult]] = [{} for _ in tasks]
        for place, task in enumerate(tasks):
            for name, head in heads.items():
                solution, held = solutions[place][name], held_out[place].get(name)
                classes = sums.classes[solution.rows.present]
                linear = on_decisions(solution.outputs)
                fitted = fitted_classifier(head[-1], classes, linear, held, solution.iterations)
                with collected(name) as lines, as_parameter_error(name, "predict"):
                    y = self.data.y[task.test]
                    result = score_head(fitted, decisions[place][name], y, sums.classes, scoring)
                lines += _unfinished(name, head[-1], solution)
                results[place][name] = replace(result, seconds=seconds, warnings=tuple(lines))
        self._add(len(tasks) / 2)
        self.notices.log(
            text for by_name in results for result in by_name.values() for text in result.warnings
        )
        return results

    def fit_on_all(self, name: str, head: BaseEstimator) -> Pipeline:
        """Fit a head on all rows.

        Parameters
        ----------
        name : str
            Name of the head in warnings and errors.
        head : Pipeline
            A head that is a sum over rows, see `is_sum`.

        Returns
        -------
        Pipeline
            A scaler and the fitted classifier, as `compact` returns them.

        Raises
        ------
        ClusterError, DatasetError, FormatError, StoreError, ParameterError
            See `run`.
        """
        heads, sums = {name: head}, self._last
        if sums is None or (isinstance(head[-1], WITH_PRODUCTS) and not sums.products):
            every = np.arange(len(self.data))
            sums = _Sums(self._workers, self.data, self._division([(every, every)]), heads)
        trains = sums.division.everything
        (solution,) = sums.solve(heads, trains)
        (held,) = sums.held_out(heads, trains, [solution])
        own = solution[name]
        self.notices.log(_unfinished(name, head[-1], own))
        fitted = fitted_classifier(
            head[-1], sums.classes, own.linear, held.get(name), own.iterations
        )
        return scaled_head(fitted, own.rows, sums.rounds.pivot)

    def _division(self, folds: list[Fold]) -> Division:
        codes = np.searchsorted(np.array(self.data.classes), self.data.y)
        return Division.of(folds, codes, self.data.together, self._seed)

    def _add(self, folds: float) -> None:
        if self._progress is not None:
            self._progress(folds)


def why_not_sums(
    data: Dataset, heads: Heads, folds: list[Fold], random_state: int | None
) -> str | None:
    """Say why heads can't be fitted by `SumsTrainer`; None if they can.

    Parameters
    ----------
    data : Dataset
    heads : mapping of name to head
    folds : list of (train rows, test rows)
    random_state : int or None
        See `SumsTrainer`.
    """
    if in_shards(data.X) is None:
        return f"the rows of {data.file} are not in shards"
    others = [name for name, head in heads.items() if not is_sum(head)]
    if others:
        return f"{', '.join(others)} can't be computed from sums over rows"
    codes = np.searchsorted(np.array(data.classes), data.y)
    division = Division.of(folds, codes, data.together, random_state)
    is_calibrated = any(isinstance(head[-1], CALIBRATED) for head in heads.values())
    if is_calibrated and not division.has_inner_folds():
        return "a class has too few images or groups for inner folds that are other folds"
    products = 8 * len(division.counts) * data.X.shape[1] ** 2
    needed = any(isinstance(head[-1], WITH_PRODUCTS) for head in heads.values())
    if needed and products > MOST_BYTES:
        return (
            f"the products of {data.X.shape[1]:,} columns in {len(division.counts)} parts of the "
            f"rows take {products / 2**30:,.1f} GB"
        )
    return None


def _unfinished(name: str, classifier: BaseEstimator, solution: _Solution) -> list[str]:
    """Warn, as scikit-learn does, if logistic regression took all of its steps."""
    if solution.iterations is None or solution.iterations < classifier.max_iter:
        return []
    return [f"{name}: lbfgs failed to converge after {solution.iterations} iteration(s)"]
