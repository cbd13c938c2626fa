"""Columns that hardly vary in few training images don't decide alone, and ordinary ones stay."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from tests.unit.data import dataset
from tlfeatures import cross_validate, make_head
from tlfeatures.coordinates import PrincipalCoordinates, fold_coordinates

LINEAR = ["logreg", "linear-svm", "ridge", "lda", "centroid"]


def rare(value=1e-6, n=40, d=200):
    """Columns of which one is not 0 in one training image, where it has this value."""
    random = np.random.default_rng(0)
    X = np.abs(random.normal(size=(n, d))).astype(np.float32)
    y = np.array(list("ab") * (n // 2))
    X[y == "b", 0] += 1
    X[:, -1] = 0
    X[3, -1] = value
    return X, y


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("value", [1e-8, 1e-4, 1e-2])
def test_a_new_value_in_a_rare_column_does_not_make_certain(name, value):
    X, y = rare(value)
    head = make_head(name).fit(X, y)
    new = X[:8].copy()
    before = head.predict_proba(new)
    new[:, -1] = 0.5  # an ordinary value in the other columns
    after = head.predict_proba(new)
    assert ((after > 1e-6) & (after < 1 - 1e-6)).all()
    assert np.abs(after - before).max() < 0.3


@pytest.mark.parametrize("shape", [(60, 30), (30, 60)])
def test_ordinary_columns_are_those_of_scikit_learn(shape):
    """Their standard deviations differ by a factor of ten."""
    random = np.random.default_rng(1)
    X = random.normal(size=shape) * random.uniform(0.2, 2, shape[1])
    X[:, 2] = 7.0  # constant
    found, expected = PrincipalCoordinates().fit(X), StandardScaler().fit(X)
    np.testing.assert_allclose(found.scale_, expected.scale_, rtol=1e-12)
    np.testing.assert_allclose(found.mean_, expected.mean_, rtol=1e-12)


def test_a_fold_has_the_floor_of_its_own_training_images():
    X, _ = rare()
    train, test = np.arange(20), np.arange(20, 40)
    shared = fold_coordinates(X, train, test).columns()
    alone = PrincipalCoordinates().fit(X[train])
    np.testing.assert_allclose(np.abs(shared[1]), np.abs(alone.transform(X[test])), atol=1e-6)
    scales = alone.scale_[alone.scale_ != 1]
    assert scales.min() >= 0.049 * np.median(scales)


@pytest.mark.parametrize("name", ["linear-svm", "rbf-svm"])
@pytest.mark.parametrize("scale", [1e4, 1e6])
def test_a_machine_on_columns_of_large_values_ends_and_says_so(name, scale, caplog):
    data = dataset(60, d=12, signal=0.3)
    data.X[:] = data.X * scale
    head = make_head(name, coordinates="passthrough", C=10.0)
    found = cross_validate(head, data, cv=2)
    assert np.isfinite(found.probabilities).all()
    if name == "linear-svm":
        said = [record.getMessage() for record in caplog.records]
        assert len([each for each in said if "Solver terminated early" in each]) == 1


def test_a_machine_on_ordinary_columns_needs_far_less():
    data = dataset(300, d=100, signal=1.0, classes="abc")
    for name in ("linear-svm", "rbf-svm"):
        fitted = make_head(name).fit(data.X, data.y)[-1].fitted_
        assert fitted.n_iter_.max() * 5 < fitted.max_iter
