"""Probabilities of heads that have decisions alone: calibrated, and never against the label."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestCentroid
from sklearn.svm import SVC, LinearSVC

from tlfeatures import HEADS, make_head
from tlfeatures.heads.classifiers.calibrated_classifier import CalibratedClassifier

CALIBRATED = ("linear-svm", "rbf-svm", "ridge", "centroid")


def things(classes, views=4, width=30, spread=1.0, seed=0):
    """`views` noisy copies of a random point for each class: X (n, d), y (n,)."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, width)) * 2
    y = np.repeat([f"thing{number:03d}" for number in range(classes)], views)
    X = np.repeat(centres, views, axis=0) + spread * random.normal(size=(len(y), width))
    return X, y


def halves(classes, views=4, **options):
    X, y = things(classes, 2 * views, **options)
    known = np.arange(len(y)) % 2 == 0
    return X[known], y[known], X[~known], y[~known]


def plain(name, head, X):
    """What scikit-learn has of the same name, with the same parameters."""
    last = head[-1]
    if name.endswith("svm"):
        gamma = 1 / np.square(head[0].transform(X)).sum(axis=1).mean()
        return SVC(kernel=last.kernel, C=last.C, gamma=gamma, tol=1e-5, break_ties=True)
    return RidgeClassifier(last.alpha) if name == "ridge" else NearestCentroid()


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        *((name, classes) for name in CALIBRATED for classes in (2, 10, 50)),
        *((name, 200) for name in ("ridge", "centroid")),
        # A machine has a decision for each two classes: 19,900 of them.
        *(pytest.param(name, 200, marks=pytest.mark.long) for name in ("linear-svm", "rbf-svm")),
    ],
)
def test_labels_are_those_of_the_classifier_without_calibration(name, classes):
    X, y, X_new, y_new = halves(classes, views=2 if classes == 200 else 4)
    head = make_head(name).fit(X, y)
    alone = plain(name, head, X).fit(head[0].transform(X), y)
    labels = head.predict(X_new)
    assert (labels == alone.predict(head[0].transform(X_new))).all()
    if classes > 2:
        most_probable = head.predict_proba(X_new).argmax(axis=1)
        assert (labels == head.classes_[most_probable]).all()
    assert (labels == y_new).mean() > 0.7


@pytest.mark.parametrize("classes", [3, 10, 50])
@pytest.mark.parametrize("name", sorted(set(HEADS) - {"dummy"}))
def test_the_label_is_the_most_probable_of_several_classes(name, classes):
    if name == "gradient-boosting" and classes > 10:
        classes = 12  # it fits trees for each class
    X, y, X_new, _ = halves(classes, views=2)
    params = {"gradient-boosting": {"max_iter": 5}, "mlp": {"steps": 100}}.get(name, {})
    head = make_head(name, **params).fit(X, y)
    table = head.predict_proba(X_new)
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-5)
    assert (head.predict(X_new) == head.classes_[table.argmax(axis=1)]).all()


@pytest.mark.parametrize("weight", [None, "balanced"])
@pytest.mark.parametrize("name", ["linear-svm", "rbf-svm", "ridge"])
def test_probabilities_of_two_classes_are_platts(name, weight):
    """The same sigmoid as scikit-learn fits on the same out-of-fold decisions."""
    X, y, X_new, _ = halves(2, views=30, spread=6.0)
    X, y = X[:50], y[:50]
    head = make_head(name, class_weight=weight).fit(X, y)
    columns, new = head[0].transform(X), head[0].transform(X_new)
    alone = plain(name, head, X).set_params(class_weight=None)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    expected = CalibratedClassifierCV(alone, cv=folds, ensemble=False)
    counts = {label: (y == label).sum() for label in set(y)}
    each = np.array([len(y) / 2 / counts[label] for label in y])
    expected.fit(columns, y, sample_weight=each if weight else None)
    decisions, last = head.decision_function(X_new), head[-1]
    within = (last.lowest_ <= decisions) & (decisions <= last.highest_)
    assert within.mean() > 0.8
    expected_table = expected.predict_proba(new)
    np.testing.assert_allclose(head.predict_proba(X_new)[within], expected_table[within], atol=2e-4)


@pytest.mark.parametrize("name", CALIBRATED)
def test_no_probability_is_surer_than_those_of_the_inner_folds(name):
    """A decision that no held-out image had counts like the nearest one that one had."""
    X, y, X_new, _ = halves(2, views=10, spread=6.0)
    head = make_head(name).fit(X, y)
    last = head[-1]
    table = head.predict_proba(1e5 * X_new)
    odds = np.log(table[:, 1] / table[:, 0])
    ends = last.slope_ * np.array([last.lowest_, last.highest_]) + last.intercept_
    np.testing.assert_allclose(np.clip(odds, *ends), odds, atol=1e-9)
    if name != "rbf-svm":  # whose decisions of far images are all the same
        np.testing.assert_allclose([odds.min(), odds.max()], ends)
    assert last.calibration_ == ("sigmoid", len(y))


@pytest.mark.parametrize("name", CALIBRATED)
def test_no_probability_of_many_classes_is_surer_than_those_of_the_inner_folds(name):
    """Decisions that differ more than those of any held-out image keep their order alone."""
    X, y, X_new, _ = halves(4, views=5, spread=6.0)
    head = make_head(name).fit(X, y)
    last, far = head[-1], 1e5 * X_new
    table = head.predict_proba(far)
    odds = np.ptp(np.log(table), axis=1)
    assert odds.max() <= last.slope_ * last.widest_ * (1 + 1e-6)
    if name != "rbf-svm":  # whose decisions of far images are all the same
        assert odds.max() == pytest.approx(last.slope_ * last.widest_)
    assert (head.classes_[table.argmax(axis=1)] == head.predict(far)).all()
    assert last.calibration_ == ("temperature", len(y))


@pytest.mark.parametrize(("classes", "worse"), [(2, 0.25), (4, 0.1)])
@pytest.mark.parametrize("name", CALIBRATED)
def test_few_images_of_shifted_embeddings_are_not_overconfident(name, classes, worse):
    """Columns that hardly vary in few training images make large decisions of new images."""
    losses = []
    for seed in range(10):
        random = np.random.default_rng(seed)
        n = 5 * classes
        y = np.arange(n + 1000) % classes
        X = random.gamma(0.1, size=(n + 1000, 200))  # as activations that are mostly near 0
        X[:, :20] += 0.1 * y[:, None] * random.gamma(0.5, size=(n + 1000, 20))
        head = make_head(name).fit(X[:n], y[:n])
        losses.append(log_loss(y[n:], head.predict_proba(X[n:])))
    assert np.isfinite(losses).all()
    assert np.mean(losses) < np.log(classes) + worse


@pytest.mark.parametrize("name", CALIBRATED)
@pytest.mark.parametrize("spread", [3.0, 4.5])
def test_probabilities_of_many_classes_are_neither_timid_nor_too_sure(name, spread):
    """Scaling the decisions by another number gives new images a larger log loss."""
    X, y, X_new, y_new = halves(20, views=10, spread=spread)
    head = make_head(name).fit(X, y)
    found = log_loss(y_new, head.predict_proba(X_new), labels=head.classes_)
    decisions = head.decision_function(X_new)
    losses = [
        log_loss(y_new, softmax_of(decisions * head[-1].slope_ * factor), labels=head.classes_)
        for factor in (0.25, 0.5, 2.0, 4.0)
    ]
    assert found < min(losses)


def softmax_of(decisions):
    powers = np.exp(decisions - decisions.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("estimator", [LinearSVC(random_state=0), SVC(break_ties=True)])
def test_any_classifier_with_decisions_keeps_its_labels(estimator):
    X, y, X_new, _ = halves(30)
    head = CalibratedClassifier(estimator, random_state=0).fit(X, y)
    labels = head.predict(X_new)
    assert (labels == clone(estimator).fit(X, y).predict(X_new)).all()
    assert (labels == head.classes_[head.predict_proba(X_new).argmax(axis=1)]).all()


def test_ties_of_votes_are_broken_by_the_decisions():
    """Else a label could differ from the most probable class."""
    X, y, X_new, _ = halves(30, spread=4.0)
    head = CalibratedClassifier(SVC(), random_state=0).fit(X, y)
    most_probable = head.classes_[head.predict_proba(X_new).argmax(axis=1)]
    assert (head.predict(X_new) == most_probable).all()
    assert (SVC().fit(X, y).predict(X_new) != most_probable).any()


class Given(ClassifierMixin, BaseEstimator):
    """Decides by the sign of the first column, whatever the labels say."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X[:, 0]

    def predict(self, X):
        return self.classes_[(X[:, 0] > 0).astype(int)]


def test_decisions_that_are_mostly_wrong_give_the_shares_of_the_classes():
    """The reverse of them would be calibrated, too, but would contradict every label."""
    X = np.random.default_rng(0).normal(size=(40, 2))
    y = np.where(X[:, 0] > 0, "a", "b")
    table = CalibratedClassifier(Given(), random_state=0).fit(X, y).predict_proba(X)
    share = (y == "b").mean()
    np.testing.assert_allclose(table[:, 1], share, atol=0.03)
