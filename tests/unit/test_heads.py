"""Heads by name: their parameters, what tuning tries, and heads of other packages."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tests.unit.data import dataset
from tlfeatures import HEADS, Model, cross_validate
from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers import calibrated_svc
from tlfeatures.heads.make_heads import head_names, make_heads
from tlfeatures.heads.parameters import parse_params
from tlfeatures.heads.table import head_grid, make_head


def test_parameters_reach_their_step():
    head = make_head("svm", C=0.5, n_components=7)
    assert head["classifier"].C == 0.5
    assert head["coordinates"].n_components == 7
    assert make_head("logreg", coordinates__n_components=3)["coordinates"].n_components == 3


def test_unknown_names_say_which_exist():
    with pytest.raises(ParameterError, match="there are: logreg, "):
        make_head("logrec")
    with pytest.raises(
        ParameterError,
        match="parameter of gradient-boosting 'learningrate'; there are: learning_rate",
    ):
        make_head("gradient-boosting", learningrate=1)


def test_several_heads_take_the_parameters_that_they_have():
    heads = make_heads("all", {"C": 0.5, "max_leaf_nodes": 4})
    assert heads["logreg"][-1].C == heads["rbf-svm"][-1].C == 0.5
    assert heads["gradient-boosting"][-1].max_leaf_nodes == 4
    with pytest.raises(ParameterError, match="there are: "):
        make_heads("all", {"depth": 3})
    with pytest.raises(ParameterError, match="no head 'rf'"):
        make_heads(["all", "rf"])
    with pytest.raises(ParameterError, match="no parameter"):
        make_heads("all", {"random_state": 1})


def test_parse_params():
    texts = ["C=0.01", "class_weight=balanced", "warm_start=True", "l1_ratio=None"]
    assert parse_params(texts) == {
        "C": 0.01,
        "class_weight": "balanced",
        "warm_start": True,
        "l1_ratio": None,
    }
    with pytest.raises(ParameterError, match="NAME=VALUE"):
        parse_params(["C"])


def test_boosting_learns_from_forty_images():
    y = np.array(["a", "b"] * 20)
    X = np.random.default_rng(0).normal(size=(40, 6)) + (y == "a")[:, None] * 3
    head = make_head("gradient-boosting").fit(X[:32], y[:32])
    assert head.score(X[32:], y[32:]) > 0.7


def test_svm_is_another_name_of_the_rbf_svm():
    assert list(make_heads(["svm", "rbf-svm", "logreg"])) == ["rbf-svm", "logreg"]
    assert head_names("all") == list(HEADS)
    assert head_names("knn,svm") == ["knn", "rbf-svm"]


def test_any_classifier_of_scikit_learn_by_dotted_name():
    name = "sklearn.ensemble:ExtraTreesClassifier"
    head = make_heads([name], {"n_estimators": 7}, random_state=3)[name]
    assert (head[-1].n_estimators, head[-1].random_state) == (7, 3)
    assert list(head.named_steps) == ["scale", "classifier"]
    assert head_grid(name) == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sklearn.nowhere:Trees", "No module named"),
        ("sklearn.ensemble:NoSuchTrees", "has no attribute"),
        ("sklearn.decomposition:PCA", "not a scikit-learn classifier"),
        ("sklearn.ensemble:VotingClassifier", "can't be created without arguments"),
    ],
)
def test_a_dotted_name_that_is_no_classifier_says_why(name, reason):
    with pytest.raises(ParameterError, match=reason):
        make_head(name)


def mine(seed):
    return LogisticRegression(C=0.5, random_state=seed)


mine.grid = {"C": [0.1, 0.5]}


def test_heads_of_others_come_by_entry_point(tmp_path, monkeypatch):
    installed = tmp_path / "mine-1.0.dist-info"  # as pip leaves it for a package
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[tlfeatures.heads]\nmine = {__name__}:mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    head = make_head("mine", C=2.0)
    assert isinstance(head, Pipeline)
    assert head[-1].C == 2.0
    assert head_grid("mine") == {"classifier__C": [0.1, 0.5]}
    found = cross_validate(make_head("mine"), dataset(), grid=head_grid("mine"))
    assert len(found.choices) == 5
    assert {choice.params["classifier__C"] for choice in found.choices} <= {0.1, 0.5}
    with pytest.raises(ParameterError, match="there are: mine, logreg"):
        make_head("mime")


def test_what_is_given_is_not_tuned():
    assert set(head_grid("rbf-svm")) == {"classifier__gamma_factor", "classifier__C"}
    assert set(head_grid("svm", ["C"])) == {"classifier__gamma_factor"}


def test_a_linear_svm_without_a_kernel_matrix_is_kept_as_it_is(monkeypatch):
    """Of many rows libsvm computes the kernel itself, and its coefficients can't be set."""
    monkeypatch.setattr(calibrated_svc, "LARGEST_KERNEL", 10)
    data = dataset(n=60, signal=3.0)
    model = Model.fit(make_head("linear-svm"), data)
    assert (model.head.predict(data.X) == data.y).mean() > 0.8
