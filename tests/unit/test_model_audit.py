"""A head from a file is of known types, and is described as skops describes it."""

import io
import json
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from tests.unit.crafting import nodes_of
from tests.unit.data import dataset
from tlfeatures import HEADS, Model, make_head
from tlfeatures.models.file_description import forged_part, untrusted_types

TWO, THREE = dataset(), dataset(classes="abc")


# ---- what is saved, loads

FEW = {"n_estimators": 5}
SMALL = {
    "gradient-boosting": {"max_iter": 5},
    "mlp": {"steps": 20},
    "sklearn.ensemble:ExtraTreesClassifier": FEW,
    "sklearn.ensemble:RandomForestClassifier": FEW,
    "sklearn.ensemble:GradientBoostingClassifier": FEW,
    "sklearn.ensemble:AdaBoostClassifier": FEW,
    "sklearn.ensemble:BaggingClassifier": FEW,
}


def made(name):
    others = {
        "voting": VotingClassifier(
            [("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"
        ),
        "stacking": StackingClassifier(
            [("a", LogisticRegression()), ("b", GaussianNB())], LogisticRegression(), cv=3
        ),
        "knn-brute": KNeighborsClassifier(algorithm="brute"),
        "svc": SVC(kernel="poly"),
    }
    return others[name] if name in others else make_head(name, **SMALL.get(name, {}))


OTHERS = [
    "sklearn.ensemble:ExtraTreesClassifier",
    "sklearn.ensemble:RandomForestClassifier",
    "sklearn.ensemble:GradientBoostingClassifier",
    "sklearn.ensemble:AdaBoostClassifier",
    "sklearn.ensemble:BaggingClassifier",
    "sklearn.svm:LinearSVC",
    "sklearn.svm:SVC",
    "sklearn.svm:NuSVC",
    "sklearn.naive_bayes:GaussianNB",
    "sklearn.tree:DecisionTreeClassifier",
    "sklearn.discriminant_analysis:QuadraticDiscriminantAnalysis",
    "sklearn.linear_model:LogisticRegressionCV",
    "voting",
    "stacking",
    "knn-brute",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "data"), [*((name, TWO) for name in HEADS), *((name, THREE) for name in OTHERS)]
)
def test_a_head_predicts_the_same_from_its_file(name, data, tmp_path):
    model = Model.fit(made(name), data)
    model.save(tmp_path / "m.model")
    loaded = Model.load(tmp_path / "m.model")
    np.testing.assert_array_equal(loaded.predict_proba(data.X), model.predict_proba(data.X))


# ---- the description


def schema_of(head):
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(head))) as archive:
        return json.loads(archive.read("schema.json"))


def plain(X):
    return X


def test_untrusted_names_what_is_foreign_and_nothing_else():
    assert untrusted_types(schema_of(make_head("rbf-svm"))) == []
    head = Pipeline([("read", CountVectorizer()), ("own", FunctionTransformer(plain))])
    vectorizer = "sklearn.feature_extraction.text.CountVectorizer"
    assert untrusted_types(schema_of(head)) == [
        vectorizer,
        "sklearn.preprocessing._function_transformer.FunctionTransformer",
        f"{__name__}.plain (by FunctionNode)",
    ]


def test_a_trusted_type_is_not_to_be_made_in_another_way():
    schema = schema_of(make_head("logreg"))
    schema["__loader__"] = "LossNode"  # which calls the class with arguments from the file
    assert untrusted_types(schema) == ["sklearn.pipeline.Pipeline (by LossNode)"]


def test_a_generator_names_no_function():
    schema = {"__loader__": "RandomGeneratorNode", "__module__": "numpy.random._generator"}
    inner = {"content": {"bit_generator": {"content": '"seed"'}}}
    schema |= {"__class__": "Generator", "content": {"bit_generator": inner}}
    assert untrusted_types(schema) == ['numpy.random."seed"']


def rewritten(head, change):
    """The archive of a head whose description was changed."""
    source = zipfile.ZipFile(io.BytesIO(skops.io.dumps(head)))
    schema = json.loads(source.read("schema.json"))
    change(schema)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
    return zipfile.ZipFile(file), schema


def outputs(schema):
    nodes_of(schema, "TreeNode")[0]["__reduce__"]["args"]["content"][2]["content"] = "1000000000"


def same_number(schema):
    first, second = nodes_of(schema, "JsonNode")[:2]
    first["content"], second["content"] = "1", "2"
    second["__id__"] = first["__id__"]


def other_array(schema):
    first, second = nodes_of(schema, "NdArrayNode")[:2]
    second["file"] = first["file"]


def outside(schema):
    nodes_of(schema, "NdArrayNode")[0]["file"] = "../x.npy"


def no_number(schema):
    del nodes_of(schema, "ListNode")[0]["__id__"]


def number_of_nodes(schema):
    """The nodes of the tree and a single number change places."""
    nodes = nodes_of(schema, "TreeNode")[0]["content"]["content"]["nodes"]
    number = schema["content"]["content"]["n_classes_"]
    for key in ("file", "__id__"):
        nodes[key], number[key] = number[key], nodes[key]


@pytest.mark.parametrize(
    "change", [outputs, same_number, other_array, outside, no_number, number_of_nodes]
)
def test_a_description_that_skops_never_writes_is_crafted(change):
    head = DecisionTreeClassifier().fit(TWO.X, TWO.y)
    assert forged_part(*rewritten(head, lambda schema: None)) is None
    assert forged_part(*rewritten(head, change)) is not None


@pytest.mark.parametrize("header", ["{'descr': '<f8', 'fortran_order': False, 'shape': (9999,), }"])
def test_an_array_is_as_large_as_its_member(header):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        text = header.encode().ljust(117) + b"\n"
        archive.writestr("1.npy", b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(ValueError, match="has 0 bytes"):
        forged_part(zipfile.ZipFile(file), {})
