"""The work of one fold: fitting and scoring its heads. Shared columns are computed once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.heads.block_coordinates import BlockCoordinates
from tlfeatures.heads.blocks.rows import MatrixRows
from tlfeatures.heads.class_weights import with_present
from tlfeatures.heads.coordinate_step import (
    after_coordinates,
    reads_blocks,
    uses_block_coordinates,
    uses_coordinates,
)
from tlfeatures.heads.coordinates import FoldCoordinates, fold_coordinates
from tlfeatures.heads.fit_arguments import FitArguments
from tlfeatures.metrics.scores import LABEL_SCORES
from tlfeatures.model_selection.fit_warnings import collected
from tlfeatures.model_selection.fold_scores import (
    FoldResult,
    score_epoch,
    score_head,
    score_labels,
)
from tlfeatures.model_selection.head_fit import (
    Columns,
    Rows,
    as_parameter_error,
    fit_arguments,
    fit_head,
)
from tlfeatures.threads import one_thread

Point = Mapping[str, Any]
Classes = NDArray[np.str_]


@dataclass(frozen=True)
class Task:
    """Heads to fit on the training rows of a fold and to score on its test rows.

    Attributes
    ----------
    train : ndarray of int
        Indices of the training images. `Trainer.map` replaces them by indices of `TrainingRows`,
        which include the variants of these images, before the work starts.
    test : ndarray of int
        Indices of the test images.
    heads : dict of name to classifier
        Heads before they are fitted.
    params : dict of name to parameters
        Parameters of a head's classifier that differ in this fold.
    points : dict of name to list of parameters, optional
        The points of each head's grid, which `score_points` scores for tuning.
    """

    train: Rows
    test: Rows
    heads: dict[str, BaseEstimator]
    params: Mapping[str, Point] = field(default_factory=dict)
    points: Mapping[str, Sequence[Point]] | None = None


class _SharedColumns:
    """Columns that the heads of a fold share. They are computed when the first head needs them.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        All rows.
    train, test : ndarray of int
        Indices of rows.
    heads : iterable of classifier
        The heads, which share the time for the coordinates.
    """

    def __init__(self, X: Columns, train: Rows, test: Rows, heads: Iterable[BaseEstimator]) -> None:
        self._X, self._train, self._test = X, train, test
        self._rows = MatrixRows(X, train), MatrixRows(X, test)
        self._users = max(sum(map(uses_coordinates, heads)), 1)
        self._coordinates: FoldCoordinates | None = None
        self._plain: tuple[Columns, Columns] | None = None
        self._leading: dict[int | None, tuple[Columns, Columns]] = {}
        self.seconds = 0.0

    def columns(self, head: BaseEstimator) -> tuple[BaseEstimator, Any, Any]:
        """Return the steps of a head that are still to be fitted, and their columns."""
        if reads_blocks(head):
            return after_coordinates(head), *self._rows
        if uses_block_coordinates(head):
            return after_coordinates(head), *self._leading_coordinates(head[0].n_components)
        if not uses_coordinates(head):
            if self._plain is None:
                self._plain = self._X[self._train], self._X[self._test]
            return head, *self._plain
        if self._coordinates is None:
            started = time.perf_counter()
            self._coordinates = fold_coordinates(self._X, self._train, self._test)
            self.seconds = (time.perf_counter() - started) / self._users
        return after_coordinates(head), *self._coordinates.columns(head[0].n_components)

    def _leading_coordinates(self, count: int | None) -> tuple[Columns, Columns]:
        """Compute coordinates in blocks. They don't depend on what other heads use."""
        if count not in self._leading:
            started = time.perf_counter()
            coordinates = BlockCoordinates(count)
            train, test = self._rows
            self._leading[count] = coordinates.fit_transform(train), coordinates.transform(test)
            self.seconds += (time.perf_counter() - started) / self._users
        return self._leading[count]


def fit_and_score(
    task: Task, rows: TrainingRows, classes: Classes, scoring: Sequence[str] | None
) -> dict[str, FoldResult]:
    """Fit each head of a fold and score it; see `Trainer.run`."""
    shared, y = _SharedColumns(rows.X, task.train, task.test, task.heads.values()), rows.y
    arguments = fit_arguments(rows, task.train)
    results = {}
    with one_thread():
        for name, head in task.heads.items():
            rest, X_train, X_test = shared.columns(head)
            rest = clone(rest).set_params(**task.params.get(name, {}))
            with collected(name) as lines:
                started = time.perf_counter()
                fit_head(rest, X_train, y[task.train], arguments, name)
                seconds = time.perf_counter() - started
                with as_parameter_error(name, "predict"):
                    result = score_head(rest, X_test, y[task.test], classes, scoring)
            seconds += shared.seconds if uses_coordinates(head) else 0
            results[name] = replace(result, seconds=seconds, warnings=tuple(lines))
    return results


# ---- tuning


def score_points(
    task: Task, rows: TrainingRows, classes: Classes, score: str
) -> tuple[dict[str, list[float]], list[str]]:
    """Return the scores of all points of each head's grid, and warnings; see `Trainer`."""
    shared, y = _SharedColumns(rows.X, task.train, task.test, task.heads.values()), rows.y
    arguments = fit_arguments(rows, task.train)
    scores: dict[str, list[float]] = {}
    warnings: list[str] = []
    with one_thread():
        for name, points in (task.points or {}).items():
            rest, X_train, X_test = shared.columns(task.heads[name])
            with collected(name) as lines, as_parameter_error(name, "predict"):
                fits = _Fits(rest, X_train, y[task.train], points, arguments, name)
                if score in LABEL_SCORES:  # they need no probabilities, so no calibration
                    scores[name] = [
                        score_labels(score, y[task.test], labels, classes)
                        for labels in fits.labels(X_test)
                    ]
                else:
                    scores[name] = [
                        score_head(head, X_test, y[task.test], classes, [score]).scores[score]
                        for head in fits.heads()
                    ]
            warnings += lines
    return scores, warnings


@dataclass(frozen=True)
class _Fits:
    """Fits one head with the parameters of each point of its grid."""

    head: BaseEstimator
    X: Columns
    y: NDArray[np.str_]
    points: Sequence[Point]
    arguments: FitArguments
    name: str

    def heads(self) -> Iterator[BaseEstimator]:
        return self._fitted(self.head)

    def _fitted(self, head: BaseEstimator) -> Iterator[BaseEstimator]:
        for point in self.points:
            fresh = clone(head).set_params(**point)
            yield fit_head(fresh, self.X, self.y, self.arguments, self.name)

    def labels(self, X_test: Columns) -> Iterator[NDArray[Any]]:
        """Predict labels for each point. A head with `predict_path` does so in a single fit."""
        head = with_present(clone(self.head), self.y)
        if hasattr(head, "predict_path"):
            accepted = self.arguments.accepted_by(head, "predict_path")
            yield from head.predict_path(self.X, self.y, X_test, self.points, **accepted)
            return
        for fitted in self._fitted(head):
            yield fitted.predict(X_test)


# ---- epochs


def follow_epochs(
    task: Task, rows: TrainingRows, classes: Classes
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Return the scores of each head after each epoch, and warnings; see `Trainer`."""
    shared, y = _SharedColumns(rows.X, task.train, task.test, task.heads.values()), rows.y
    arguments = fit_arguments(rows, task.train)
    codes = np.searchsorted(classes, y)
    tables = {}
    warnings: list[str] = []
    with one_thread():
        for name, head in task.heads.items():
            rest, X_train, X_test = shared.columns(head)
            rest = clone(rest).set_params(**task.params.get(name, {}))
            with collected(name) as lines, as_parameter_error(name):
                last, X_train, X_test = _up_to_last(rest, X_train, y[task.train], X_test)
                is_image = rows.variant[task.train] == 0
                sides = [
                    (X_train[is_image], codes[task.train][is_image]),
                    (X_test, codes[task.test]),
                ]
                with_present(last, y[task.train])
                accepted = arguments.accepted_by(last)
                epochs = last.fit_epochs(X_train, y[task.train], **accepted)
                scores = [score_epoch(last, sides, classes) for _ in epochs]
            tables[name] = np.array(scores)
            warnings += lines
    return tables, warnings


def _up_to_last(
    head: BaseEstimator, X_train: Columns, y: NDArray[np.str_], X_test: Columns
) -> tuple[BaseEstimator, Columns, Columns]:
    """Fit the steps before the classifier; return the classifier and its columns."""
    if not isinstance(head, Pipeline):
        return head, X_train, X_test
    if len(head) > 1:
        before = head[:-1]
        X_train, X_test = before.fit_transform(X_train, y), before.transform(X_test)
    return head[-1], X_train, X_test
