"""A model that was fitted on variants names them, and predicts and is evaluated on images."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from tlfeatures import Model, describe, export, fit, load_dataset, make_head
from tlfeatures.cli import main
from tlfeatures.errors import DatasetError, ModelError
from tlfeatures.models.evaluate import evaluate


@pytest.fixture
def file(augmented_file):
    """Embeddings of 24 images, with three variants of each."""
    return augmented_file


@pytest.fixture
def saved(file, tmp_path):
    options = {"embedding": "grid4.flatten", "cv": 3}
    return fit(file, "logreg", model=tmp_path / "m.model", **options), tmp_path / "m.model"


def test_the_report_the_model_and_its_card_name_the_variants(saved):
    made, path = saved
    assert made.to_dict()["variants"] == made.data.n_variants == 3
    facts = describe(path)
    assert (facts["variants"], facts["images"], facts["columns"]) == (3, 24, 48)
    card = path.with_name("m.model.md").read_text()
    assert (
        "The model was also fitted on 3 variants of each image "
        "(rotation=30,zoom=0.2,horizontal_flip). It was not tested on variants."
    ) in card.replace("\\", "")
    result = CliRunner().invoke(main, ["info", str(path)])
    assert "variants: 3" in result.stdout


def test_without_them_nothing_is_said_of_variants(file, tmp_path):
    made = fit(file, embedding="grid4.flatten", variants=0, model=tmp_path / "m.model")
    assert made.data.n_variants == 0
    assert describe(tmp_path / "m.model")["variants"] == 0
    assert "variants" not in (tmp_path / "m.model.md").read_text()
    plain = fit(file.with_name("plain.h5"), embedding="grid4.flatten")
    assert plain.ranking[0].scores == made.ranking[0].scores


def test_it_predicts_images_as_they_are(saved, file, augmented_folder, tmp_path):
    model, data = Model.load(saved[1]), load_dataset(file, "grid4.flatten")
    predictions = model.predict(augmented_folder / "photos")
    table = [[each.probabilities[name] for name in model.classes] for each in predictions]
    np.testing.assert_allclose(table, model.predict_proba(data.X), rtol=1e-5)
    found = export(model, tmp_path / "m.onnx", check=augmented_folder / "photos").check
    assert (found.images, found.passed) == (24, True)


def test_it_is_evaluated_on_new_images_of_its_own_file_and_of_a_plain_one(
    file, augmented_folder, tmp_path
):
    ids = load_dataset(file, "grid4.flatten").ids
    old, every = ({id_: id_[:3] for id_ in some} for some in (ids[::2], ids))
    options = {"labels": old, "embedding": "grid4.flatten", "near_duplicates": None, "cv": 3}
    fit(file, model=tmp_path / "m.model", **options)
    sources = (file, file.with_name("plain.h5"), augmented_folder / "photos")
    trials = [evaluate(tmp_path / "m.model", source, labels=every) for source in sources]
    data, model = load_dataset(file, "grid4.flatten"), Model.load(tmp_path / "m.model")
    expected = model.predict_proba(data.X[1::2])
    for trial in trials:
        assert (trial.seen, trial.tested) == (12, 12)
        assert trial.predictions.ids.tolist() == ids[1::2].tolist()
        np.testing.assert_allclose(trial.predictions.probabilities, expected, rtol=1e-5)
    assert trials[0].scores == trials[1].scores


def test_it_is_not_evaluated_on_what_it_has_seen(saved, file):
    with pytest.raises(DatasetError, match="fitted on all 24 labelled images"):
        evaluate(saved[1], file)


@pytest.mark.parametrize("embedding", ["grid4.flatten.avg", "grid4", "nowhere.avg", "grid4."])
def test_a_model_of_an_embedding_that_there_is_not_is_refused(file, photos, embedding):
    model = Model.fit(make_head("logreg"), load_dataset(file, "grid4.flatten"))
    odd = replace(model, embedding=embedding)
    with pytest.raises(ModelError, match=r"needs the embedding|damaged"):
        next(odd.predict([photos]))
    with pytest.raises(ModelError, match=r"needs the embedding|damaged"):
        export(odd, file.with_name("x.onnx"))


@pytest.mark.slow
def test_the_commands(file, tmp_path):
    def run(*arguments):
        result = CliRunner().invoke(main, [str(each) for each in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    options = ["--embedding", "grid4.flatten", "--cv", 3, "--n-jobs", 1]
    text = run("fit", file, *options)
    assert "also trained on 3 variants of each image" in text
    assert "variants" not in run("fit", file, *options, "--variants", 0)
    page = tmp_path / "page.html"
    facts = json.loads(run("fit", file, *options, "--variants", 1, "--json", "--report", page))
    assert facts["variants"] == 1
    assert page.exists()
    passed = ["--head", "mlp", "--param", "epochs=2", "--param", "steps=1"]
    run("fit", file, *options, *passed, "--tune", "-o", tmp_path / "m.model")
    facts = describe(tmp_path / "m.model")
    assert facts["params"]["epochs"] == 2
    assert facts["variants"] == 3
    assert facts["tuned"]
    result = CliRunner().invoke(main, ["fit", str(file), *map(str, options), "--variants", "9"])
    assert result.exit_code == 2
    assert "has 3 of each image" in result.stderr
    facts = json.loads(
        run("benchmark", file, "--heads", "dummy", "--variants", 2, "--n-jobs", 1, "--json")
    )
    assert {rank["label"] for rank in facts["ranking"]} == {"dummy (2 variants)"}
    curve = json.loads(
        run("learning-curve", file, *options, "--variants", 1, "--sizes", 4, "--json")
    )
    assert curve["points"]
