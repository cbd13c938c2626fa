"""The study's network sees one variant of each image an epoch, in turn.

It also shows what tlfeatures offers to a classifier of another package: the numbers of variants,
and a curve by epoch.
"""

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from tests.fakes import VARIANT, names_of, same_weights
from tests.unit.data import named
from tlfeatures import Model, cross_validate, make_head
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.training_curve import training_curve


@pytest.fixture
def network(study_folder):
    """Create networks of few units."""
    from reference_network import ReferenceNetwork

    return lambda **params: ReferenceNetwork(**{"hidden": 8, "random_state": 0, **params})


@pytest.fixture
def head(study_folder):
    """The head as the study names it."""
    from reference_network import HEAD

    return HEAD


def rows_and_variants(n=40, v=3, dtype=np.float32):
    rows = TrainingRows.of(named(n, v, signal=3.0))
    return rows.X.astype(dtype), rows.y, rows.variant


def test_each_epoch_passes_one_variant_of_each_image(partial_fits, network):
    X, y, variant = rows_and_variants()
    network(epochs=8).fit(X, y, variant)
    assert len(partial_fits) == 8
    for epoch, (rows, codes) in enumerate(partial_fits):
        names = names_of(rows)
        assert sorted(names) == [(image, epoch % 3 + 1) for image in range(40)]
        assert codes.tolist() == [int(image) % 2 for image, _ in names]
        assert rows.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit_ends_where_the_epochs_end(dtype, network):
    X, y, variant = rows_and_variants(dtype=dtype)
    stepped, whole = network(), network().fit(X, y, variant)
    assert list(stepped.fit_epochs(X, y, variant)) == [1, 2, 3, 4, 5]
    assert same_weights(stepped.mlp_, whole.mlp_)


@pytest.mark.parametrize("zeros", [False, True])
def test_without_variants_an_epoch_passes_all_images(partial_fits, network, zeros):
    X, y, _ = rows_and_variants()
    X, y = X[:40], y[:40]
    network().fit(X, y, np.zeros(40, int) if zeros else None)
    assert len(partial_fits) == 5
    for rows, _ in partial_fits:
        np.testing.assert_array_equal(rows, X)


def test_the_columns_are_not_scaled(network):
    X, y, variant = rows_and_variants(n=20, v=2)
    fitted = network(epochs=3).fit(X, y, variant)
    mlp = MLPClassifier((8,), alpha=0.0, batch_size=20, random_state=0)
    codes = np.unique(y, return_inverse=True)[1]
    for number in (1, 2, 1):  # one batch an epoch: its order counts for nothing
        rows = variant == number
        mlp.partial_fit(X[rows], codes[rows], classes=[0, 1])
    for ours, theirs in zip(fitted.mlp_.coefs_, mlp.coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(fitted.predict_proba(X), mlp.predict_proba(X), atol=1e-5)
    assert (fitted.predict(X) == fitted.classes_[mlp.predict(X)]).all()


# ---- as a head


def test_variant_numbers_are_passed_in_every_fold_and_on_all(partial_fits, head):
    data = named()
    network = make_head(head, hidden=4, epochs=4)
    cross_validate(network, data, cv=3)
    Model.fit(network, data)
    folds = [train for train, _ in make_folds(data, cv=3)[1]] + [np.arange(60)]
    expected = [(train, epoch % 2 + 1) for train in folds for epoch in range(4)]
    assert len(partial_fits) == len(expected)
    for (rows, _), (train, variant) in zip(partial_fits, expected, strict=True):
        assert sorted(names_of(rows)) == [(image, variant) for image in train]


def test_variant_numbers_are_passed_in_the_inner_folds_of_tuning(partial_fits, head):
    network = make_head(head, epochs=2)
    cross_validate(network, named(), cv=3, grid={"classifier__hidden": [4, 8]})
    assert len(partial_fits) == 2 * (3 * 3 * 2 + 3)
    for number, (rows, _) in enumerate(partial_fits):
        assert set(rows[:, VARIANT]) == {number % 2 + 1}


@pytest.mark.slow
def test_the_last_epoch_is_what_cross_validation_scores(head):
    data, params = named(90, classes="abc"), {"hidden": 8, "epochs": 3}
    curve = training_curve(data, head, params=params, cv=3)
    scores = cross_validate(make_head(head, **params), data, cv=3).scores
    np.testing.assert_array_equal(curve.validation_accuracy[:, -1], scores["accuracy"]["folds"])
    np.testing.assert_allclose(curve.validation_loss[:, -1], scores["log_loss"]["folds"], rtol=1e-6)
    two = training_curve(data, head, params=params, cv=3, n_jobs=2)
    np.testing.assert_array_equal(curve.loss, two.loss)
