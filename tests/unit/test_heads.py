import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from tlfeatures.errors import ParameterError
from tlfeatures.heads import CalibratedSVC, make_head, make_heads, parse_params


def test_parameters_reach_their_step():
    head = make_head("svm", C=0.5, n_components=7)
    assert head["classifier"].C == 0.5
    assert head["pca"].n_components == 7
    assert make_head("logreg", scale__with_mean=False)["scale"].with_mean is False


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
    assert heads["logreg"][-1].C == heads["svm"][-1].C == 0.5
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


def test_svm_is_scikit_learns_calibrated_one():
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 5))
    y = np.where(X[:, 0] + random.normal(size=60) > 0, "a", "b")
    ours = CalibratedSVC(C=2, random_state=3).fit(X, y)
    folds = StratifiedKFold(5, shuffle=True, random_state=3)
    plain = CalibratedClassifierCV(SVC(C=2), cv=folds, ensemble=False).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), plain.predict_proba(X))


def test_svm_with_one_image_of_a_class_says_what_to_do():
    with pytest.raises(ParameterError, match="two images or more"):
        CalibratedSVC().fit(np.eye(5), np.array(list("aaaab")))


def test_svm_takes_weights_of_named_classes():
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 2))
    y = np.where(X[:, 0] + random.normal(size=60) > 0, "a", "b")
    named = CalibratedSVC(class_weight={"a": 9.0}, random_state=0).fit(X, y)
    svc = named.calibrated_.calibrated_classifiers_[0].estimator
    assert svc.class_weight == {0: 9.0, 1: 1.0}


def test_boosting_learns_from_forty_images():
    y = np.array(["a", "b"] * 20)
    X = np.random.default_rng(0).normal(size=(40, 6)) + (y == "a")[:, None] * 3
    head = make_head("gradient-boosting").fit(X[:32], y[:32])
    assert head.score(X[32:], y[32:]) > 0.7


def test_pca_names_its_columns():
    head = make_head("svm", n_components=3)[:-1].fit(np.random.default_rng(0).normal(size=(20, 6)))
    assert head.get_feature_names_out().tolist() == ["leadingpca0", "leadingpca1", "leadingpca2"]
