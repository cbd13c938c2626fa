"""Each classifier gives what plain scikit-learn gives on the standardised training fold."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from tlfeatures.dataset.stratified_folds import cut
from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers import calibrated_svc
from tlfeatures.heads.classifiers.calibrated_centroid import CalibratedCentroid
from tlfeatures.heads.classifiers.calibrated_classifier import CalibratedClassifier
from tlfeatures.heads.classifiers.calibrated_ridge import CalibratedRidge
from tlfeatures.heads.classifiers.calibrated_svc import CalibratedSVC
from tlfeatures.heads.classifiers.scaled_mlp import ScaledMLP
from tlfeatures.heads.classifiers.shrunk_lda import ShrunkLDA
from tlfeatures.heads.classifiers.smoothed_neighbors import SmoothedNeighbors
from tlfeatures.heads.coordinate_step import compact
from tlfeatures.heads.table import make_head


def sample(classes=3, n=120, d=300, seed=0):
    """More columns than rows, mostly zeros; float64, so that nothing but the method differs."""
    random = np.random.default_rng(seed)
    y = random.integers(classes, size=n)
    X = np.maximum(random.normal(size=(n, d)) + 0.6 * random.normal(size=(classes, d))[y] - 0.5, 0)
    names = np.array(["ant", "bee", "cow"])[y]
    return X[:-30], names[:-30], X[-30:], names[-30:]


def plain(*steps):
    return make_pipeline(StandardScaler(), *steps)


CLASSES = pytest.mark.parametrize("classes", [2, 3])


@CLASSES
@pytest.mark.parametrize("C", [1e-4, 0.01, 1.0])
def test_linear_svm(classes, C):
    X, y, X_new, _ = sample(classes)
    expected = plain(SVC(kernel="linear", C=C, tol=1e-8)).fit(X, y)
    ours = make_head("linear-svm", C=C).fit(X, y)
    np.testing.assert_allclose(
        ours.decision_function(X_new), expected.decision_function(X_new), atol=1e-3
    )


@CLASSES
@pytest.mark.parametrize("params", [{"C": 3.0}, {"C": 0.3, "gamma": 0.002}, {"gamma_factor": 0.5}])
def test_rbf_svm_on_all_coordinates(classes, params):
    X, y, X_new, _ = sample(classes)
    gamma = params.get("gamma", params.get("gamma_factor", 1) / (X.shape[1] * 1.0))
    expected = plain(SVC(C=params.get("C", 3.0), gamma=gamma, tol=1e-8)).fit(X, y)
    ours = make_head("rbf-svm", n_components=None, **params).fit(X, y)
    np.testing.assert_allclose(
        ours.decision_function(X_new), expected.decision_function(X_new), atol=1e-3
    )


@CLASSES
@pytest.mark.parametrize("C", [1e-3, 0.1, 10.0])
def test_logistic_regression(classes, C):
    X, y, X_new, _ = sample(classes)
    options = {"C": C, "tol": 1e-8, "max_iter": 100_000}
    expected = plain(LogisticRegression(**options)).fit(X, y).predict_proba(X_new)
    ours = make_head("logreg", **options).fit(X, y).predict_proba(X_new)
    np.testing.assert_allclose(ours, expected, atol=1e-3)


@CLASSES
def test_ridge(classes):
    X, y, X_new, _ = sample(classes)
    expected = plain(RidgeClassifier(100.0)).fit(X, y).decision_function(X_new)
    ours = make_head("ridge", alpha=100.0).fit(X, y).decision_function(X_new)
    np.testing.assert_allclose(ours, expected, atol=1e-8)


@CLASSES
def test_lda_on_fewer_columns_than_rows(classes):
    X, y, X_new, _ = sample(classes, n=200, d=40)
    expected = plain(LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)).fit(X, y)
    ours = make_head("lda", shrinkage=0.3, n_components=40).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X_new), expected.predict_proba(X_new), atol=1e-6)


def test_lda_on_more_columns_than_rows():
    """The target of shrinking is spread over r axes in place of d columns; else it is the same."""
    X, y, X_new, _ = sample()
    ours = make_head("lda", shrinkage=0.5).fit(X, y)
    axes = ours[0].transform(X).shape[1]
    ratio = X.shape[1] / axes  # s tr / d over 1 - s is to be as large as 0.5 tr / axes over 0.5
    shrinkage = ratio / (1 + ratio)
    expected = plain(LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X_new), expected.predict_proba(X_new), atol=1e-6)


@CLASSES
def test_centroid(classes):
    X, y, X_new, _ = sample(classes)
    expected = plain(NearestCentroid()).fit(X, y).predict(X_new)
    ours = make_head("centroid").fit(X, y)
    assert (ours.classes_[ours[-1].fitted_.predict(ours[0].transform(X_new))] == expected).all()


@CLASSES
def test_knn(classes):
    X, y, X_new, _ = sample(classes)
    expected = plain(PCA(20, svd_solver="full"), KNeighborsClassifier(7)).fit(X, y)
    ours = make_head("knn", n_components=20, n_neighbors=7).fit(X, y)
    assert (ours.predict(X_new) == expected.predict(X_new)).all()
    votes = (expected.predict_proba(X_new) * 7 + 1 / classes) / 8
    np.testing.assert_allclose(ours.predict_proba(X_new), votes)


def test_boosting_is_scikit_learns_on_the_same_scores():
    X, y, X_new, _ = sample()
    options = {"max_iter": 20, "max_leaf_nodes": 4, "min_samples_leaf": 5, "random_state": 0}
    ours = make_head("gradient-boosting", n_components=10, **{**options, "random_state": 0})
    scores = ours[0].fit_transform(X)
    expected = HistGradientBoostingClassifier(**options).fit(scores, y)
    np.testing.assert_array_equal(
        ours.fit(X, y).predict_proba(X_new), expected.predict_proba(ours[0].transform(X_new))
    )


def within_limits(classifier, X):
    """Return which decisions are within those of the inner folds; most are."""
    decisions = classifier.decision_function(X)
    within = (decisions >= classifier.lowest_) & (decisions <= classifier.highest_)
    assert within.mean() > 0.8
    return within


def test_calibration_is_scikit_learns():
    X, y, X_new, _ = sample(2)
    folds = StratifiedKFold(5, shuffle=True, random_state=3)
    A = StandardScaler().fit_transform(X)
    B = StandardScaler().fit(X).transform(X_new)
    expected = CalibratedClassifierCV(
        SVC(kernel="linear", C=0.01, tol=1e-8), cv=folds, ensemble=False
    ).fit(A, y)
    ours = CalibratedSVC("linear", C=0.01, random_state=3).fit(A, y)
    within = within_limits(ours, B)  # beyond them, the probabilities are those of the limits
    np.testing.assert_allclose(
        ours.predict_proba(B)[within], expected.predict_proba(B)[within], atol=1e-3
    )
    assert (ours.predict(B) == expected.predict(B)).all()


CALIBRATED = [CalibratedSVC(), CalibratedSVC("linear"), CalibratedRidge(), CalibratedCentroid()]


@pytest.mark.parametrize("classifier", CALIBRATED, ids=str)
def test_one_image_of_a_class_says_what_to_do(classifier):
    with pytest.raises(ParameterError, match="two or more images"):
        classifier.fit(np.eye(5), np.array(list("aaaab")))


def test_a_class_of_one_group_is_calibrated_on_single_images():
    X, y, X_new, _ = sample(2)
    groups = np.where(y == "ant", 0, np.arange(len(y)))
    fitted = CalibratedSVC("linear", C=0.01).fit(X, y, groups=groups)
    assert np.isfinite(fitted.predict_proba(X_new)).all()


def test_groups_are_kept_together_in_calibration():
    """The sigmoids are those of scikit-learn on folds that tear no group apart."""
    X, y, X_new, _ = sample(2)
    codes, groups = np.unique(y, return_inverse=True)[1], np.arange(len(y)) // 3
    folds = cut(codes, groups, 5, 0)
    for train, test in folds:
        assert len(np.unique(codes[train])) == 2
        assert not set(groups[train]) & set(groups[test])
    plain = RidgeClassifier(1.0, solver="cholesky")
    expected = CalibratedClassifierCV(plain, cv=folds, ensemble=False).fit(X, codes)
    ours = CalibratedRidge(1.0, random_state=0).fit(X, y, groups=groups)
    within = within_limits(ours, X_new)
    np.testing.assert_allclose(
        ours.predict_proba(X_new)[within], expected.predict_proba(X_new)[within], atol=1e-6
    )
    torn = CalibratedRidge(1.0, random_state=0).fit(X, y)
    assert np.abs(torn.predict_proba(X_new) - ours.predict_proba(X_new)).max() > 1e-4


@pytest.mark.parametrize(
    "classifier",
    [
        *(CalibratedSVC(), CalibratedRidge(), ShrunkLDA(), SmoothedNeighbors()),
        ScaledMLP(steps=100),
    ],
    ids=str,
)
def test_weight_of_a_class_raises_its_share(classifier):
    X, y, X_new, _ = sample(2, d=5, seed=2)
    shares = [
        (classifier.set_params(class_weight=weight).fit(X, y).predict(X_new) == "ant").sum()
        for weight in (None, {"ant": 20.0})
    ]
    assert shares[1] > shares[0]


def test_weights_of_classes_that_are_not_there_are_refused():
    with pytest.raises(ParameterError, match="names '0'; expected classes of 'a', 'b'"):
        ShrunkLDA(class_weight={0: 2.0}).fit(np.eye(6), np.array(list("aaabbb")))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "estimator",
    [
        NearestCentroid(),
        NearestCentroid(priors="empirical"),
        LinearSVC(C=0.01),
        RidgeClassifier(),
        SVC(break_ties=True),
    ],
    ids=str,
)
def test_a_calibrated_classifier_keeps_the_labels_of_its_estimator(estimator, classes):
    """Also of those whose label isn't the class of the largest decision."""
    X, y, X_new, _ = sample(classes)
    found = CalibratedClassifier(estimator).fit(X, y)
    np.testing.assert_array_equal(found.predict(X_new), clone(estimator).fit(X, y).predict(X_new))
    table, decisions = found.predict_proba(X_new), found.decision_function(X_new)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    if classes > 2:
        np.testing.assert_array_equal(table.argmax(axis=1), decisions.argmax(axis=1))


def test_a_parameter_that_takes_the_decisions_away_is_one_line():
    X, y, _, _ = sample()
    head = CalibratedClassifier(NearestCentroid(metric="manhattan"))
    with pytest.raises(ParameterError, match=r"metric='manhattan'\) has no decision_function"):
        head.fit(X, y)


def test_a_classifier_without_probabilities_gets_them():
    X, y, X_new, _ = sample(3)
    head = make_head("sklearn.svm:LinearSVC", C=0.01)
    table = head.fit(X, y).predict_proba(X_new)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert head[-1].estimator.C == 0.01


def test_balanced_weights_count_a_rare_class_as_much():
    random = np.random.default_rng(0)
    y = np.repeat(["many", "rare"], [180, 20])
    X = random.normal(size=(200, 3)) + (y == "rare")[:, None] * 0.8
    for name in ("logreg", "linear-svm", "ridge", "lda", "mlp", "knn"):
        params = {"steps": 200} if name == "mlp" else {}
        heads = [make_head(name, class_weight=each, **params) for each in (None, "balanced")]
        found = [(head.fit(X, y).predict(X) == "rare").sum() for head in heads]
        assert found[1] > found[0], name


@pytest.mark.parametrize(
    ("classifier", "points"),
    [
        (CalibratedSVC("linear"), [{"C": 0.001}, {"C": 1.0}]),
        (CalibratedSVC(), [{"C": 1.0, "gamma_factor": f} for f in (0.3, 1.0, 0.3, 2.0)]),
        (CalibratedRidge(), [{"alpha": 1.0}, {"alpha": 1e4}]),
    ],
    ids=["linear", "rbf", "ridge"],
)
def test_a_path_gives_what_each_fit_gives(classifier, points):
    X, y, X_new, _ = sample(3, d=20)
    path = classifier.predict_path(X, y, X_new, points)
    for point, labels in zip(points, path, strict=True):
        each = classifier.set_params(**point).fit(X, y)
        decisions = each.decision_function(X_new)
        assert (labels == each.classes_[decisions.argmax(axis=1)]).mean() > 0.95  # votes, ties


def test_a_kernel_too_large_to_keep_gives_the_same(monkeypatch):
    X, y, X_new, _ = sample(3)
    kept = make_head("rbf-svm").fit(X, y).predict_proba(X_new)
    monkeypatch.setattr(calibrated_svc, "LARGEST_KERNEL", 10)
    np.testing.assert_allclose(make_head("rbf-svm").fit(X, y).predict_proba(X_new), kept, atol=2e-3)


@pytest.mark.parametrize(
    "wrong", [{"kernel": "poly"}, {"gamma": "auto"}, {"gamma": -1.0}, {"gamma_factor": 0.0}]
)
def test_wrong_parameters_of_the_svm_are_named(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        CalibratedSVC(**wrong).fit(np.eye(6), np.array(list("aaabbb")))


@pytest.mark.parametrize("name", ["logreg", "ridge", "lda", "centroid"])
@CLASSES
def test_linear_heads_turn_back_to_the_columns(name, classes):
    X, y, X_new, _ = sample(classes)
    head = make_head(name).fit(X, y)
    expected = head.predict_proba(X_new)
    small = compact(head)
    assert "coordinates" not in small.named_steps
    np.testing.assert_allclose(small.predict_proba(X_new), expected, atol=1e-9)
    assert (small.predict(X_new) == small.classes_[expected.argmax(axis=1)]).all()


def test_other_heads_stay_as_they_are():
    X, y, *_ = sample(2)
    for name in ("rbf-svm", "knn", "mlp"):
        params = {"epochs": 2, "steps": 1} if name == "mlp" else {}
        head = make_head(name, **params).fit(X, y)
        assert compact(head) is head
