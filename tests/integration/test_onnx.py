"""Real images through real weights: an exported file beside `predict`, and alone in a process."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tlfeatures import HEADS, Model, export, extract, load_dataset, make_head
from tlfeatures.exporting.check import run_graph
from tlfeatures.exporting.runtime import session

pytestmark = pytest.mark.integration

FOLDERS = {
    "ants": "hymenoptera/train/ants",
    "bees": "hymenoptera/train/bees",
    "glacier": "intel/glacier",
    "mountain": "intel/mountain",
}
TRAINED, NEW = 15, 4  # images of each class


@pytest.fixture(scope="session")
def pictures(data, tmp_path_factory):
    """A folder to learn from, and images that are not in it."""
    folder, new = tmp_path_factory.mktemp("pictures"), []
    for label, place in FOLDERS.items():
        paths = sorted((data / place).iterdir())
        (folder / label).mkdir()
        for path in paths[:TRAINED]:
            (folder / label / path.name).symlink_to(path)
        new += paths[TRAINED : TRAINED + NEW]
    return folder, new


@pytest.fixture(scope="session")
def small(pictures, weights, tmp_path_factory):
    """An embeddings file of 60 images of four classes at 64."""
    file = tmp_path_factory.mktemp("small") / "small.h5"
    options = {"weights": weights, "precision": "float32"}
    extract(pictures[0], file, size=64, pools=["avg", "flatten"], **options)
    return file


def table_of(predictions):
    return np.array([list(each.probabilities.values()) for each in predictions])


@pytest.mark.parametrize("embedding", ["block5_pool.avg", "block5_pool.flatten"])
@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_is_within_a_thousandth_of_predict(name, embedding, small, pictures, tmp_path):
    model = Model.fit(make_head(name), load_dataset(small, embedding))
    expected = list(model.predict(pictures[1]))
    export(model, tmp_path / "m.onnx")
    table, labels = run_graph(session(tmp_path / "m.onnx"), pictures[1], model.spec.size)
    gap = np.abs(table - table_of(expected)).max()
    print(f"{embedding} {name}: largest difference of a probability {gap:.1e}")
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


def test_alone_in_a_process_at_224(pictures, large, tmp_path):
    """By what the file says of itself, with ONNX Runtime, NumPy and Pillow."""
    model = Model.fit(make_head("rbf-svm"), load_dataset(large))
    export(model, tmp_path / "m.onnx")
    new = pictures[1][::NEW]
    command = [sys.executable, "-c", ALONE, tmp_path / "m.onnx", *new]
    table, labels, classes, loaded = json.loads(subprocess.check_output(command, text=True))
    assert loaded == []
    assert classes == model.classes
    expected = list(model.predict(new))
    assert np.abs(np.array(table) - table_of(expected)).max() <= 1e-3
    assert labels == [each.label for each in expected]


@pytest.fixture(scope="session")
def large(pictures, weights, tmp_path_factory):
    """An embeddings file of 16 images of four classes at 224, flattened."""
    folder = tmp_path_factory.mktemp("large")
    for label in FOLDERS:
        (folder / "images" / label).mkdir(parents=True)
        for path in sorted((pictures[0] / label).iterdir())[:4]:
            (folder / "images" / label / path.name).symlink_to(path)
    options = {"weights": weights, "precision": "float32", "pools": ["flatten"]}
    extract(folder / "images", folder / "large.h5", **options)
    return folder / "large.h5"
