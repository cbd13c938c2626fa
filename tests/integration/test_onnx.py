"""Photographs through real weights: an exported file beside `predict`, and alone in a process.

Promise: `export` writes one ONNX graph, from uint8 pixels to probabilities, for onnxruntime alone,
with classes and spec inside; every head gives what `predict` gives.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.integration.conftest import link_all
from tests.photographs import PLACES, save_crops
from tlfeatures import HEADS, Model, export, extract, load_dataset, make_head
from tlfeatures.features.engines.onnx_session import session
from tlfeatures.models.export.check import run_graph
from tlfeatures.models.input_images import list_images

pytestmark = pytest.mark.integration

FOLDERS = {
    "ants": "hymenoptera/train/ants",
    "bees": "hymenoptera/train/bees",
    "glacier": "intel/glacier",
    "mountain": "intel/mountain",
}
TRAINED, NEW = 15, 2  # images of each of four classes


@pytest.fixture(scope="module")
def pictures(form, request, tmp_path_factory) -> tuple[Path, list[Path]]:
    """A folder to learn from, and images that are not in it."""
    folder = tmp_path_factory.mktemp("pictures")
    if form == "crops":
        save_crops(folder / "known", PLACES, TRAINED)
        save_crops(folder / "new", PLACES, NEW, TRAINED)
    else:
        for label, place in FOLDERS.items():
            paths = sorted((request.getfixturevalue("data") / place).iterdir())
            link_all(paths[:TRAINED], folder / "known" / label)
            link_all(paths[TRAINED : TRAINED + NEW], folder / "new" / label)
    return folder / "known", sorted((folder / "new").glob("*/*"))


def embed(images, folder, **options) -> Path:
    extract(images, folder / "x.h5", precision="float32", **options)
    return folder / "x.h5"


@pytest.fixture(scope="module")
def small(pictures, weights, tmp_path_factory):
    """An embeddings file at 64."""
    options = {"weights": weights, "size": 64, "pools": ["avg", "flatten"]}
    return embed(pictures[0], tmp_path_factory.mktemp("small"), **options)


def table_of(predictions):
    return np.array([list(each.probabilities.values()) for each in predictions])


LONG = pytest.mark.long
# For `make test` one head of each kind of graph is enough: the unit tests have the graph of every
# head, and the graph up to the embedding is the same for all.
SHORT = [("avg", "logreg"), *(("flatten", n) for n in ("logreg", "rbf-svm", "gradient-boosting"))]
ALL = [(pool, name) for pool in ("flatten", "avg") for name in sorted(HEADS)]
CASES = [*SHORT, *(pytest.param(*case, marks=LONG) for case in ALL if case not in SHORT)]


@pytest.mark.parametrize(("pool", "name"), CASES)
@pytest.mark.slow
def test_every_head_is_within_a_thousandth_of_predict(pool, name, small, pictures, tmp_path):
    model = Model.fit(make_head(name), load_dataset(small, f"block5_pool.{pool}"))
    expected = model.predict(pictures[1])
    export(model, tmp_path / "m.onnx")
    table, labels = run_graph(
        session(tmp_path / "m.onnx"), list_images(pictures[1]), model.spec.size
    )
    gap = np.abs(table - table_of(expected)).max()
    print(f"{pool} {name}: largest difference of a probability {gap:.1e}")
    assert gap <= 1e-3
    assert labels == [each.label for each in expected]


ALONE = """
import json, sys
import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
n, height, width, channels = session.get_inputs()[0].shape
images = [
    Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    for path in sys.argv[2:]
]
table, labels = session.run(["probabilities", "label"], {"images": np.stack(images)})
facts = session.get_modelmeta().custom_metadata_map
loaded = [name for name in ("tensorflow", "keras", "sklearn", "skl2onnx", "tlfeatures", "onnx")
          if name in sys.modules]
print(json.dumps([table.tolist(), labels.tolist(), json.loads(facts["labels"]), loaded]))
"""


@pytest.mark.slow
def test_alone_in_a_process(form, pictures, weights, tmp_path):
    """By what the file says of itself, with ONNX Runtime, NumPy and Pillow."""
    for label in pictures[0].iterdir():
        link_all(sorted(label.iterdir())[:4], tmp_path / "known" / label.name)
    size = {"crops": 128, "reference": 224}[form]
    file = embed(tmp_path / "known", tmp_path, weights=weights, size=size, pools=["flatten"])
    model = Model.fit(make_head("rbf-svm"), load_dataset(file))
    export(model, tmp_path / "m.onnx")
    new = pictures[1][::NEW]
    command = [sys.executable, "-c", ALONE, tmp_path / "m.onnx", *new]
    table, labels, classes, loaded = json.loads(subprocess.check_output(command, text=True))
    assert loaded == []
    assert classes == model.classes
    expected = model.predict(new)
    assert np.abs(np.array(table) - table_of(expected)).max() <= 1e-3
    assert labels == [each.label for each in expected]
