from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import GroupKFold, KFold

from tests.unit.data import dataset
from tlfeatures import cross_validate, make_head
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.model_selection.folds import make_folds


class Spy(ClassifierMixin, BaseEstimator):
    """Remembers, in a list that clones share, the first column of what it was fitted on."""

    fitted_on: list = []  # noqa: RUF012

    def fit(self, X, y):
        self.fitted_on.append(set(X[:, 0].tolist()))
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        assert not self.fitted_on[-1] & set(X[:, 0].tolist()), "a tested row was fitted on"
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def test_no_row_is_tested_by_a_head_that_saw_it():
    Spy.fitted_on.clear()
    result = cross_validate(Spy(), dataset())
    assert len(Spy.fitted_on) == 5
    assert sorted(np.bincount(result.fold)) == [12] * 5


def test_scores_are_scikit_learns_on_each_fold():
    data = dataset(classes="abc", n=90)
    result = cross_validate(make_head("logreg"), data)
    for number in range(5):
        rows = result.fold == number
        y, table = data.y[rows], result.probabilities[rows]
        predicted = result.classes[table.argmax(axis=1)]
        expected = {
            "accuracy": accuracy_score(y, predicted),
            "balanced_accuracy": balanced_accuracy_score(y, predicted),
            "f1_macro": f1_score(y, predicted, average="macro"),
            "log_loss": log_loss(y, table, labels=result.classes),
            "roc_auc": roc_auc_score(y, table, multi_class="ovr"),
        }
        for name, value in expected.items():
            assert result.scores[name]["folds"][number] == pytest.approx(value)


@pytest.mark.parametrize(("name", "repeats", "within"), [("logreg", 6, 0.08), ("svm", 2, 0.13)])
def test_random_labels_give_chance(name, repeats, within):
    data = dataset(n=200, d=200, signal=0)
    accuracies = []
    for seed in range(repeats):
        shuffled = replace(data, y=np.random.default_rng(seed).permutation(data.y))
        accuracies.append(cross_validate(make_head(name), shuffled).scores["accuracy"]["score"])
    assert abs(np.mean(accuracies) - 0.5) < within  # 4 standard errors


def test_same_seed_same_numbers():
    data = dataset()
    first, second = (cross_validate(make_head("svm"), data, cv=3, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    other = cross_validate(make_head("svm"), data, cv=3, random_state=4)
    assert (first.fold != other.fold).any()


def test_groups_are_never_torn_apart():
    groups = np.array([f"g{i // 6}" for i in range(60)])
    result = cross_validate(make_head("logreg"), dataset(groups=groups))
    for group in np.unique(groups):
        assert len(set(result.fold[groups == group])) == 1


@pytest.mark.parametrize(
    ("names", "asked", "chosen"),
    [
        (["train", "val"], "auto", "val"),
        (["train", "test"], "auto", "test"),
        (["train", "val", "test"], "auto", "val"),
        (["train", "val", "test"], "test", "test"),
        (["train", "val"], "cv", "cv"),
        (["train"], "auto", "cv"),
    ],
)
def test_given_splits_are_used(names, asked, chosen):
    split = np.array([names[i % len(names)] for i in range(60)])
    y = np.array(list("ab") * 30)[np.random.default_rng(0).permutation(60)]
    data = dataset(split=split, y=y)
    result = cross_validate(make_head("logreg"), data, split=asked)
    assert result.split == chosen
    if chosen != "cv":
        assert (result.fold == np.where(split == chosen, 0, -1)).all()
        assert np.isnan(result.probabilities[split != chosen]).all()
        assert result.scores["accuracy"]["std"] is None


def test_a_given_cv_is_used_in_place_of_splits():
    split = np.array(["train", "train", "val"] * 20)
    assert cross_validate(make_head("logreg"), dataset(split=split), cv=3).split == "cv"
    assert make_folds(dataset(split=split), cv=KFold(4))[0] == "cv"


def test_groups_on_both_sides_of_a_given_split_are_named():
    split = np.array(["train", "train", "val"] * 20)
    groups = np.array([f"g{i // 6}" for i in range(60)])
    y = np.array(list("ab") * 30)[np.random.default_rng(0).permutation(60)]
    with pytest.raises(
        DatasetError, match="10 groups, such as 'g0', have images in train and in val"
    ):
        make_folds(dataset(split=split, groups=groups, y=y))


@pytest.mark.parametrize(
    ("head", "params"),
    [("logreg", {"C": -1}), ("logreg", {"C": "a"}), ("rbf-svm", {"C": "a"})],
)
def test_a_value_that_a_head_refuses_is_one_line(head, params):
    with pytest.raises(ParameterError, match=rf"{head} can't be fitted: [^\n]*$"):
        cross_validate(head, dataset(), params=params)


def test_a_split_that_is_not_there_is_wrong_usage():
    with pytest.raises(ParameterError, match="found no splits"):
        make_folds(dataset(), split="val")


def test_classes_missing_from_train_are_named():
    split = np.array(["train", "train", "val"] * 20)
    data = dataset(split=split, y=np.where(split == "val", "new", "old"))
    with pytest.raises(DatasetError, match="has no images of classes of the val split: new"):
        make_folds(data)


def test_too_few_classes_images_or_groups():
    with pytest.raises(DatasetError, match="one class"):
        make_folds(dataset(classes="a"))
    few = dataset(y=np.array(["rare"] * 3 + ["often"] * 57))
    with pytest.raises(DatasetError, match=r"rare \(3\); use --cv 3"):
        make_folds(few)
    one_class_each = np.array(["g", "h"] * 30)
    with pytest.raises(DatasetError, match="one class only"):
        make_folds(dataset(groups=one_class_each), cv=2)
    with pytest.raises(DatasetError, match="5 groups, found 2"):
        make_folds(dataset(groups=np.array(["g", "h"] * 30)))
    with pytest.raises(ParameterError, match="2 folds or more"):
        make_folds(dataset(), cv=1)


def test_a_splitter_of_scikit_learn():
    result = cross_validate(make_head("logreg"), dataset(), cv=KFold(3))
    assert result.fold.tolist() == [0] * 20 + [1] * 20 + [2] * 20


def test_folds_given_as_rows():
    rows = [(np.arange(20, 60), np.arange(20))]
    assert (
        cross_validate(make_head("logreg"), dataset(), cv=rows).fold.tolist()
        == [0] * 20 + [-1] * 40
    )


def test_what_can_not_cut_folds_is_one_line():
    with pytest.raises(ParameterError, match=r"can't divide .* 'groups'"):
        make_folds(dataset(), cv=GroupKFold(3))
    with pytest.raises(ParameterError, match="n_jobs is 0; expected 1 or more"):
        cross_validate(make_head("logreg"), dataset(), n_jobs=0)


def test_a_head_without_probabilities_has_the_scores_it_can_have():
    summary = cross_validate(RidgeClassifier(), dataset()).scores
    assert summary["accuracy"]["score"] > 0.5
    assert summary["log_loss"] == {
        "score": None,
        "interval": None,
        "mean": None,
        "std": None,
        "folds": [None] * 5,
        "reason": "the head gives no probabilities",
        "groups_range": None,
        "folds_reason": "the head gives no probabilities",
    }


def test_further_scores():
    result = cross_validate(make_head("logreg"), dataset(), scoring=["matthews_corrcoef"])
    assert len(result.scores["matthews_corrcoef"]["folds"]) == 5
    with pytest.raises(ParameterError, match="there are: accuracy"):
        cross_validate(make_head("logreg"), dataset(), scoring=["acuracy"])
    with pytest.raises(ParameterError, match="precision can't be used here"):
        cross_validate(make_head("logreg"), dataset(), scoring=["precision"])
