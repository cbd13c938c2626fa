"""Principal coordinates lose nothing that a head could need."""

import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances
from sklearn.preprocessing import StandardScaler

from tlfeatures.errors import ParameterError
from tlfeatures.heads import coordinates
from tlfeatures.heads.coordinates import PrincipalCoordinates, fold_coordinates


def activations(n, d, seed=0):
    """Mostly zeros, some columns constant, some rows twice: as flattened layers are."""
    random = np.random.default_rng(seed)
    X = np.maximum(random.normal(size=(n, d)) - 0.7, 0).astype(np.float32)
    X[:, ::17] = 0
    X[-3:] = X[:3]
    return X


SHAPES = [(60, 400), (60, 60), (80, 25)]


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
def fold(request):
    X = activations(*request.param)
    rows = np.random.default_rng(1).permutation(len(X))
    return X, rows[:-12], rows[-12:]


def standardised(X, train, test):
    scaler = StandardScaler().fit(X[train].astype(float))
    return scaler.transform(X[train].astype(float)), scaler.transform(X[test].astype(float))


def test_products_and_distances_are_kept(fold):
    A, B = standardised(*fold)
    known, new = fold_coordinates(*fold).columns()
    np.testing.assert_allclose(known @ known.T, A @ A.T, atol=1e-8 * (A**2).sum(axis=1).max())
    np.testing.assert_allclose(new @ known.T, B @ A.T, atol=1e-8 * (A**2).sum(axis=1).max())
    np.testing.assert_allclose(
        pairwise_distances(new, known), pairwise_distances(B, A), rtol=1e-6, atol=1e-5
    )
    np.testing.assert_allclose((new**2).sum(axis=1), (B**2).sum(axis=1), rtol=1e-8)


def test_no_more_columns_than_rows_are_needed(fold):
    X, train, _ = fold
    assert fold_coordinates(*fold).train.shape[1] <= min(len(train), X.shape[1])


@pytest.mark.parametrize("n_components", [None, 5])
def test_alone_gives_what_a_fold_shares(fold, n_components):
    X, train, test = fold
    alone = PrincipalCoordinates(n_components)
    known, new = fold_coordinates(*fold).columns(n_components)
    np.testing.assert_allclose(alone.fit_transform(X[train]), known, atol=1e-9)
    np.testing.assert_allclose(
        alone.transform(X[test]), new, atol=2e-2 if n_components is None else 1e-4
    )
    again = alone.transform(X[train])
    np.testing.assert_allclose(again, known, atol=2e-2 if n_components is None else 1e-4)


def test_the_leading_ones_are_the_scores_of_a_pca(fold):
    A, B = standardised(*fold)
    pca = PCA(6, svd_solver="full").fit(A)
    known, new = fold_coordinates(*fold).columns(6)
    np.testing.assert_allclose(np.abs(known), np.abs(pca.transform(A)), atol=1e-6)
    np.testing.assert_allclose(np.abs(new), np.abs(pca.transform(B)), atol=1e-6)


def test_more_components_than_there_are_is_fine():
    X = activations(20, 50)
    assert PrincipalCoordinates(128).fit_transform(X).shape[1] <= 19


@pytest.mark.parametrize("value", [0, -1, 2.5, "64"])
def test_components_must_be_a_number_or_none(value):
    with pytest.raises(ParameterError, match="whole number from 1 up"):
        PrincipalCoordinates(value).fit(activations(20, 50))


def test_constant_data_are_no_error():
    X = np.ones((10, 4), np.float32)
    assert np.isfinite(PrincipalCoordinates().fit(X).transform(X)).all()


def test_columns_have_names():
    names = PrincipalCoordinates(2).fit(activations(20, 50)).get_feature_names_out()
    assert names.tolist() == ["principalcoordinates0", "principalcoordinates1"]


def test_as_scaler_standardises_alike():
    X = activations(40, 70)
    ours = PrincipalCoordinates().fit(X).as_scaler().transform(X.astype(float))
    np.testing.assert_allclose(ours, StandardScaler().fit_transform(X.astype(float)), atol=1e-9)


@pytest.mark.parametrize("shape", [(100, 40_000), (40_000, 100)])
def test_x_is_never_copied_as_a_whole(shape, monkeypatch):
    monkeypatch.setattr(coordinates, "BLOCK", 20_000)
    X = np.random.default_rng(0).random(shape, np.float32)
    train, test = np.arange(5, len(X)), np.arange(5)
    fold_coordinates(X, train, test)  # what a first call keeps isn't meant
    tracemalloc.start()
    fold_coordinates(X, train, test)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    if shape[0] < shape[1]:
        assert peak < X.nbytes / 4
    else:  # the coordinates themselves are as many float64
        assert peak < 3 * X.nbytes
