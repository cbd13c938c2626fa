"""Models that another version made: one line with both versions, and damage is still damage."""

import json
import warnings
import zipfile
from importlib import metadata

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.exceptions import InconsistentVersionWarning

from tests.fakes import members_of, write_members
from tests.unit.crafting import nodes_of
from tlfeatures import Model
from tlfeatures.cli import main
from tlfeatures.errors import FormatError, ModelError

HERE = metadata.version("scikit-learn")


def rewrite(path, change):
    """Let `change` alter the facts and the description of the head."""
    members = members_of(path)
    facts, schema = json.loads(members["tlfeatures.json"]), json.loads(members["schema.json"])
    change(facts, schema)
    members["tlfeatures.json"] = json.dumps(facts).encode()
    members["schema.json"] = json.dumps(schema).encode()
    write_members(path, members)


def of_version(package="scikit-learn", version="1.2.3"):
    return lambda facts, schema: facts["versions"].update({package: version})


def classifier(schema):
    return next(
        node for node in nodes_of(schema, "ObjectNode") if node["__class__"] == "LogisticRegression"
    )


def without_coefficients(facts, schema):
    del classifier(schema)["content"]["content"]["coef_"]


def of_an_unknown_class(facts, schema):
    classifier(schema)["__class__"] = "LogisticRegressionOfAnotherVersion"


def of_another_module(facts, schema):
    classifier(schema)["__module__"] = "sklearn.linear_model._elsewhere"


def with_a_text_as_coefficients(facts, schema):
    content = classifier(schema)["content"]["content"]
    content["coef_"] = {**content["solver"], "__id__": 10**9}


CHANGES = [
    without_coefficients,
    of_an_unknown_class,
    of_another_module,
    with_a_text_as_coefficients,
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_another_scikit_learn_made_and_this_can_not_read(fitted_model, change):
    rewrite(fitted_model, change)
    rewrite(fitted_model, of_version())
    with pytest.raises(ModelError) as said:
        Model.load(fitted_model)
    assert not isinstance(said.value, FormatError)
    assert str(said.value) == (
        f"{fitted_model} was written with scikit-learn 1.2.3 and can't be read with {HERE}; "
        "install scikit-learn==1.2.3, or fit the head again with `tlfeatures fit`"
    )
    result = CliRunner().invoke(main, ["predict", str(fitted_model), str(fitted_model.parent)])
    assert result.exit_code == 1
    assert "damaged" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("change", [without_coefficients, with_a_text_as_coefficients])
def test_the_same_from_this_version_is_damage(fitted_model, change):
    rewrite(fitted_model, change)
    with pytest.raises(FormatError, match="damaged model file"):
        Model.load(fitted_model)


def test_flipped_bits_are_damage_whatever_made_the_file(fitted_model):
    rewrite(fitted_model, of_version())
    data = bytearray(fitted_model.read_bytes())
    with zipfile.ZipFile(fitted_model) as archive:
        infos = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    for info in infos:
        flipped = bytearray(data)
        flipped[info.header_offset + 30 + len(info.filename) + info.compress_size - 2] ^= 1
        fitted_model.write_bytes(flipped)
        with pytest.raises(FormatError, match="damaged model file"):
            Model.load(fitted_model)


def test_types_of_other_packages_stay_untrusted(fitted_model):
    def change(facts, schema):
        classifier(schema)["__module__"] = "os"

    rewrite(fitted_model, change)
    rewrite(fitted_model, of_version())
    with pytest.raises(ModelError, match="not trusted"):
        Model.load(fitted_model)


def test_heads_of_another_version_of_this_package_name_it(fitted_model):
    def change(facts, schema):
        classifier(schema).update(__module__="tlfeatures.heads.classifiers", __class__="NewHead")

    rewrite(fitted_model, change)
    rewrite(fitted_model, of_version("tlfeatures", "9.9"))
    with pytest.raises(ModelError, match=r"with tlfeatures 9\.9 .*install tlfeatures==9\.9"):
        Model.load(fitted_model)


def test_a_model_that_this_version_can_read_is_used_with_one_line(fitted_model, caplog):
    expected = Model.load(fitted_model)
    caplog.clear()
    rewrite(fitted_model, of_version())

    def older(facts, schema):
        for node in nodes_of(schema, "ObjectNode"):
            content = node["content"].get("content", {})
            if "_sklearn_version" in content:
                content["_sklearn_version"]["content"] = json.dumps("1.2.3")

    rewrite(fitted_model, older)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        model = Model.load(fitted_model)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{fitted_model} was fitted with scikit-learn 1.2.3, but {HERE} is installed; fit it "
        "again, or check it with `tlfeatures evaluate`"
    ]
    X = np.random.default_rng(0).normal(size=(3, model.info["columns"])).astype(np.float32)
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
