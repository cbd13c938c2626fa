"""Folds side by side: X is shared, a fold has one thread, and what is shared is done once."""

import logging
import os
from dataclasses import replace

import numpy as np
import psutil
import pytest
from joblib.externals.loky import get_reusable_executor
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

from tests.unit.data import augmented, dataset
from tlfeatures import cross_validate, make_head
from tlfeatures.errors import ParameterError
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.model_selection import fold_work
from tlfeatures.model_selection.cross_validation import cross_validate_heads
from tlfeatures.model_selection.fold_work import Task
from tlfeatures.model_selection.local_folds import starting_processes
from tlfeatures.model_selection.trainer import Trainer


def kind_of_x(task, rows, *others):
    """What a worker is handed."""
    return type(rows.X).__name__, rows.X.dtype.name, rows.X.flags.writeable


@pytest.mark.slow
def test_workers_read_one_x(tmp_path):
    data = dataset(600, d=1000)  # 2.4 MB: worth sharing
    tasks = [Task(np.arange(5), np.arange(5, 9), {})] * 4
    with Trainer(data, n_jobs=2) as both:
        assert set(both.map(kind_of_x, tasks, 1.0)) == {("memmap", "float32", False)}
    with Trainer(data) as alone:
        assert set(alone.map(kind_of_x, tasks, 1.0)) == {("ndarray", "float32", True)}


def process_id(task, rows, *others):
    return os.getpid()


def workers():
    """Give the processes that run folds, not those that clean up after them."""
    every = psutil.Process().children(recursive=True)
    return {each.pid for each in every if "popen_loky" in " ".join(each.cmdline())}


def test_folds_run_in_processes_that_were_started_before():
    get_reusable_executor().shutdown(kill_workers=True)
    with starting_processes(2):
        pass
    ready = workers()
    tasks = [Task(np.arange(5), np.arange(5, 9), {})] * 4
    with Trainer(dataset(), n_jobs=2) as trainer:
        assert set(trainer.map(process_id, tasks, 1.0)) <= ready


@pytest.mark.parametrize("error", [ParameterError, KeyboardInterrupt])
def test_an_error_ends_the_processes_that_start(error, recwarn):
    get_reusable_executor().shutdown(kill_workers=True)
    others, started = workers(), set()

    def fail():
        started.update(workers() - others)
        raise error("wrong")

    with pytest.raises(error, match="wrong"), starting_processes(2):
        fail()
    assert len(started) == 2
    assert not workers() & started
    assert not recwarn
    tasks = [Task(np.arange(5), np.arange(5, 9), {})] * 4
    with Trainer(dataset(), n_jobs=2) as trainer:
        assert os.getpid() not in trainer.map(process_id, tasks, 1.0)


@pytest.mark.parametrize(("n_jobs", "before"), [(1, 5), (2, 4)])
def test_other_work_is_done_once_while_the_last_folds_run(n_jobs, before):
    done, when = [], []
    tasks = [Task(np.arange(5), np.arange(5, 9), {})] * 5
    with Trainer(
        dataset(), n_jobs=n_jobs, progress=done.append, meanwhile=lambda: when.append(len(done))
    ) as trainer:
        for _ in range(2):
            trainer.map(process_id, tasks, 1.0)
    assert when == [before - 1]  # the progress of that fold follows


class Threads(ClassifierMixin, BaseEstimator):
    """Asks for the threads that it may use."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_fold_has_one_thread(n_jobs):
    cross_validate(Threads(), dataset(), n_jobs=n_jobs)


def test_coordinates_are_computed_once_a_fold(monkeypatch):
    calls = []
    real = fold_work.fold_coordinates
    monkeypatch.setattr(
        fold_work, "fold_coordinates", lambda *rows: calls.append(rows) or real(*rows)
    )
    cross_validate_heads(make_heads("logreg,linear-svm,knn,ridge,lda,dummy"), dataset(), cv=3)
    assert len(calls) == 3


def test_any_classifier_sees_the_columns_as_they_are():
    data = dataset(90, d=4, classes="abc")
    plain = make_pipeline(StandardScaler(), LogisticRegression())
    found = cross_validate(plain, data)
    for number in range(5):
        train, test = found.fold != number, found.fold == number
        expected = plain.fit(data.X[train], data.y[train]).predict_proba(data.X[test])
        np.testing.assert_allclose(found.probabilities[test], expected, atol=1e-6)


def test_fits_that_stop_early_are_named_once(caplog):
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        cross_validate_heads({"hasty": make_head("logreg", C=1e4, max_iter=1)}, dataset())
    assert caplog.text.count("hasty: lbfgs failed to converge") == 1


def test_probabilities_have_a_column_for_every_class():
    """A class that a training fold lacks has probability 0 there."""
    data = dataset(60, classes="ab")
    data.y[:3] = "c"
    groups = np.array(["c"] * 3 + [f"{i}" for i in range(57)])
    found = cross_validate(make_head("logreg"), dataset(60, y=data.y, groups=groups), cv=3)
    alone = found.fold[0]
    assert (found.probabilities[found.fold == alone][:, 2] == 0).all()
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


class AlongPath(LogisticRegression):
    """A head of a user that predicts for all points of a grid at once."""

    def predict_path(self, X, y, X_new, points):
        for point in points:
            yield clone(self).set_params(**point).fit(X, y).predict(X_new)


class AlongPathOfImages(AlongPath):
    """It learns from images alone."""

    def predict_path(self, X, y, X_new, points, *, weight=1, variant=None):
        assert weight == 1
        yield from super().predict_path(X[variant == 0], y[variant == 0], X_new, points)


def test_a_path_gets_the_fit_arguments_that_it_accepts():
    data = augmented(60, noise=3.0)
    images = replace(data, variants=None)

    def scores(head, of):
        found = cross_validate(head, of, grid={"C": [1e-3, 1.0]}, cv=3)
        return np.array([choice.scores for choice in found.choices]).tolist()

    of_images = scores(LogisticRegression(), images)
    assert scores(AlongPath(), images) == of_images
    assert scores(AlongPathOfImages(), data) == of_images
    assert scores(AlongPath(), data) != of_images


def test_no_jobs_are_refused():
    with pytest.raises(ParameterError, match="n_jobs is 0; expected 1 or more"):
        Trainer(dataset(), n_jobs=0)
