"""What every head must do, alone and inside scikit-learn."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, ParameterGrid, cross_val_score

from tlfeatures.heads.table import HEADS, head_grid, make_head


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


# What takes long in training, cut short where a test is not about how well a head learns.
QUICK = {"mlp": {"epochs": 5, "steps": 50}, "gradient-boosting": {"max_iter": 10}}


# Each head, and its form for many rows, with its few rows here.
FORMS = [(name, many_rows) for name in sorted(HEADS) for many_rows in (False, True)]
NAMES = [f"{name}, many rows" if many_rows else name for name, many_rows in FORMS]


@pytest.fixture(params=FORMS, ids=NAMES)
def form(request):
    return request.param


@pytest.fixture
def head(form):
    name, many_rows = form
    return make_head(name, many_rows=many_rows)


@pytest.fixture
def quick(form):
    return quick_head(*form)


def quick_head(name, many_rows, **params):
    return make_head(name, many_rows=many_rows, **QUICK.get(name, {}), **params)


def learns(head):
    """Whether it is no floor."""
    return not isinstance(head[-1], DummyClassifier)


def test_learns_and_gives_probabilities(head):
    X, y = sample(n=180)
    head.fit(X[:120], y[:120])
    table = head.predict_proba(X[120:])
    assert table.shape == (60, 3)
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-5)
    assert head.classes_.tolist() == ["ant", "bee", "cow"]
    assert (head.predict(X[120:]) == head.classes_[table.argmax(axis=1)]).all()
    assert head.score(X[120:], y[120:]) > (0.7 if learns(head) else 0.1)


def test_same_seed_same_numbers(quick):
    X, y = sample()
    first, second = (clone(quick).fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_is_an_ordinary_classifier(quick):
    X, y = sample()
    assert cross_val_score(quick, X, y, cv=3).mean() > (0.6 if learns(quick) else 0.1)


def test_fewer_images_than_components_is_fine(quick):
    X, y = sample(n=24)
    assert quick.fit(X, y).predict(X).shape == (24,)


def test_does_not_change_its_input(quick):
    X, y = sample()
    before = X.copy()
    quick.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(X, before)


WEIGHING = [form for form in FORMS if form[0] not in ("centroid", "dummy")]


def share_of_ants(form, class_weight):
    X, y = sample()
    y[:20] = "ant"  # wrong labels, so that no head is sure; over a third are ants now
    return quick_head(*form, class_weight=class_weight).fit(X, y).predict_proba(X)[:, 0].mean()


@pytest.mark.parametrize("form", WEIGHING)
def test_balanced_classes_lower_the_share_of_a_frequent_one(form):
    assert share_of_ants(form, "balanced") < share_of_ants(form, None)


@pytest.mark.parametrize("form", WEIGHING)
def test_the_weight_of_a_class_raises_its_share(form):
    assert share_of_ants(form, {"ant": 5.0}) > share_of_ants(form, None)


WITH_COORDINATES = [form for form in FORMS if "coordinates" in quick_head(*form).named_steps]


@pytest.mark.parametrize("form", WITH_COORDINATES)
def test_parameters_can_be_searched(form):
    X, y = sample()
    quick = quick_head(*form)
    search = GridSearchCV(quick, {"coordinates__n_components": [2, 8]}, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_params_["coordinates__n_components"]
    assert search.best_estimator_[0].components_.shape == (best, 40)


@pytest.mark.slow
def test_its_grid_can_be_searched_as_it_stands(form):
    X, y = sample(n=60)
    head, grid = quick_head(*form), head_grid(form[0])
    search = GridSearchCV(head, grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_.keys() == grid.keys()
    assert len(search.cv_results_["params"]) == len(ParameterGrid(dict(grid)))
    assert search.score(X, y) > (0.6 if learns(head) else 0.1)


def test_every_point_of_its_grid_can_be_fitted(form):
    X, y = sample()
    for point in ParameterGrid(dict(head_grid(form[0]))):
        made = quick_head(*form).set_params(**point)
        assert made.fit(X[:60], y[:60]).predict(X[60:]).shape == (30,)


def test_probabilities_say_how_sure_it_is(head):
    """Log loss beats that of the class shares, as no head is sure of what it gets wrong."""
    X, y = sample(n=300)
    head.fit(X[:200], y[:200])
    shares = np.tile([(y[:200] == name).mean() for name in head.classes_], (100, 1))
    found, floor = (log_loss(y[200:], p) for p in (head.predict_proba(X[200:]), shares))
    assert found < floor if learns(head) else found == pytest.approx(floor)
