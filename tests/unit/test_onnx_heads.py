"""Heads as ONNX: the same probabilities as the head's, or a reason why not."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import AdaBoostClassifier, ExtraTreesClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from tests.unit.exported import assert_exported_alike, both, data_of, model_of
from tlfeatures import HEADS, export, make_head
from tlfeatures.errors import ModelError
from tlfeatures.heads.classifiers import calibrated_svc
from tlfeatures.heads.classifiers.smoothed_neighbors import SmoothedNeighbors


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_gives_the_same_probabilities(name, classes, tmp_path):
    assert_exported_alike(model_of(name, classes), tmp_path)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["rbf-svm", "gradient-boosting", "knn"])
def test_all_coordinates_and_the_distance_from_them(name, classes, tmp_path):
    few = make_head(name, n_components=None)
    model = model_of(few, classes, embedding="grid8.flatten")  # more columns than rows
    assert model.head[0].components_.shape[0] < model.info["columns"]
    assert_exported_alike(model, tmp_path)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", ["rbf-svm", "linear-svm"])
def test_a_machine_too_large_for_its_kernel_matrix(name, classes, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrated_svc, "LARGEST_KERNEL", 10)
    data = data_of(classes)
    head = make_head(name).fit(data.X, data.y)
    assert not head[-1].precomputed_
    assert_exported_alike(replace(model_of("dummy", classes), head=head), tmp_path)


@pytest.mark.parametrize("name", ["logreg", "rbf-svm", "ridge", "knn"])
def test_class_weights_are_in_it(name, tmp_path):
    assert_exported_alike(model_of(make_head(name, class_weight={"ant": 3.0}), 3), tmp_path)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "name",
    [
        "sklearn.ensemble:ExtraTreesClassifier",
        "sklearn.ensemble:GradientBoostingClassifier",
        "sklearn.neighbors:KNeighborsClassifier",
        "sklearn.svm:LinearSVC",
        "sklearn.svm:NuSVC",
        "sklearn.svm:SVC",
        "sklearn.linear_model:Perceptron",
        "sklearn.naive_bayes:GaussianNB",
        "sklearn.discriminant_analysis:LinearDiscriminantAnalysis",
    ],
)
def test_heads_of_scikit_learn(name, classes, tmp_path):
    assert_exported_alike(model_of(name, classes), tmp_path)


@pytest.mark.parametrize(
    "head",
    [
        RandomForestClassifier(20, random_state=0),
        AdaBoostClassifier(n_estimators=20, random_state=0),  # skl2onnx's is right in float32 alone
        LinearDiscriminantAnalysis(),
        ExtraTreesClassifier(20, random_state=0),
    ],
)
def test_a_classifier_without_a_pipeline(head, tmp_path):
    assert_exported_alike(model_of(head), tmp_path)


def test_labels_are_those_that_the_head_decides_for(tmp_path):
    """The sigmoid of two classes may cross 0.5 away from the decision 0."""
    model = model_of("linear-svm")
    model.head[-1].intercept_ += 1.0
    table, labels, _, named = both(model, tmp_path)
    assert labels == named
    assert labels != [model.classes[code] for code in table.argmax(axis=1)]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("sklearn.semi_supervised:LabelPropagation", "LabelPropagation .* has a converter for it"),
        (DummyClassifier(strategy="stratified"), "draws labels at random"),
        ("sklearn.gaussian_process:GaussianProcessClassifier", "its conversion fails with"),
    ],
)
def test_a_head_that_cannot_be_exported_is_refused_with_the_reason(head, reason, tmp_path):
    with pytest.raises(ModelError, match=reason) as refused:
        export(model_of(head), tmp_path / "m.onnx")
    assert "can't be exported" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_transformer_of_ones_own_is_refused(tmp_path):
    head = make_head("logreg")
    head.steps.insert(0, ("own", FunctionTransformer(np.tanh)))
    with pytest.raises(ModelError, match="can't be exported"):
        export(model_of(head), tmp_path / "m.onnx")


class Contrary(SmoothedNeighbors):
    """Gives each class the probability of the other, which its converter doesn't know."""

    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::-1]


def test_a_converter_that_is_wrong_is_found(tmp_path):
    head = Pipeline([("classifier", Contrary())])
    with pytest.raises(ModelError, match="probabilities are off by"):
        export(model_of(head), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
