"""Files that earlier versions made; they are kept for ever, and still load."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tlfeatures import Model, describe, extract, load_dataset
from tlfeatures.cli import main

FIXTURES = Path(__file__).parents[1] / "fixtures"
SETTINGS = {"backbone": "pixels", "size": 16, "layers": ["grid4"], "pools": ["flatten"]}

# Probabilities of rows 0, 5 and 20 of the photos' embeddings, as version 1 gave them.
GAVE = {
    "logreg": [
        [0.8048663470002203, 0.1951336529997797],
        [0.8177615277463697, 0.18223847225363032],
        [0.1780192483545976, 0.8219807516454024],
    ],
    "rbf-svm": [
        [0.9459679759067717, 0.05403202409322829],
        [0.9459686886745018, 0.05403113132549817],
        [0.04505413870157304, 0.954945861298427],
    ],
}


@pytest.mark.parametrize("head", GAVE)
def test_a_model_of_version_1_predicts_what_it_did(head, photos, tmp_path):
    path = FIXTURES / f"model-v1-{head}.model"
    facts = describe(path)
    assert (facts["format_version"], facts["head"], facts["images"]) == (1, head, 24)
    extract(photos, tmp_path / "photos.h5", **SETTINGS)
    data = load_dataset(tmp_path / "photos.h5")
    model = Model.load(path)
    assert model.classes == ["blue", "red"]
    np.testing.assert_allclose(model.predict_proba(data.X[[0, 5, 20]]), GAVE[head], atol=1e-6)
    labels = [each.label for each in model.predict([photos / "red"])]
    assert labels == ["red"] * 12


@pytest.mark.parametrize("head", GAVE)
def test_a_model_of_version_1_is_described(head):
    path = str(FIXTURES / f"model-v1-{head}.model")
    told = CliRunner().invoke(main, ["info", path])
    assert told.exit_code == 0
    assert f"head: {head}" in told.stdout
    assert json.loads(CliRunner().invoke(main, ["info", path, "--json"]).stdout)["head"] == head


def test_an_embeddings_file_of_version_1_opens():
    path = FIXTURES / "embeddings-v1.h5"
    facts = describe(path)
    assert (facts["images"], facts["done"], facts["classes"]) == (6, 6, {"blue": 3, "red": 3})
    data = load_dataset(path)
    assert data.X.shape == (6, 48)
    assert data.ids.tolist()[0] == "blue/blue00.png"
    np.testing.assert_allclose(
        [data.X[0, 0], data.X[5, 47]], [0.26813727617263794, 0.3816176652908325], atol=1e-6
    )
