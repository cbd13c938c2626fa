"""A perceptron that sees one variant of each image an epoch, in turn."""

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from tests.fakes import VARIANT, names_of
from tests.unit.data import augmented, named
from tlfeatures import Model, cross_validate, fit, make_head
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.scaled_mlp import ScaledMLP
from tlfeatures.model_selection.cross_validation import cross_validate_heads
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.training_curve import training_curve


@pytest.fixture
def file(augmented_file):
    """Embeddings of 24 images, with three variants of each."""
    return augmented_file


def rows_and_variants(n=40, v=3, dtype=np.float32):
    data = named(n, v, signal=3.0)
    rows = TrainingRows.of(data)
    return rows.X.astype(dtype), rows.y, rows.variant


@pytest.fixture
def partial_fits(monkeypatch):
    """The rows of every call of `partial_fit`."""
    calls, real = [], MLPClassifier.partial_fit

    def spy(self, X, y, **options):
        calls.append((X.copy(), np.array(y)))
        return real(self, X, y, **options)

    monkeypatch.setattr(MLPClassifier, "partial_fit", spy)
    return calls


@pytest.mark.parametrize("weight", [None, "balanced"])
def test_each_epoch_passes_one_variant_of_each_image(partial_fits, weight):
    X, y, variant = rows_and_variants()
    options = {"variants": "turns", "scale": 1.0, "epochs": 8, "steps": 1, "class_weight": weight}
    ScaledMLP(random_state=0, **options).fit(X, y, variant)
    assert len(partial_fits) == 8
    for epoch, (rows, codes) in enumerate(partial_fits):
        names = names_of(rows)
        assert sorted(names) == [(image, epoch % 3 + 1) for image in range(40)]
        assert codes.tolist() == [int(image) % 2 for image, _ in names]
    orders = {tuple(image for image, _ in names_of(rows)) for rows, _ in partial_fits[1:]}
    assert len(orders) == 7


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
    assert stepped.mlp_.get_params() == whole.mlp_.get_params()
    assert stepped.mlp_.loss_curve_ == whole.mlp_.loss_curve_
    assert stepped.mlp_.n_iter_ == whole.mlp_.n_iter_ == 5
    assert whole.mlp_.shuffle


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


def test_turns_are_told_in_every_fold_and_on_all(partial_fits):
    data = named()
    head = make_head("mlp", coordinates="passthrough", variants="turns", scale=1, epochs=4, steps=1)
    cross_validate(head, data, cv=3)
    Model.fit(head, data)
    folds = [train for train, _ in make_folds(data, cv=3)[1]] + [np.arange(60)]
    expected = [(train, epoch % 2 + 1) for train in folds for epoch in range(4)]
    assert len(partial_fits) == len(expected)
    for (rows, _), (train, variant) in zip(partial_fits, expected, strict=True):
        assert sorted(names_of(rows)) == [(image, variant) for image in train]


def test_turns_are_told_in_the_inner_folds_of_tuning(partial_fits):
    data = named()
    head = make_head("mlp", coordinates="passthrough", variants="turns", scale=1, epochs=2, steps=1)
    cross_validate(head, data, cv=3, grid={"alpha": [1.0, 0.1]})
    assert len(partial_fits) == 2 * (3 * 3 * 2 + 3)
    for number, (rows, _) in enumerate(partial_fits):
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
    np.testing.assert_array_equal(curve.validation_accuracy[:, -1], scores["accuracy"]["folds"])
    np.testing.assert_allclose(
        curve.validation_loss[:, -1], scores["log_loss"]["folds"], rtol=1e-10
    )


def test_training_scores_are_those_of_the_images_themselves():
    data, params = augmented(noise=5.0), {"epochs": 3, "steps": 1, "coordinates": "passthrough"}
    split, folds = make_folds(data, cv=3)
    curve = training_curve(data, params=params, folds=folds, split=split)
    train, _ = folds[0]
    rows = TrainingRows.of(data)
    of = rows.of_images(train)
    head = make_head("mlp", **params).fit(rows.X[of], rows.y[of])
    assert curve.accuracy[0, -1] == head.score(data.X[train], data.y[train])


# ---- scale


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_of_zeros_give_probabilities(dtype):
    X, y, X_new = np.zeros((40, 3), dtype), np.array(list("ab") * 20), np.ones((2, 3), dtype)
    with np.errstate(all="raise"):
        fitted = ScaledMLP(epochs=1, steps=1, random_state=0).fit(X, y)
        tables = [fitted.predict_proba(rows) for rows in (X, X_new)]
    for table in tables:
        np.testing.assert_allclose(table.sum(axis=1), 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_is_the_number_that_columns_are_divided_by(dtype):
    X, y, _ = rows_and_variants(dtype=dtype)
    options = {"epochs": 3, "steps": 1, "random_state": 0}
    usual, given = ScaledMLP(**options).fit(X, y), ScaledMLP(scale=4, **options).fit(X, y)
    assert given.scale_ == 4.0
    assert same(given, ScaledMLP(scale=1, **options).fit(X / dtype(4), y))
    assert same(usual, ScaledMLP(scale=usual.scale_, **options).fit(X, y))
    np.testing.assert_array_equal(given.predict_proba(X), given.mlp_.predict_proba(X / dtype(4)))


def test_columns_stay_as_they_are_stored(partial_fits):
    data = named(d=8)
    head = make_head("mlp", coordinates="passthrough", variants="turns", epochs=2, steps=1)
    found = cross_validate(head, data, cv=3)
    assert {rows.dtype.name for rows, _ in partial_fits} == {"float32"}
    assert found.probabilities.dtype == np.float64
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-12)
    model = Model.fit(head, data)
    assert model.head[-1].mlp_.coefs_[0].dtype == np.float32
    assert model.head[-1].n_features_in_ == 8


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"scale": 0}, "scale must be a number above 0, or None, got 0"),
        ({"scale": -1.5}, "scale must be a number above 0"),
        ({"scale": float("nan")}, "scale must be a number above 0"),
        ({"scale": float("inf")}, "scale must be a number above 0"),
        ({"scale": "large"}, "scale must be a number above 0"),
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
