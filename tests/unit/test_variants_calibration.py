"""Probabilities are calibrated on images, by folds that keep an image and its variants together."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_sample_weight

from tests.fakes import DecidingRecorder, Recorder, with_variants
from tests.unit.data import augmented, named
from tlfeatures import Model, cross_validate, make_head
from tlfeatures.dataset.stratified_folds import cut
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.calibrated_centroid import CalibratedCentroid
from tlfeatures.heads.classifiers.calibrated_classifier import CalibratedClassifier
from tlfeatures.heads.classifiers.calibrated_ridge import CalibratedRidge
from tlfeatures.heads.classifiers.nearest_mean import NearestMean


@pytest.fixture
def deciding(recorder):
    """A head with decisions alone, which record their rows, and probabilities calibrated."""
    return Pipeline([("classifier", CalibratedClassifier(DecidingRecorder()))])


def images_of(names):
    return {image for image, _ in names}


def test_calibration_keeps_an_image_and_its_variants_together(deciding):
    cross_validate(deciding, named(), cv=3)
    assert len(Recorder.fitted) == 3 * (5 + 1)  # five inner folds, and the whole
    inner = []
    for number, asked in Recorder.asked:
        known, _ = Recorder.fitted[number]
        assert known
        assert sorted(known) == with_variants(images_of(known))
        assert not images_of(known) & images_of(asked)
        if len(asked) > len(images_of(asked)):  # not the outer fold, whose images alone are tested
            assert sorted(asked) == with_variants(images_of(asked))
            inner.append(number)
    assert len(inner) == 3 * 5


def test_a_class_of_one_group_is_calibrated_on_whole_images(deciding):
    data = named(40)
    Model.fit(deciding, replace(data, groups=np.where(data.y == "a", "one", data.ids)))
    assert len(Recorder.asked) == 5
    for number, asked in Recorder.asked:
        known, _ = Recorder.fitted[number]
        assert sorted(known + asked) == with_variants(range(40))
        assert not images_of(known) & images_of(asked)


def test_images_are_many_for_calibration_and_not_their_variants(deciding):
    """Of many images, two folds are enough; variants make no more of few."""
    for n, v, folds in ((100, 40, 5), (2999, 1, 5), (3000, 1, 2)):
        images = np.arange(n).repeat(1 + v)
        variant = np.tile(np.arange(1 + v), n)
        X, y = np.zeros((len(images), 3)), np.array(list("ab"))[images % 2]
        for groups in (images, None):
            Recorder.fitted.clear()
            deciding[-1].fit(X, y, groups=groups, images=images, variant=variant)
            assert len(Recorder.fitted) == folds + 1
    Recorder.fitted.clear()
    deciding[-1].fit(np.zeros((3000, 3)), np.array(list("ab") * 1500))
    assert len(Recorder.fitted) == 2 + 1


class AsGiven(ClassifierMixin, BaseEstimator):
    """Has its columns for decisions."""

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        raise NotImplementedError

    def decision_function(self, X):
        return X[:, 0] if X.shape[1] == 1 else X


def by_scikit_learn(plain, rows, X_new, fit_weights=None, sigmoid_weights=None):
    """Calibrated on the images' own decisions, each made by a fit on other images' rows."""
    X, codes, image = (
        rows.X.astype(float),
        np.unique(rows.y, return_inverse=True)[1],
        rows.variant == 0,
    )
    folds = cut(codes, rows.image, 5, 0)
    of_row = {} if fit_weights is None else {"sample_weight": fit_weights}
    held = cross_val_predict(plain, X, codes, cv=folds, method="decision_function", params=of_row)
    every = np.arange(image.sum())
    sigmoids = CalibratedClassifierCV(AsGiven(), cv=[(every, every)], ensemble=False)
    of_image = None if sigmoid_weights is None else sigmoid_weights[image]
    sigmoids.fit(held[image].reshape(len(every), -1), codes[image], of_image)
    decisions = plain.fit(X, codes, **of_row).decision_function(X_new)
    return sigmoids.predict_proba(decisions.reshape(len(X_new), -1))


def told(rows):
    return {"groups": rows.image, "images": rows.image, "variant": rows.variant}


def decided_like_training(head, X_new):
    """Give the rows whose decisions are within those that the sigmoid was fitted on."""
    decisions = head.decision_function(X_new)
    within = (head.lowest_ <= decisions) & (decisions <= head.highest_)
    assert within.mean() > 0.5
    return within


@pytest.mark.parametrize("weight", [None, "balanced"])
@pytest.mark.parametrize("classes", ["ab", "aab"])
def test_sigmoids_are_those_of_scikit_learn(weight, classes):
    rows = TrainingRows.of(augmented(61, classes=classes))
    X_new = np.random.default_rng(3).normal(size=(20, 6))
    of_class = compute_sample_weight(weight, rows.y)
    ours = CalibratedRidge(1.0, weight, random_state=0).fit(rows.X, rows.y, **told(rows))
    plain = RidgeClassifier(1.0, solver="cholesky")
    # For the penalty, an image and its two variants weigh 1; for the sigmoids, an image alone.
    expected = by_scikit_learn(plain, rows, X_new, of_class / 3, of_class)
    within = decided_like_training(ours, X_new)
    np.testing.assert_allclose(ours.predict_proba(X_new)[within], expected[within], atol=1e-5)


def test_sigmoids_of_a_classifier_that_weighs_no_rows_are_those_of_scikit_learn():
    rows = TrainingRows.of(augmented(61))
    X_new = np.random.default_rng(3).normal(size=(20, 6))
    ours = CalibratedCentroid(random_state=0).fit(rows.X, rows.y, **told(rows))
    expected = by_scikit_learn(NearestMean(), rows, X_new)
    within = decided_like_training(ours, X_new)
    np.testing.assert_allclose(ours.predict_proba(X_new)[within], expected[within], atol=1e-5)


def test_the_temperature_of_several_classes_is_that_of_the_images_themselves():
    """No other factor gives their out-of-fold decisions a smaller log loss."""
    rows = TrainingRows.of(augmented(240, v=4, noise=3.0, signal=2.0, classes="abc"))
    ours = CalibratedCentroid(random_state=0).fit(rows.X, rows.y, **told(rows))
    image = rows.variant == 0
    codes = np.searchsorted(ours.classes_, rows.y)
    X, folds = rows.X.astype(float), cut(codes, rows.image, 5, 0)
    held = cross_val_predict(NearestMean(), X, codes, cv=folds, method="decision_function")

    def loss(factor):
        table = softmax(factor * ours.slope_ * held[image], axis=1)
        return log_loss(codes[image], table)

    assert loss(1) < min(loss(0.9), loss(1.1))


CALIBRATED = ["linear-svm", "rbf-svm", "ridge", "centroid", "sklearn.svm:LinearSVC"]


@pytest.mark.parametrize("name", CALIBRATED)
def test_probabilities_are_as_sure_as_images_are_told_and_not_as_their_variants(name):
    data = augmented(240, v=4, noise=3.0, signal=2.0)
    table = cross_validate(make_head(name), data, cv=3).probabilities
    odds = np.log(table[:, 1] / table[:, 0])[:, None]
    slope = LogisticRegression(C=1e6).fit(odds, data.y == "b").coef_[0, 0]
    assert 0.7 < slope < 1.5  # with the sigmoids of all rows: 4.8 to 9.3


@pytest.mark.parametrize("name", CALIBRATED)
def test_a_calibrated_model_of_variants_is_kept_in_a_file(name, tmp_path):
    data = augmented(classes="abc")
    model = Model.fit(make_head(name), data)
    model.save(tmp_path / "m.model")
    again = Model.load(tmp_path / "m.model").predict_proba(data.X)
    np.testing.assert_array_equal(again, model.predict_proba(data.X))


def test_a_class_of_one_image_is_not_calibrated_on_its_variants():
    data = augmented(40)
    y = data.y.copy()
    y[0] = "c"
    with pytest.raises(ParameterError, match="two or more images of each class"):
        Model.fit(make_head("linear-svm"), replace(data, y=y))
