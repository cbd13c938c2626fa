"""A head from a file has numbers that lead compiled code nowhere.

The tests change what scikit-learn's fitted estimators keep in private attributes, as somebody may
do who crafts a file.
"""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, NuSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.fakes import members_of, write_members
from tests.unit.crafting import nodes_of
from tests.unit.data import dataset
from tlfeatures import Model, make_head
from tlfeatures.errors import FormatError, ModelError
from tlfeatures.models.head_arrays import unsafe_part

TWO, THREE = dataset(), dataset(classes="abc")
X = TWO.X.astype(np.float64)

# ---- the numbers


def tree(kind=DecisionTreeClassifier, columns=None, **nodes):
    fitted = kind(random_state=0).fit(TWO.X, TWO.y == "b")
    plain = fitted.tree_
    state = plain.__getstate__()
    changed = state["nodes"].copy()
    for name, value in nodes.items():
        changed[name][0] = value
    new = type(plain)(columns or plain.n_features, np.array([plain.max_n_classes]), 1)
    new.__setstate__(state | {"nodes": changed})
    fitted.tree_ = new
    return fitted


def forest(kind, broken_tree, **changes):
    fitted = kind(n_estimators=2, random_state=0).fit(TWO.X, TWO.y)
    fitted.estimators_[0] = broken_tree
    return changed(fitted, **changes)


def changed(fitted, **attributes):
    for name, value in attributes.items():
        setattr(fitted, name, value)
    return fitted


def histogram(index=0, missing=None, **nodes):
    fitted = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=2).fit(TWO.X, TWO.y)
    for name, value in nodes.items():
        fitted._predictors[0][0].nodes[name][index] = value
    if missing:
        delattr(fitted, missing)
    return fitted


def boosting(**changes):
    fitted = GradientBoostingClassifier(n_estimators=2, random_state=0).fit(TWO.X, TWO.y)
    return changed(fitted, **{name: change(fitted) for name, change in changes.items()})


def svc(kind=SVC, kernel="rbf", **changes):
    fitted = kind(kernel=kernel).fit(X @ X.T if kernel == "precomputed" else X, TWO.y)
    return changed(fitted, **{name: change(fitted) for name, change in changes.items()})


def neighbors(**changes):
    fitted = KNeighborsClassifier(3, algorithm="brute").fit(X, TWO.y)
    return changed(fitted, **{name: change(fitted) for name, change in changes.items()})


def random(position):
    state = np.random.RandomState(0).get_state(legacy=False)
    state["state"]["pos"] = position
    made = np.random.RandomState(0)
    made.set_state(state)
    guess = DummyClassifier(strategy="stratified", random_state=made)
    return guess.fit(TWO.X, TWO.y)


FAR = 2**30
CRAFTED = {
    "tree: a child beyond": lambda: tree(left_child=FAR),
    "tree: a child before": lambda: tree(left_child=0),
    "tree: a negative child": lambda: tree(right_child=-FAR),
    "tree: a column beyond": lambda: tree(feature=FAR),
    "tree: a negative column": lambda: tree(feature=-FAR),
    "tree: more columns than its owner": lambda: tree(columns=2 * FAR, feature=FAR),
    "tree: an owner of more columns": lambda: changed(tree(), n_features_in_=FAR),
    "forest: a tree of more columns": lambda: forest(
        RandomForestClassifier, tree(columns=2 * FAR, feature=FAR)
    ),
    "bagging: a bare tree": lambda: forest(BaggingClassifier, tree(feature=FAR).tree_),
    "boosting: a tree of more columns": lambda: boosting(
        estimators_=lambda b: np.array([[tree(DecisionTreeRegressor, 2 * FAR, feature=FAR)]])
    ),
    "boosting: more trees a round than columns": lambda: boosting(
        estimators_=lambda b: np.hstack([b.estimators_] * 50_000)
    ),
    "boosting: a guess of more classes": lambda: boosting(
        init_=lambda b: DummyClassifier(strategy="prior").fit(THREE.X, THREE.y)
    ),
    "histogram: a child beyond": lambda: histogram(left=FAR),
    "histogram: a child before": lambda: histogram(left=0),
    "histogram: a column beyond": lambda: histogram(feature_idx=FAR),
    "histogram: a negative column": lambda: histogram(feature_idx=-FAR),
    "histogram: categories": lambda: histogram(is_categorical=1),
    "histogram: nobody counts columns": lambda: histogram(missing="n_features_in_"),
    "histogram: another is shown the columns": lambda: changed(
        histogram(), _preprocessor=make_head("logreg").fit(TWO.X, TWO.y)[0]
    ),
    "histogram: no nodes": lambda: changed(
        histogram(),
        _predictors=[[changed(t, nodes=t.nodes[:0]) for [t] in histogram()._predictors]],
    ),
    "svc: counts": lambda: svc(
        _n_support=lambda s: np.array([FAR, 1], np.int32),
        support_vectors_=lambda s: np.empty((0, 6)),
    ),
    "svc: negative counts": lambda: svc(_n_support=lambda s: s._n_support - np.int32(FAR)),
    "svc: classes": lambda: svc(classes_=lambda s: np.array(list("abcdef"))),
    "svc: rows beyond": lambda: svc(
        kernel="precomputed", support_=lambda s: s.support_ + np.int32(FAR)
    ),
    "svc: few coefficients": lambda: svc(_dual_coef_=lambda s: s._dual_coef_[:, :1].copy()),
    "svc: no intercept": lambda: svc(_intercept_=lambda s: np.empty(0)),
    "svc: another kind": lambda: svc(_impl=lambda s: "one_class"),
    "nu-svc: few vectors": lambda: svc(
        NuSVC, support_vectors_=lambda s: s.support_vectors_[:1].copy()
    ),
    "neighbors: labels beyond": lambda: neighbors(_y=lambda k: k._y + FAR),
    "neighbors: few labels": lambda: neighbors(_y=lambda k: k._y[:1]),
    "neighbors: few columns": lambda: neighbors(_fit_X=lambda k: k._fit_X[:, :1].copy()),
    "neighbors: more than there are": lambda: neighbors(n_neighbors=lambda k: FAR),
    "random numbers from beyond": lambda: random(FAR),
    "a method replaced": lambda: changed(GaussianNB().fit(X, TWO.y), predict_proba=int),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_made_up_numbers_are_seen_before_anything_is_predicted(name):
    head = CRAFTED[name]()
    assert unsafe_part(head) is not None
    assert unsafe_part(Pipeline([("inner", head)])) is not None


WHOLE = {
    "tree": tree,
    "regression tree": lambda: tree(DecisionTreeRegressor),
    "histogram": histogram,
    "boosting": boosting,
    "svc": svc,
    "svc of a kernel matrix": lambda: svc(kernel="precomputed"),
    "nu-svc": lambda: svc(NuSVC),
    "neighbors": neighbors,
    "random numbers": lambda: random(624),
    "not fitted": lambda: AdaBoostClassifier(SVC(probability=False)),
    "extra trees": lambda: ExtraTreesClassifier(3, random_state=0).fit(TWO.X, TWO.y),
}


@pytest.mark.parametrize("name", WHOLE)
def test_numbers_as_they_were_fitted_are_whole(name):
    assert unsafe_part(WHOLE[name]()) is None


def test_coordinates_have_no_column_that_is_never_filled():
    """It would reveal earlier contents of memory."""
    crafted = changed(make_head("rbf-svm").fit(TWO.X, TWO.y)[0], _n_features_out=1000)
    assert crafted.transform(TWO.X).shape == TWO.X.shape


def test_a_crafted_file_is_refused(tmp_path):
    model = Model.fit(make_head("gradient-boosting", max_iter=2), TWO)
    for name, value in (("left", FAR), ("feature_idx", FAR), ("is_categorical", 1)):
        model.head[-1]._predictors[0][0].nodes[name][0] = value
        model.save(tmp_path / "m.model")
        with pytest.raises(FormatError, match="arrays that don't fit"):
            Model.load(tmp_path / "m.model")


def test_steps_that_do_not_fit_each_other_are_refused(tmp_path):
    model = Model.fit(make_head("logreg"), TWO)
    model.head.steps[0] = make_head("logreg").fit(dataset(d=5).X, TWO.y).steps[0]
    model.save(tmp_path / "m.model")
    with pytest.raises(FormatError, match="6 columns"):
        Model.load(tmp_path / "m.model")
    model = Model.fit(make_head("mlp", steps=20), TWO)
    model.head[-1].coefs_[0] = model.head[-1].coefs_[0][:3]
    model.save(tmp_path / "m.model")
    with pytest.raises(FormatError, match="damaged"):
        Model.load(tmp_path / "m.model")


@pytest.mark.filterwarnings("ignore")
def test_numbers_that_overflow_later_are_one_clear_line(tmp_path):
    model = Model.fit(make_head("rbf-svm"), TWO)
    model.head[0].scale_[0], model.head[0].mean_[0] = 1e-320, 0
    model.save(tmp_path / "m.model")
    with pytest.raises(ModelError, match="can't label embeddings"):
        Model.load(tmp_path / "m.model").predict_proba(TWO.X)


# ---- damage of all kinds

FUZZED = {
    **{name: {} for name in ("logreg", "rbf-svm", "knn", "lda")},
    "mlp": {"steps": 20},
    "gradient-boosting": {"max_iter": 4},
    "sklearn.ensemble:RandomForestClassifier": {"n_estimators": 3},
    "sklearn.ensemble:GradientBoostingClassifier": {"n_estimators": 3},
}
FUZZER = """
import sys, warnings
from pathlib import Path
import numpy as np
from tests.unit.data import dataset
from tlfeatures import Model
from tlfeatures.errors import TlfeaturesError
warnings.simplefilter("ignore")
X = dataset().X
for path in sorted(Path(sys.argv[1]).glob("*.model")):
    print(path.name, end=" ", flush=True)
    try:
        model = Model.load(path)
        print("loaded", end=" ", flush=True)
        print(model.predict_proba(X).shape)
    except TlfeaturesError as error:
        print(type(error).__name__, str(error).count("\\n"))
"""


def mutated(members, random):
    """Flip bytes of an array's numbers, swap two arrays, or change the description's numbers."""
    members = dict(members)
    arrays = [name for name in members if name.endswith(".npy")]
    kind = random.integers(4)
    if kind == 0:
        name = random.choice(arrays)
        data = bytearray(members[name])
        for _ in range(random.integers(1, 9)):
            data[random.integers(min(128, len(data) - 1), len(data))] = random.integers(256)
        members[name] = bytes(data)
    elif kind == 1:
        first, second = random.choice(arrays, 2)
        members[first], members[second] = members[second], members[first]
    elif kind == 2:
        name = random.choice(arrays)
        array = np.load(io.BytesIO(members[name]))
        file = io.BytesIO()
        np.save(file, array[: len(array) // 2] if array.ndim else array + 1)
        members[name] = file.getvalue()
    else:
        schema = json.loads(members["schema.json"])
        node = random.choice(nodes_of(schema, "JsonNode"))
        node["content"] = random.choice(["0", "-1", "null", '"x"', "1e300", "100000000", "true"])
        members["schema.json"] = json.dumps(schema).encode()
    return members


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("files", [3, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.slow
def test_damage_is_refused_in_one_line_or_harmless(files, tmp_path):
    """So many files of each head; none ends the process that loads it and predicts by it."""
    random = np.random.default_rng(0)
    for number, (name, params) in enumerate(FUZZED.items()):
        Model.fit(make_head(name, **params), TWO).save(tmp_path / "whole")
        members = members_of(tmp_path / "whole")
        for turn in range(files):
            file = tmp_path / f"{number}-{turn:03d}.model"
            write_members(file, mutated(members, random))
    result = subprocess.run(
        [sys.executable, "-c", FUZZER, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    lines = result.stdout.splitlines()
    assert result.returncode == 0, (lines[-1:], result.stderr[-2000:])
    assert len(lines) == files * len(FUZZED)
    refused = [line for line in lines if re.fullmatch(r"\S+ (loaded )?\w+Error 0", line)]
    harmless = [line for line in lines if re.fullmatch(r"\S+ loaded \(60, 2\)", line)]
    assert len(refused) + len(harmless) == len(lines)
    assert min(len(refused), len(harmless)) > len(lines) // 5
