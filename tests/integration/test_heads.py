"""On real embeddings: the same as plain scikit-learn, and numbers that can be believed."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tests.integration.conftest import COPIED
from tlfeatures import cross_validate, cross_validate_heads, load_dataset, make_head
from tlfeatures.comparison import compare
from tlfeatures.coordinates import fold_coordinates
from tlfeatures.folds import make_folds
from tlfeatures.heads import head_grid, make_heads
from tlfeatures.results import Study, entry_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session", params=["block5_pool.flatten", "block5_pool.avg"])
def fold(request, scenes):
    """A real fold: X, training labels, rows; and the standardised rows, in float64."""
    data = load_dataset(scenes, request.param)
    train, test = make_folds(data, cv=5)[1][0]
    scaler = StandardScaler().fit(data.X[train].astype(float))
    A, B = (scaler.transform(data.X[rows].astype(float)) for rows in (train, test))
    return data, train, test, A, B


def shared(fold, head):
    """The head's classifier on the coordinates that heads of a fold share."""
    data, train, test, *_ = fold
    known, new = fold_coordinates(data.X, train, test).columns(head[0].n_components)
    return clone(head[-1]).fit(known, data.y[train]), new


@pytest.mark.parametrize("C", [1e-4, 0.01, 1.0])
@pytest.mark.parametrize("name", ["linear-svm", "rbf-svm"])
def test_svm_decisions(fold, name, C):
    data, train, _, A, B = fold
    kernel = name.partition("-")[0]
    expected = SVC(kernel=kernel, C=C, tol=1e-8).fit(A, data.y[train])
    ours, new = shared(fold, make_head(name, C=C, n_components=None))
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
    ours, new = shared(fold, make_head("logreg", **options))
    gap = np.abs(ours.predict_proba(new) - expected.predict_proba(B)).max()
    print(f"{data.embedding} logreg C={C}: largest difference of a probability {gap:.1e}")
    assert gap < 1e-3
    assert (ours.predict(new) == expected.predict(B)).all()


@pytest.mark.parametrize("alpha", [1.0, 1000.0])
def test_ridge_decisions(fold, alpha):
    data, train, _, A, B = fold
    expected = RidgeClassifier(alpha).fit(A, data.y[train])
    ours, new = shared(fold, make_head("ridge", alpha=alpha))
    np.testing.assert_allclose(
        ours.decision_function(new), expected.decision_function(B), atol=1e-3
    )


def test_boosting_is_scikit_learns_on_the_same_scores(fold):
    data, train, test, *_ = fold
    known, new = fold_coordinates(data.X, train, test).columns(64)
    head = make_head("gradient-boosting")
    params = head[-1].get_params()
    expected = HistGradientBoostingClassifier(**params).fit(known, data.y[train])
    ours, _ = shared(fold, head)
    np.testing.assert_array_equal(ours.predict_proba(new), expected.predict_proba(new))


def test_a_head_alone_gives_what_the_engine_gives(scenes):
    data = load_dataset(scenes, "block5_pool.flatten")
    heads = make_heads("logreg,linear-svm,rbf-svm,knn,ridge,lda,centroid")
    together = cross_validate_heads(heads, data, n_jobs=2)
    _, folds = make_folds(data)
    train, test = folds[0]
    for name, head in heads.items():
        alone = clone(head)
        last = {"classifier__groups": data.together[train]} if name in GROUPED else {}
        table = alone.fit(data.X[train], data.y[train], **last).predict_proba(data.X[test])
        np.testing.assert_allclose(table, together[name].probabilities[test], atol=1e-3)


GROUPED = {"linear-svm", "rbf-svm", "ridge", "centroid"}


def entries(data, seed, tune=True):
    """All heads' entries, with intervals, as the command `benchmark` makes them."""
    heads = make_heads("all")
    grids = {name: head_grid(name) for name in heads} if tune else None
    found = cross_validate_heads(heads, data, grids=grids, n_jobs=2, random_state=seed)
    named = {"file": data.file, "embedding": data.embedding, "matrix": "0"}
    facts = {**named, "repeat": 0, "tuned": True, "params": {}}
    made = [
        entry_of(evaluation, {**facts, "head": name, "key": name})
        for name, evaluation in found.items()
    ]
    study = Study.of(data, "cv", make_folds(data, random_state=seed)[1], seed)
    return made, compare(made, study, "accuracy", seed)


def test_random_labels_give_chance_even_tuned(scenes):
    """Ten heads, tuned on 25,088 columns: the intervals cover what guessing gives."""
    data = load_dataset(scenes, "block5_pool.flatten")
    covered, accuracies = [], []
    for seed in range(2):
        random = np.random.default_rng(seed)
        labels = random.permutation(data.y[np.unique(data.together, return_index=True)[1]])
        shuffled = replace(data, y=labels[data.together])
        chance = max((shuffled.y == name).mean() for name in shuffled.classes)
        _, found = entries(shuffled, seed)
        for rank in found.ranking:
            low, high = rank.scores["accuracy"]["interval"]
            covered.append(low <= chance and high >= 1 - chance)
            accuracies.append(rank.scores["accuracy"]["score"])
    print(
        f"{sum(covered)} of {len(covered)} intervals cover chance; mean {np.mean(accuracies):.3f}"
    )
    assert np.mean(covered) >= 0.9
    assert abs(np.mean(accuracies) - 0.5) < 0.03


@pytest.mark.parametrize("embedding", ["block5_pool.avg", "block5_pool.flatten"])
def test_a_duplicated_set_does_not_raise_the_score(scenes, embedding):
    """Nearest neighbours would be right about every copy, if one were left in training."""
    data = load_dataset(scenes, embedding)
    again = np.array(["again" in id_ for id_ in data.ids])
    assert again.sum() == 2 * COPIED
    twice = np.isin([id_.replace("again_", "") for id_ in data.ids], originals(data.ids[again]))
    copied = subset(data, twice)
    once = subset(data, twice & ~again)
    nearest = make_head("knn", n_neighbors=1)
    accuracy = {
        "once": cross_validate(nearest, once).scores["accuracy"].mean(),
        "twice": cross_validate(nearest, copied).scores["accuracy"].mean(),
        "unguarded": cross_validate(nearest, replace(copied, copies=copied.copies[:0]))
        .scores["accuracy"]
        .mean(),
    }
    print(embedding, {name: round(value, 3) for name, value in accuracy.items()})
    assert accuracy["twice"] <= accuracy["once"] + 0.05
    assert accuracy["unguarded"] > accuracy["once"] + 0.05


def originals(ids):
    return [id_.replace("again_", "") for id_ in ids]


def subset(data, rows):
    """These rows alone, and the copies among them."""
    new = np.cumsum(rows) - 1
    copies = data.copies[rows[data.copies].all(axis=1)]
    return replace(data, X=data.X[rows], y=data.y[rows], ids=data.ids[rows], copies=new[copies])
