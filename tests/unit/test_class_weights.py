"""Weights of classes are given by name to every head, also where names look like numbers."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from tests.fakes import write_image
from tests.unit.data import dataset
from tlfeatures import HEADS, Model, cross_validate, extract, make_head
from tlfeatures.cli import main
from tlfeatures.errors import ParameterError
from tlfeatures.heads.class_weights import ClassWeights, weights_of
from tlfeatures.heads.classifiers.calibrated_classifier import CalibratedClassifier
from tlfeatures.heads.classifiers.named_boosting import NamedBoosting

OWN = sorted(set(HEADS) - {"centroid", "dummy"})
WRAPPED = [
    *("sklearn.svm:LinearSVC", "sklearn.linear_model:SGDClassifier"),
    *("sklearn.linear_model:RidgeClassifier", "sklearn.ensemble:RandomForestClassifier"),
    *("sklearn.ensemble:HistGradientBoostingClassifier", "sklearn.tree:DecisionTreeClassifier"),
    *("sklearn.linear_model:LogisticRegression", "sklearn.svm:SVC"),
]
QUICK = {
    "gradient-boosting": {"max_iter": 5},
    "mlp": {"steps": 50},
    "sklearn.ensemble:RandomForestClassifier": {"n_estimators": 5, "max_depth": 2},
    "sklearn.tree:DecisionTreeClassifier": {"max_depth": 2},
    "sklearn.ensemble:HistGradientBoostingClassifier": {"max_iter": 5, "min_samples_leaf": 5},
}


def make(name, **params):
    return make_head(name, **{**QUICK.get(name, {}), **params})


def numbered(names=("10", "9", "007"), n=90):
    """Give overlapping classes whose names are texts that look like numbers."""
    data = dataset(n, classes="abc"[: len(names)], signal=0.7)
    return data.X, np.array(names)[np.unique(data.y, return_inverse=True)[1]]


@pytest.mark.parametrize("name", [*OWN, *WRAPPED])
def test_a_name_that_looks_like_a_number_is_that_class_however_it_is_written(name):
    X, y = numbered()
    tables = [
        make(name, class_weight=weight).fit(X, y).predict_proba(X)
        for weight in ({"10": 8.0}, {10: 8.0}, {np.int64(10): 8.0}, {10.0: 8.0}, {"9": 8.0})
    ]
    for table in tables[1:4]:
        np.testing.assert_array_equal(table, tables[0])
    assert np.abs(tables[4] - tables[0]).max() > 0.01


@pytest.mark.parametrize("name", [*OWN, *WRAPPED])
def test_the_order_of_the_classes_is_that_of_texts(name):
    X, y = numbered()
    head = make(name, class_weight={"007": 2.0}).fit(X, y)
    assert head.classes_.tolist() == ["007", "10", "9"]
    assert {type(label) for label in head.predict(X).tolist()} == {str}


@pytest.mark.parametrize("name", [*OWN, *WRAPPED])
def test_the_weight_of_a_class_raises_its_share(name):
    X, y = numbered(("ant", "bee"), 80)
    shares = [
        make(name, class_weight=weight).fit(X, y).predict_proba(X)[:, 0].mean()
        for weight in (None, {"ant": 6.0})
    ]
    if "Tree" in name or "Forest" in name:  # they fit their training rows whatever the weights
        assert shares[1] >= shares[0] - 0.05
    else:
        assert shares[1] > shares[0]


@pytest.mark.parametrize("many_rows", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", OWN)
def test_a_class_of_weight_0_is_not_predicted(name, classes, many_rows):
    X, y = numbered(("ant", "bee", "cow")[:classes])
    head = make_head(name, many_rows=many_rows, class_weight={"ant": 0.0}).fit(X, y)
    probabilities = head.predict_proba(X)
    assert np.isfinite(probabilities).all()
    assert probabilities[:, 0].mean() < 0.2  # the temperature of SVMs is high here
    assert set(head.predict(X)) == {"bee", "cow"} & set(y)


@pytest.mark.parametrize("name", ["linear-svm", "rbf-svm"])
def test_a_class_of_weight_0_has_none_though_all_weights_are_small(name):
    X, y = numbered(("ant", "bee", "cow"))
    weights = {"ant": 0.0, "bee": 1e-7, "cow": 1e-7}
    head = make_head(name, class_weight=weights, C=1e7).fit(X, y)
    assert "ant" not in head.predict(X)


@pytest.mark.parametrize("name", ["knn", "lda", "linear-svm", "mlp", "rbf-svm", "ridge"])
def test_weights_that_are_all_0_are_refused(name):
    X, y = numbered(("ant", "bee"))
    with pytest.raises(ParameterError, match="0 for every class"):
        make_head(name, class_weight={"ant": 0.0, "bee": 0.0}).fit(X, y)


@pytest.mark.parametrize("name", [*OWN, *WRAPPED])
@pytest.mark.parametrize("library", [True, False])
def test_a_class_that_there_is_not_is_one_line(name, library):
    data = dataset(classes="ab")
    head = make(name, class_weight={"a": 2.0, "b": 1.0, "bee": 3.0})
    with pytest.raises(ParameterError, match=r"names 'bee'; expected classes of 'a', 'b'$") as said:
        cross_validate(head, data) if library else Model.fit(head, data)
    assert "\n" not in str(said.value)


def test_boosting_is_scikit_learns_with_the_places_of_the_classes():
    X, y = numbered()
    options = {"max_iter": 10, "random_state": 0}
    named = NamedBoosting(class_weight={"9": 3.0, 10: 2.0}, **options).fit(X, y)
    places = HistGradientBoostingClassifier(class_weight={0: 1.0, 1: 2.0, 2: 3.0}, **options)
    np.testing.assert_array_equal(named.predict_proba(X), places.fit(X, y).predict_proba(X))
    assert named.class_weight == {"9": 3.0, 10: 2.0}
    shares = np.linspace(0.5, 2, len(y))
    named.fit(X, y, sample_weight=shares)
    places.fit(X, y, sample_weight=shares)
    np.testing.assert_array_equal(named.predict_proba(X), places.predict_proba(X))


def test_a_calibrated_classifier_decides_as_its_estimator_with_these_weights():
    X, y = numbered(("ant", "bee"), 80)
    weights = {"ant": 4.0}
    found = CalibratedClassifier(LinearSVC(C=0.1, class_weight=weights)).fit(X, y)
    plain = LinearSVC(C=0.1, class_weight=weights).fit(X, y)
    np.testing.assert_array_equal(found.predict(X), plain.predict(X))
    even = CalibratedClassifier(LinearSVC(C=0.1)).fit(X, y)
    # The calibration must not undo the weights.
    assert found.predict_proba(X)[:, 0].mean() > even.predict_proba(X)[:, 0].mean() + 0.1


@pytest.mark.parametrize("name", [*OWN, "sklearn.svm:LinearSVC"])
def test_a_fold_whose_training_images_lack_a_class_ignores_its_weight(name):
    y = np.array(list("ab") * 30 + ["c"] * 4)
    groups = np.array([f"{i}" for i in range(60)] + ["c"] * 4)
    data = dataset(64, y=y, groups=groups, classes="abc")
    found = cross_validate(make(name, class_weight={"c": 2.0, "a": 2.0}), data, cv=3)
    assert np.isfinite(found.probabilities).all()


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.integers(-99, 99), st.floats(0, 100), min_size=1))
def test_texts_and_numbers_name_the_same_class(weights):
    texts = ClassWeights({str(key): value for key, value in weights.items()})
    assert texts == ClassWeights(weights)
    for key, value in weights.items():
        assert texts[key] == texts[str(key)] == value
    assume(any(weights.values()))  # weights that are all 0 are refused
    classes = sorted(map(str, weights))
    assert weights_of(weights, classes).tolist() == [texts[name] for name in classes]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({10: 1.0, "10": 2.0}, "two weights of the class '10'"),
        ({"a": -1.0}, "'a' must be a number from 0 up, got -1"),
        ({"a": "heavy"}, "got 'heavy'"),
        ({"a": float("nan")}, "got nan"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message):
    with pytest.raises(ParameterError, match=message):
        make_head("logreg", class_weight=weights)


def test_classes_that_scikit_learn_takes_for_one_are_refused():
    data = dataset(classes="ab")
    data = dataset(y=np.where(data.y == "a", "7", "007"))
    with pytest.raises(ParameterError, match="can't distinguish the classes '007' and '7'"):
        cross_validate(make_head("logreg", class_weight={"007": 2.0}), data)


@pytest.mark.parametrize("name", ["logreg", "gradient-boosting", "sklearn.svm:LinearSVC"])
@pytest.mark.slow
def test_the_command_takes_names_and_its_models_load(name, tmp_path):
    for label in ("10", "9"):
        for number in range(10):
            write_image(tmp_path / "p" / label / f"{number}.png", int(label) * 100 + number)
    extract(tmp_path / "p", tmp_path / "p.h5", backbone="pixels", size=8)
    means = []
    for weights in ('{10: 5.0, "9": 1.0}', '{"10": 5.0}', "{9: 5.0}", '{"11": 5.0}'):
        arguments = [
            *("fit", str(tmp_path / "p.h5"), "--head", name, "--near-duplicates", "off"),
            *("--param", f"class_weight={weights}", "-o", str(tmp_path / "m.model"), "--json"),
        ]
        if name == "gradient-boosting":
            arguments += ["--param", "max_iter=5"]
        result = CliRunner().invoke(main, arguments)
        if "11" in weights:
            assert result.exit_code == 2
            assert re.search(r"names '11'; expected classes of '10', '9'", result.stderr)
            continue
        assert result.exit_code == 0, result.output
        means.append(json.loads(result.stdout)["heads"][0]["scores"]["log_loss"]["mean"])
        model = Model.load(tmp_path / "m.model")
        assert {each.label for each in model.predict(tmp_path / "p")} <= {"10", "9"}
    assert means[0] == means[1] != means[2]


def test_numbers_as_labels_are_found_too():
    """Of a user's own arrays; labels of this package's datasets are texts."""
    X, y = numbered(("0", "1"))
    for name in ("logreg", "ridge", "gradient-boosting", "sklearn.svm:LinearSVC"):
        tables = [
            make(name, class_weight=weight).fit(X, y.astype(int)).predict_proba(X)
            for weight in ({1: 5.0}, {"1": 5.0})
        ]
        np.testing.assert_array_equal(*tables)
    forest = RandomForestClassifier(5, class_weight=ClassWeights({"1": 5.0}), random_state=0)
    assert forest.fit(X, y).classes_.tolist() == ["0", "1"]
    assert LogisticRegression(class_weight=ClassWeights({1: 2.0})).fit(X, y).coef_.any()
