"""Files that earlier versions made; they are kept for ever, and still load."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from tests.fakes import write_image
from tlfeatures import Model, describe, extract, load_dataset, verify
from tlfeatures.cli import main
from tlfeatures.errors import SpecError
from tlfeatures.features.file.store import Reader, checksums, read_header

FIXTURES = Path(__file__).parents[1] / "fixtures"
SETTINGS = {"backbone": "pixels", "size": 16, "layers": ["grid4"], "pools": ["flatten"]}

# Probabilities of rows 0, 5 and 20 of the photos' embeddings, as version 1 gave them.
GAVE = {
    "logreg": [
        [0.8048663470002203, 0.1951336529997797],
        [0.8177615277463697, 0.18223847225363032],
        [0.1780192483545976, 0.8219807516454024],
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


def test_an_embeddings_file_of_version_2_opens_with_its_variants():
    path = FIXTURES / "embeddings-v2.h5"
    facts = describe(path)
    assert (facts["images"], facts["done"], facts["classes"]) == (6, 6, {"blue": 3, "red": 3})
    header = read_header(path)
    assert (header.variants, header.checked, header.stamps) == (2, False, [(0, 0)] * 6)
    with Reader(path) as reader:
        X, variants = reader.read("grid4.flatten"), reader.read_variants("grid4.flatten", 2)
    assert (X.shape, variants.shape) == ((6, 48), (6, 2, 48))
    np.testing.assert_allclose(
        [X[0, 0], X[5, 47], variants[0, 0, 0], variants[5, 1, 47]],
        [0.26813728, 0.38161767, 0.38186276, 0.3095588],
        atol=1e-6,
    )


def test_a_virtual_file_of_version_4_opens_with_its_shards():
    path = FIXTURES / "embeddings-v4.h5"
    facts = describe(path)
    assert (facts["images"], facts["done"], facts["classes"]) == (6, 6, {"blue": 3, "red": 3})
    assert (facts["shards"]["folder"], facts["shards"]["count"]) == ("embeddings-v4.h5.shards", 3)
    with Reader(path) as reader, Reader(FIXTURES / "embeddings-v2.h5") as older:
        for read in (lambda file: file.read("grid4.flatten"), read_both_variants):
            np.testing.assert_allclose(read(reader), read(older), atol=1e-6)
    assert verify(path).ok


def read_both_variants(reader):
    return reader.read_variants("grid4.flatten", 2)


def test_a_virtual_file_of_version_4_is_brought_up_to_date(photos, tmp_path):
    file = shutil.copy(FIXTURES / "embeddings-v4.h5", tmp_path / "embeddings-v4.h5")
    shutil.copytree(FIXTURES / "embeddings-v4.h5.shards", tmp_path / "embeddings-v4.h5.shards")
    for path in photos.glob("*/*"):
        if int(path.stem[-2:]) > 2:
            path.unlink()
    assert extract(photos, file).computed == 0
    write_image(photos / "red" / "zz.png", 1)
    result = extract(photos, file)
    assert (result.computed, result.reused, result.variants) == (1, 6, 2)
    assert len(read_header(file).shards.names) == 4


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_older_version_is_brought_up_to_date(version, photos, tmp_path):
    file = tmp_path / "photos.h5"
    shutil.copy(FIXTURES / f"embeddings-v{version}.h5", file)
    for path in photos.glob("*/*"):
        if int(path.stem[-2:]) > 2:
            path.unlink()
    before = file.read_bytes()
    assert extract(photos, file).computed == 0
    assert extract(photos, file, trust_mtime=True).computed == 0
    assert file.read_bytes() == before
    write_image(photos / "red" / "zz.png", 1)
    result = extract(photos, file)
    assert (result.computed, result.reused, result.variants) == (1, 6, 2 * (version - 1))
    header = read_header(file)
    assert header.checked
    assert (0, 0) not in header.stamps
    with Reader(file) as reader:
        rows = np.arange(7)
        assert len(header.tables) == version
        for path in header.tables:
            values = reader.copy_rows(path, rows)
            np.testing.assert_array_equal(checksums(values), reader.copy_checksums(path, rows))


@pytest.mark.parametrize("version", [1, 2])
def test_a_waiting_row_of_an_older_file_is_written_in_place(version, photos, tmp_path):
    file = tmp_path / "photos.h5"
    shutil.copy(FIXTURES / f"embeddings-v{version}.h5", file)
    with h5py.File(file, "r+") as opened:
        opened["done"][2] = False
    for path in photos.glob("*/*"):
        if int(path.stem[-2:]) > 2:
            path.unlink()
    assert extract(photos, file, trust_mtime=True).computed == 1
    header = read_header(file)
    assert (header.done.all(), header.checked) == (True, False)


def test_a_vgg16_file_of_before_there_were_engines_is_of_keras(tmp_path):
    file = shutil.copy(FIXTURES / "embeddings-v2-vgg16.h5", tmp_path / "x.h5")
    spec = describe(file)["spec"]
    assert (spec["engine"], spec["quantization"], spec["precision"]) == ("keras", None, "float32")
    for number in range(6):
        write_image(tmp_path / "photos" / ["blue", "red"][number % 2] / f"{number}.png", number, 32)
    result = extract(tmp_path / "photos", file)  # which asks for no engine: nothing is to be done
    assert (result.computed, result.reused, result.engine) == (0, 6, "keras")
    with pytest.raises(SpecError, match="engine keras, not ncnn"):
        extract(tmp_path / "photos", file, engine="ncnn")
