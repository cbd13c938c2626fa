"""A perceptron trained epoch by epoch ends as one call of scikit-learn's `fit` does."""

import warnings

import numpy as np
import pytest
import skops.io
from sklearn.neural_network import MLPClassifier
from sklearn.utils.class_weight import compute_sample_weight

from tlfeatures.heads.classifiers.scaled_mlp import ScaledMLP


def sample(classes=3, n=120, d=20):
    """Rows of few columns that tell the classes apart."""
    random = np.random.default_rng(0)
    y = random.integers(classes, size=n)
    X = np.maximum(random.normal(size=(n, d)) + 0.6 * random.normal(size=(classes, d))[y] - 0.5, 0)
    names = np.array(["ant", "bee", "cow"])[y]
    return X[:-30], names[:-30], X[-30:], names[-30:]


CLASSES = pytest.mark.parametrize("classes", [2, 3])


def weights_of(mlp):
    return [*mlp.coefs_, *mlp.intercepts_]


def same(left, right):
    return all((a == b).all() for a, b in zip(weights_of(left), weights_of(right), strict=True))


def plain_mlp(X, y, weights=None, **options):
    """What one call of scikit-learn's `fit` gives on the same scale."""
    mlp = MLPClassifier(
        (64,), alpha=1.0, batch_size=min(32, len(X)), n_iter_no_change=10**9, **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mlp.fit(X / np.sqrt(np.mean(X**2)), y, sample_weight=weights)


# What scikit-learn documents of a fitted perceptron, beside its weights.
FITTED = ("classes_", "loss_", "best_loss_", "loss_curve_", "t_", "n_features_in_", "n_iter_")
FITTED += ("n_layers_", "n_outputs_", "out_activation_")


@CLASSES
@pytest.mark.parametrize("n", [40, 126])  # one batch, and several of which the last is short
@pytest.mark.parametrize("weight", [None, "balanced", {"ant": 3.0}])
@pytest.mark.parametrize("seed", [0, 7])
def test_epochs_end_in_the_very_weights_of_one_fit(classes, n, weight, seed):
    X, y, *_ = sample(classes, n=n)
    options = {"epochs": 6, "steps": 1, "class_weight": weight, "random_state": seed}
    stepped, whole = ScaledMLP(**options), ScaledMLP(**options).fit(X, y)
    codes = np.unique(y, return_inverse=True)[1]
    rows = None if weight is None else compute_sample_weight(weight, y)
    expected = plain_mlp(X, codes, rows, max_iter=6, random_state=seed)
    assert list(stepped.fit_epochs(X, y)) == [1, 2, 3, 4, 5, 6]
    assert same(stepped.mlp_, expected)
    assert same(whole.mlp_, expected)
    assert stepped.mlp_.n_iter_ == 6
    assert stepped.mlp_.get_params() == whole.mlp_.get_params()
    for name in FITTED:
        for mlp in (stepped.mlp_, whole.mlp_):
            np.testing.assert_array_equal(getattr(mlp, name), getattr(expected, name), name)


def fitted_on_turns(X, y):
    variant = np.arange(len(y)) % 2
    return ScaledMLP(variants="turns", epochs=2, steps=1).fit(X, y, variant)


def stopped_early(X, y):
    stopped = ScaledMLP(epochs=9, steps=1)
    epochs = stopped.fit_epochs(X, y)
    next(epochs)
    epochs.close()
    return stopped


@pytest.mark.parametrize("fit", [ScaledMLP(epochs=2, steps=1).fit, fitted_on_turns, stopped_early])
def test_the_numbers_of_adam_are_not_kept(fit):
    """Adam keeps two numbers for each weight; scikit-learn keeps the best weights, too."""
    X, y, *_ = sample(2, d=300)
    fitted = fit(X, y)
    weights = sum(each.nbytes for each in weights_of(fitted.mlp_))
    assert weights < len(skops.io.dumps(fitted)) < 2.5 * weights


def test_after_each_epoch_the_weights_are_those_of_a_fit_of_so_many():
    X, y, X_new, _ = sample(3)
    stepped = ScaledMLP(epochs=4, steps=1, random_state=3)
    for epoch in stepped.fit_epochs(X, y):
        short = ScaledMLP(epochs=epoch, steps=1, random_state=3).fit(X, y)
        np.testing.assert_array_equal(stepped.predict_proba(X_new), short.predict_proba(X_new))


def test_who_stops_early_keeps_a_classifier_that_can_be_saved():
    X, y, X_new, _ = sample(2)
    stopped = ScaledMLP(random_state=0)
    for epoch in stopped.fit_epochs(X, y):
        if epoch == 2:
            break
    whole = ScaledMLP(epochs=2, steps=1, random_state=0).fit(X, y)
    data, expected = (skops.io.dumps(each) for each in (stopped, whole))
    trusted = skops.io.get_untrusted_types(data=data)
    assert trusted == skops.io.get_untrusted_types(data=expected)
    loaded = skops.io.loads(data, trusted=trusted)
    np.testing.assert_array_equal(loaded.predict_proba(X_new), stopped.predict_proba(X_new))


def test_without_a_seed_epochs_train_too():
    X, y, *_ = sample(2)
    for seed in (None, np.random.RandomState(0)):
        stepped = ScaledMLP(epochs=150, steps=1, random_state=seed)
        assert list(stepped.fit_epochs(X, y)) == list(range(1, 151))
        assert stepped.score(X, y) > 0.8


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


@pytest.mark.parametrize("wrong", [{"epochs": 0, "steps": 0}, {"hidden": 0}, {"alpha": -1.0}])
def test_epochs_refuse_what_fit_refuses(wrong):
    X, y, *_ = sample(2)
    texts = []
    for work in (ScaledMLP(**wrong).fit, lambda X, y: next(ScaledMLP(**wrong).fit_epochs(X, y))):
        with pytest.raises(ValueError, match="must be") as caught:
            work(X, y)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
