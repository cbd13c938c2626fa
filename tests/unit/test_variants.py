"""Variants of images are trained on, never tested on, and never part from their image."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from tests.unit.data import dataset
from tlfeatures import (
    HEADS,
    Model,
    audit,
    benchmark,
    benchmarking,
    classifiers,
    cross_validate,
    describe,
    export,
    extract,
    fit,
    learning_curve,
    load_benchmark,
    load_dataset,
    make_head,
    report,
)
from tlfeatures.analyses import Analyses
from tlfeatures.classifiers import ScaledMLP
from tlfeatures.cli import main
from tlfeatures.dataset import label_images
from tlfeatures.errors import DatasetError, ModelError, ParameterError
from tlfeatures.evaluate import cross_validate_heads
from tlfeatures.evaluating import evaluate
from tlfeatures.exporting.runtime import session
from tlfeatures.features.store import Reader
from tlfeatures.folds import inner_folds, make_folds
from tlfeatures.heads import compact, head_grid, make_heads, plain_params, set_tuned
from tlfeatures.learning_curves import measure_curve
from tlfeatures.results import fingerprint
from tlfeatures.trainer import fit_on_all
from tlfeatures.training_curves import training_curve
from tlfeatures.training_rows import TrainingRows

IMAGE, VARIANT = 1, 2  # columns that say what a row is


def augmented(n=60, v=2, d=6, noise=0.3, **fields):
    """As `dataset`, and each variant near its image."""
    data = dataset(n, d, **fields)
    random = np.random.default_rng(1)
    moved = random.normal(scale=noise, size=(n, v, d)).astype(np.float32)
    return replace(data, variants=data.X[:, None] + moved)


def named(n=60, v=2, **fields):
    """Augmented, and two columns say which image a row is of, and which of its variants."""
    data = augmented(n, v, **fields)
    data.X[:, IMAGE], data.X[:, VARIANT] = np.arange(n), 0
    data.variants[..., IMAGE] = np.arange(n)[:, None]
    data.variants[..., VARIANT] = np.arange(1, v + 1)
    return data


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps, in lists that clones share, the rows that it was fitted on and asked of."""

    fitted: list = []  # noqa: RUF012
    asked: list = []  # noqa: RUF012

    def __init__(self, value=1):
        self.value = value

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.number = len(self.fitted)
        self.fitted.append((names_of(X), y.tolist(), len(X)))
        return self

    def predict(self, X):
        self.asked.append((self.number, names_of(X)))
        return np.resize(self.classes_, len(X))


def names_of(X):
    """(image, variant) of each row."""
    return list(zip(X[:, IMAGE].tolist(), X[:, VARIANT].tolist(), strict=True))


class Guessing(Recorder):
    """With probabilities, which an audit asks for."""

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def guessing():
    """As `recording`."""
    return Pipeline([("classifier", Guessing())])


def recording():
    """A head by dotted name that sees the columns as they are."""
    return Pipeline([("classifier", Recorder())])


@pytest.fixture
def recorder():
    Recorder.fitted.clear()
    Recorder.asked.clear()
    return Recorder()


def with_variants(images, v=2):
    return sorted((float(image), float(k)) for image in images for k in range(v + 1))


def units(data):
    return np.arange(len(data.y)) if data.together is None else data.together


# ---- laid out


def test_variants_stand_below_their_images():
    data = named(n=5, v=3, classes="ab")
    rows = TrainingRows.of(data)
    assert names_of(rows.X[:5]) == [(i, 0) for i in range(5)]
    assert sorted(names_of(rows.X)) == with_variants(range(5), 3)
    image = rows.X[:, IMAGE].astype(int)
    np.testing.assert_array_equal(rows.variant, rows.X[:, VARIANT])
    np.testing.assert_array_equal(rows.y, data.y[image])
    np.testing.assert_array_equal(rows.together, image)
    taken = rows.of_images(np.array([3, 1]))
    assert taken[:2].tolist() == [3, 1]
    assert sorted(names_of(rows.X[taken])) == with_variants([1, 3], 3)
    assert rows.of_images(np.array([], int)).tolist() == []


def test_without_variants_the_rows_are_the_very_matrix():
    data = dataset()
    rows = TrainingRows.of(data)
    assert rows.X is data.X
    assert rows.together is None
    np.testing.assert_array_equal(rows.of_images(np.array([4, 2])), [4, 2])
    empty = replace(data, variants=np.empty((60, 0, 6), np.float32))
    assert TrainingRows.of(empty).X is data.X


def test_rows_that_are_taken_keep_their_variants():
    data = replace(named(n=6, groups=np.array(list("aabbcc"))), looks=np.arange(6.0)[:, None])
    some = data.take(np.array([5, 0]))
    assert some.n_variants == 2
    assert some.variants[:, :, IMAGE].tolist() == [[5, 5], [0, 0]]
    assert some.looks.tolist() == [[5], [0]]


# ---- nothing leaks

RELATED = {
    "alone": {},
    "groups": {"groups": np.array([f"g{i // 6}" for i in range(60)])},
    "copies": {"copies": np.array([[0, 7], [7, 20], [31, 44]])},
    "both": {
        "groups": np.array([f"g{i // 4}" for i in range(60)]),
        "copies": np.array([[0, 7], [31, 44]]),
    },
}


@pytest.mark.parametrize("related", RELATED)
def test_no_relative_of_a_tested_image_is_trained_on(recorder, related):
    data = named(**RELATED[related])
    found = cross_validate(recorder, data, cv=4)
    folds = make_folds(data, cv=4)[1]
    assert len(Recorder.fitted) == 4
    unit = units(data)
    for (train, test), (known, y, _), (_, new) in zip(
        folds, Recorder.fitted, Recorder.asked, strict=True
    ):
        assert sorted(known) == with_variants(train)
        assert new == [(image, 0) for image in test]
        images = np.array([int(image) for image, _ in known])
        assert not set(unit[images]) & set(unit[test])
        assert y == data.y[images].tolist()
    np.testing.assert_array_equal(np.sort(found.fold), np.sort(cross_fold(folds)))
    assert found.test_fraction == pytest.approx(np.mean([len(b) / len(a) for a, b in folds]))


def cross_fold(folds):
    fold = np.full(sum(len(test) for _, test in folds), -1)
    for number, (_, test) in enumerate(folds):
        fold[test] = number
    return fold


@pytest.mark.parametrize("related", RELATED)
def test_nor_in_the_inner_folds_of_tuning(recorder, related):
    data = named(**RELATED[related])
    cross_validate(recorder, data, cv=3, grid={"value": [1, 2]})
    unit = units(data)
    outer = make_folds(data, cv=3)[1]
    inner = [inner_folds(data.y, data.together, train, 0) for train, _ in outer]
    expected = [fold for folds in inner for fold in folds for _ in range(2)] + outer
    assert len(Recorder.fitted) == len(expected)
    for (train, held), (known, _, _), (_, new) in zip(
        expected, Recorder.fitted, Recorder.asked, strict=True
    ):
        assert sorted(known) == with_variants(train)
        assert new == [(image, 0) for image in held]
        assert not set(unit[train]) & set(unit[held])
    points = 2 * len(inner[0])
    for number, (_, test) in enumerate(outer):
        for known, *_ in Recorder.fitted[number * points : (number + 1) * points]:
            assert not {unit[int(image)] for image, _ in known} & set(unit[test])


def test_nor_with_a_given_split(recorder, caplog):
    """Of a copy across the splits neither the training image nor its variants are used."""
    split = np.repeat(["train", "val", "test"], [30, 15, 15])
    data = named(split=split, copies=np.array([[3, 40], [5, 6]]))
    cross_validate(recorder, data)
    ((known, *_),), ((_, new),) = Recorder.fitted, Recorder.asked
    assert sorted(known) == with_variants(set(range(30)) - {3})
    assert new == [(image, 0) for image in range(30, 45)]
    assert "are left out of training" in caplog.text


def test_nor_with_a_splitter_of_ones_own(recorder):
    data = named(copies=np.array([[0, 30]]))
    cross_validate(recorder, data, cv=[(np.arange(30), np.arange(30, 60))])
    assert sorted(Recorder.fitted[0][0]) == with_variants(range(1, 30))
    assert {variant for _, variant in Recorder.asked[0][1]} == {0}


def test_nor_in_a_learning_curve(recorder):
    data = named(groups=np.array([f"g{i // 3}" for i in range(60)]))
    measure_curve(data, f"{__name__}:recording", sizes=[6, 12], cv=3)
    unit = units(data)
    sizes = set()
    for (known, _, rows), (_, new) in zip(Recorder.fitted, Recorder.asked, strict=True):
        images = {int(image) for image, _ in known}
        assert sorted(known) == with_variants(images)
        assert rows == 3 * len(images)
        assert {variant for _, variant in new} == {0}
        assert not {unit[image] for image in images} & {unit[int(image)] for image, _ in new}
        sizes.add(len(images))
    assert len(sizes) >= 3


def test_an_audit_is_of_the_images_alone(recorder, file):
    audit(file, head=f"{__name__}:guessing", embedding="grid8.flatten", cv=3, n_jobs=1)
    assert {rows for *_, rows in Recorder.fitted} == {16}


# ---- fits


@pytest.mark.parametrize("name", sorted(HEADS))
@pytest.mark.parametrize("groups", [None, np.array([f"g{i // 5}" for i in range(60)])])
def test_fitting_is_that_on_images_and_variants_as_rows(name, groups):
    data = augmented(groups=groups, signal=2.0)
    params = {"mlp": {"steps": 30}, "gradient-boosting": {"max_iter": 10}}.get(name, {})
    found = cross_validate(make_head(name, **params), data, cv=3)
    unit = units(data)
    for train, test in make_folds(data, cv=3)[1]:
        X = np.concatenate([data.X[train], *(data.variants[i] for i in train)])
        y = np.concatenate([data.y[train], data.y[train].repeat(2)])
        head = make_head(name, **params)
        head.fit(X, y, **told_of(head, unit[train]))
        expected = head.predict_proba(data.X[test])
        np.testing.assert_allclose(found.probabilities[test], expected, atol=1e-5)


def told_of(head, unit, v=2):
    """What a head is told of images of these units, and of their variants below."""
    if isinstance(head[-1], LogisticRegression):
        return {"classifier__sample_weight": np.full(len(unit) * (1 + v), 1 / (1 + v))}
    if not isinstance(head[-1], classifiers._Calibrated):
        return {}
    n = len(unit)
    return {
        "classifier__groups": np.concatenate([unit, unit.repeat(v)]),
        "classifier__images": np.concatenate([np.arange(n), np.arange(n).repeat(v)]),
        "classifier__variant": np.concatenate([np.zeros(n, int), np.tile(np.arange(v) + 1, n)]),
    }


def test_variants_change_what_is_learned():
    data = augmented(noise=3.0)
    plain = replace(data, variants=None)
    with_them, without = (cross_validate(make_head("lda"), each) for each in (data, plain))
    np.testing.assert_array_equal(with_them.fold, without.fold)
    assert (with_them.probabilities != without.probabilities).any()


def test_same_numbers_whatever_the_jobs_and_the_company():
    data = augmented(60, d=10, copies=np.array([[0, 2], [9, 11]]))
    heads = make_heads("logreg,linear-svm,knn", {"n_components": 4})
    heads["mlp"] = make_head("mlp", steps=20, variants="turns", coordinates="passthrough")
    heads["ridge"] = make_head("ridge", coordinates="passthrough")
    grids = {"knn": {"n_neighbors": [5, 1]}, "mlp": {"alpha": [1.0, 0.1]}, "ridge": {"alpha": [9]}}
    one, two = (cross_validate_heads(heads, data, grids=grids, n_jobs=n, cv=3) for n in (1, 2))
    for name, head in heads.items():
        np.testing.assert_array_equal(one[name].probabilities, two[name].probabilities)
        assert one[name].choices == () or len(two[name].choices) == 3
        alone = cross_validate(head, data, grid=grids.get(name), cv=3)
        np.testing.assert_array_equal(one[name].probabilities, alone.probabilities)


@pytest.mark.parametrize("name", ["logreg", "linear-svm", "mlp", "knn"])
def test_a_model_is_fitted_on_variants_too(name):
    data = augmented(groups=np.array([f"g{i // 3}" for i in range(60)]), copies=np.array([[0, 4]]))
    model = Model.fit(make_head(name), data)
    rows = np.concatenate([data.X, data.variants.reshape(120, -1)])
    head = make_head(name)
    head.fit(rows, np.concatenate([data.y, data.y.repeat(2)]), **told_of(head, data.together))
    expected = head.predict_proba(data.X)
    np.testing.assert_allclose(model.predict_proba(data.X), expected, atol=1e-6)
    assert (model.info["images"], model.info["variants"]) == (60, 2)
    assert model.info["counts"] == {"a": 30, "b": 30}
    plain = Model.fit(make_head(name), replace(data, variants=None))
    assert plain.info["variants"] == 0
    assert plain.outliers.threshold == model.outliers.threshold


def test_calibration_keeps_an_image_and_its_variants_together(monkeypatch):
    real, seen = classifiers._calibration_folds, []

    def spy(codes, groups, images, seed):
        folds = list(real(codes, groups, images, seed))
        seen.append((groups, folds))
        return folds

    monkeypatch.setattr(classifiers, "_calibration_folds", spy)
    data = augmented()
    cross_validate(make_head("linear-svm"), data, cv=3)
    cross_validate(make_head("sklearn.svm:LinearSVC"), data, cv=3)
    Model.fit(make_head("ridge"), data)
    assert [len(groups) for groups, _ in seen] == [120] * 6 + [180]
    for groups, folds in seen:
        assert (np.bincount(groups)[np.unique(groups)] == 3).all()
        for train, test in folds:
            assert not set(groups[train]) & set(groups[test])


CALIBRATED = ["linear-svm", "rbf-svm", "ridge", "centroid", "sklearn.svm:LinearSVC"]


@pytest.mark.parametrize("name", CALIBRATED)
def test_probabilities_are_as_sure_as_images_are_told_and_not_as_their_variants(name):
    data = augmented(400, v=5, noise=3.0, signal=2.0)
    table = cross_validate(make_head(name), data, cv=4).probabilities
    odds = np.log(table[:, 1] / table[:, 0])[:, None]
    slope = LogisticRegression(C=1e6).fit(odds, data.y == "b").coef_[0, 0]
    assert 0.7 < slope < 1.5  # with the sigmoids of all rows: 4.8 to 9.3


@pytest.mark.parametrize("weight", [None, "balanced"])
@pytest.mark.parametrize("classes", ["ab", "abc"])
def test_sigmoids_are_those_of_scikit_learn(weight, classes):
    data = dataset(61, classes=classes)
    folds = list(StratifiedKFold(3).split(data.X, data.y))
    for head in (classifiers.CalibratedRidge(1.0, weight), classifiers.CalibratedCentroid()):
        X, codes = head._checked(data.X, data.y)
        ours, theirs = (
            CalibratedClassifierCV(head._plain(), cv=folds, ensemble=False) for _ in range(2)
        )
        head._fit_on_variants(ours, X, codes, np.zeros(61, int))
        theirs.fit(X, codes, **head._row_weights(codes))
        np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
        assert vars(ours).keys() == vars(theirs).keys()


@pytest.mark.parametrize("name", CALIBRATED)
def test_a_calibrated_model_of_variants_is_kept_in_a_file(name, tmp_path):
    data = augmented(classes="abc")
    model = Model.fit(make_head(name), data)
    model.save(tmp_path / "m.model")
    again = Model.load(tmp_path / "m.model").predict_proba(data.X)
    np.testing.assert_array_equal(again, model.predict_proba(data.X))


PENALISED = {"logreg": "C", "linear-svm": "C", "rbf-svm": "C", "ridge": "alpha"}


def copied(v=3, **fields):
    """Without variants, and with variants that are the very images."""
    data = dataset(90, 8, signal=1.5, **fields)
    return data, replace(data, variants=data.X[:, None].repeat(v, axis=1))


@pytest.mark.parametrize("weight", [None, "balanced", {"a": 3.0}])
@pytest.mark.parametrize("classes", ["ab", "abc", "aabc"])
@pytest.mark.parametrize("name", PENALISED)
def test_variants_that_are_the_images_change_no_decision(name, classes, weight):
    data, more = copied(classes=classes)
    for value in (0.01, 3.0):
        exact = {"tol": 1e-8} if name == "logreg" else {}
        params = {PENALISED[name]: value, "class_weight": weight, **exact}
        plain, fitted = (fit_on_all(make_head(name, **params), each) for each in (data, more))
        expected = plain.decision_function(data.X)
        np.testing.assert_allclose(fitted.decision_function(data.X), expected, atol=1e-4)


def test_nor_where_the_kernel_is_too_large_to_form(monkeypatch):
    monkeypatch.setattr(classifiers, "_LARGEST_KERNEL", 50)
    plain, fitted = (fit_on_all(make_head("rbf-svm"), data) for data in copied())
    X = copied()[0].X
    np.testing.assert_allclose(plain.decision_function(X), fitted.decision_function(X), atol=1e-4)


@pytest.mark.parametrize("largest", [10_000, 50])
@pytest.mark.parametrize("name", PENALISED)
def test_nor_what_tuning_chooses(name, largest, monkeypatch):
    monkeypatch.setattr(classifiers, "_LARGEST_KERNEL", largest)
    plain, tuned = (
        cross_validate(make_head(name), data, grid=head_grid(name), cv=3).choices
        for data in copied(classes="abc")
    )
    for one, two in zip(plain, tuned, strict=True):
        assert one.params == two.params
        np.testing.assert_allclose(one.scores, two.scores)


def test_images_are_many_for_calibration_and_not_their_variants():
    """Of many, two folds are enough; variants make no more of few."""
    for n, v, folds in ((100, 40, 5), (2999, 1, 5), (3000, 1, 2)):
        images = np.arange(n).repeat(1 + v)
        cut = classifiers._calibration_folds(images % 2, images, images, 0)
        assert len(cut) == folds
        assert len(classifiers._calibration_folds(images % 2, None, images, 0)) == folds
    assert classifiers._calibration_folds(np.arange(3000) % 2, None, None, 0).n_splits == 2


def test_a_class_of_one_image_is_not_calibrated_on_its_variants():
    data = augmented(40)
    y = data.y.copy()
    y[0] = "c"
    with pytest.raises(ParameterError, match="two images or more of each class"):
        Model.fit(make_head("linear-svm"), replace(data, y=y))


def test_a_class_of_one_group_is_calibrated_on_whole_images(monkeypatch):
    real, seen = classifiers._calibration_folds, []

    def spy(codes, groups, images, seed):
        seen.append((images, list(real(codes, groups, images, seed))))
        return seen[-1][1]

    monkeypatch.setattr(classifiers, "_calibration_folds", spy)
    data = augmented(40)
    groups = np.where(data.y == "a", "one", data.ids)
    Model.fit(make_head("linear-svm"), replace(data, groups=groups))
    ((images, folds),) = seen
    for train, test in folds:
        assert not set(images[train]) & set(images[test])


# ---- a perceptron whose variants take turns


def rows_and_variants(n=40, v=3, dtype=np.float32):
    data = named(n, v, signal=3.0)
    rows = TrainingRows.of(data)
    return rows.X.astype(dtype), rows.y, rows.variant


@pytest.fixture
def passed(monkeypatch):
    """The rows of every call of `partial_fit`."""
    calls, real = [], MLPClassifier.partial_fit

    def spy(self, X, y, **options):
        calls.append((X.copy(), np.array(y)))
        return real(self, X, y, **options)

    monkeypatch.setattr(MLPClassifier, "partial_fit", spy)
    return calls


@pytest.mark.parametrize("weight", [None, "balanced"])
def test_each_epoch_passes_one_variant_of_each_image(passed, weight):
    X, y, variant = rows_and_variants()
    options = {"variants": "turns", "scale": 1.0, "epochs": 8, "steps": 1, "class_weight": weight}
    ScaledMLP(random_state=0, **options).fit(X, y, variant)
    assert len(passed) == 8
    for epoch, (rows, codes) in enumerate(passed):
        names = names_of(rows)
        assert sorted(names) == [(image, epoch % 3 + 1) for image in range(40)]
        assert codes.tolist() == [int(image) % 2 for image, _ in names]
    orders = {tuple(image for image, _ in names_of(rows)) for rows, _ in passed[1:]}
    assert len(orders) == 7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_of_zeros_give_probabilities(dtype):
    X, y, X_new = np.zeros((40, 3), dtype), np.array(list("ab") * 20), np.ones((2, 3), dtype)
    with np.errstate(all="raise"):
        fitted = ScaledMLP(epochs=1, steps=1, random_state=0).fit(X, y)
        tables = [fitted.predict_proba(rows) for rows in (X, X_new)]
    for table in tables:
        np.testing.assert_allclose(table.sum(axis=1), 1)


def test_epochs_are_counted_in_images_where_variants_take_turns():
    X, y, variant = rows_and_variants(n=40, v=3)
    options = {"variants": "turns", "epochs": 2, "steps": 10}
    assert ScaledMLP(**options).fit(X, y, variant).mlp_.max_iter == 5  # two batches of 40 images
    all_rows = ScaledMLP(**{**options, "variants": "all"}).fit(X, y, variant)
    assert all_rows.mlp_.max_iter == 2  # five batches of 160 rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit_ends_where_the_epochs_end(dtype):
    X, y, variant = rows_and_variants(dtype=dtype)
    options = {"variants": "turns", "epochs": 5, "steps": 1, "random_state": 3}
    stepped, whole = ScaledMLP(**options), ScaledMLP(**options).fit(X, y, variant)
    assert list(stepped.fit_epochs(X, y, variant)) == [1, 2, 3, 4, 5]
    assert same(stepped, whole)
    assert set(vars(stepped.mlp_)) == set(vars(whole.mlp_))
    assert whole.mlp_.shuffle
    assert not hasattr(whole.mlp_, "_optimizer")


def same(left, right):
    pairs = zip(
        [*left.mlp_.coefs_, *left.mlp_.intercepts_],
        [*right.mlp_.coefs_, *right.mlp_.intercepts_],
        strict=True,
    )
    return all(a.dtype == b.dtype and (a == b).all() for a, b in pairs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [20, 75])
@pytest.mark.parametrize("weight", [None, "balanced"])
@pytest.mark.parametrize("nothing", [None, "zeros"])
def test_without_variants_turns_are_all(dtype, n, weight, nothing):
    X, y, _ = rows_and_variants(n, 1, dtype)
    X, y = X[:n], y[:n]
    variant = None if nothing is None else np.zeros(n, int)
    options = {"epochs": 4, "steps": 1, "class_weight": weight, "random_state": 5}
    turns, whole = (
        ScaledMLP(variants=each, **options).fit(X, y, variant) for each in ("turns", "all")
    )
    assert same(turns, whole)
    assert turns.scale_ == whole.scale_
    assert turns.mlp_.loss_curve_ == whole.mlp_.loss_curve_


def test_one_variant_in_turns_is_a_fit_on_the_variants():
    X, y, variant = rows_and_variants(v=1)
    options = {"scale": 2.0, "epochs": 4, "steps": 1, "random_state": 1}
    turns = ScaledMLP(variants="turns", **options).fit(X, y, variant)
    alone = ScaledMLP(**options).fit(X[variant == 1], y[variant == 1])
    assert same(turns, alone)


def test_where_all_are_rows_variants_need_not_be_told():
    X, y, variant = rows_and_variants()
    options = {"epochs": 3, "steps": 1, "random_state": 1}
    assert same(ScaledMLP(**options).fit(X, y, variant), ScaledMLP(**options).fit(X, y))


def test_turns_are_told_in_every_fold_and_on_all(passed):
    data = named()
    head = make_head("mlp", coordinates="passthrough", variants="turns", scale=1, epochs=4, steps=1)
    cross_validate(head, data, cv=3)
    Model.fit(head, data)
    folds = [train for train, _ in make_folds(data, cv=3)[1]] + [np.arange(60)]
    expected = [(train, epoch % 2 + 1) for train in folds for epoch in range(4)]
    assert len(passed) == len(expected)
    for (rows, _), (train, variant) in zip(passed, expected, strict=True):
        assert sorted(names_of(rows)) == [(image, variant) for image in train]


def test_turns_are_told_in_the_inner_folds_of_tuning(passed):
    data = named()
    head = make_head("mlp", coordinates="passthrough", variants="turns", scale=1, epochs=2, steps=1)
    cross_validate(head, data, cv=3, grid={"alpha": [1.0, 0.1]})
    assert len(passed) == 2 * (3 * 3 * 2 + 3)
    for number, (rows, _) in enumerate(passed):
        assert set(rows[:, VARIANT]) == {number % 2 + 1}


def test_each_turn_of_training_by_hand():
    """A network of one's own, taught by the same calls."""
    X, y, variant = rows_and_variants(n=20, v=2)
    whole = ScaledMLP(variants="turns", epochs=3, steps=1, random_state=0).fit(X, y, variant)
    scaled = X / whole.scale_
    assert whole.scale_ == pytest.approx(float(np.sqrt(np.mean(X.astype(float) ** 2))))
    mlp = MLPClassifier((64,), alpha=1.0, batch_size=20, random_state=0)
    codes = np.unique(y, return_inverse=True)[1]
    for number in (1, 2, 1):  # one batch an epoch: its order counts for nothing
        rows = variant == number
        mlp.partial_fit(scaled[rows], codes[rows], classes=[0, 1])
    for ours, theirs in zip(whole.mlp_.coefs_, mlp.coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


# ---- curves by epoch


@pytest.mark.parametrize("variants", ["all", "turns"])
def test_the_last_epoch_is_what_cross_validation_scores(variants):
    data, params = augmented(90, classes="abc"), {"epochs": 5, "steps": 1, "variants": variants}
    curve = training_curve(data, params=params, cv=3)
    scores = cross_validate(make_head("mlp", **params), data, cv=3).scores
    np.testing.assert_array_equal(curve.validation_accuracy[:, -1], scores["accuracy"])
    np.testing.assert_allclose(curve.validation_loss[:, -1], scores["log_loss"], rtol=1e-10)
    two = training_curve(data, params=params, cv=3, n_jobs=2)
    np.testing.assert_array_equal(curve.loss, two.loss)


def test_training_scores_are_those_of_the_images_themselves():
    data, params = augmented(noise=5.0), {"epochs": 3, "steps": 1, "coordinates": "passthrough"}
    split, folds = make_folds(data, cv=3)
    curve = training_curve(data, params=params, folds=folds, split=split)
    train, _ = folds[0]
    rows = TrainingRows.of(data)
    of = rows.of_images(train)
    head = make_head("mlp", **params).fit(rows.X[of], rows.y[of])
    assert curve.accuracy[0, -1] == head.score(data.X[train], data.y[train])


# ---- scale, and columns as they are stored


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_is_the_number_that_columns_are_divided_by(dtype):
    X, y, _ = rows_and_variants(dtype=dtype)
    options = {"epochs": 3, "steps": 1, "random_state": 0}
    usual, given = ScaledMLP(**options).fit(X, y), ScaledMLP(scale=4, **options).fit(X, y)
    assert given.scale_ == 4.0
    assert same(given, ScaledMLP(scale=1, **options).fit(X / dtype(4), y))
    assert same(usual, ScaledMLP(scale=usual.scale_, **options).fit(X, y))
    np.testing.assert_array_equal(given.predict_proba(X), given.mlp_.predict_proba(X / dtype(4)))


def test_columns_stay_as_they_are_stored(passed):
    data = named(d=8)
    head = make_head("mlp", coordinates="passthrough", variants="turns", epochs=2, steps=1)
    found = cross_validate(head, data, cv=3)
    assert {rows.dtype.name for rows, _ in passed} == {"float32"}
    assert found.probabilities.dtype == np.float64
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-12)
    model = Model.fit(head, data)
    assert model.head[-1].mlp_.coefs_[0].dtype == np.float32
    assert model.head[-1].n_features_in_ == 8


@pytest.mark.parametrize("name", ["logreg", "ridge", "knn", "mlp", "gradient-boosting"])
def test_passthrough_shows_the_columns(name):
    data = augmented(signal=2.0, d=5)
    data.X[:, 0] *= 50  # standardising would take it back
    params = {"mlp": {"steps": 30}, "gradient-boosting": {"max_iter": 10}}.get(name, {})
    head = make_head(name, coordinates="passthrough", **params)
    found = cross_validate(head, data, cv=3)
    train, test = make_folds(data, cv=3)[1][0]
    rows = TrainingRows.of(data)
    of = rows.of_images(train)
    classifier = make_head(name, **params)[-1]
    told = told_of(head, train)
    told = {name.removeprefix("classifier__"): value for name, value in told.items()}
    expected = classifier.fit(rows.X[of], rows.y[of], **told).predict_proba(data.X[test])
    np.testing.assert_allclose(found.probabilities[test], expected, atol=1e-7)
    assert plain_params(head)["coordinates"] == "passthrough"
    assert "n_components" not in plain_params(head)


def test_passthrough_is_logistic_regression_of_the_rows():
    data = dataset(90, d=4, classes="abc")
    found = cross_validate(make_head("logreg", coordinates="passthrough", C=1.0), data, cv=3)
    train, test = make_folds(data, cv=3)[1][0]
    plain = LogisticRegression(max_iter=2000).fit(data.X[train], data.y[train])
    expected = plain.predict_proba(data.X[test])
    np.testing.assert_allclose(found.probabilities[test], expected, atol=1e-6)


def test_passthrough_is_tuned():
    data = augmented(signal=2.0)
    head = make_head("knn", coordinates="passthrough")
    found = cross_validate(head, data, cv=3, grid=head_grid("knn"))
    assert {tuple(choice.params) for choice in found.choices} == {("n_neighbors",)}
    set_tuned(head, {"n_neighbors": 7})
    assert head[-1].n_neighbors == 7


@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_model_of_stored_columns_is_saved_and_exported(name, file, photos, tmp_path):
    data = load_dataset(file, "grid4.flatten")
    params = {"mlp": {"steps": 20, "scale": 0.5, "variants": "turns"}}.get(name, {})
    head = make_head(name, coordinates="passthrough", **params)
    model = Model.fit(head, data, name=name)
    assert compact(model.head) is model.head
    model.save(tmp_path / "m.model")
    loaded = Model.load(tmp_path / "m.model")
    expected = model.predict_proba(data.X)
    np.testing.assert_array_equal(loaded.predict_proba(data.X), expected)
    assert loaded.info == model.info
    export(loaded, tmp_path / "m.onnx")
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    table, _ = session(tmp_path / "m.onnx").run(None, {"images": images})
    from tlfeatures.features.pixels import PixelBackbone

    rows = PixelBackbone(["grid4.flatten"]).embed(images)["grid4.flatten"]
    np.testing.assert_allclose(table, model.predict_proba(rows), atol=1e-4)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"coordinates": "raw"}, "coordinates must be passthrough, got 'raw'"),
        ({"coordinates": None}, "coordinates must be passthrough, got None"),
        ({"coordinates": "passthrough", "n_components": 3}, "has no n_components"),
        ({"coordinates": "passthrough", "n_components": None}, "has no n_components"),
        ({"coordinates": "passthrough", "coordinates__n_components": 3}, "has no n_components"),
    ],
)
def test_coordinates_are_used_or_passed_through(params, message):
    with pytest.raises(ParameterError, match=message):
        make_head("mlp", **params)
    with pytest.raises(ParameterError, match=message):
        make_heads(["mlp", "logreg"], params)


def test_heads_of_others_have_no_coordinates():
    with pytest.raises(ParameterError, match=r"no parameter of .* 'coordinates'"):
        make_head("sklearn.ensemble:ExtraTreesClassifier", coordinates="passthrough")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"scale": 0}, "scale must be a number above 0, or None, got 0"),
        ({"scale": -1.5}, "scale must be a number above 0"),
        ({"scale": float("nan")}, "scale must be a number above 0"),
        ({"scale": float("inf")}, "scale must be a number above 0"),
        ({"scale": "large"}, "mlp can't be fitted|scale must be"),
        ({"variants": "some"}, "variants must be all or turns, got 'some'"),
        ({"variants": None}, "variants must be all or turns, got None"),
    ],
)
def test_values_that_a_perceptron_cannot_have_are_one_line(params, message, file):
    for work in (
        lambda: cross_validate_heads({"mlp": make_head("mlp", **params)}, augmented(), cv=3),
        lambda: training_curve(augmented(), params=params, cv=3),
        lambda: fit(file, "mlp", embedding="grid8.flatten", params=params, cv=3),
    ):
        with pytest.raises(ParameterError, match=message) as caught:
            work()
        assert "\n" not in str(caught.value)


# ---- files


@pytest.fixture(scope="module")
def folder(_photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("augmented")
    settings = {"backbone": "pixels", "size": 16, "layers": ["grid4", "grid8"], "pools": "flatten"}
    shutil.copytree(_photos, folder / "photos")
    extract(folder / "photos", folder / "a.h5", augment=3, **settings)
    extract(folder / "photos", folder / "plain.h5", **settings)
    return folder


@pytest.fixture
def file(folder, tmp_path):
    """Three variants of each of 24 images."""
    for name in ("a.h5", "plain.h5"):
        shutil.copy(folder / name, tmp_path / name)
    return tmp_path / "a.h5"


def test_as_many_variants_are_loaded_as_are_wanted(file):
    with Reader(file) as reader:
        expected = reader.read_variants("grid4.flatten", 3)
    every = load_dataset(file, "grid4.flatten")
    np.testing.assert_array_equal(every.variants, expected)
    assert (every.n_variants, every.variants.dtype) == (3, np.float32)
    assert (every.variants != every.X[:, None]).any(axis=2).all()
    two = load_dataset(file, "grid4.flatten", variants=2)
    np.testing.assert_array_equal(two.variants, expected[:, :2])
    none = load_dataset(file, "grid4.flatten", variants=0)
    assert (none.n_variants, none.variants) == (0, None)
    np.testing.assert_array_equal(none.X, every.X)
    labelled = {id_: "xy"[i % 2] for i, id_ in enumerate(every.ids[::3])}
    some = load_dataset(file, "grid4.flatten", labelled)
    np.testing.assert_array_equal(some.variants, expected[::3])


@pytest.mark.parametrize("wanted", [4, -1])
def test_more_variants_than_there_are_is_one_line(file, wanted):
    options = {"embedding": "grid4.flatten", "variants": wanted}
    for work in (
        lambda: load_dataset(file, **options),
        lambda: fit(file, **options),
        lambda: learning_curve(file, **options),
        lambda: benchmark(file, heads="dummy", variants=wanted),
    ):
        with pytest.raises(ParameterError, match=rf"variants is {wanted}, .* has 3 of each") as got:
            work()
        assert "--augment N" in str(got.value)
        assert "\n" not in str(got.value)
    with pytest.raises(ParameterError, match=r"variants is 1, .* has none"):
        load_dataset(file.with_name("plain.h5"), "grid4.flatten", variants=1)


def test_variants_that_are_not_finite_are_refused():
    data = named(n=4)
    data.variants[2, 1, 0] = np.inf
    labelled = label_images(data.ids.tolist(), "x.h5")
    with pytest.raises(DatasetError, match=r"x.avg of 1 images is not finite, 'a/0002.png' first"):
        labelled.with_embeddings(
            data.X,
            np.zeros((4, 32), np.uint8),
            embedding="x.avg",
            spec=data.spec,
            near_duplicates=None,
            variants=data.variants,
        )


def test_a_fingerprint_is_of_the_variants_too(file):
    prints = [
        fingerprint(load_dataset(file, "grid4.flatten", variants=wanted))
        for wanted in (0, 1, 2, 3, None)
    ]
    assert len(set(prints)) == 4
    assert prints[3] == prints[4]
    assert len({text.partition("+")[0] for text in prints}) == 1
    assert prints[0] == fingerprint(load_dataset(file.with_name("plain.h5"), "grid4.flatten"))
    data = load_dataset(file, "grid4.flatten")
    data.variants[3, 1, 5] += 1
    assert fingerprint(data) not in prints


# ---- a benchmark's folder


def run_benchmark(file, out, **options):
    defaults = {"heads": "logreg", "embeddings": "grid4.flatten", "cv": 3, "n_jobs": 1}
    return benchmark(file, out=out, **{**defaults, **options})


def labels_of(result):
    return sorted(rank.label for rank in result.comparison.ranking)


def test_entries_with_and_without_variants_are_apart(file, tmp_path):
    out = tmp_path / "out"
    assert labels_of(run_benchmark(file, out)) == ["logreg (3 variants)"]
    both = run_benchmark(file, out, variants=0)
    assert labels_of(both) == ["logreg", "logreg (3 variants)"]
    assert both.computed == 1
    assert {rank.embedding for rank in both.comparison.ranking} == {"grid4.flatten"}
    assert [entry.facts["variants"] for entry in both.entries] == [3, 0]
    tables = [entry.probabilities for entry in both.entries]
    assert (tables[0] != tables[1]).any()
    for variants in (None, 3, 0):
        again = run_benchmark(file, out, variants=variants)
        assert again.computed == 0
        assert len(again.entries) == 2
    more = run_benchmark(file, out, variants=2, tune=True)
    assert "logreg (tuned, 2 variants)" in labels_of(more)
    assert (more.computed, len(more.entries)) == (1, 3)
    assert load_benchmark(out).comparison == more.comparison


def test_what_was_fitted_on_variants_in_another_way_is_computed_again(file, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(benchmarking, "_ON_VARIANTS", 1)
    for variants in (None, 0):
        run_benchmark(file, out, variants=variants)
    monkeypatch.undo()
    again = [run_benchmark(file, out, variants=variants) for variants in (None, 0, None)]
    assert [result.computed for result in again] == [1, 0, 0]
    assert labels_of(again[-1]) == ["logreg", "logreg (3 variants)"]


def test_the_same_images_without_variants_by_another_file_are_not_computed_again(file, tmp_path):
    run_benchmark(file, tmp_path / "out", variants=0)
    again = run_benchmark(file.with_name("plain.h5"), tmp_path / "out")
    assert again.computed == 0
    assert labels_of(again) == ["logreg"]


def test_each_of_a_head_with_and_without_variants_can_be_shown(file, tmp_path):
    for variants in (0, 2, 3):
        run_benchmark(file, tmp_path / "out", variants=variants)
    analyses = Analyses(load_benchmark(tmp_path / "out"))
    for label, variants in (("logreg", 0), ("logreg (2 variants)", 2), ("logreg (3 variants)", 3)):
        assert analyses.entry(analyses.rank(label)).facts["variants"] == variants
        assert [rank.label for rank in analyses.ranks(label, "grid4.flatten")] == [label]
    with pytest.raises(ParameterError, match=r"logreg \(2 variants\)"):
        analyses.rank("logreg (1 variant)")


def test_parameters_tell_heads_with_and_without_variants_apart(file, tmp_path):
    out = tmp_path / "out"
    run_benchmark(file, out, variants=0, params={"C": 3.0})
    assert labels_of(run_benchmark(file, out)) == ["logreg C=0.01 (3 variants)", "logreg C=3.0"]
    assert Analyses(load_benchmark(out)).ranks("logreg") == load_benchmark(out).comparison.ranking


def test_entries_are_what_cross_validation_gives(file, tmp_path):
    result = run_benchmark(file, tmp_path / "out", heads=["knn", "ridge"])
    for entry in result.entries:
        head = make_head(entry.facts["head"])
        alone = cross_validate(head, load_dataset(file, "grid4.flatten"), cv=3)
        np.testing.assert_array_equal(entry.probabilities, alone.probabilities)
        np.testing.assert_array_equal(entry.fold, alone.fold)


def test_heads_without_coordinates_are_told_by_their_label(file, tmp_path):
    out = tmp_path / "out"
    run_benchmark(file, out, variants=0)
    result = run_benchmark(file, out, variants=0, params={"coordinates": "passthrough"})
    assert "logreg coordinates=passthrough" in labels_of(result)
    assert len(result.entries) == 2


def test_a_page_can_be_made_of_both(file, tmp_path):
    out, params = tmp_path / "out", {"steps": 20}
    run_benchmark(file, out, heads=["mlp"], params=params, variants=0)
    run_benchmark(file, out, heads=["mlp", "dummy"], params={**params, "variants": "turns"})
    report(out, tmp_path / "page.html", n_jobs=1)
    html = (tmp_path / "page.html").read_text()
    assert "dummy (3 variants)" in html
    for part in ("more-images", "epochs", "map", "audit"):
        assert f'<section id="{part}"' in html


def test_analyses_load_as_many_variants_again(file, tmp_path):
    for variants in (None, 0, 2):
        found = run_benchmark(
            file, tmp_path / "out", heads="mlp", params={"steps": 20}, variants=variants
        )
    analyses = Analyses(load_benchmark(tmp_path / "out"), n_jobs=1)
    seen = set()
    for rank in found.comparison.ranking:
        facts, data = analyses.entry(rank).facts, analyses.dataset(rank)
        assert data.n_variants == facts["variants"]
        assert fingerprint(data) == facts["matrix"]
        curve = analyses.training(rank)
        np.testing.assert_allclose(
            curve.validation_accuracy[:, -1], facts["scores"]["accuracy"]["folds"]
        )
        np.testing.assert_allclose(
            curve.validation_loss[:, -1], facts["scores"]["log_loss"]["folds"], rtol=1e-6
        )
        seen.add(data.n_variants)
    assert seen == {0, 2, 3}


def test_other_variants_in_the_file_are_noticed(file, folder, tmp_path):
    result = run_benchmark(file, tmp_path / "out")
    (rank,) = result.comparison.ranking
    file.unlink()
    settings = {"backbone": "pixels", "size": 16, "layers": ["grid4", "grid8"], "pools": "flatten"}
    extract(folder / "photos", file, augment=3, augment_spec="rotation=10,seed=1", **settings)
    with pytest.raises(DatasetError, match="no longer what the benchmark was computed from"):
        Analyses(load_benchmark(tmp_path / "out")).dataset(rank)


# ---- a model of images and variants


@pytest.fixture
def saved(file, tmp_path):
    options = {"embedding": "grid4.flatten", "cv": 3}
    return fit(file, "logreg", model=tmp_path / "m.model", **options), tmp_path / "m.model"


def test_the_report_the_model_and_its_card_name_the_variants(saved):
    made, path = saved
    assert made.to_dict()["variants"] == made.variants == 3
    facts = describe(path)
    assert (facts["variants"], facts["images"], facts["columns"]) == (3, 24, 48)
    card = path.with_name("m.model.md").read_text()
    assert (
        "Variants of each image that it was fitted on, too: 3 "
        "(rotation=30,zoom=0.2,horizontal_flip); it was scored on none."
    ) in card.replace("\\", "")
    result = CliRunner().invoke(main, ["info", str(path)])
    assert "variants: 3" in result.stdout


def test_without_them_nothing_is_said_of_variants(file, tmp_path):
    made = fit(file, embedding="grid4.flatten", variants=0, model=tmp_path / "m.model")
    assert made.variants == 0
    assert describe(tmp_path / "m.model")["variants"] == 0
    assert "variants" not in (tmp_path / "m.model.md").read_text()
    plain = fit(file.with_name("plain.h5"), embedding="grid4.flatten")
    assert plain.heads[0].scores() == made.heads[0].scores()


def test_it_predicts_images_as_they_are(saved, file, folder, tmp_path):
    model, data = Model.load(saved[1]), load_dataset(file, "grid4.flatten")
    predictions = list(model.predict(folder / "photos"))
    table = [[each.probabilities[name] for name in model.classes] for each in predictions]
    np.testing.assert_allclose(table, model.predict_proba(data.X), rtol=1e-5)
    found = export(model, tmp_path / "m.onnx", check=folder / "photos").check
    assert (found.images, found.passed) == (24, True)


def test_it_is_evaluated_on_new_images_of_its_own_file_and_of_a_plain_one(file, folder, tmp_path):
    ids = load_dataset(file, "grid4.flatten").ids
    old, every = ({id_: id_[:3] for id_ in some} for some in (ids[::2], ids))
    options = {"labels": old, "embedding": "grid4.flatten", "near_duplicates": None, "cv": 3}
    fit(file, model=tmp_path / "m.model", **options)
    sources = (file, file.with_name("plain.h5"), folder / "photos")
    trials = [evaluate(tmp_path / "m.model", source, labels=every) for source in sources]
    data, model = load_dataset(file, "grid4.flatten"), Model.load(tmp_path / "m.model")
    expected = model.predict_proba(data.X[1::2])
    for trial in trials:
        assert (trial.seen, trial.tested) == (12, 12)
        assert trial.predictions.ids.tolist() == ids[1::2].tolist()
        np.testing.assert_allclose(trial.predictions.probabilities, expected, rtol=1e-5)
    assert trials[0].scores == trials[1].scores


def test_it_is_not_evaluated_on_what_it_has_seen(saved, file):
    with pytest.raises(DatasetError, match="fitted on all 24 images"):
        evaluate(saved[1], file)


def test_the_commands(file, tmp_path):
    def run(*arguments):
        result = CliRunner().invoke(main, [str(each) for each in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    options = ["--embedding", "grid4.flatten", "--cv", 3]
    text = run("fit", file, *options)
    assert "trained also on 3 variants of each image" in text
    assert "variants" not in run("fit", file, *options, "--variants", 0)
    page = tmp_path / "page.html"
    facts = json.loads(run("fit", file, *options, "--variants", 1, "--json", "--report", page))
    assert facts["variants"] == 1
    assert page.exists()
    passed = ["--head", "mlp", "--param", "coordinates=passthrough", "--param", "variants=turns"]
    passed += ["--param", "steps=10", "--tune", "-o", tmp_path / "m.model"]
    run("fit", file, *options, *passed)
    facts = describe(tmp_path / "m.model")
    assert facts["params"]["coordinates"] == "passthrough"
    assert facts["params"]["variants"] == "turns"
    assert facts["tuned"]
    result = CliRunner().invoke(main, ["fit", str(file), *map(str, options), "--variants", "9"])
    assert result.exit_code == 2
    assert "has 3 of each image" in result.stderr
    facts = json.loads(
        run("benchmark", file, "--heads", "dummy", "--variants", 2, "--n-jobs", 1, "--json")
    )
    assert {rank["label"] for rank in facts["ranking"]} == {"dummy (2 variants)"}
    curve = json.loads(
        run("learning-curve", file, "--embedding", "grid4.flatten", "--variants", 1, "--cv", 3,
            "--sizes", 4, "--json")
    )  # fmt: skip
    assert curve["points"]


def test_a_head_without_probabilities_is_still_refused_at_once(recorder):
    with pytest.raises(ModelError, match="CalibratedClassifierCV"):
        Model.fit(recorder, augmented())
    assert not Recorder.fitted


def test_two_recipes_of_as_many_variants_are_told_apart_by_their_files(photos, tmp_path):
    for name, how in (("a.h5", "rotation=30"), ("b.h5", "brightness=0.5")):
        made = {"backbone": "pixels", "size": 16, "layers": ["grid8.flatten"]}
        extract(photos, tmp_path / name, **made, augment=2, augment_spec=how)
    found = benchmark([tmp_path / "a.h5", tmp_path / "b.h5"], heads="logreg")
    assert {rank.embedding for rank in found.comparison.ranking} == {
        "a.h5:grid8.flatten",
        "b.h5:grid8.flatten",
    }


def test_a_perceptron_saved_before_it_had_these_parameters_has_their_defaults(tmp_path):
    model = Model.fit(make_head("mlp"), named())
    for name in ("scale", "variants"):
        del model.head[-1].__dict__[name]
    model.save(tmp_path / "old.model")
    params = Model.load(tmp_path / "old.model").head[-1].get_params()
    assert (params["scale"], params["variants"]) == (None, "all")


@pytest.mark.parametrize("embedding", ["grid4.flatten.avg", "grid4", "nowhere.avg", "grid4."])
def test_a_model_of_an_embedding_that_there_is_not_is_damaged(file, photos, embedding):
    model = Model.fit(make_head("logreg"), load_dataset(file, "grid4.flatten"))
    odd = replace(model, embedding=embedding)
    with pytest.raises(ModelError, match="damaged"):
        next(odd.predict([photos]))
    with pytest.raises(ModelError, match="damaged"):
        export(odd, file.with_name("x.onnx"))


def test_boosting_holds_no_variants_back_to_stop_by():
    assert make_head("gradient-boosting")[-1].early_stopping is False
