"""Model files that are damaged, foreign or crafted are refused, and nothing in them is executed."""

import json
import pickle
import zipfile
from dataclasses import replace

import joblib
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from tests.fakes import members_of, write_members
from tlfeatures import Model, describe, load_dataset, make_head
from tlfeatures.errors import FormatError, ModelError
from tlfeatures.models.model_file import FORMAT_VERSION


@pytest.fixture
def model(flatten_file):
    return Model.fit(make_head("logreg"), load_dataset(flatten_file), name="logreg")


def rewrite_facts(path, change):
    """Let `change` alter the facts of a model file, and nothing else."""
    members = members_of(path)
    facts = json.loads(members["tlfeatures.json"])
    change(facts)
    members["tlfeatures.json"] = json.dumps(facts).encode()
    write_members(path, members)


NEEDED = ["format", "format_version", "spec", "embedding", "classes", "images", "columns", "head"]


@pytest.mark.parametrize("name", [*NEEDED, "versions"])
@pytest.mark.parametrize("change", ["gone", "null"])
def test_facts_that_are_missing_or_of_another_kind_are_damage(model, tmp_path, name, change):
    path = tmp_path / "m.model"
    model.save(path)
    rewrite_facts(path, lambda facts: facts.pop(name))
    if change == "null":
        rewrite_facts(path, lambda facts: facts.update({name: None}))
    for read in (describe, Model.load):
        with pytest.raises(FormatError, match="model"):
            read(path)


@pytest.mark.parametrize("member", ["tlfeatures.json", "schema.json", "training/digests.npy"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_damage(model, tmp_path, member, share):
    path = tmp_path / "m.model"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    data = bytearray(path.read_bytes())
    begins = info.header_offset + 30 + len(member)
    data[begins + int(share * info.compress_size)] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="model"):
        Model.load(path)
    if member == "tlfeatures.json":
        with pytest.raises(FormatError, match="model"):
            describe(path)


@pytest.mark.parametrize("variants", ["3", [3], {"a": 1}, 2.5, True, None, -1])
def test_a_number_of_variants_that_is_none_is_damage(model, tmp_path, variants):
    """It was noticed when the model was saved again, by a traceback from its card."""
    path = tmp_path / "m.model"
    replace(model, info={**model.info, "variants": 3}).save(path)
    assert Model.load(path).info["variants"] == 3
    rewrite_facts(path, lambda facts: facts.update({"variants": variants}))
    for read in (describe, Model.load):
        with pytest.raises(FormatError, match="damaged model file: variants missing or wrong"):
            read(path)


def np_print(X):
    return X


def test_saving_a_head_that_could_not_be_loaded_is_refused(flatten_file, tmp_path):
    head = make_head("logreg")
    head.steps.insert(0, ("code", FunctionTransformer(np_print)))
    model = Model.fit(head, load_dataset(flatten_file))
    with pytest.raises(ModelError, match="np_print"):
        model.save(tmp_path / "m.model")
    assert not list(tmp_path.glob("m.model*"))


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("kind", ["pickle", "joblib", "skops", "zip", "text", "empty"])
def test_foreign_files_are_refused_and_nothing_is_executed(kind, model, tmp_path):
    path, trap = tmp_path / "m.model", tmp_path / "trap"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(trap)))
    elif kind == "joblib":
        joblib.dump(Bomb(trap), path)
    elif kind == "skops":
        skops.io.dump(FunctionTransformer(np_print), path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../outside", "x")
    else:
        path.write_text("text" if kind == "text" else "")
    with pytest.raises(FormatError, match="model file"):
        Model.load(path)
    with pytest.raises(FormatError, match="model file"):
        describe(path)
    assert not trap.exists()
    assert not (tmp_path.parent / "outside").exists()


def test_untrusted_types_are_refused_and_named(model, tmp_path):
    path = tmp_path / "m.model"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        facts = archive.read("tlfeatures.json")
    skops.io.dump(FunctionTransformer(np_print), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tlfeatures.json", facts)
    with pytest.raises(ModelError, match="np_print"):
        Model.load(path)


def test_a_newer_model_is_refused(model, tmp_path):
    path = tmp_path / "m.model"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "tlfeatures.json",
            json.dumps({"format": "tlfeatures model", "format_version": FORMAT_VERSION + 1}),
        )
    with pytest.raises(FormatError, match="upgrade"):
        Model.load(path)
