"""Many folds, many heads: what the heads of a fold share is done once, and the cores share folds.

Whatever the number of jobs, here or on a cluster, each fold is one unit of work on one thread, so
the numbers are the same. Small fits on two threads that spin for each other would cost a factor of
50 on a busy machine; folds side by side don't.
"""

from __future__ import annotations

import inspect
import logging
import os
import pickle
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.pipeline import Pipeline

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import ParameterError
from tlfeatures.heads.class_weights import check_class_weights, with_present
from tlfeatures.heads.coordinate_step import after_coordinates, uses_coordinates
from tlfeatures.heads.coordinates import FoldCoordinates, fold_coordinates
from tlfeatures.heads.variant_weights import shares
from tlfeatures.metrics.scores import SCORES, missing_scores, pooled_scores, without_images
from tlfeatures.model_selection.fit_warnings import Notices, collected
from tlfeatures.model_selection.workers import one_thread, start_worker

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Cluster
    from tlfeatures.model_selection.cluster_folds import ClusterFolds

logger = logging.getLogger(__name__)

LABEL_SCORES = SCORES[:3]  # these need no probabilities
EPOCH_SCORES = ("loss", "accuracy", "validation_loss", "validation_accuracy")

Columns = NDArray[np.floating[Any]]
Rows = NDArray[np.int_]
Point = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """One fold's work: heads to fit on its training rows and to try on its test rows.

    Attributes
    ----------
    train, test : ndarray of int
    heads : dict of name to classifier
    params : dict of name to parameters of the head's classifier, where it has others here
    points : dict of name to list of parameters
        If given, each point is fitted and gets one score: a step of tuning.
    """

    train: Rows
    test: Rows
    heads: dict[str, BaseEstimator]
    params: Mapping[str, Point] = field(default_factory=dict)
    points: Mapping[str, Sequence[Point]] | None = None


@dataclass(frozen=True, eq=False)
class FoldResult(EqualByValue):
    """What one head gave on one fold.

    Attributes
    ----------
    scores : dict of name to float
        NaN where a score is not defined.
    predicted : ndarray of shape (m,), int
        Places in the sorted classes.
    probabilities : ndarray of shape (m, k), float64
    seconds : float
    warnings : tuple of str
        Lines that were raised as warnings while the head was fitted and scored, with its name.
    reasons : dict of name to str
        Why a score is not defined.
    """

    scores: dict[str, float]
    predicted: NDArray[np.int_]
    probabilities: NDArray[np.float64]
    seconds: float
    warnings: tuple[str, ...]
    reasons: dict[str, str] = field(default_factory=dict)


Progress = Callable[[int, int], None]


class Counter:
    """Adds up the parts that a trainer says are done, for a progress of (done, total)."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0.0, total, progress

    def add(self, more: float) -> None:
        """Count what was just done."""
        self._done = min(self._done + more, self._total)
        if self._progress is not None:
            # Parts are halves and the like: 0.1 + 0.2 shall not be less than it is.
            self._progress(int(self._done + 1e-6), self._total)

    def finish(self) -> None:
        """Count what needn't be done as done."""
        self.add(self._total)


class Trainer:
    """Runs folds side by side; X is handed to the workers once, and never copied for a fold.

    Parameters
    ----------
    data : Dataset
    n_jobs : int or None
        Folds at once; -1: as many as there are cores.
    progress : callable of the number of folds just done, optional
    cluster : Cluster, optional
        Whose workers do the folds, in place of `n_jobs` processes of this machine.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        n_jobs: int | None = None,
        progress: Callable[[float], None] | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        if n_jobs == 0:
            raise ParameterError("n_jobs must be 1 or more, or -1 for all cores, got 0")
        self.data = data
        self._rows = TrainingRows.of(data)
        self._n_jobs = n_jobs
        self._cluster = cluster
        self._progress = progress
        self.notices = Notices()  # of all fits, so that each warning is logged once

    def __enter__(self) -> Trainer:
        self._folds: _LocalFolds | ClusterFolds
        if self._cluster is None:
            self._folds = _LocalFolds(self._rows, effective_n_jobs(self._n_jobs))
        else:
            from tlfeatures.model_selection.cluster_folds import ClusterFolds

            self._folds = ClusterFolds(self._cluster, self._rows)
        self._folds.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._folds.__exit__(*details)

    def run(
        self, tasks: Sequence[Task], scoring: Sequence[str] | None
    ) -> list[dict[str, FoldResult]]:
        """Fit every task's heads and score them; by None, only predict: no scores are computed."""
        threads = self._folds.threads
        most = 1 if threads == 1 else max(2, -(-threads // max(len(tasks), 1)))
        parts = [self._parts(task, most) for task in tasks]
        every = [part for parts_of in parts for part in parts_of]
        weight = len(tasks) / max(len(every), 1)
        outcomes = iter(self.each(_run, every, weight, np.array(self.data.classes), scoring))
        results = [
            {name: each for _ in parts_of for name, each in next(outcomes).items()}
            for parts_of in parts
        ]
        self.notices.log(
            text for result in results for each in result.values() for text in each.warnings
        )
        return results

    def _parts(self, task: Task, most: int) -> list[Task]:
        """Several of a fold where coordinates cost little, so that no core waits for others."""
        names = list(task.heads)
        wide = self.data.X.shape[1] > len(task.train) * (1 + self.data.n_variants)
        parts = 1 if wide else max(1, min(most, len(names)))
        return [
            replace(task, heads={name: task.heads[name] for name in names[part::parts]})
            for part in range(parts)
        ]

    def score_points(self, tasks: Sequence[Task], score: str) -> list[dict[str, list[float]]]:
        """Score what each point of each head's grid gives; NaN where the score is not defined."""
        found = self.each(_score_points, tasks, 1.0, np.array(self.data.classes), score)
        return self._without_warnings(found)

    def follow_epochs(self, tasks: Sequence[Task]) -> list[dict[str, NDArray[np.float64]]]:
        """Train every task's heads epoch by epoch: `EPOCH_SCORES` of shape (epochs, 4) each."""
        found = self.each(_follow_epochs, tasks, 1.0, np.array(self.data.classes))
        return self._without_warnings(found)

    def _without_warnings(self, found: Sequence[tuple[Any, list[str]]]) -> list[Any]:
        self.notices.log(text for _, said in found for text in said)
        return [result for result, _ in found]

    def each(
        self, work: Callable[..., Any], tasks: Sequence[Task], weight: float, *shared: Any
    ) -> list[Any]:
        """Give what `work` makes of each task, in order; the cores, or the workers, share them.

        Parameters
        ----------
        work : callable (Task, TrainingRows, *shared)
            The task's `train` are places of training rows, variants too.
        tasks : sequence of Task
        weight : float
            What the progress counts for each.
        *shared
            Passed on to `work`.

        Raises
        ------
        ParameterError
            If a head has the weight of a class that there isn't.
        Exception
            The first one that `work` raised, once all tasks are done.
        """
        for name, head in {
            name: head for task in tasks for name, head in task.heads.items()
        }.items():
            check_class_weights(name, head, self.data.classes)
        images = self._rows.of_images
        results = []
        failed: Exception | None = None
        calls = [(work, replace(task, train=images(task.train)), *shared) for task in tasks]
        for result in self._folds.each(calls):  # to the end, so that the next run begins afresh
            if isinstance(result, Exception):
                failed = failed or result
                continue
            results.append(result)
            if self._progress is not None:
                self._progress(weight)
        if failed is not None:
            raise failed
        return results


class _LocalFolds:
    """Processes of this machine, which read the same X."""

    def __init__(self, rows: TrainingRows, n_jobs: int) -> None:
        self.threads = n_jobs
        self._rows = rows
        self._parallel = Parallel(
            n_jobs=n_jobs,
            return_as="generator",
            initializer=start_worker,
            initargs=(os.getpid(),),
        )

    def __enter__(self) -> _LocalFolds:
        self._parallel.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._parallel.__exit__(*details)

    def each(self, calls: Sequence[Sequence[Any]]) -> Iterable[Any]:
        """Give what each (work, task, ...) makes of the rows, in order."""
        results: Iterable[Any] = self._parallel(
            delayed(_guarded)(self._rows, *call) for call in calls
        )
        return results


# ---- one fold


def _guarded(rows: TrainingRows, work: Callable[..., Any], task: Task, *shared: Any) -> Any:
    """What the work gives, or the parameter that it can't have."""
    try:
        return work(task, rows, *shared)
    except ParameterError as error:
        return error


def on_worker(packed: bytes, rows: TrainingRows) -> Any:
    """Do a fold on a worker of a cluster: a call of `_guarded`, pickled but for the rows.

    What it raises is given, too: errors that come by themselves are those of Dask.
    """
    call = pickle.loads(packed)
    try:
        # Else heads with joblib inside would send parts on.
        with one_thread(), parallel_config("sequential"):
            return _guarded(rows, *call)
    except Exception as error:
        return _sendable(error)


def _sendable(error: Exception) -> Exception:
    """The error, or its words where it can't be pickled and back: Dask would wait for ever."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class _Shared:
    """What the heads of a fold have in common, computed when the first one asks."""

    def __init__(self, X: Columns, train: Rows, test: Rows, users: int) -> None:
        self._X, self._train, self._test = X, train, test
        self._users = max(users, 1)
        self._coordinates: FoldCoordinates | None = None
        self._plain: tuple[Columns, Columns] | None = None
        self.seconds = 0.0

    def columns(self, head: BaseEstimator) -> tuple[BaseEstimator, Columns, Columns]:
        """Give the classifier that is left to fit, and its training and test columns."""
        if not uses_coordinates(head):
            if self._plain is None:
                self._plain = self._X[self._train], self._X[self._test]
            return after_coordinates(head), *self._plain
        if self._coordinates is None:
            started = time.perf_counter()
            self._coordinates = fold_coordinates(self._X, self._train, self._test)
            self.seconds = (time.perf_counter() - started) / self._users
        return after_coordinates(head), *self._coordinates.columns(head[0].n_components)


def _run(
    task: Task, rows: TrainingRows, classes: NDArray[np.str_], scoring: Sequence[str] | None
) -> dict[str, FoldResult]:
    users = sum(map(uses_coordinates, task.heads.values()))
    shared, y = _Shared(rows.X, task.train, task.test, users), rows.y
    results = {}
    with one_thread():
        for name, head in task.heads.items():
            rest, known, new = shared.columns(head)
            rest = clone(rest).set_params(**task.params.get(name, {}))
            with collected(name) as said:
                started = time.perf_counter()
                fit(rest, known, y[task.train], _told(rows, task.train), name)
                seconds = time.perf_counter() - started
                result = _scored(rest, new, y[task.test], classes, scoring)
            seconds += shared.seconds if uses_coordinates(head) else 0
            results[name] = replace(result, seconds=seconds, warnings=tuple(said))
    return results


def _score_points(
    task: Task, rows: TrainingRows, classes: NDArray[np.str_], score: str
) -> tuple[dict[str, list[float]], list[str]]:
    """Give the score of each point of each head, and the warnings."""
    shared, y = _Shared(rows.X, task.train, task.test, 1), rows.y
    told = _told(rows, task.train)
    scores: dict[str, list[float]] = {}
    warned: list[str] = []
    with one_thread():
        for name, points in (task.points or {}).items():
            rest, known, new = shared.columns(task.heads[name])
            with collected(name) as said:
                if score in LABEL_SCORES:  # these need no calibration
                    labels = _labels(rest, known, y[task.train], new, points, name, told)
                    scores[name] = [
                        _label_score(score, y[task.test], each, classes) for each in labels
                    ]
                else:
                    fitted = (
                        fit(clone(rest).set_params(**point), known, y[task.train], told, name)
                        for point in points
                    )
                    scores[name] = [
                        _scored(head, new, y[task.test], classes, [score]).scores[score]
                        for head in fitted
                    ]
            warned += said
    return scores, warned


def _follow_epochs(
    task: Task, rows: TrainingRows, classes: NDArray[np.str_]
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Give the scores of each head by epoch, and the warnings."""
    shared, y = _Shared(rows.X, task.train, task.test, 1), rows.y
    codes = np.searchsorted(classes, y)
    tables = {}
    warned: list[str] = []
    with one_thread():
        for name, head in task.heads.items():
            rest, known, new = shared.columns(head)
            rest = clone(rest).set_params(**task.params.get(name, {}))
            with collected(name) as said, _in_one_line(name):
                last, known, new = _up_to_last(rest, known, y[task.train], new)
                themselves = rows.variant[task.train] == 0
                sides = [
                    (known[themselves], codes[task.train][themselves]),
                    (new, codes[task.test]),
                ]
                told = _known_to(last.fit_epochs, _told(rows, task.train))
                with_present(last, y[task.train])
                epochs = last.fit_epochs(known, y[task.train], **told)
                scores = [_epoch_scores(last, sides, classes) for _ in epochs]
            tables[name] = np.array(scores)
            warned += said
    return tables, warned


def _up_to_last(
    head: BaseEstimator, X: Columns, y: NDArray[np.str_], X_new: Columns
) -> tuple[BaseEstimator, Columns, Columns]:
    """Fit what stands before the classifier; give this, and what it sees of both."""
    if not isinstance(head, Pipeline):
        return head, X, X_new
    if len(head) > 1:
        before = head[:-1]
        X, X_new = before.fit_transform(X, y), before.transform(X_new)
    return head[-1], X, X_new


def _labels(
    rest: BaseEstimator,
    known: Columns,
    y: NDArray[np.str_],
    new: Columns,
    points: Sequence[Point],
    name: str,
    told: Mapping[str, NDArray[Any] | None],
) -> Iterator[NDArray[Any]]:
    rest = with_present(clone(rest), y)
    if hasattr(rest, "predict_path"):
        asked = _known_to(rest.predict_path, told)
        yield from rest.predict_path(known, y, new, points, **asked)
        return
    for point in points:
        yield fit(clone(rest).set_params(**point), known, y, told, name).predict(new)


def fit(
    head: BaseEstimator,
    X: Columns,
    y: NDArray[np.str_],
    told: Mapping[str, NDArray[Any] | None] | None = None,
    name: str = "the head",
) -> BaseEstimator:
    """Fit; what scikit-learn says of a parameter's value becomes one line of ours.

    `told` are `groups`, `images` and `variant` of the rows, for classifiers that ask for them.
    """
    head = with_present(head, y)
    last = head[-1] if isinstance(head, Pipeline) else head
    step = "" if last is head else f"{head.steps[-1][0]}__"
    told = told or {}
    if isinstance(last, LogisticRegression):  # the others of ours weigh variants by themselves
        told = {**told, "sample_weight": shares(told.get("variant"))}
    known = _known_to(last.fit, told)
    with _in_one_line(name):
        return head.fit(X, y, **{f"{step}{key}": value for key, value in known.items()})


def fit_on_all(
    head: BaseEstimator, data: Dataset, name: str = "the head", notices: Notices | None = None
) -> BaseEstimator:
    """Fit a head on every image of a dataset, and on their variants.

    Warnings that the fit raises are logged, with the name of the head, if `notices` did not log
    them before.
    """
    check_class_weights(name, head, data.classes)
    rows = TrainingRows.of(data)
    with collected(name) as said:
        fitted = fit(head, rows.X, rows.y, _told(rows, np.arange(len(rows.y))), name)
    (notices or Notices()).log(said)
    return fitted


def _told(rows: TrainingRows, train: Rows) -> dict[str, NDArray[Any] | None]:
    """What a classifier may ask of the training rows beside their columns and labels."""
    groups = None if rows.together is None else rows.together[train]
    images = rows.image[train] if rows.variant.any() else None
    return {"groups": groups, "images": images, "variant": rows.variant[train]}


def _known_to(
    method: Callable[..., Any], told: Mapping[str, NDArray[Any] | None]
) -> dict[str, NDArray[Any]]:
    known = inspect.signature(method).parameters
    return {key: value for key, value in told.items() if key in known and value is not None}


@contextmanager
def _in_one_line(name: str) -> Iterator[None]:
    try:
        yield
    except ParameterError:
        raise
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"{name} can't be fitted: {reason}") from error


# ---- scores


def _scored(
    head: BaseEstimator,
    X: Columns,
    y: NDArray[np.str_],
    classes: NDArray[np.str_],
    scoring: Sequence[str] | None,
) -> FoldResult:
    predicted = np.searchsorted(classes, head.predict(X))
    if scoring is None:
        unknown = np.full((len(X), len(classes)), np.nan)
        return FoldResult({}, predicted, unknown, 0.0, ())
    table, codes = _probabilities(head, X, classes), np.searchsorted(classes, y)
    scores = _once(codes, predicted, table)
    reasons = missing_scores(codes, table, classes.tolist())
    for name in scoring:
        if name not in scores:
            scores[name], reason = _extra_score(name, head, X, y, classes)
            reasons |= {} if reason is None else {name: reason}
    return FoldResult(scores, predicted, table, 0.0, (), reasons)


def _once(codes: Rows, predicted: Rows, table: NDArray[np.float64]) -> dict[str, float]:
    """Score predictions, each image with the weight 1."""
    scores = pooled_scores(codes, predicted, table, np.ones((len(codes), 1)))
    return {name: float(value) for name, (value,) in scores.items()}


def _epoch_scores(
    head: BaseEstimator, sides: Sequence[tuple[Columns, Rows]], classes: NDArray[np.str_]
) -> list[float]:
    """Log loss and accuracy by hand: scikit-learn's checks would take longer than the epoch."""
    scores = []
    for X, codes in sides:
        table = _probabilities(head, X, classes)
        right = np.maximum(table[np.arange(len(codes)), codes], np.finfo(float).eps)
        scores += [float(-np.log(right).mean()), float((table.argmax(axis=1) == codes).mean())]
    return scores


def _label_score(
    name: str, y: NDArray[np.str_], labels: NDArray[Any], classes: NDArray[np.str_]
) -> float:
    unknown = np.full((len(y), len(classes)), np.nan)
    return _once(np.searchsorted(classes, y), np.searchsorted(classes, labels), unknown)[name]


_RATIOS = ("positive_likelihood_ratio", "neg_negative_likelihood_ratio")


def _extra_score(
    name: str, head: BaseEstimator, X: Columns, y: NDArray[np.str_], classes: NDArray[np.str_]
) -> tuple[float, str | None]:
    """Give a score of scikit-learn's, or NaN and the reason where it isn't defined in this fold.

    Raises
    ------
    ParameterError
        If it can't be computed though the fold lacks no class.
    """
    failed: Exception | None = None
    value = float("nan")
    with collected(f"scoring {name}") as said:
        try:
            value = float(get_scorer(name)(head, X, y))
        except (ValueError, AttributeError) as error:
            failed = error
    if said and name in _RATIOS:  # scikit-learn gives 1, the worst, where a ratio isn't defined
        value = float("nan")
    if not np.isnan(value):
        for text in said:  # on to those of the head
            warnings.warn(text, stacklevel=2)
        return value, None
    lacking = _lacking(head, y, classes)
    if failed is not None and lacking is None:
        reason = " ".join(str(failed).split())
        if "pos_label" in reason:
            reason = (
                "it needs to know which of the two classes is the positive one; take a score of "
                "both classes, such as f1_macro, precision_macro, recall_macro, roc_auc or log_loss"
            )
        raise ParameterError(f"scoring {name} can't be used here: {reason}") from failed
    return value, lacking or (said[0] if said else "the scorer gives no number")


def _lacking(head: BaseEstimator, y: NDArray[np.str_], classes: NDArray[np.str_]) -> str | None:
    """Say which classes a fold lacks, among its tested images or among its training images."""
    absent = classes[~np.isin(classes, y)].tolist()
    if absent:
        return without_images(absent)
    unknown = classes[~np.isin(classes, getattr(head, "classes_", classes))].tolist()
    return without_images(unknown).replace("tested", "training") if unknown else None


def _probabilities(
    head: BaseEstimator, X: Columns, classes: NDArray[np.str_]
) -> NDArray[np.float64]:
    """Columns of all classes, also of those that the training rows lacked; NaN without any."""
    if not hasattr(head, "predict_proba"):
        return np.full((len(X), len(classes)), np.nan)
    table = np.zeros((len(X), len(classes)))
    table[:, np.searchsorted(classes, head.classes_)] = head.predict_proba(X)
    # float32 inputs give float32 probabilities, whose sums miss one by more than log_loss allows.
    normalised: NDArray[np.float64] = table / table.sum(axis=1, keepdims=True)
    return normalised
