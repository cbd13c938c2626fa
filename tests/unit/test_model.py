"""A model is saved and loaded as it is, and predicts image files as their stored embeddings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.svm import SVC

from tests.fakes import full_disk
from tlfeatures import HEADS, Model, describe, extract, fit, load_dataset, make_head
from tlfeatures.errors import ModelError, ParameterError, SourceError, SpecError, WeightsError
from tlfeatures.features.settings import Settings, make_spec


@pytest.fixture
def embedded(flatten_file):
    """The embedding of 24 photos, in the file photos.h5."""
    return load_dataset(flatten_file)


@pytest.fixture
def model(embedded):
    return Model.fit(make_head("logreg"), embedded, name="logreg")


@pytest.mark.parametrize("name", [*HEADS, "from scikit-learn"])
def test_a_saved_model_gives_the_same_probabilities(name, embedded, tmp_path):
    quick = {"mlp": {"steps": 20}, "gradient-boosting": {"max_iter": 5}}.get(name, {})
    trees = ExtraTreesClassifier(10, random_state=0)
    head = make_head(name, **quick) if name in HEADS else trees
    model = Model.fit(head, embedded)
    model.save(tmp_path / "m.model")
    loaded = Model.load(tmp_path / "m.model")
    np.testing.assert_array_equal(loaded.predict_proba(embedded.X), model.predict_proba(embedded.X))
    assert (loaded.spec, loaded.embedding, loaded.info) == (model.spec, model.embedding, model.info)


def test_prediction_equals_that_of_the_stored_embedding(model, embedded, photos):
    predictions = model.predict([photos])
    assert [p.path for p in predictions] == [str(photos / id_) for id_ in embedded.ids]
    table = [[p.probabilities[name] for name in model.classes] for p in predictions]
    np.testing.assert_allclose(table, model.predict_proba(embedded.X), rtol=1e-6)
    assert [p.label for p in predictions] == model.head.predict(embedded.X).tolist()


def test_unreadable_images_keep_their_place(model, photos, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("text")
    good = photos / "red" / "red00.png"
    inputs = [bad, good, bad, good, good, bad]
    predictions = model.predict(inputs, batch_size=2)
    assert [p.path for p in predictions] == [str(path) for path in inputs]
    assert [p.label is None for p in predictions] == [True, False, True, False, False, True]
    assert "not an image" in predictions[0].error


def test_one_path_is_a_list_of_one(model, photos):
    assert len(model.predict(str(photos / "red"))) == 12


def test_a_head_without_probabilities_is_refused_before_it_is_fitted(embedded):
    with pytest.raises(ModelError, match="CalibratedClassifierCV"):
        Model.fit(SVC(), embedded)


def test_inputs_that_are_not_there(model, tmp_path):
    with pytest.raises(ParameterError, match="does not exist"):
        model.predict([tmp_path / "nowhere.jpg"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no image"):
        model.predict([tmp_path / "empty"])


def test_other_weights_are_refused(model, tmp_path, photos):
    settings = Settings(weights="random", precision="float32")
    spec = make_spec(settings, "vgg16", (32, 32), ["block5_pool.avg"], "cpu")
    other = Model(model.head, replace(spec, weights_sha256="00"), "block5_pool.avg", model.info)
    with pytest.raises(ModelError, match="damaged"):
        other.predict([photos])
    wide = replace(other, embedding="block1_conv1.avg", info={**model.info, "columns": 64})
    with pytest.raises(WeightsError, match="expected 00"):
        wide.predict([photos])


@pytest.mark.parametrize("field", ["resize", "orientation", "preprocessing", "alpha"])
def test_a_spec_that_is_not_ours_is_refused(model, photos, field):
    other = replace(model, spec=replace(model.spec, **{field: "otherwise"}))
    with pytest.raises(SpecError, match=f"{field} 'otherwise'"):
        other.predict([photos])


def test_saving_never_replaces_what_is_no_model(model, embedded, tmp_path):
    before = Path(embedded.file).read_bytes()
    for target, said in ((embedded.file, "not the ending of a model"), (tmp_path, "is a folder")):
        with pytest.raises(ParameterError, match=said):
            model.save(target)
        with pytest.raises(ParameterError, match=said):
            fit(embedded.file, model=target)
    assert Path(embedded.file).read_bytes() == before
    (tmp_path / "notes.tlf").write_text("mine")  # an ending that tells nothing
    with pytest.raises(ParameterError, match="give another name"):
        model.save(tmp_path / "notes.tlf")
    assert (tmp_path / "notes.tlf").read_text() == "mine"


def test_saving_through_a_link_keeps_the_link(model, tmp_path):
    model.save(tmp_path / "real.model")
    (tmp_path / "link.model").symlink_to("real.model")
    model.save(tmp_path / "link.model")
    assert (tmp_path / "link.model").is_symlink()


def test_describe_reads_facts_alone(model, tmp_path):
    model.save(tmp_path / "m.model")
    facts = describe(tmp_path / "m.model")
    assert facts["classes"] == ["blue", "red"]
    assert facts["head"] == "logreg"
    fit(tmp_path / "photos.h5", "logreg", params={"C": 0.5}, model=tmp_path / "m.model")
    facts = describe(tmp_path / "m.model")
    assert (facts["params"]["C"], facts["split"], facts["folds"], facts["tested"]) == (
        0.5,
        "cv",
        5,
        24,
    )
    assert facts["spec"]["backbone"] == "pixels"


def test_another_version_of_scikit_learn_is_said(model, tmp_path, caplog):
    model.info["versions"]["scikit-learn"] = "0.1"
    model.save(tmp_path / "m.model")
    Model.load(tmp_path / "m.model")
    assert "fitted with scikit-learn 0.1" in caplog.text


def test_a_full_disk_keeps_the_old_model(model, tmp_path):
    path = tmp_path / "m.model"
    model.save(path)
    before = {each.name: each.read_bytes() for each in tmp_path.glob("m*")}
    with full_disk(1000), pytest.raises(ModelError, match="can't be written: File too large"):
        model.save(path)
    assert {each.name: each.read_bytes() for each in tmp_path.glob("*m.model*")} == before


def test_a_head_that_no_file_can_hold_is_refused_before_the_work(embedded, tmp_path, monkeypatch):
    def work(*_, **__):
        raise AssertionError("cross-validated all the same")

    monkeypatch.setattr("tlfeatures.benchmarking.compute.run_folds", work)
    for head in ("sklearn.linear_model:SGDClassifier", "sklearn.neural_network:MLPClassifier"):
        with pytest.raises(ModelError, match=f"head {head} can't be saved"):
            fit(embedded.file, head, model=tmp_path / "m.model")


def test_neighbours_of_scikit_learn_can_be_kept(photos, tmp_path):
    """Of few columns it would build a search tree, which is no plain data."""
    extract(photos, tmp_path / "mean.h5", backbone="pixels", size=16, layers=["mean"])
    fit(tmp_path / "mean.h5", "sklearn.neighbors:KNeighborsClassifier", model=tmp_path / "m.model")
    assert Model.load(tmp_path / "m.model").info["head"].endswith("KNeighborsClassifier")
