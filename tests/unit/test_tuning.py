"""Parameters are chosen inside the training fold, as GridSearchCV would."""

import logging

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV

from tests.unit.data import dataset
from tlfeatures import cross_validate, make_head
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.heads.table import head_grid
from tlfeatures.model_selection.cross_validation import cross_validate_heads
from tlfeatures.model_selection.folds import inner_folds, make_folds
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.model_selection.tuning import choose


class Spy(ClassifierMixin, BaseEstimator):
    """Keeps, in a list that clones share, what it was fitted on and what it was asked."""

    seen: list = []  # noqa: RUF012

    def __init__(self, value=1):
        self.value = value

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.fitted_on = set(X[:, 1].tolist())
        return self

    def predict(self, X):
        self.seen.append((self.fitted_on, set(X[:, 1].tolist())))
        # Half of the labels right with 1, all with 2.
        right = np.where(X[:, 0] > 0.5, "b", "a")
        return right if self.value == 2 else np.where(np.arange(len(X)) % 2, right, "a")


def test_the_outer_test_rows_are_never_seen_by_tuning():
    data = dataset(signal=100)
    data.X[:, 1] = np.arange(60)
    Spy.seen.clear()
    result = cross_validate(Spy(), data, grid={"value": [1, 2]})
    assert [choice.params for choice in result.choices] == [{"value": 2}] * 5
    assert len(Spy.seen) == 30 + 5
    inner, outer = Spy.seen[:30], Spy.seen[30:]
    folds = make_folds(data)[1]
    for number, (train, test) in enumerate(folds):
        for fitted, asked in inner[number * 6 : number * 6 + 6]:
            assert fitted | asked == set(train.tolist())
            assert not fitted & asked
        assert outer[number] == (set(train.tolist()), set(test.tolist()))


@pytest.mark.slow
def test_the_choice_is_that_of_grid_search():
    data = dataset(150, d=40, signal=1.0)
    folds = make_folds(data, cv=3)[1]
    for name in ("logreg", "knn", "lda"):
        grid = dict(head_grid(name))
        with Trainer(data) as trainer:
            choices = choose(
                trainer,
                {name: make_head(name)},
                {name: grid},
                [inner_folds(data.y, None, train, 0) for train, _ in folds],
            )
        for (train, _), chosen in zip(folds, choices, strict=True):
            inner = [
                (np.searchsorted(train, a), np.searchsorted(train, b))
                for a, b in inner_folds(data.y, None, train, 0)
            ]
            search = GridSearchCV(make_head(name), grid, cv=inner)
            search.fit(data.X[train], data.y[train])
            np.testing.assert_allclose(
                chosen[name].scores, search.cv_results_["mean_test_score"], atol=1e-12
            )
            assert list(chosen[name].params.values()) == list(search.best_params_.values())


def test_of_equal_points_the_simplest_is_taken():
    data = dataset(d=1, signal=1000)
    result = cross_validate(make_head("knn"), data, grid={"n_neighbors": [7, 5, 3]})
    assert [choice.params["n_neighbors"] for choice in result.choices] == [7] * 5


def test_the_end_of_a_grid_is_said(caplog):
    data = dataset(200, d=2, signal=1.5)
    with caplog.at_level(logging.INFO, logger="tlfeatures"):
        cross_validate(make_head("knn"), data, grid={"n_neighbors": [25, 2, 1]})
    assert "n_neighbors=25, an end of the grid, was chosen in" in caplog.text


def test_another_score_of_labels_can_decide():
    """Balanced accuracy doesn't let the rare class go."""
    data = dataset(200, signal=0)
    data.y[:] = np.where(np.arange(200) % 10 == 0, "b", "a")
    data.X[:, 0] += (data.y == "b") * 1.5
    grid = {"class_weight": [None, "balanced"]}
    chosen = [
        [c.params["class_weight"] for c in cross_validate(
            make_head("logreg"), data, grid=grid, scoring=scoring
        ).choices]
        for scoring in ("accuracy", "balanced_accuracy")
    ]  # fmt: skip
    assert chosen[0].count("balanced") < chosen[1].count("balanced") == 5


@pytest.mark.slow
def test_heads_without_a_grid_are_left_as_they_are():
    data = dataset()
    heads = make_heads(["centroid", "logreg"])
    grids = {name: head_grid(name) for name in heads}
    tuned = cross_validate_heads(heads, data, grids=grids)
    plain = cross_validate_heads(heads, data)
    assert tuned["centroid"].choices == ()
    np.testing.assert_array_equal(tuned["centroid"].probabilities, plain["centroid"].probabilities)
    assert len(tuned["logreg"].choices) == 5


@pytest.mark.slow
def test_same_numbers_whatever_the_jobs_and_the_company():
    """Some of the heads are tuned, others aren't."""
    data = dataset(60, d=20, classes="abc", copies=np.array([[0, 3], [9, 12]]))
    heads = make_heads("logreg,linear-svm,knn")
    heads["gradient-boosting"] = make_head("gradient-boosting", max_iter=3)
    heads["mlp"] = make_head("mlp", steps=20)
    grids = {name: two_points(name) for name in ("logreg", "knn", "gradient-boosting")}
    one, two = (cross_validate_heads(heads, data, grids=grids, n_jobs=n, cv=3) for n in (1, 2))
    for name, head in heads.items():
        np.testing.assert_array_equal(one[name].probabilities, two[name].probabilities)
        alone = cross_validate(head, data, grid=grids.get(name), cv=3)
        np.testing.assert_array_equal(one[name].probabilities, alone.probabilities)
        assert len(alone.choices) == (3 if name in grids else 0)


def two_points(name):
    """Give two values of the first parameter that is tuned."""
    parameter, values = next(iter(head_grid(name).items()))
    return {parameter: list(values)[:2]}
