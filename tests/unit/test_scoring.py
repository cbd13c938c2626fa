"""Heads are ranked, and parameters chosen, by the score that was asked for."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from tests.fakes import write_image
from tests.unit.data import dataset
from tlfeatures import Model, cross_validate, extract, fit, make_head
from tlfeatures.errors import ParameterError
from tlfeatures.heads.table import head_grid
from tlfeatures.model_selection.folds import inner_folds, make_folds


class Majority(ClassifierMixin, BaseEstimator):
    """Gives labels and no probabilities."""

    def __init__(self, value=1):
        self.value = value

    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.label_ = self.classes_[counts.argmax()]
        return self

    def predict(self, X):
        return np.full(len(X), self.label_)


SCORERS = {"log_loss": "neg_log_loss", "roc_auc": "roc_auc", "accuracy": "accuracy"}


@pytest.fixture
def lacking(tmp_path):
    """Three classes, one of them a single group: every fold but one lacks it."""
    rows = ["id,group"]
    for label, bias in (("a", 0), ("b", 60), ("c", 120)):
        for number in range(10):
            path = tmp_path / "photos" / label / f"{number}.png"
            write_image(path, seed=bias * 100 + number)
            group = "c" if label == "c" else f"{label}{number}"
            rows.append(f"{label}/{number}.png,{group}")
    (tmp_path / "groups.csv").write_text("\n".join(rows))
    extract(tmp_path / "photos", tmp_path / "x.h5", backbone="pixels", size=16)
    return tmp_path / "x.h5", tmp_path / "groups.csv"


@pytest.mark.parametrize("heads", [["dummy", "ridge"], ["ridge", "dummy"]])
@pytest.mark.slow
def test_where_a_fold_lacks_a_class_the_pooled_score_ranks(lacking, heads):
    file, groups = lacking
    report = fit(file, heads, groups=groups, scoring="roc_auc")
    assert all(None in rank.scores["roc_auc"]["folds"] for rank in report.ranking)
    pooled = {rank.head: rank.scores["roc_auc"]["interval"] for rank in report.ranking}
    ranked = [each.head for each in report.ranking]
    again = fit(file, heads[::-1], groups=groups, scoring="roc_auc")
    assert [each.head for each in again.ranking] == ranked
    assert all(interval is not None for interval in pooled.values())


def test_a_score_that_no_head_has_is_one_line(lacking):
    file, _ = lacking
    with pytest.raises(ParameterError, match=r"log_loss is not defined .* --scoring accuracy"):
        fit(file, ["tests.unit.test_scoring:Majority"], scoring="log_loss")


@pytest.mark.parametrize(
    ("name", "scoring"),
    [
        *(("logreg", "accuracy"), ("logreg", "log_loss"), ("knn", "roc_auc"), ("lda", "log_loss")),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in (
                *(("logreg", "roc_auc"), ("knn", "accuracy"), ("knn", "log_loss")),
                *(("lda", "accuracy"), ("lda", "roc_auc")),
            )
        ),
    ],
)
def test_parameters_are_chosen_by_the_score_that_was_asked_for(name, scoring):
    """As scikit-learn's grid search does on the same inner folds."""
    data = dataset(120, d=20, signal=1.5)
    grid = {key: values[:3] for key, values in head_grid(name).items()}
    found = cross_validate(make_head(name), data, cv=2, grid=grid, scoring=scoring)
    for (train, _), choice in zip(make_folds(data, cv=2)[1], found.choices, strict=True):
        inner = [
            (np.searchsorted(train, known), np.searchsorted(train, held))
            for known, held in inner_folds(data.y, None, train, 0)
        ]
        search = GridSearchCV(make_head(name), grid, cv=inner, scoring=SCORERS[scoring])
        search.fit(data.X[train], data.y[train])
        sign = -1 if scoring == "log_loss" else 1
        expected = sign * search.cv_results_["mean_test_score"]
        np.testing.assert_allclose(sorted(choice.scores), sorted(expected), atol=1e-4)
        assert sign * choice.score == pytest.approx(search.best_score_, abs=1e-4)


def test_parameters_are_not_chosen_by_a_score_that_is_not_defined():
    data = dataset(60)
    with pytest.raises(ParameterError, match=r"can't be tuned by log_loss.*--scoring accuracy"):
        cross_validate(Majority(), data, grid={"value": [1, 2]}, scoring="log_loss")


class Unsure(Majority):
    """Has probabilities that are no numbers, but for a value of 2."""

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 0.5 if self.value == 2 else np.nan)


def test_a_point_without_the_score_is_not_chosen():
    found = cross_validate(Unsure(), dataset(60), grid={"value": [1, 2, 3]}, scoring="log_loss")
    assert [choice.params for choice in found.choices] == [{"value": 2}] * 5


@pytest.mark.parametrize("name", ["logreg", "ridge", "lda", "knn"])
def test_a_model_leaves_the_head_that_it_was_given_alone(name):
    data = dataset(60, d=80)
    head = make_head(name)
    model = Model.fit(head, data)
    with pytest.raises(NotFittedError):
        head.predict_proba(data.X)
    fitted = make_head(name).fit(data.X, data.y)
    before = fitted.predict_proba(data.X)
    Model.fit(fitted, data)
    np.testing.assert_array_equal(fitted.predict_proba(data.X), before)
    np.testing.assert_allclose(model.predict_proba(data.X), before, atol=1e-4)
