"""Heads as names or as classifiers of scikit-learn, alone, in a list or in a dict."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from tests.unit.data import dataset
from tlfeatures import cross_validate_heads
from tlfeatures.errors import ParameterError
from tlfeatures.heads.make_heads import make_heads, make_one_head
from tlfeatures.heads.table import HEADS, head_grid, make_head

FOREST = RandomForestClassifier(n_estimators=5, random_state=3)


@pytest.mark.parametrize(
    ("heads", "names"),
    [
        ("knn", ["knn"]),
        ("knn,svm", ["knn", "rbf-svm"]),
        ("all", list(HEADS)),
        (["knn", "svm,knn"], ["knn", "rbf-svm"]),
        (("knn", FOREST), ["knn", "RandomForestClassifier"]),
        (FOREST, ["RandomForestClassifier"]),
        (make_pipeline(StandardScaler(), LinearSVC()), ["LinearSVC"]),
        ([make_pipeline(StandardScaler(), make_pipeline(LinearSVC()))], ["LinearSVC"]),
        (iter([FOREST, LinearSVC()]), ["RandomForestClassifier", "LinearSVC"]),
        ({"forest": FOREST, "base": "svm"}, ["forest", "base"]),
        ({"mlp": FOREST}, ["mlp"]),
        ({"one": FOREST, "two": FOREST}, ["one", "two"]),
    ],
)
def test_each_head_has_a_name(heads, names):
    classifiers = make_heads(heads)
    assert list(classifiers) == names
    assert all(hasattr(head, "fit") for head in classifiers.values())


def test_a_classifier_is_used_as_it_is_and_is_not_changed():
    head = make_heads([FOREST], random_state=8)["RandomForestClassifier"]
    assert head is not FOREST
    assert type(head) is RandomForestClassifier
    assert head.get_params() == FOREST.get_params()
    name, one = make_one_head(FOREST, random_state=8)
    assert (name, one.get_params()) == ("RandomForestClassifier", FOREST.get_params())


def test_parameters_are_for_the_heads_given_by_name():
    heads = make_heads({"mine": "logreg", "own": LogisticRegression(C=7)}, {"C": 0.5})
    assert (heads["mine"][-1].C, heads["own"].C) == (0.5, 7)
    with pytest.raises(ParameterError, match="no parameter of mine 'n_estimators'; there are: "):
        make_heads({"mine": "logreg", "own": FOREST}, {"n_estimators": 3})
    for make in (make_heads, make_one_head):
        with pytest.raises(ParameterError, match="n_estimators, but no head is given by name"):
            make(FOREST, {"n_estimators": 3})


def test_one_head_has_all_parameters_that_are_given():
    name, head = make_one_head("svm", {"C": 0.5}, random_state=4)
    assert (name, head[-1].C, head[-1].random_state) == ("rbf-svm", 0.5, 4)
    with pytest.raises(ParameterError, match="no parameter of knn 'C'"):
        make_one_head("knn", {"C": 0.5})
    with pytest.raises(ParameterError, match="no head 'knn,svm'"):
        make_one_head("knn,svm")


def test_a_classifier_has_no_values_to_tune():
    assert head_grid(FOREST) == head_grid(make_head("logreg")) == {}


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        (
            [FOREST, FOREST],
            "two classifiers named RandomForestClassifier; give them names in a dict",
        ),
        ([], "heads is empty; expected the name of a head, a scikit-learn classifier, or a list"),
        ({}, "heads is empty"),
        (None, "heads has None; expected the name of a head or a scikit-learn classifier"),
        (["knn", 3], "heads has 3; expected"),
        ({"a": [FOREST]}, r"heads\['a'\] has .*RandomForest.*; expected"),
        ({3: FOREST}, "heads has the name 3; expected a text"),
        ({"a": "forest"}, "no head 'forest'; there are: "),
        (RandomForestClassifier, r"the class RandomForestClassifier; .*RandomForestClassifier\(\)"),
        (RandomForestRegressor(), "RandomForestRegressor, which is not a classifier"),
        (make_pipeline(StandardScaler()), "StandardScaler, which is not a classifier"),
    ],
)
def test_what_is_no_head_is_said_in_one_line(heads, said):
    with pytest.raises(ParameterError, match=said) as refused:
        make_heads(heads)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [None, 3, [FOREST], RandomForestClassifier])
def test_one_head_is_a_name_or_a_classifier(value):
    with pytest.raises(ParameterError, match=r"^head has "):
        make_one_head(value)


def test_a_head_gives_the_same_by_name_or_as_a_classifier():
    data, name = dataset(), "sklearn.linear_model:LogisticRegression"
    by_name = make_heads([name, "lda"])
    steps = [("scale", StandardScaler()), ("classifier", LogisticRegression(random_state=0))]
    as_classifier = make_heads({"own": Pipeline(steps), "other": make_head("lda")})
    results = cross_validate_heads({**by_name, **as_classifier}, data, cv=3)
    for one, other in ((name, "own"), ("lda", "other")):
        np.testing.assert_array_equal(results[one].probabilities, results[other].probabilities)


def test_a_classifier_without_probabilities_is_scored_by_its_labels():
    heads = make_heads(LinearSVC(random_state=0))
    result = cross_validate_heads(heads, dataset(signal=4), cv=3)["LinearSVC"]
    assert result.scores["accuracy"]["score"] > 0.8
    assert np.isnan(result.probabilities).all()
