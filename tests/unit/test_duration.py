"""The estimate of how long heads take, by a clock that only fits move on."""

import logging
from unittest.mock import patch

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from tests.unit.data import dataset
from tlfeatures import benchmark
from tlfeatures.dataset.stratified_folds import cut
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.heads.table import make_head
from tlfeatures.model_selection import duration, fold_work
from tlfeatures.model_selection.duration import estimate_duration

CLOCK = [0.0]


class Slow(ClassifierMixin, BaseEstimator):
    """Guesses. Its fit takes (rows / 1,000) ** power seconds of the clock."""

    def __init__(self, power=1.0, C=1.0):
        self.power = power
        self.C = C

    def fit(self, X, y):
        CLOCK[0] += (len(X) / 1000) ** self.power
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


@pytest.fixture(autouse=True)
def clock():
    CLOCK[0] = 0.0
    with (
        patch.object(duration.time, "perf_counter", lambda: CLOCK[0]),
        patch.object(fold_work.time, "perf_counter", lambda: CLOCK[0]),
    ):
        yield


def estimated(n=15_000, heads=None, **options):
    data = dataset(n)
    rows = TrainingRows.of(data)
    return estimate_duration(rows, cut(data.y, None, 5, 0), heads or {"slow": Slow()}, **options)


def test_a_head_whose_time_grows_with_the_rows():
    """Five fits of 12,000 rows, each 12 seconds."""
    assert estimated().seconds == pytest.approx(60)


def test_a_head_whose_time_grows_with_the_square():
    found = estimated(heads={"linear": Slow(), "square": Slow(power=2)})
    assert found.of_head == {"square": pytest.approx(5 * 144), "linear": pytest.approx(60)}
    assert list(found.of_head) == ["square", "linear"]


def test_processes_share_the_folds():
    """With two processes, one of them has three of the five folds."""
    assert estimated(processes=2).seconds == pytest.approx(36)


def test_tuning_counts_every_point_in_every_inner_fold():
    """Each of three inner folds trains on two thirds of the rows of a fold."""
    found = estimated(grids={"slow": {"C": [1, 2, 3, 4]}})
    assert found.seconds == pytest.approx(60 * (1 + 3 * 2 / 3 * 4))


def test_a_rare_class_is_in_every_sample():
    """Calibration needs two images of each class."""
    y = np.array(["a", "b"] * 7500)
    y[:10] = "rare"
    rows = TrainingRows.of(dataset(15_000, y=y))
    folds, head = cut(y, None, 5, 0), {"ridge": make_head("ridge")}
    assert all(
        estimate_duration(rows, folds, head, random_state=seed) is not None for seed in range(5)
    )


def test_a_head_for_many_rows_has_a_constant_part():
    """Of 10 + rows / 1,000 seconds, only the second part grows."""

    class Blocks(Slow):
        def fit(self, X, y):
            CLOCK[0] += 10
            return super().fit(X, y)

    Blocks.__module__, Blocks.__qualname__ = "tlfeatures.heads.classifiers.block_x", "Blocks"
    assert estimated(heads={"blocks": Blocks()}).seconds == pytest.approx(5 * (10 + 12))


def test_many_classes_are_estimated_from_some_of_them():
    y = np.array([f"class{number % 500}" for number in range(15_000)])
    data = dataset(15_000, y=y)
    folds = cut(y, None, 5, 0)
    found = estimate_duration(TrainingRows.of(data), folds, {"slow": Slow()})
    assert found.seconds == pytest.approx(60 * 500 / 50)


def test_few_rows_have_no_estimate():
    assert estimated(n=5_000) is None
    assert estimated(n=5_000, grids={"slow": {"C": [1, 2]}}) is not None
    assert CLOCK[0] < 3


def test_a_head_that_fails_has_no_estimate():
    class Fails(Slow):
        def fit(self, X, y):
            raise ValueError("no")

    assert estimated(heads={"fails": Fails()}) is None
    assert list(estimated(heads={"fails": Fails(), "slow": Slow()}).of_head) == ["slow"]


def test_a_long_benchmark_warns_and_says_what_is_faster(caplog):
    data = dataset(15_000)
    heads = {"slow": Slow(power=2), "fast": Slow()}
    with caplog.at_level(logging.WARNING):
        benchmark(data, heads, n_jobs=1, cv=5)
    (line,) = [text for text in caplog.messages if "takes about" in text]
    assert line == (
        "fitting x.avg takes about 13 minutes (slow 92 %). It takes less time with "
        "fewer heads (--heads), fewer folds than 5 (--cv), more cores (--n-jobs, --cluster)"
    )


def test_a_short_benchmark_does_not_warn(caplog):
    with caplog.at_level(logging.WARNING):
        benchmark(dataset(15_000), {"fast": Slow()}, n_jobs=1, cv=5)
    assert not [text for text in caplog.messages if "takes about" in text]
