"""Heads on real embeddings of photographs.

Promise: a good image classifier from some hundred labelled images (the reference scenes: section
"Measured").
Promise: a head that depends on nothing but inner products and distances gives the same result on
principal coordinates as scikit-learn's on the columns (section "Heads").
Promise: copies of an image, also resized, recompressed or slightly cropped ones, are found, and
never stand on both sides of a split; other images are no copies.
Promise: the choice of parameters is fitted inside the training fold, so that random labels give
chance, and the 95 % intervals of `benchmark` cover it.
"""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tests.integration.conftest import COPIED, SIZES
from tlfeatures import benchmark, cross_validate, cross_validate_heads, fit, load_dataset, make_head
from tlfeatures.heads.coordinates import fold_coordinates
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.model_selection.folds import make_folds

pytestmark = pytest.mark.integration

EMBEDDINGS = ["block5_pool.flatten", "block5_pool.avg"]


@pytest.fixture(scope="module", params=EMBEDDINGS)
def fold(request, scenes):
    """A real fold: X, training labels, rows; and the standardised rows, in float64."""
    data = load_dataset(scenes, request.param)
    train, test = make_folds(data, cv=5)[1][0]
    scaler = StandardScaler().fit(data.X[train].astype(float))
    A, B = (scaler.transform(data.X[rows].astype(float)) for rows in (train, test))
    return data, train, test, A, B


def on_coordinates(fold, head):
    """The head's classifier on the coordinates that heads of a fold share."""
    data, train, test, *_ = fold
    known, new = fold_coordinates(data.X, train, test).columns(head[0].n_components)
    return clone(head[-1]).fit(known, data.y[train]), new


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_accuracy(embedded, form, embedding):
    """Of the defaults, by five folds."""
    size = 150 if form == "reference" and embedding == "block5_pool.flatten" else SIZES[form]
    report = fit(embedded(size), ["logreg", "rbf-svm", "gradient-boosting"], embedding=embedding)
    accuracy = {rank.head: rank.scores["accuracy"]["score"] for rank in report.ranking}
    print(form, size, embedding, {name: round(value, 3) for name, value in accuracy.items()})
    assert len(report.data.y) == {"crops": 120, "reference": 1078}[form]
    assert accuracy.pop("logreg") >= {"crops": 0.90, "reference": 0.84}[form]
    assert min(accuracy.values()) >= {"crops": 0.85, "reference": 0.80}[form]


@pytest.mark.parametrize("C", [1e-4, 0.01, 1.0])
@pytest.mark.parametrize("name", ["linear-svm", "rbf-svm"])
@pytest.mark.slow
def test_svm_decisions(fold, name, C):
    data, train, _, A, B = fold
    kernel = name.partition("-")[0]
    expected = SVC(kernel=kernel, C=C, tol=1e-8).fit(A, data.y[train])
    ours, new = on_coordinates(fold, make_head(name, C=C, n_components=None))
    gap = np.abs(ours.decision_function(new) - expected.decision_function(B)).max()
    print(f"{data.embedding} {name} C={C}: largest difference of a decision {gap:.1e}")
    assert gap < 1e-3
    inside = ours.classes_[(ours.decision_function(new) > 0).astype(int)]
    assert (inside == expected.predict(B)).all()


@pytest.mark.parametrize("C", [1e-4, 0.01, 1.0])
def test_logistic_probabilities(fold, C):
    data, train, _, A, B = fold
    options = {"C": C, "tol": 1e-8, "max_iter": 100_000}
    expected = LogisticRegression(**options).fit(A, data.y[train])
    ours, new = on_coordinates(fold, make_head("logreg", **options))
    gap = np.abs(ours.predict_proba(new) - expected.predict_proba(B)).max()
    print(f"{data.embedding} logreg C={C}: largest difference of a probability {gap:.1e}")
    assert gap < 1e-3
    assert (ours.predict(new) == expected.predict(B)).all()


@pytest.mark.parametrize("alpha", [1.0, 1000.0])
def test_ridge_decisions(fold, alpha):
    data, train, _, A, B = fold
    expected = RidgeClassifier(alpha).fit(A, data.y[train])
    ours, new = on_coordinates(fold, make_head("ridge", alpha=alpha))
    np.testing.assert_allclose(
        ours.decision_function(new), expected.decision_function(B), atol=1e-3
    )


def test_boosting_is_scikit_learns_on_the_same_scores(fold):
    data, train, test, *_ = fold
    known, new = fold_coordinates(data.X, train, test).columns(64)
    head = make_head("gradient-boosting")
    params = head[-1].get_params()
    expected = HistGradientBoostingClassifier(**params).fit(known, data.y[train])
    ours, _ = on_coordinates(fold, head)
    np.testing.assert_array_equal(ours.predict_proba(new), expected.predict_proba(new))


def test_a_head_alone_gives_what_heads_together_give(scenes):
    data = load_dataset(scenes, "block5_pool.flatten")
    heads = make_heads("logreg,linear-svm,rbf-svm,knn,ridge,lda,centroid")
    calibrated = {"linear-svm", "rbf-svm", "ridge", "centroid"}  # on images that share no copies
    together = cross_validate_heads(heads, data, n_jobs=1)
    _, folds = make_folds(data)
    train, test = folds[0]
    for name, head in heads.items():
        alone = clone(head)
        last = {"classifier__groups": data.together[train]} if name in calibrated else {}
        table = alone.fit(data.X[train], data.y[train], **last).predict_proba(data.X[test])
        np.testing.assert_allclose(table, together[name].probabilities[test], atol=1e-3)


QUICK = "logreg,rbf-svm,knn,centroid,ridge,lda,dummy"
SLOW = "linear-svm,gradient-boosting,mlp"  # it takes long to choose their parameters


def ranked(data, seed, names):
    """Heads, tuned and ranked with intervals, as the command `benchmark` does it."""
    return benchmark(data, heads=names, tune=True, n_jobs=1, random_state=seed).comparison.ranking


def assert_chance(data, names, within):
    """Assert that tuned heads give chance on random labels, and that their intervals cover it."""
    covered, accuracies = [], []
    for seed in range(2):
        random = np.random.default_rng(seed)
        labels = random.permutation(data.y[np.unique(data.together, return_index=True)[1]])
        shuffled = replace(data, y=labels[data.together])
        chance = max((shuffled.y == name).mean() for name in shuffled.classes)
        for rank in ranked(shuffled, seed, names):
            low, high = rank.scores["accuracy"]["interval"]
            covered.append(low <= chance and high >= 1 - chance)
            accuracies.append(rank.scores["accuracy"]["score"])
    print(
        f"{sum(covered)} of {len(covered)} intervals cover chance; mean {np.mean(accuracies):.3f}"
    )
    assert np.mean(covered) >= 0.9
    assert abs(np.mean(accuracies) - 0.5) < within


@pytest.mark.slow
def test_random_labels_give_chance_even_tuned(scenes, form):
    data = load_dataset(scenes, "block5_pool.flatten")
    names = {"crops": QUICK, "reference": f"{QUICK},linear-svm"}[form]
    assert_chance(data, names, {"crops": 0.08, "reference": 0.03}[form])


@pytest.mark.long
@pytest.mark.parametrize("form", ["crops"], indirect=True, scope="session")
def test_random_labels_give_chance_to_slow_heads_even_tuned(scenes):
    assert_chance(load_dataset(scenes, "block5_pool.flatten"), SLOW, 0.08)


def is_copy(data):
    """Whether each image is one of the copies `again_*`."""
    return np.char.find(data.ids, "again_") >= 0


def test_copies_are_found_and_other_images_are_none(scenes, form):
    """Of the reference scenes a few show the same view twice."""
    data = load_dataset(scenes, "block5_pool.avg")
    expected = {(id_, id_.replace("again_", "")) for id_ in data.ids[is_copy(data)]}
    together = dict(zip(data.ids.tolist(), data.together.tolist(), strict=True))
    found = {pair for pair in expected if together[pair[0]] == together[pair[1]]}
    others = len(together) - len(expected) - len(set(together.values()))
    print(f"{len(found)} of {len(expected)} copies found; {others} images more are in a group")
    assert len(expected) == 2 * COPIED[form]
    assert len(found) >= 0.95 * len(expected)
    assert others <= {"crops": 0, "reference": 4}[form]


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_a_duplicated_set_does_not_raise_the_score(scenes, embedding):
    """Nearest neighbours would be right about every copy, if one were left in training."""
    data = load_dataset(scenes, embedding)
    again = is_copy(data)
    twice = again | np.isin(data.ids, [id_.replace("again_", "") for id_ in data.ids[again]])
    copied = data.take(np.flatnonzero(twice))
    once = data.take(np.flatnonzero(twice & ~again))
    nearest = make_head("knn", n_neighbors=1)
    sets = {"once": once, "twice": copied, "unguarded": replace(copied, copies=copied.copies[:0])}
    accuracy = {
        name: cross_validate(nearest, each).scores["accuracy"]["score"]
        for name, each in sets.items()
    }
    print(embedding, {name: round(value, 3) for name, value in accuracy.items()})
    gained = {name: value - accuracy["once"] for name, value in accuracy.items()}
    assert gained["unguarded"] > 0.05
    assert gained["twice"] < gained["unguarded"] / 2
