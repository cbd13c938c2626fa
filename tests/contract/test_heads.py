"""What every head must do, alone and inside scikit-learn."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV, cross_val_score

from tlfeatures.heads import HEADS, make_head


def sample(classes=3, n=90, d=40):
    X, y = make_classification(
        n,
        d,
        n_informative=8,
        n_classes=classes,
        n_clusters_per_class=1,
        class_sep=2,
        random_state=0,
    )
    return X.astype(np.float32), np.array(["ant", "bee", "cow"])[y]


@pytest.fixture(params=sorted(HEADS))
def head(request):
    return make_head(request.param)


def test_learns_and_gives_probabilities(head):
    X, y = sample()
    head.fit(X[:60], y[:60])
    table = head.predict_proba(X[60:])
    assert table.shape == (30, 3)
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-5)
    assert head.classes_.tolist() == ["ant", "bee", "cow"]
    assert (head.predict(X[60:]) == head.classes_[table.argmax(axis=1)]).all()
    assert head.score(X[60:], y[60:]) > 0.7


def test_same_seed_same_numbers(head):
    X, y = sample()
    first, second = (clone(head).fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_is_an_ordinary_classifier(head):
    X, y = sample()
    assert cross_val_score(head, X, y, cv=3).mean() > 0.6


def test_fewer_images_than_components_is_fine(head):
    X, y = sample(n=24)
    assert head.fit(X, y).predict(X).shape == (24,)


def test_does_not_change_its_input(head):
    X, y = sample()
    before = X.copy()
    head.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(X, before)


def test_class_weight_is_a_parameter_of_every_head(head):
    name = next(name for name in HEADS if type(make_head(name)[-1]) is type(head[-1]))
    X, y = sample()
    make_head(name, class_weight="balanced").fit(X, y)


def test_parameters_can_be_searched(head):
    if "pca" not in head.named_steps:
        pytest.skip("no PCA to search")
    X, y = sample()
    search = GridSearchCV(head, {"pca__n_components": [2, 8]}, cv=2).fit(X, y)
    assert search.best_params_["pca__n_components"] in (2, 8)
