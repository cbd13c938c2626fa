"""mlp is scikit-learn's perceptron, trained epoch by epoch on columns of one scale."""

import warnings

import numpy as np
import pytest
import skops.io
from sklearn.neural_network import MLPClassifier
from sklearn.utils.class_weight import compute_sample_weight

from tests.fakes import same_weights, weights_of
from tests.unit.data import augmented
from tlfeatures import cross_validate, fit, make_head
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.scaled_mlp import ScaledMLP
from tlfeatures.model_selection.cross_validation import cross_validate_heads
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.training_curve import training_curve


def sample(classes=3, n=120, d=20):
    """Rows of few columns that tell the classes apart."""
    random = np.random.default_rng(0)
    y = random.integers(classes, size=n)
    X = np.maximum(random.normal(size=(n, d)) + 0.6 * random.normal(size=(classes, d))[y] - 0.5, 0)
    names = np.array(["ant", "bee", "cow"])[y]
    return X[:-30], names[:-30], X[-30:], names[-30:]


CLASSES = pytest.mark.parametrize("classes", [2, 3])


# ---- scikit-learn's perceptron


@CLASSES
@pytest.mark.parametrize("n", [40, 126])  # one batch, and several of which the last is short
@pytest.mark.parametrize("weight", [None, "balanced", {"ant": 3.0}])
@pytest.mark.parametrize("seed", [0, 7])
def test_epochs_are_calls_of_partial_fit(classes, n, weight, seed):
    X, y, X_new, _ = sample(classes, n=n)
    options = {"epochs": 6, "steps": 1, "class_weight": weight, "random_state": seed}
    fitted = ScaledMLP(**options).fit(X, y)
    rows = None if weight is None else compute_sample_weight(weight, y)
    scale = np.sqrt(np.mean(X**2))
    mlp = MLPClassifier(
        (64,), alpha=1.0, batch_size=min(32, len(X)), random_state=np.random.RandomState(seed)
    )
    for _ in range(6):
        mlp.partial_fit(X / scale, y, sample_weight=rows, classes=np.unique(y))
    assert fitted.scale_ == pytest.approx(scale)
    for ours, theirs in zip(weights_of(fitted), weights_of(mlp), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)
    expected = mlp.predict_proba(X_new / scale)
    np.testing.assert_allclose(fitted.predict_proba(X_new), expected, atol=1e-10)
    assert fitted.predict(X_new).tolist() == mlp.predict(X_new / scale).tolist()


def test_one_batch_an_epoch_is_one_call_of_fit():
    """The order of the rows counts for nothing then, except for rounding."""
    X, y, X_new, _ = sample(3, n=50)
    fitted = ScaledMLP(epochs=9, steps=1, random_state=0).fit(X, y)
    mlp = MLPClassifier((64,), alpha=1.0, batch_size=20, max_iter=9, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp.fit(X / fitted.scale_, y)
    expected = mlp.predict_proba(X_new / fitted.scale_)
    np.testing.assert_allclose(fitted.predict_proba(X_new), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@CLASSES
def test_fit_ends_where_the_epochs_end(dtype, classes):
    X, y, X_new, _ = sample(classes)
    options = {"epochs": 5, "steps": 28, "random_state": 3}  # two passes each
    stepped, whole = ScaledMLP(**options), ScaledMLP(**options).fit(X.astype(dtype), y)
    assert list(stepped.fit_epochs(X.astype(dtype), y)) == [1, 2, 3, 4, 5]
    assert same_weights(stepped, whole)
    assert {each.dtype for each in weights_of(whole)} == {np.dtype(dtype)}
    np.testing.assert_array_equal(stepped.predict_proba(X_new), whole.predict_proba(X_new))


def test_after_each_epoch_the_weights_are_those_of_a_fit_of_so_many():
    X, y, X_new, _ = sample(3)
    stepped = ScaledMLP(epochs=4, steps=1, random_state=3)
    for epoch in stepped.fit_epochs(X, y):
        short = ScaledMLP(epochs=epoch, steps=1, random_state=3).fit(X, y)
        np.testing.assert_array_equal(stepped.predict_proba(X_new), short.predict_proba(X_new))


def test_without_a_seed_epochs_train_too():
    X, y, *_ = sample(2)
    for seed in (None, np.random.RandomState(0)):
        stepped = ScaledMLP(epochs=150, steps=1, random_state=seed)
        assert list(stepped.fit_epochs(X, y)) == list(range(1, 151))
        assert stepped.score(X, y) > 0.8


# ---- how long it trains


@pytest.mark.parametrize(
    ("rows", "epochs", "passes"),
    [(20, 20, 50), (40, 20, 40), (700, 23, 2), (1000, 32, 1), (1600, 20, 1), (5000, 20, 1)],
)
def test_few_rows_are_passed_several_times_in_an_epoch(partial_fits, rows, epochs, passes):
    X = np.arange(2.0 * rows).reshape(rows, 2)
    fitted = ScaledMLP(hidden=2, random_state=0).fit(X, np.arange(rows) % 2)
    assert len(partial_fits) == epochs
    for passed, _ in partial_fits:
        values, counts = np.unique(np.round(passed[:, 0] * fitted.scale_), return_counts=True)
        assert values.tolist() == X[:, 0].tolist()
        assert set(counts) == {passes}


def test_epochs_and_steps_are_the_least_that_is_trained(partial_fits):
    X, y, *_ = sample(2)  # 90 rows are three batches
    ScaledMLP(epochs=7, steps=1).fit(X, y)
    assert [len(rows) for rows, _ in partial_fits] == [90] * 7
    partial_fits.clear()
    ScaledMLP(epochs=2, steps=30).fit(X, y)  # eleven passes
    assert [len(rows) for rows, _ in partial_fits] == [450] * 3


# ---- what is kept


def stopped_early(X, y):
    stopped = ScaledMLP(epochs=9, steps=1)
    epochs = stopped.fit_epochs(X, y)
    next(epochs)
    epochs.close()
    return stopped


@pytest.mark.parametrize("fit", [ScaledMLP(epochs=2, steps=1).fit, stopped_early])
def test_the_numbers_of_adam_are_not_kept(fit):
    """Adam keeps two numbers for each weight; scikit-learn keeps the best weights, too."""
    X, y, *_ = sample(2, d=300)
    fitted = fit(X, y)
    weights = sum(each.nbytes for each in weights_of(fitted))
    assert weights < len(skops.io.dumps(fitted)) < 1.5 * weights


def test_who_stops_early_keeps_a_classifier_that_can_be_saved():
    X, y, X_new, _ = sample(2)
    stopped = ScaledMLP(random_state=0)
    for epoch in stopped.fit_epochs(X, y):
        if epoch == 2:
            break
    data = skops.io.dumps(stopped)
    loaded = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    np.testing.assert_array_equal(loaded.predict_proba(X_new), stopped.predict_proba(X_new))


# ---- interruptions and wrong values


class CtrlC(np.random.RandomState):
    """Is interrupted where scikit-learn shuffles the rows of an epoch."""

    def shuffle(self, x):
        raise KeyboardInterrupt


def test_interrupting_an_epoch_ends_the_training():
    """Scikit-learn makes a warning of it, and would go on with the next epoch."""
    X, y, *_ = sample(2)
    epochs = ScaledMLP(random_state=CtrlC(0)).fit_epochs(X, y)
    with pytest.raises(KeyboardInterrupt):
        next(epochs)
    assert list(epochs) == []
    with pytest.raises(KeyboardInterrupt):
        ScaledMLP(random_state=CtrlC(0)).fit(X, y)


WRONG = [
    ({"epochs": 0}, "epochs must be a whole number from 1 up, got 0"),
    ({"epochs": 2.5}, "epochs must be a whole number from 1 up, got 2.5"),
    ({"steps": 0}, "steps must be a whole number from 1 up, got 0"),
    ({"steps": None}, "steps must be a whole number from 1 up, got None"),
    ({"hidden": 0}, "must be > 0"),
    ({"alpha": -1.0}, "alpha.* must be"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_values_are_one_line(wrong, message, augmented_file):
    X, y, *_ = sample(2)
    with pytest.raises(ValueError, match=message):
        ScaledMLP(**wrong).fit(X, y)
    for work in (
        lambda: cross_validate_heads({"mlp": make_head("mlp", **wrong)}, augmented(), cv=3),
        lambda: training_curve(augmented(), params=wrong, cv=3),
        lambda: fit(augmented_file, "mlp", embedding="grid8.flatten", params=wrong, cv=3),
    ):
        with pytest.raises(ParameterError, match=message) as caught:
            work()
        assert "\n" not in str(caught.value)


# ---- rows and columns


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_of_zeros_give_probabilities(dtype):
    X, y, X_new = np.zeros((40, 3), dtype), np.array(list("ab") * 20), np.ones((2, 3), dtype)
    with np.errstate(all="raise"):
        fitted = ScaledMLP(epochs=1, steps=1, random_state=0).fit(X, y)
        tables = [fitted.predict_proba(rows) for rows in (X, X_new)]
    for table in tables:
        np.testing.assert_allclose(table.sum(axis=1), 1)


def test_the_scale_of_all_columns_makes_no_difference():
    X, y, X_new, _ = sample(2)
    options = {"epochs": 3, "steps": 1, "random_state": 0}
    one, other = ScaledMLP(**options).fit(X, y), ScaledMLP(**options).fit(X * 1024, y)
    np.testing.assert_allclose(one.predict_proba(X_new), other.predict_proba(X_new * 1024))
    assert other.scale_ == pytest.approx(1024 * one.scale_)


# ---- variants


def test_the_last_epoch_with_variants_is_what_cross_validation_scores():
    data, params = augmented(90, classes="abc"), {"epochs": 5, "steps": 1}
    curve = training_curve(data, params=params, cv=3)
    scores = cross_validate(make_head("mlp", **params), data, cv=3).scores
    np.testing.assert_array_equal(curve.validation_accuracy[:, -1], scores["accuracy"]["folds"])
    np.testing.assert_allclose(
        curve.validation_loss[:, -1], scores["log_loss"]["folds"], rtol=1e-10
    )


def test_training_scores_are_those_of_the_images_themselves():
    data, params = augmented(noise=5.0), {"epochs": 3, "steps": 1}
    split, folds = make_folds(data, cv=3)
    curve = training_curve(data, params=params, folds=folds, split=split)
    train, _ = folds[0]
    rows = TrainingRows.of(data)
    of = rows.of_images(train)
    head = make_head("mlp", **params).fit(rows.X[of], rows.y[of])
    assert curve.accuracy[0, -1] == head.score(data.X[train], data.y[train])
